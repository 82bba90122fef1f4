-- The log of changes that can turn a yes into a no, and the processes that follow it. The crate `changes` says how they are used.

-- One row. Its lock, held from the taking of a sequence to the end of the transaction, makes commit order sequence order.
CREATE TABLE change_head (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    -- The last sequence that was given.
    last   BIGINT NOT NULL,
    -- The last sequence that was pruned.
    pruned BIGINT NOT NULL
);
INSERT INTO change_head (id, last, pruned) VALUES (1, 0, 0);

CREATE TABLE changes (
    sequence BIGINT PRIMARY KEY,
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
    -- By the database's own clock: see the trigger.
    renewed_at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
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

CREATE FUNCTION renew_replica() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.renewed_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER replicas_renew BEFORE INSERT OR UPDATE ON replicas FOR EACH ROW EXECUTE FUNCTION renew_replica();
