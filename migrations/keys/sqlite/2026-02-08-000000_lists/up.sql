-- Lists of very many keys, and creates of any kind that may be asked for again.
-- The triggers keep what lists are found by in the transaction of whoever writes a key, or a use of one, however it is written.

-- When it ends by itself; the last microsecond of the year 9999 stands for never, so that keys sort by it.
ALTER TABLE keys ADD COLUMN ends_at INTEGER GENERATED ALWAYS AS (COALESCE(expires_at, 253402300799999999)) VIRTUAL;

-- One index for each order of a list. The first has the name, so that a search for a part of it reads no row that does not fit.
CREATE INDEX keys_by_creation ON keys (workspace_id, created_at, id, name_folded);
CREATE INDEX keys_by_end ON keys (workspace_id, ends_at, id);
CREATE INDEX keys_by_name ON keys (workspace_id, name_folded, id);
-- keys_by_end has what it had.
DROP INDEX keys_expiring;
DROP INDEX keys_by_plan;
CREATE INDEX keys_by_plan ON keys (plan_id, id);

-- When each key was used last; 0: never. A copy of `last_used` that has every key, so that a list can begin with those that never were.
CREATE TABLE key_uses (
    key_id       BLOB PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    workspace_id BLOB NOT NULL,
    at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX key_uses_by_time ON key_uses (workspace_id, at, key_id);

-- What a key can be found by: its roles (`role`), and each short value of its metadata (`metadata.` and the name).
CREATE TABLE key_labels (
    workspace_id BLOB NOT NULL,
    name         TEXT NOT NULL,
    value        TEXT NOT NULL,
    key_id       BLOB NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    PRIMARY KEY (workspace_id, name, value, key_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX key_labels_by_key ON key_labels (key_id);

-- The labels of every key. A number is a label if it is whole and has at most 18 digits: those are written alike everywhere.
CREATE VIEW labels_of_keys (workspace_id, name, value, key_id) AS
    SELECT keys.workspace_id, 'metadata.' || field.key,
           CASE field.type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' ELSE CAST(field.value AS TEXT) END,
           keys.id
    FROM keys, json_each(keys.metadata) AS field
    WHERE length(field.key) <= 100 AND CASE field.type
        WHEN 'true' THEN TRUE
        WHEN 'false' THEN TRUE
        WHEN 'text' THEN length(field.value) <= 255
        WHEN 'integer' THEN field.value BETWEEN -999999999999999999 AND 999999999999999999
        ELSE FALSE END
    UNION ALL
    SELECT keys.workspace_id, 'role', role.value, keys.id FROM keys, json_each(keys.roles) AS role;

INSERT INTO key_uses (key_id, workspace_id, at)
    SELECT keys.id, keys.workspace_id, COALESCE(last_used.at, 0)
    FROM keys LEFT JOIN last_used ON last_used.key_id = keys.id;
INSERT INTO key_labels (workspace_id, name, value, key_id) SELECT workspace_id, name, value, key_id FROM labels_of_keys;

CREATE TRIGGER keys_list_new AFTER INSERT ON keys
BEGIN
    INSERT INTO key_uses (key_id, workspace_id, at)
        VALUES (NEW.id, NEW.workspace_id, COALESCE((SELECT at FROM last_used WHERE key_id = NEW.id), 0));
    INSERT INTO key_labels (workspace_id, name, value, key_id)
        SELECT workspace_id, name, value, key_id FROM labels_of_keys WHERE key_id = NEW.id;
END;
CREATE TRIGGER keys_list_changed AFTER UPDATE OF metadata, roles ON keys
WHEN OLD.metadata IS NOT NEW.metadata OR OLD.roles IS NOT NEW.roles
BEGIN
    DELETE FROM key_labels WHERE key_id = NEW.id;
    INSERT INTO key_labels (workspace_id, name, value, key_id)
        SELECT workspace_id, name, value, key_id FROM labels_of_keys WHERE key_id = NEW.id;
END;
CREATE TRIGGER last_used_list_first AFTER INSERT ON last_used
BEGIN
    UPDATE key_uses SET at = NEW.at WHERE key_id = NEW.key_id;
END;
CREATE TRIGGER last_used_list_next AFTER UPDATE OF at ON last_used
BEGIN
    UPDATE key_uses SET at = NEW.at WHERE key_id = NEW.key_id;
END;

-- Creates that were asked for with an idempotency key, of whatever kind: a retry finds what the first made.
DROP TABLE idempotency;
CREATE TABLE idempotency (
    -- SHA-256 of the caller and its idempotency key.
    id           BLOB PRIMARY KEY,
    -- SHA-256 of the request and its kind: the same key with another request is a conflict.
    request_hash BLOB NOT NULL,
    -- The id of what was made. Its kind is that of the request.
    made         BLOB NOT NULL,
    -- What was made within it: the secret that a rotation made.
    part         BLOB,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

-- Why it was done, in the words of who did it.
ALTER TABLE audit_events ADD COLUMN reason TEXT;
