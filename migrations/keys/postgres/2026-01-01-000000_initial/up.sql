-- The keys role: workspaces, plans, keys, service keys, usage, and the audit of these.
-- Ids are UUIDv7, so that they sort by time of creation. No table here refers to another role's.

-- The tenant.
CREATE TABLE workspaces (
    id             UUID PRIMARY KEY,
    name           TEXT NOT NULL,
    -- The user whose personal workspace this is. Unique, so that making it is idempotent.
    personal_owner UUID UNIQUE,
    enabled        BOOLEAN NOT NULL,
    created_at     TIMESTAMPTZ NOT NULL
);

CREATE TABLE members (
    workspace_id UUID NOT NULL REFERENCES workspaces (id),
    -- A user of the identity role.
    user_id      UUID NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);
-- The workspaces of a user, newest first.
CREATE INDEX members_by_user ON members (user_id, workspace_id);

-- A named set of limits and scopes.
CREATE TABLE plans (
    id           UUID PRIMARY KEY,
    workspace_id UUID NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    limits       JSONB NOT NULL,
    scopes       TEXT[] NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    UNIQUE (workspace_id, name)
);
-- The plans of a workspace, in the order of their making.
CREATE INDEX plans_by_workspace ON plans (workspace_id, id);

-- A key's policy. What is presented is one of its secrets.
CREATE TABLE keys (
    id           UUID PRIMARY KEY,
    workspace_id UUID NOT NULL REFERENCES workspaces (id),
    plan_id      UUID NOT NULL REFERENCES plans (id),
    name         TEXT NOT NULL,
    -- The name with ASCII letters in lower case: what a search looks into, alike in both databases.
    name_folded  TEXT NOT NULL,
    environment  TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    -- The visible beginning of the latest secret.
    start        TEXT NOT NULL,
    -- Its own; empty: the plan's.
    scopes       TEXT[] NOT NULL,
    -- Its own; each replaces the plan's of the same name.
    limits       JSONB NOT NULL,
    -- CIDR blocks; empty: from anywhere.
    allowed_ips  TEXT[] NOT NULL,
    metadata     JSONB NOT NULL,
    enabled      BOOLEAN NOT NULL,
    expires_at   TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ,
    -- `usr_…` or `svc_…`
    created_by   TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL
);
-- The keys of a workspace, newest first. A search by part of the name reads along this index: no index finds a part of a
-- word, and the page is bounded.
CREATE INDEX keys_by_workspace ON keys (workspace_id, id);
CREATE INDEX keys_by_environment ON keys (workspace_id, environment, id);
-- The statuses that are few among many; the active are found along keys_by_workspace.
CREATE INDEX keys_revoked ON keys (workspace_id, id) WHERE revoked_at IS NOT NULL;
CREATE INDEX keys_disabled ON keys (workspace_id, id) WHERE NOT enabled;
CREATE INDEX keys_expiring ON keys (workspace_id, id) WHERE expires_at IS NOT NULL;

-- What a caller presents: a public id, and a secret of which only the digest is here.
CREATE TABLE secrets (
    id         UUID PRIMARY KEY,
    key_id     UUID NOT NULL REFERENCES keys (id),
    -- 12 characters, case-sensitive.
    public_id  TEXT NOT NULL UNIQUE,
    -- SHA-256.
    digest     BYTEA NOT NULL CHECK (octet_length(digest) = 32),
    created_at TIMESTAMPTZ NOT NULL,
    -- From then on the secret does not resolve.
    retired_at TIMESTAMPTZ
);
CREATE INDEX secrets_by_key ON secrets (key_id);

-- A workspace's management credential for machines.
CREATE TABLE service_keys (
    id           UUID PRIMARY KEY,
    workspace_id UUID NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    public_id    TEXT NOT NULL UNIQUE,
    -- SHA-256.
    digest       BYTEA NOT NULL CHECK (octet_length(digest) = 32),
    start        TEXT NOT NULL,
    permissions  TEXT[] NOT NULL,
    expires_at   TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ,
    created_by   TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL
);
-- The service keys of a workspace, newest first.
CREATE INDEX service_keys_by_workspace ON service_keys (workspace_id, id);

-- How many calls of a subject in a minute ended with a code. Written by the drain alone.
CREATE TABLE usage (
    -- What is counted together: a workspace's or a user's id, as text.
    partition TEXT NOT NULL,
    -- Who called: a key's or a user's id, as text.
    subject   TEXT NOT NULL,
    -- Minutes since 1970 UTC: hours and days are this divided by 60 and 1440, in either database.
    minute    BIGINT NOT NULL,
    -- A verdict code.
    code      TEXT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (partition, subject, minute, code)
);
-- For retention.
CREATE INDEX usage_by_minute ON usage (minute);

-- The batches of tallies that are already in `usage`: inserted in the same transaction, so that a batch counts once.
CREATE TABLE usage_batches (
    id         TEXT PRIMARY KEY,
    applied_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX usage_batches_by_time ON usage_batches (applied_at);

-- The latest call of each key. Apart from `keys`, so that the drain writes one small row and locks no key;
-- without a foreign key, so that a tally of a key that is not here cannot stop the drain.
CREATE TABLE last_used (
    key_id UUID PRIMARY KEY,
    at     TIMESTAMPTZ NOT NULL
);

-- What was done by whom. Every mutation writes its row in its own transaction.
CREATE TABLE audit_events (
    id           UUID PRIMARY KEY,
    workspace_id UUID NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    -- `usr_…` or `svc_…`
    actor        TEXT NOT NULL,
    -- `ses_…`, if the actor is a user with a session.
    session      TEXT,
    -- The client's address.
    ip           TEXT,
    -- `key.create`, …
    action       TEXT NOT NULL,
    -- The id of what was acted on.
    target       TEXT NOT NULL
);
CREATE INDEX audit_events_by_workspace ON audit_events (workspace_id, id);
-- For retention.
CREATE INDEX audit_events_by_time ON audit_events (at);

-- Append-only: what happened is not rewritten. (Retention deletes what is old.)
CREATE FUNCTION refuse_to_rewrite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are append-only';
END
$$;
CREATE TRIGGER audit_events_append_only BEFORE UPDATE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite();

-- Creates that were asked for with an idempotency key: a retry finds what the first made.
CREATE TABLE idempotency (
    -- SHA-256 of the caller and its idempotency key.
    id           BYTEA PRIMARY KEY,
    -- SHA-256 of the request: the same key with another request is a conflict.
    request_hash BYTEA NOT NULL,
    -- Claimed before the key is made, in the same transaction; hence deferred.
    key_id       UUID NOT NULL REFERENCES keys (id) DEFERRABLE INITIALLY DEFERRED,
    expires_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
