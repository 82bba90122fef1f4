CREATE INDEX keys_by_expiry ON keys (expires_at) WHERE revoked_at IS NULL;
DROP INDEX keys_disabled_since;
