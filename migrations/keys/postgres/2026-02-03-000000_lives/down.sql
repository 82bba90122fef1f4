DROP INDEX workspaces_tended;
ALTER TABLE workspaces DROP COLUMN tended;
ALTER TABLE idempotency DROP COLUMN secret_id;
ALTER TABLE service_keys DROP COLUMN scopes;
ALTER TABLE secrets DROP COLUMN replaces;
ALTER TABLE keys DROP COLUMN enabled_at;
ALTER TABLE keys DROP COLUMN revision;
