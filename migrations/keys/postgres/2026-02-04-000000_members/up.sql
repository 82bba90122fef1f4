-- Who is asked to become a member, who has made a workspace, and indexes for the list of what was done.

-- Who has made it, beside the personal ones: a user may make so many.
ALTER TABLE workspaces ADD COLUMN created_by UUID;
CREATE INDEX workspaces_by_maker ON workspaces (created_by) WHERE created_by IS NOT NULL;

CREATE TABLE invitations (
    id           UUID PRIMARY KEY,
    workspace_id UUID NOT NULL REFERENCES workspaces (id),
    -- As it was written.
    email        TEXT NOT NULL,
    -- As it is compared.
    email_key    TEXT NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    -- SHA-256 of the token.
    digest       BYTEA NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    -- A user of the identity role; so is accepted_by.
    invited_by   UUID NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL,
    accepted_at  TIMESTAMPTZ,
    accepted_by  UUID,
    revoked_at   TIMESTAMPTZ
);
-- The invitations of a workspace, newest first.
CREATE INDEX invitations_by_workspace ON invitations (workspace_id, id);
-- For retention.
CREATE INDEX invitations_by_expiry ON invitations (expires_at);

-- One for each way to look for what was done. Their ids are in order of time: a part of the time is a part of each.
CREATE INDEX audit_events_by_actor ON audit_events (workspace_id, actor, id);
CREATE INDEX audit_events_by_action ON audit_events (workspace_id, action, id);
CREATE INDEX audit_events_by_target ON audit_events (workspace_id, target, id);
