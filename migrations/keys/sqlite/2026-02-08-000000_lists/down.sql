ALTER TABLE audit_events DROP COLUMN reason;
DROP TABLE idempotency;
CREATE TABLE idempotency (
    id           BLOB PRIMARY KEY,
    request_hash BLOB NOT NULL,
    key_id       BLOB NOT NULL REFERENCES keys (id) DEFERRABLE INITIALLY DEFERRED,
    expires_at   INTEGER NOT NULL,
    secret_id    BLOB
) STRICT;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
DROP TRIGGER last_used_list_next;
DROP TRIGGER last_used_list_first;
DROP TRIGGER keys_list_changed;
DROP TRIGGER keys_list_new;
DROP VIEW labels_of_keys;
DROP TABLE key_labels;
DROP TABLE key_uses;
DROP INDEX keys_by_plan;
CREATE INDEX keys_by_plan ON keys (plan_id);
CREATE INDEX keys_expiring ON keys (workspace_id, id) WHERE expires_at IS NOT NULL;
DROP INDEX keys_by_name;
DROP INDEX keys_by_end;
DROP INDEX keys_by_creation;
ALTER TABLE keys DROP COLUMN ends_at;
