//! Invitations into a workspace: made, listed, ended, accepted.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, WorkspaceId};
use tollgate_proto::keys::{
    self, AcceptInvitationRequest, CreateInvitationRequest, ListInvitationsRequest, RevokeInvitationRequest,
};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    created::Created,
    list::{PageQuery, list_of},
    members::Member,
};
use crate::{
    app::App,
    extract::{Caller, IdempotencyKey, Json, PathId, PathName, Query},
    problem::Problem,
    wire::{all, filled, instant, optional_instant, required},
};

/// Somebody who is to be asked to become a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewInvitation {
    /// Who is asked. Only a user with this address can accept it; upper and lower case are one.
    #[schema(max_length = 254, example = "ada@example.com")]
    email: String,
    /// What they become: `owner`, `admin` or `member`. None above the caller's own.
    #[schema(example = "member")]
    role: String,
    /// For how many days it can be accepted; 7 if it is not given.
    #[schema(minimum = 1, maximum = 30, example = 7)]
    expires_in_days: Option<u32>,
}

/// What an invited user shows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acceptance {
    /// The token of the invitation.
    #[schema(example = "tg_inv_…")]
    token: String,
}

/// Somebody is asked to become a member.
#[derive(Serialize, ToSchema)]
pub(crate) struct Invitation {
    /// Names the invitation.
    #[schema(example = "inv_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// The workspace.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// Who is asked.
    #[schema(example = "ada@example.com")]
    email: String,
    /// What they become: `owner`, `admin` or `member`.
    #[schema(example = "member")]
    role: String,
    /// `pending`, `accepted`, `revoked` or `expired`.
    #[schema(example = "pending")]
    status: String,
    /// The user who asks.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    invited_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// From then on it cannot be accepted.
    expires_at: DateTime<Utc>,
    /// Left out: nobody has accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    accepted_at: Option<DateTime<Utc>>,
    /// The user who has accepted it. Left out: nobody has.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false, example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    accepted_by: String,
    /// Left out: it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked_at: Option<DateTime<Utc>>,
}

/// An invitation that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedInvitation {
    /// Its record.
    #[serde(flatten)]
    record: Invitation,
    /// What the one who is invited needs: shown here and never again. No mail is sent: pass it on. Left out of the answer to a
    /// retry with the same `Idempotency-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "tg_inv_…")]
    token: Option<String>,
}

list_of! {
    /// A page of invitations.
    Invitations(Invitation)
}

/// The days for a role, to which zero means "not given": which is not what a client means by it.
fn days(days: Option<u32>) -> Result<u32, Fault> {
    match days {
        Some(0) => Err(Fault::invalid("/expires_in_days", "must be from 1 to 30")),
        days => Ok(days.unwrap_or_default()),
    }
}

/// Invite somebody
///
/// The answer holds a token, this once: pass it on to the one who is invited. Nothing is sent from here.
#[utoipa::path(
    post, path = "/v1/workspaces/{id}/invitations", operation_id = "createInvitation", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        IdempotencyKey,
    ),
    responses(
        (status = 201, description = "The invitation was made; its token is shown this once.", body = CreatedInvitation,
            headers(("Location" = String, description = "Where it can be revoked."))),
        (status = 403, description = "The caller may not invite here, or not to this role."),
        (status = 409, description = "Too many invitations are pending, or the `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn create_invitation(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WorkspaceId>,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<NewInvitation>,
) -> Result<Created<CreatedInvitation>, Problem> {
    let request = CreateInvitationRequest {
        caller: Some(caller.to_proto()),
        workspace_id: id.to_string(),
        email: body.email,
        role: body.role,
        expires_in_days: days(body.expires_in_days)?,
        idempotency_key,
    };
    let answer = app.keys.create_invitation(Request::new(request)).await?.into_inner();
    let record: Invitation = required(answer.invitation, "invitation")?.try_into()?;
    let path = format!("/v1/workspaces/{id}/invitations/{}", record.id);
    let created = CreatedInvitation { record, token: filled(answer.token) };
    Ok(Created::at(path, created))
}

/// List invitations
///
/// The newest first. Those that have ended are shown for 30 days more.
#[utoipa::path(
    get, path = "/v1/workspaces/{id}/invitations", operation_id = "listInvitations", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        PageQuery,
    ),
    responses(
        (status = 200, description = "The workspace's invitations.", body = Invitations),
        (status = 403, description = "The caller may not see invitations here."),
    )
)]
pub(crate) async fn list_invitations(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WorkspaceId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Invitations>, Problem> {
    let page = query.to_proto()?;
    let request = ListInvitationsRequest {
        caller: Some(caller.to_proto()),
        workspace_id: id.to_string(),
        limit: page.limit,
        cursor: page.cursor,
    };
    let answer = app.keys.list_invitations(Request::new(request)).await?.into_inner();
    Ok(Json(Invitations { data: all(answer.invitations)?, next_cursor: answer.next_cursor }))
}

/// Revoke an invitation
///
/// Its token is good for nothing from then on. Succeeds if it is already revoked.
#[utoipa::path(
    delete, path = "/v1/workspaces/{id}/invitations/{invitation_id}", operation_id = "revokeInvitation",
    tag = "workspaces", security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        ("invitation_id" = String, Path, description = "Names the invitation.", example = "inv_01jd3t9y2ve5rbq2m8xg7kz4hn"),
    ),
    responses(
        (status = 200, description = "The invitation is revoked.", body = Invitation),
        (status = 403, description = "The caller may not revoke this invitation."),
        (status = 409, description = "It was accepted."),
    )
)]
pub(crate) async fn revoke_invitation(
    State(app): State<App>,
    caller: Caller,
    PathName(id, invitation_id): PathName<WorkspaceId>,
) -> Result<Json<Invitation>, Problem> {
    let request = RevokeInvitationRequest {
        caller: Some(caller.to_proto()),
        workspace_id: id.to_string(),
        invitation_id,
    };
    let answer = app.keys.revoke_invitation(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.invitation, "invitation")?.try_into()?))
}

/// Accept an invitation
///
/// Makes the caller a member. It works once; whoever has accepted it may say so again. A member's role is never lowered by it.
#[utoipa::path(
    post, path = "/v1/invitations/accept", operation_id = "acceptInvitation", tag = "workspaces",
    security(("bearerAuth" = [])),
    responses(
        (status = 200, description = "The caller is a member.", body = Member),
        (status = 403, description = "The invitation is for another e-mail address, or the workspace is disabled, or the \
            caller is a service key."),
        (status = 404, description = "There is no such invitation, or it has ended."),
        (status = 409, description = "The workspace has too many members."),
    )
)]
pub(crate) async fn accept_invitation(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<Acceptance>,
) -> Result<Json<Member>, Problem> {
    let caller = caller.with_address(&app).await?;
    let request = AcceptInvitationRequest { caller: Some(caller), token: body.token };
    let answer = app.keys.accept_invitation(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.member, "member")?.try_into()?))
}

impl TryFrom<keys::Invitation> for Invitation {
    type Error = Fault;

    fn try_from(invitation: keys::Invitation) -> Result<Self, Fault> {
        Ok(Self {
            created_at: instant(invitation.created_at, "created_at")?,
            expires_at: instant(invitation.expires_at, "expires_at")?,
            accepted_at: optional_instant(invitation.accepted_at)?,
            revoked_at: optional_instant(invitation.revoked_at)?,
            id: invitation.id,
            workspace_id: invitation.workspace_id,
            email: invitation.email,
            role: invitation.role,
            status: invitation.status,
            invited_by: invitation.invited_by,
            accepted_by: invitation.accepted_by,
        })
    }
}
