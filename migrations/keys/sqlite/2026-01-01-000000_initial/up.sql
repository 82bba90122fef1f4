-- The keys role: workspaces, plans, keys, service keys, usage, and the audit of these.
-- Ids are UUIDv7, so that they sort by time of creation. No table here refers to another role's.
-- Times are microseconds since 1970 UTC, ids are 16 bytes, lists and objects are JSON text.

-- The tenant.
CREATE TABLE workspaces (
    id             BLOB PRIMARY KEY,
    name           TEXT NOT NULL,
    -- The user whose personal workspace this is. Unique, so that making it is idempotent.
    personal_owner BLOB UNIQUE,
    enabled        INTEGER NOT NULL,
    created_at     INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
    workspace_id BLOB NOT NULL REFERENCES workspaces (id),
    -- A user of the identity role.
    user_id      BLOB NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
) STRICT;
-- The workspaces of a user, newest first.
CREATE INDEX members_by_user ON members (user_id, workspace_id);

-- A named set of limits and scopes.
CREATE TABLE plans (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    limits       TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    UNIQUE (workspace_id, name)
) STRICT;
-- The plans of a workspace, in the order of their making.
CREATE INDEX plans_by_workspace ON plans (workspace_id, id);

-- A key's policy. What is presented is one of its secrets.
CREATE TABLE keys (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces (id),
    plan_id      BLOB NOT NULL REFERENCES plans (id),
    name         TEXT NOT NULL,
    -- The name with ASCII letters in lower case: what a search looks into, alike in both databases.
    name_folded  TEXT NOT NULL,
    environment  TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    -- The visible beginning of the latest secret.
    start        TEXT NOT NULL,
    -- Its own; empty: the plan's.
    scopes       TEXT NOT NULL,
    -- Its own; each replaces the plan's of the same name.
    limits       TEXT NOT NULL,
    -- CIDR blocks; empty: from anywhere.
    allowed_ips  TEXT NOT NULL,
    metadata     TEXT NOT NULL,
    enabled      INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    -- `usr_…` or `svc_…`
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
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
    id         BLOB PRIMARY KEY,
    key_id     BLOB NOT NULL REFERENCES keys (id),
    -- 12 characters, case-sensitive.
    public_id  TEXT NOT NULL UNIQUE,
    -- SHA-256.
    digest     BLOB NOT NULL CHECK (length(digest) = 32),
    created_at INTEGER NOT NULL,
    -- From then on the secret does not resolve.
    retired_at INTEGER
) STRICT;
CREATE INDEX secrets_by_key ON secrets (key_id);

-- A workspace's management credential for machines.
CREATE TABLE service_keys (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL REFERENCES workspaces (id),
    name         TEXT NOT NULL,
    public_id    TEXT NOT NULL UNIQUE,
    -- SHA-256.
    digest       BLOB NOT NULL CHECK (length(digest) = 32),
    start        TEXT NOT NULL,
    permissions  TEXT NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;
-- The service keys of a workspace, newest first.
CREATE INDEX service_keys_by_workspace ON service_keys (workspace_id, id);

-- How many calls of a subject in a minute ended with a code. Written by the drain alone.
CREATE TABLE usage (
    -- What is counted together: a workspace's or a user's id, as text.
    partition TEXT NOT NULL,
    -- Who called: a key's or a user's id, as text.
    subject   TEXT NOT NULL,
    -- Minutes since 1970 UTC: hours and days are this divided by 60 and 1440, in either database.
    minute    INTEGER NOT NULL,
    -- A verdict code.
    code      TEXT NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (partition, subject, minute, code)
) STRICT, WITHOUT ROWID;
-- For retention.
CREATE INDEX usage_by_minute ON usage (minute);

-- The batches of tallies that are already in `usage`: inserted in the same transaction, so that a batch counts once.
CREATE TABLE usage_batches (
    id         TEXT PRIMARY KEY,
    applied_at INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_batches_by_time ON usage_batches (applied_at);

-- The latest call of each key. Apart from `keys`, so that the drain writes one small row and locks no key;
-- without a foreign key, so that a tally of a key that is not here cannot stop the drain.
CREATE TABLE last_used (
    key_id BLOB PRIMARY KEY,
    at     INTEGER NOT NULL
) STRICT;

-- What was done by whom. Every mutation writes its row in its own transaction.
CREATE TABLE audit_events (
    id           BLOB PRIMARY KEY,
    workspace_id BLOB NOT NULL,
    at           INTEGER NOT NULL,
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
) STRICT;
CREATE INDEX audit_events_by_workspace ON audit_events (workspace_id, id);
-- For retention.
CREATE INDEX audit_events_by_time ON audit_events (at);

-- Append-only: what happened is not rewritten. (Retention deletes what is old.)
CREATE TRIGGER audit_events_append_only BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;

-- Creates that were asked for with an idempotency key: a retry finds what the first made.
CREATE TABLE idempotency (
    -- SHA-256 of the caller and its idempotency key.
    id           BLOB PRIMARY KEY,
    -- SHA-256 of the request: the same key with another request is a conflict.
    request_hash BLOB NOT NULL,
    -- Claimed before the key is made, in the same transaction; hence deferred.
    key_id       BLOB NOT NULL REFERENCES keys (id) DEFERRABLE INITIALLY DEFERRED,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);
