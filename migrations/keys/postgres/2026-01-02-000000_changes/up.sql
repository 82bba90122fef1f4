-- The log of changes that can turn a yes into a no, and the processes that follow it. The crate `changes` says how they are used.

-- One row. Its lock, held from the taking of a sequence to the end of the transaction, makes commit order sequence order.
CREATE TABLE change_head (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    -- The last change: its sequence and its tag.
    last       BIGINT NOT NULL,
    tag        BIGINT NOT NULL,
    -- The last change that was pruned.
    pruned     BIGINT NOT NULL,
    pruned_tag BIGINT NOT NULL
);
INSERT INTO change_head (id, last, tag, pruned, pruned_tag) VALUES (1, 0, 0, 0, 0);

CREATE TABLE changes (
    sequence BIGINT PRIMARY KEY,
    -- Random. After a failover another change may have taken the sequence of one that was lost; it has another tag.
    tag      BIGINT NOT NULL,
    -- `key_…`, `ses_…`, …
    subject  TEXT NOT NULL,
    at       TIMESTAMPTZ NOT NULL
);
-- For pruning.
CREATE INDEX changes_by_time ON changes (at);

-- The processes of the role that are alive.
CREATE TABLE replicas (
    id           TEXT PRIMARY KEY,
    -- Everything up to here is acknowledged by all verifiers that watch this replica.
    acknowledged BIGINT NOT NULL,
    -- The number of the replica's round that wrote this; no round has the number of an earlier one.
    round        BIGINT NOT NULL,
    -- For how long its verifiers trust what they know without hearing from it.
    lease_ms     BIGINT NOT NULL
);

-- Whoever waits is told at the commit. The channels are named after the schema: `keys_changes`, `keys_acknowledged`.
CREATE FUNCTION tell_of_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_TABLE_SCHEMA || '_changes', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER changes_tell AFTER INSERT ON changes FOR EACH STATEMENT EXECUTE FUNCTION tell_of_change();

CREATE FUNCTION tell_of_acknowledgement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(TG_TABLE_SCHEMA || '_acknowledged', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER replicas_tell AFTER UPDATE ON replicas FOR EACH ROW
    WHEN (NEW.acknowledged > OLD.acknowledged) EXECUTE FUNCTION tell_of_acknowledgement();
