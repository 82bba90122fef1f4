-- Lists of very many keys, and creates of any kind that may be asked for again.
-- The triggers keep what lists are found by in the transaction of whoever writes a key, or a use of one, however it is written.

-- By their bytes, as SQLite orders texts.
ALTER TABLE keys ALTER COLUMN name_folded TYPE TEXT COLLATE "C";
-- When it ends by itself; the last microsecond of the year 9999 stands for never, so that keys sort by it.
ALTER TABLE keys ADD COLUMN ends_at TIMESTAMPTZ NOT NULL
    GENERATED ALWAYS AS (COALESCE(expires_at, TIMESTAMPTZ '9999-12-31 23:59:59.999999+00')) STORED;

-- One index for each order of a list. The first has the name, so that a search for a part of it reads no row that does not fit.
CREATE INDEX keys_by_creation ON keys (workspace_id, created_at, id, name_folded);
CREATE INDEX keys_by_end ON keys (workspace_id, ends_at, id);
CREATE INDEX keys_by_name ON keys (workspace_id, name_folded, id);
-- keys_by_end has what it had.
DROP INDEX keys_expiring;
DROP INDEX keys_by_plan;
CREATE INDEX keys_by_plan ON keys (plan_id, id);

-- When each key was used last; 1970: never. A copy of `last_used` that has every key, so that a list can begin with those that never were.
CREATE TABLE key_uses (
    key_id       UUID PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    workspace_id UUID NOT NULL,
    at           TIMESTAMPTZ NOT NULL
);
CREATE INDEX key_uses_by_time ON key_uses (workspace_id, at, key_id);

-- What a key can be found by: its roles (`role`), and each short value of its metadata (`metadata.` and the name).
CREATE TABLE key_labels (
    workspace_id UUID NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    value        TEXT COLLATE "C" NOT NULL,
    key_id       UUID NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    PRIMARY KEY (workspace_id, name, value, key_id)
);
CREATE INDEX key_labels_by_key ON key_labels (key_id);

-- The labels of a key. A number is a label if it is whole and has at most 18 digits: those are written alike everywhere.
CREATE FUNCTION labels_of_key(metadata JSONB, roles TEXT[]) RETURNS TABLE (name TEXT, value TEXT) LANGUAGE sql IMMUTABLE AS $$
    SELECT 'metadata.' || field.key, field.value #>> '{}'
    FROM jsonb_each(metadata) AS field
    WHERE length(field.key) <= 100 AND CASE jsonb_typeof(field.value)
        WHEN 'boolean' THEN TRUE
        WHEN 'string' THEN length(field.value #>> '{}') <= 255
        WHEN 'number' THEN field.value #>> '{}' ~ '^-?[0-9]{1,18}$'
        ELSE FALSE END
    UNION ALL
    SELECT 'role', role FROM unnest(roles) AS role
$$;

INSERT INTO key_uses (key_id, workspace_id, at)
    SELECT keys.id, keys.workspace_id, COALESCE(last_used.at, TIMESTAMPTZ '1970-01-01 00:00:00+00')
    FROM keys LEFT JOIN last_used ON last_used.key_id = keys.id;
INSERT INTO key_labels (workspace_id, name, value, key_id)
    SELECT keys.workspace_id, label.name, label.value, keys.id
    FROM keys, labels_of_key(keys.metadata, keys.roles) AS label;

CREATE FUNCTION list_new_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO key_uses (key_id, workspace_id, at)
        SELECT made.id, made.workspace_id, COALESCE(last_used.at, TIMESTAMPTZ '1970-01-01 00:00:00+00')
        FROM made LEFT JOIN last_used ON last_used.key_id = made.id;
    INSERT INTO key_labels (workspace_id, name, value, key_id)
        SELECT made.workspace_id, label.name, label.value, made.id
        FROM made, labels_of_key(made.metadata, made.roles) AS label;
    RETURN NULL;
END
$$;
CREATE TRIGGER keys_list_new AFTER INSERT ON keys
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION list_new_keys();

CREATE FUNCTION list_changed_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM key_labels WHERE key_id = NEW.id;
    INSERT INTO key_labels (workspace_id, name, value, key_id)
        SELECT NEW.workspace_id, label.name, label.value, NEW.id
        FROM labels_of_key(NEW.metadata, NEW.roles) AS label;
    RETURN NULL;
END
$$;
CREATE TRIGGER keys_list_changed AFTER UPDATE OF metadata, roles ON keys FOR EACH ROW
    WHEN (OLD.metadata IS DISTINCT FROM NEW.metadata OR OLD.roles IS DISTINCT FROM NEW.roles)
    EXECUTE FUNCTION list_changed_key();

CREATE FUNCTION list_uses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE key_uses SET at = used.at FROM used WHERE key_uses.key_id = used.key_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER last_used_list_first AFTER INSERT ON last_used
    REFERENCING NEW TABLE AS used FOR EACH STATEMENT EXECUTE FUNCTION list_uses();
CREATE TRIGGER last_used_list_next AFTER UPDATE ON last_used
    REFERENCING NEW TABLE AS used FOR EACH STATEMENT EXECUTE FUNCTION list_uses();

-- Creates that were asked for with an idempotency key, of whatever kind: a retry finds what the first made.
DROP TABLE idempotency;
CREATE TABLE idempotency (
    -- SHA-256 of the caller and its idempotency key.
    id           BYTEA PRIMARY KEY,
    -- SHA-256 of the request and its kind: the same key with another request is a conflict.
    request_hash BYTEA NOT NULL,
    -- The id of what was made. Its kind is that of the request.
    made         UUID NOT NULL,
    -- What was made within it: the secret that a rotation made.
    part         UUID,
    expires_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

-- Why it was done, in the words of who did it.
ALTER TABLE audit_events ADD COLUMN reason TEXT;
