-- How old secrets are, for keys that are to be rotated; which environment a call was in; and an index to forget old movements by.

-- When its newest secret was made.
ALTER TABLE keys ADD COLUMN secret_made_at TIMESTAMPTZ NOT NULL DEFAULT TIMESTAMPTZ '1970-01-01 00:00:00+00';
UPDATE keys SET secret_made_at =
    COALESCE((SELECT MAX(secrets.created_at) FROM secrets WHERE secrets.key_id = keys.id), keys.created_at);
-- The keys that a policy makes due first.
CREATE INDEX keys_by_secret_age ON keys (workspace_id, secret_made_at, id);

-- So that lists find them.
ALTER TABLE key_rotations ADD COLUMN workspace_id UUID;
UPDATE key_rotations SET workspace_id = keys.workspace_id FROM keys WHERE keys.id = key_rotations.key_id;
ALTER TABLE key_rotations ALTER COLUMN workspace_id SET NOT NULL;
-- The keys of a workspace that are due first by their plans.
CREATE INDEX key_rotations_by_workspace ON key_rotations (workspace_id, due_at, key_id);

-- `live` or `test`, as the subject is for good; empty: the subject is no key, or it was counted before this was.
ALTER TABLE usage ADD COLUMN environment TEXT NOT NULL DEFAULT '';

-- For retention.
CREATE INDEX credit_ledger_by_age ON credit_ledger (at);
