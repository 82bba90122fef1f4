-- Consumers, roles, and what a key and its secrets need to have a life: rotation, a beginning, a description.

-- Whom a workspace gives keys to. Its limits are shared by its keys.
CREATE TABLE consumers (
    id           UUID PRIMARY KEY,
    workspace_id UUID NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    -- The name with ASCII letters in lower case, for searches.
    name_folded  TEXT NOT NULL,
    -- The workspace's own name for it.
    external_id  TEXT,
    -- Its limits are the consumer's, and its scopes those of keys that have none of their own; absent: neither.
    plan_id      UUID REFERENCES plans (id),
    -- Its own; each replaces the plan's of the same name.
    limits       JSONB NOT NULL,
    metadata     JSONB NOT NULL,
    enabled      BOOLEAN NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    UNIQUE (workspace_id, external_id)
);
-- The consumers of a workspace, newest first.
CREATE INDEX consumers_by_workspace ON consumers (workspace_id, id);
CREATE INDEX consumers_by_plan ON consumers (plan_id);

-- A named set of scopes.
CREATE TABLE roles (
    id           UUID PRIMARY KEY,
    workspace_id UUID NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    scopes       TEXT[] NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    UNIQUE (workspace_id, name)
);
CREATE INDEX roles_by_workspace ON roles (workspace_id, id);

-- What the whole workspace may use, shared by all its keys; empty: no such limits.
ALTER TABLE workspaces ADD COLUMN limits JSONB NOT NULL DEFAULT '[]';
-- What is required of its keys; empty: nothing.
ALTER TABLE workspaces ADD COLUMN policy JSONB NOT NULL DEFAULT '{}';

ALTER TABLE keys ADD COLUMN consumer_id UUID REFERENCES consumers (id);
ALTER TABLE keys ADD COLUMN description TEXT NOT NULL DEFAULT '';
-- Names of roles of the workspace; their scopes are added to the key's own.
ALTER TABLE keys ADD COLUMN roles TEXT[] NOT NULL DEFAULT '{}';
-- Until then the key does not pass.
ALTER TABLE keys ADD COLUMN not_before TIMESTAMPTZ;
-- When it was disabled; absent: it is enabled.
ALTER TABLE keys ADD COLUMN disabled_at TIMESTAMPTZ;
CREATE INDEX keys_by_consumer ON keys (consumer_id, id) WHERE consumer_id IS NOT NULL;
CREATE INDEX keys_by_plan ON keys (plan_id);

-- The visible beginning of this secret; empty: it is the only one of its key, and the key has it.
ALTER TABLE secrets ADD COLUMN start TEXT NOT NULL DEFAULT '';
-- Ended before its time. `retired_at` is when it retires, or retired, because a newer one took its place.
ALTER TABLE secrets ADD COLUMN revoked_at TIMESTAMPTZ;
