DROP INDEX credit_ledger_by_age;
ALTER TABLE usage DROP COLUMN environment;
DROP INDEX key_rotations_by_workspace;
ALTER TABLE key_rotations DROP COLUMN workspace_id;
DROP INDEX keys_by_secret_age;
ALTER TABLE keys DROP COLUMN secret_made_at;
