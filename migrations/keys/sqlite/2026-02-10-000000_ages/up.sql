-- How old secrets are, for keys that are to be rotated; which environment a call was in; and an index to forget old movements by.

-- When its newest secret was made.
ALTER TABLE keys ADD COLUMN secret_made_at INTEGER NOT NULL DEFAULT 0;
UPDATE keys SET secret_made_at =
    COALESCE((SELECT MAX(secrets.created_at) FROM secrets WHERE secrets.key_id = keys.id), keys.created_at);
-- The keys that a policy makes due first.
CREATE INDEX keys_by_secret_age ON keys (workspace_id, secret_made_at, id);

-- With their workspaces, so that lists find them.
ALTER TABLE key_rotations RENAME TO key_rotations_before;
CREATE TABLE key_rotations (
    key_id        BLOB PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    workspace_id  BLOB NOT NULL,
    every_days    INTEGER NOT NULL,
    deadline_days INTEGER,
    -- That many days after its newest secret was made.
    due_at        INTEGER NOT NULL,
    -- When its secrets retire if it is not rotated; absent: they do not, or they have.
    retires_at    INTEGER
) STRICT;
INSERT INTO key_rotations (key_id, workspace_id, every_days, deadline_days, due_at, retires_at)
    SELECT old.key_id, keys.workspace_id, old.every_days, old.deadline_days, old.due_at, old.retires_at
    FROM key_rotations_before AS old JOIN keys ON keys.id = old.key_id;
DROP TABLE key_rotations_before;
CREATE INDEX key_rotations_by_due ON key_rotations (due_at);
CREATE INDEX key_rotations_by_end ON key_rotations (retires_at) WHERE retires_at IS NOT NULL;
-- The keys of a workspace that are due first by their plans.
CREATE INDEX key_rotations_by_workspace ON key_rotations (workspace_id, due_at, key_id);

-- `live` or `test`, as the subject is for good; empty: the subject is no key, or it was counted before this was.
ALTER TABLE usage ADD COLUMN environment TEXT NOT NULL DEFAULT '';
-- With all that is read, as before.
DROP INDEX usage_by_subject;
DROP INDEX usage_by_consumer;
CREATE INDEX usage_by_subject ON usage (partition, subject, grain, minute, code, count, environment);
CREATE INDEX usage_by_consumer ON usage (partition, consumer, grain, minute, code, count, environment);

-- For retention.
CREATE INDEX credit_ledger_by_age ON credit_ledger (at);
