-- The disabled keys that a policy may revoke, the longest disabled first: those that were revoked are not among them.
CREATE INDEX keys_disabled_since ON keys (workspace_id, disabled_at) WHERE NOT enabled AND revoked_at IS NULL;
-- What expires is looked for in the workspaces that want to know of it: keys_by_end has it.
DROP INDEX keys_by_expiry;
