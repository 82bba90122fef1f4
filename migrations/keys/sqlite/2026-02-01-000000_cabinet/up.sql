-- Consumers, roles, and what a key and its secrets need to have a life: rotation, a beginning, a description.

-- Whom a workspace gives keys to. Its limits are shared by its keys.
CREATE TABLE consumers (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    -- The name with ASCII letters in lower case, for searches.
    name_folded  TEXT NOT NULL,
    -- The workspace's own name for it.
    external_id  TEXT,
    -- Its limits are the consumer's, and its scopes those of keys that have none of their own; absent: neither.
    plan_id      BLOB REFERENCES plans (id),
    -- Its own; each replaces the plan's of the same name.
    limits       TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    enabled      INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (workspace_id, external_id)
) STRICT;
-- The consumers of a workspace, newest first.
CREATE INDEX consumers_by_workspace ON consumers (workspace_id, id);
CREATE INDEX consumers_by_plan ON consumers (plan_id);

-- A named set of scopes.
CREATE TABLE roles (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (workspace_id, name)
) STRICT;
CREATE INDEX roles_by_workspace ON roles (workspace_id, id);

-- What the whole workspace may use, shared by all its keys; empty: no such limits.
ALTER TABLE workspaces ADD COLUMN limits TEXT NOT NULL DEFAULT '[]';
-- What is required of its keys; empty: nothing.
ALTER TABLE workspaces ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';

ALTER TABLE keys ADD COLUMN consumer_id BLOB REFERENCES consumers (id);
ALTER TABLE keys ADD COLUMN description TEXT NOT NULL DEFAULT '';
-- Names of roles of the workspace; their scopes are added to the key's own.
ALTER TABLE keys ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';
-- Until then the key does not pass.
ALTER TABLE keys ADD COLUMN not_before INTEGER;
-- When it was disabled; absent: it is enabled.
ALTER TABLE keys ADD COLUMN disabled_at INTEGER;
CREATE INDEX keys_by_consumer ON keys (consumer_id, id) WHERE consumer_id IS NOT NULL;
CREATE INDEX keys_by_plan ON keys (plan_id);

-- The visible beginning of this secret; empty: it is the only one of its key, and the key has it.
ALTER TABLE secrets ADD COLUMN start TEXT NOT NULL DEFAULT '';
-- Ended before its time. `retired_at` is when it retires, or retired, because a newer one took its place.
ALTER TABLE secrets ADD COLUMN revoked_at INTEGER;
