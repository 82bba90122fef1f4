-- What the life of a key needs: changes, rotation, a policy that is enforced.

-- Counts the changes of the row: a change is made to the row that it was decided on, or not at all.
ALTER TABLE keys ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
-- When it was enabled again; absent: it was never disabled.
ALTER TABLE keys ADD COLUMN enabled_at INTEGER;

-- The secret whose place it took.
ALTER TABLE secrets ADD COLUMN replaces BLOB;

-- What it may give to keys beside the scopes of their plan.
ALTER TABLE service_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';

-- The secret that a rotation made; absent: a key was made.
ALTER TABLE idempotency ADD COLUMN secret_id BLOB;

-- Whether the policy asks for something to be done from time to time.
ALTER TABLE workspaces ADD COLUMN tended INTEGER NOT NULL DEFAULT 0;
CREATE INDEX workspaces_tended ON workspaces (id) WHERE tended;
