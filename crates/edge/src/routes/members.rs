//! The members of a workspace: listed, given another role, removed.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, WorkspaceId};
use tollgate_proto::keys::{self, ListMembersRequest, RemoveMemberRequest, UpdateMemberRequest};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    effect::{Effect, WaitQuery},
    list::{PageQuery, list_of},
};
use crate::{
    app::App,
    extract::{Caller, Cleared, Json, Patch, PathId, PathName, Query},
    problem::Problem,
    wire::{all, instant, required},
};

/// A user in a workspace.
#[derive(Serialize, ToSchema)]
pub(crate) struct Member {
    /// The workspace.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// Names the user.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    user_id: String,
    /// `owner`, `admin` or `member`.
    #[schema(example = "admin")]
    role: String,
    /// Since when.
    created_at: DateTime<Utc>,
}

/// What is to be changed of a member. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberPatch {
    /// `owner`, `admin` or `member`. Cannot be taken away.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, example = "admin")]
    role: Patch<String>,
}

/// A member that was just changed, and how that came to hold.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedMember {
    /// The membership.
    #[serde(flatten)]
    record: Member,
    /// How the change came to hold.
    effect: Effect,
}

list_of! {
    /// A page of members.
    Members(Member)
}

/// List members
///
/// In the order of their ids. Who they are is for identity to say: there is no name here and no address.
#[utoipa::path(
    get, path = "/v1/workspaces/{id}/members", operation_id = "listMembers", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        PageQuery,
    ),
    responses(
        (status = 200, description = "The workspace's members.", body = Members),
        (status = 403, description = "The caller is a service key."),
    )
)]
pub(crate) async fn list_members(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WorkspaceId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Members>, Problem> {
    let page = query.to_proto()?;
    let request = ListMembersRequest {
        caller: Some(caller.to_proto()),
        workspace_id: id.to_string(),
        limit: page.limit,
        cursor: page.cursor,
    };
    let answer = app.keys.list_members(Request::new(request)).await?.into_inner();
    Ok(Json(Members { data: all(answer.members)?, next_cursor: answer.next_cursor }))
}

/// Change a member
///
/// Owners change everybody's role, admins that of admins and members, and not to `owner`; everybody may lower their own. Who
/// may less than before has no pending invitations any more. Holds for everything when this returns.
#[utoipa::path(
    patch, path = "/v1/workspaces/{id}/members/{user_id}", operation_id = "updateMember", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        ("user_id" = String, Path, description = "Names the user.", example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The member as it is now.", body = ChangedMember),
        (status = 403, description = "The caller may not change this member, or not to this role."),
        (status = 409, description = "It is the last owner, or the owner of their personal workspace."),
    )
)]
pub(crate) async fn update_member(
    State(app): State<App>,
    caller: Caller,
    PathName(id, user_id): PathName<WorkspaceId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<MemberPatch>,
) -> Result<Json<ChangedMember>, Problem> {
    let mut cleared = Cleared::default();
    let request = UpdateMemberRequest {
        caller: Some(caller.to_proto()),
        workspace_id: id.to_string(),
        user_id,
        role: cleared.value("role", body.role),
        clear: cleared.into_names(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.update_member(Request::new(request)).await?.into_inner();
    let record = required(answer.member, "member")?.try_into()?;
    Ok(Json(ChangedMember { record, effect: Effect::of(answer.effect)? }))
}

/// Remove a member
///
/// Oneself: leave. The keys that the member has made stay: they are the workspace's. Their pending invitations end.
#[utoipa::path(
    delete, path = "/v1/workspaces/{id}/members/{user_id}", operation_id = "removeMember", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        ("user_id" = String, Path, description = "Names the user.", example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The user is no member any more.", body = Effect),
        (status = 403, description = "The caller may not remove this member."),
        (status = 409, description = "It is the last owner, or the owner of their personal workspace."),
    )
)]
pub(crate) async fn remove_member(
    State(app): State<App>,
    caller: Caller,
    PathName(id, user_id): PathName<WorkspaceId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    let request = RemoveMemberRequest {
        caller: Some(caller.to_proto()),
        workspace_id: id.to_string(),
        user_id,
        no_wait: query.no_wait(),
    };
    let answer = app.keys.remove_member(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.effect, "effect")?.try_into()?))
}

impl TryFrom<keys::Membership> for Member {
    type Error = Fault;

    fn try_from(member: keys::Membership) -> Result<Self, Fault> {
        Ok(Self {
            workspace_id: member.workspace_id,
            user_id: member.user_id,
            role: member.role,
            created_at: instant(member.created_at, "created_at")?,
        })
    }
}
