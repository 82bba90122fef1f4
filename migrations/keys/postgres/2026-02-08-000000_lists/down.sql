ALTER TABLE audit_events DROP COLUMN reason;
DROP TABLE idempotency;
CREATE TABLE idempotency (
    id           BYTEA PRIMARY KEY,
    request_hash BYTEA NOT NULL,
    key_id       UUID NOT NULL REFERENCES keys (id) DEFERRABLE INITIALLY DEFERRED,
    expires_at   TIMESTAMPTZ NOT NULL,
    secret_id    UUID
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
DROP TRIGGER last_used_list_next ON last_used;
DROP TRIGGER last_used_list_first ON last_used;
DROP FUNCTION list_uses();
DROP TRIGGER keys_list_changed ON keys;
DROP FUNCTION list_changed_key();
DROP TRIGGER keys_list_new ON keys;
DROP FUNCTION list_new_keys();
DROP FUNCTION labels_of_key(JSONB, TEXT[]);
DROP TABLE key_labels;
DROP TABLE key_uses;
DROP INDEX keys_by_plan;
CREATE INDEX keys_by_plan ON keys (plan_id);
CREATE INDEX keys_expiring ON keys (workspace_id, id) WHERE expires_at IS NOT NULL;
DROP INDEX keys_by_name;
DROP INDEX keys_by_end;
DROP INDEX keys_by_creation;
ALTER TABLE keys DROP COLUMN ends_at;
ALTER TABLE keys ALTER COLUMN name_folded TYPE TEXT COLLATE "default";
