-- Webhooks: who is told of what, what is to be told (the outbox), and how that went.

-- An endpoint that is told of events.
CREATE TABLE webhooks (
    id              UUID PRIMARY KEY,
    workspace_id    UUID NOT NULL REFERENCES workspaces (id),
    url             TEXT NOT NULL,
    description     TEXT NOT NULL,
    -- The types of events that it wants.
    events          TEXT[] NOT NULL,
    enabled         BOOLEAN NOT NULL,
    -- Signs what is sent. Sealed under a key that is derived from the master key.
    secret          BYTEA NOT NULL,
    -- Signs too, until then.
    previous_secret BYTEA,
    previous_until  TIMESTAMPTZ,
    -- Since when nothing has reached it; absent: the last attempt did.
    failing_since   TIMESTAMPTZ,
    -- Why it was disabled, if nobody did it: 'failures', 'gone'. Else empty.
    disabled_for    TEXT NOT NULL,
    created_by      TEXT NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL
);
-- The endpoints of a workspace, in the order of their making.
CREATE INDEX webhooks_by_workspace ON webhooks (workspace_id, id);

-- An event, in the very bytes that are sent.
CREATE TABLE webhook_messages (
    id           UUID PRIMARY KEY,
    workspace_id UUID NOT NULL,
    event        TEXT NOT NULL,
    body         TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX webhook_messages_by_age ON webhook_messages (created_at);

-- The telling of one endpoint of one event. Does not refer to the endpoint: one that is deleted in the same moment must not make
-- the change fail that the event is of.
CREATE TABLE webhook_deliveries (
    id          UUID PRIMARY KEY,
    webhook_id  UUID NOT NULL,
    message_id  UUID NOT NULL REFERENCES webhook_messages (id) ON DELETE CASCADE,
    status      TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
    attempts    BIGINT NOT NULL,
    -- Of a pending one: when it is tried next. Whoever tries moves it on first, so that nobody else does meanwhile.
    due_at      TIMESTAMPTZ NOT NULL,
    -- What the last attempt was answered with, or why there was no answer.
    status_code BIGINT,
    error       TEXT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_due_by_webhook ON webhook_deliveries (webhook_id, due_at) WHERE status = 'pending';
-- The deliveries of an endpoint, newest first.
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_by_message ON webhook_deliveries (message_id);

-- What was announced once and is not announced again: that something of this kind is due of this subject then.
CREATE TABLE notices (
    -- A key, a consumer or a workspace.
    subject_id UUID NOT NULL,
    kind       TEXT NOT NULL,
    due_at     TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (subject_id, kind, due_at)
);
CREATE INDEX notices_by_age ON notices (due_at);

-- The keys that expire next.
CREATE INDEX keys_by_expiry ON keys (expires_at) WHERE revoked_at IS NULL;

-- Keys that are to be rotated from time to time.
CREATE TABLE key_rotations (
    key_id        UUID PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    every_days    BIGINT NOT NULL,
    deadline_days BIGINT,
    -- That many days after its newest secret was made.
    due_at        TIMESTAMPTZ NOT NULL,
    -- When its secrets retire if it is not rotated; absent: they do not, or they have.
    retires_at    TIMESTAMPTZ
);
CREATE INDEX key_rotations_by_due ON key_rotations (due_at);
CREATE INDEX key_rotations_by_end ON key_rotations (retires_at) WHERE retires_at IS NOT NULL;
