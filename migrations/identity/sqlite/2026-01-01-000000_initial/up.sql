-- The identity role: users, sessions, the keys that sign access tokens, and the audit of these.
-- Ids are UUIDv7, so that they sort by time of creation. No table here refers to another role's.
-- Times are microseconds since 1970 UTC, ids are 16 bytes.

-- A person with a password.
CREATE TABLE users (
    id            BLOB PRIMARY KEY,
    -- As its owner wrote it.
    email         TEXT NOT NULL,
    -- As it is compared: normal form C, lower case.
    email_key     TEXT NOT NULL UNIQUE,
    name          TEXT,
    -- A PHC string.
    password_hash TEXT NOT NULL,
    -- An instance administrator.
    operator      INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    -- From then on the user has no live session and cannot log in.
    disabled_at   INTEGER
) STRICT;

-- One login: the whole family of its refresh and access tokens. The tokens themselves are not stored.
CREATE TABLE sessions (
    id               BLOB PRIMARY KEY,
    user_id          BLOB NOT NULL REFERENCES users (id),
    -- Of the newest refresh token; each exchange adds one, by compare-and-set.
    generation       INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    -- When the newest refresh token was issued.
    rotated_at       INTEGER NOT NULL,
    -- When it ends if it is not used; or when it was ended.
    ends_at          INTEGER NOT NULL,
    -- When it ends whatever happens. Never moves.
    absolute_ends_at INTEGER NOT NULL,
    -- Absent: nobody ended it before its time.
    end_reason       TEXT CHECK (end_reason IN ('logout', 'logout_all', 'reuse')),
    -- The client's address and what it called itself, at the login.
    ip               TEXT,
    user_agent       TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id);
-- For retention.
CREATE INDEX sessions_by_end ON sessions (ends_at);

-- ES256 keys. What a key does (next, active, retiring, gone) follows from its times and now.
CREATE TABLE signing_keys (
    id           BLOB PRIMARY KEY,
    -- 1, 2, 3…: of several replicas that make the same successor one succeeds.
    number       INTEGER NOT NULL UNIQUE,
    -- A nonce, and the PKCS#8 document sealed by AES-256-GCM for this very row. The public half is computed from it.
    sealed       BLOB NOT NULL,
    published_at INTEGER NOT NULL,
    active_at    INTEGER NOT NULL,
    -- Both absent until there is a successor.
    retires_at   INTEGER,
    gone_at      INTEGER,
    CHECK ((retires_at IS NULL) = (gone_at IS NULL))
) STRICT;

-- What happened to whom. Every mutation writes its row in its own transaction. No e-mail address and no secret in here.
CREATE TABLE audit_events (
    id         BLOB PRIMARY KEY,
    at         INTEGER NOT NULL,
    -- `user.signup`, `session.login`, …
    action     TEXT NOT NULL,
    -- Who did it, or to whom it was done. Absent for a login with an unknown address, and for what nobody did.
    user_id    BLOB,
    session_id BLOB,
    -- The client's address.
    ip         TEXT,
    -- Why it failed, for what can fail.
    reason     TEXT,
    -- A keyed hash of the e-mail address that was tried: the same address, the same hash.
    identifier TEXT
) STRICT;
-- For retention.
CREATE INDEX audit_events_by_time ON audit_events (at);

-- Append-only: what happened is not rewritten. (Retention deletes what is old.)
CREATE TRIGGER audit_events_append_only BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;
