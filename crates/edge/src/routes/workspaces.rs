//! Workspaces: those that the caller is a member of; made, shown and changed.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, WorkspaceId};
use tollgate_proto::keys::{
    self, CreateWorkspaceRequest, GetWorkspaceRequest, LimitList, ListWorkspacesRequest,
    UpdateWorkspaceRequest,
};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    created::Created,
    effect::{Effect, WaitQuery},
    limit::Limit,
    list::{PageQuery, list_of},
};
use crate::{
    app::App,
    extract::{Caller, Cleared, IdempotencyKey, Json, Patch, PathId, Query},
    problem::Problem,
    wire::{all, instant, required},
};

/// A tenant: it owns keys, plans and service keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct Workspace {
    /// Names the workspace.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// For people.
    #[schema(example = "Personal")]
    name: String,
    /// The caller's role in it: `owner`, `admin` or `member`. Left out for a service key, which has permissions instead.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false, example = "owner")]
    role: String,
    /// What the instance allows it: shared by all its keys. In verdicts the names begin with `workspace.`.
    limits: Vec<Limit>,
    /// If not, an operator has disabled it: none of its keys passes, and it can only be looked at.
    enabled: bool,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A workspace to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWorkspace {
    /// For people.
    #[schema(min_length = 1, max_length = 100, example = "The web shop")]
    name: String,
}

/// What is to be changed of a workspace. What is left out stays; `null` takes the value away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkspacePatch {
    /// For people. Cannot be taken away.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 100, example = "The web shop")]
    name: Patch<String>,
    /// What the instance allows it: all of it anew. By operators only.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Limit>>, max_items = 4)]
    limits: Patch<Vec<Limit>>,
    /// `false`: none of its keys passes from then on, and it can only be looked at. By operators only. Cannot be taken away.
    #[serde(default)]
    #[schema(value_type = Option<bool>, nullable = false)]
    enabled: Patch<bool>,
}

/// A workspace that was just changed, and how that came to hold.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedWorkspace {
    /// Its record.
    #[serde(flatten)]
    record: Workspace,
    /// How the change came to hold.
    effect: Effect,
}

list_of! {
    /// A page of workspaces.
    Workspaces(Workspace)
}

/// Make a workspace
///
/// The caller becomes its owner. It starts with the plans that every workspace starts with. A user may make 20.
#[utoipa::path(
    post, path = "/v1/workspaces", operation_id = "createWorkspace", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(IdempotencyKey),
    responses(
        (status = 201, description = "The workspace was made.", body = Workspace, headers(
            ("Location" = String, description = "The workspace's address."),
        )),
        (status = 403, description = "The caller is a service key, which is a member of nothing."),
        (status = 409, description = "The caller has made as many as one may, or the `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn create_workspace(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<NewWorkspace>,
) -> Result<Created<Workspace>, Problem> {
    let request =
        CreateWorkspaceRequest { caller: Some(caller.to_proto()), name: body.name, idempotency_key };
    let answer = app.keys.create_workspace(Request::new(request)).await?.into_inner();
    let record: Workspace = required(answer.workspace, "workspace")?.try_into()?;
    let path = format!("/v1/workspaces/{}", record.id);
    Ok(Created::at(path, record))
}

/// List workspaces
#[utoipa::path(
    get, path = "/v1/workspaces", operation_id = "listWorkspaces", tag = "workspaces", params(PageQuery),
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The workspaces that the caller is a member of.", body = Workspaces),
        (status = 403, description = "The caller may not do this."),
    )
)]
pub(crate) async fn list_workspaces(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<PageQuery>,
) -> Result<Json<Workspaces>, Problem> {
    let request = ListWorkspacesRequest { caller: Some(caller.to_proto()), page: Some(page.to_proto()?) };
    let answer = app.keys.list_workspaces(Request::new(request)).await?.into_inner();
    Ok(Json(Workspaces { data: all(answer.workspaces)?, next_cursor: answer.next_cursor }))
}

/// Show a workspace
#[utoipa::path(
    get, path = "/v1/workspaces/{id}", operation_id = "getWorkspace", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The workspace.", body = Workspace),
        (status = 403, description = "The caller is a service key without `keys.read`."),
    )
)]
pub(crate) async fn get_workspace(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WorkspaceId>,
) -> Result<Json<Workspace>, Problem> {
    let request = GetWorkspaceRequest { caller: Some(caller.to_proto()), workspace_id: id.to_string() };
    let answer = app.keys.get_workspace(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.workspace, "workspace")?.try_into()?))
}

/// Change a workspace
///
/// Its name is for its owners and admins to say; its limits are what the instance allows it, so for operators only, and so is
/// whether it is enabled. Both hold for every key of the workspace when this returns.
#[utoipa::path(
    patch, path = "/v1/workspaces/{id}", operation_id = "updateWorkspace", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The workspace as it is now.", body = ChangedWorkspace),
        (status = 403, description = "The caller may not change this of the workspace."),
    )
)]
pub(crate) async fn update_workspace(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WorkspaceId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<WorkspacePatch>,
) -> Result<Json<ChangedWorkspace>, Problem> {
    let mut cleared = Cleared::default();
    let limits = body.limits.map(|it| LimitList { items: it.into_iter().map(Into::into).collect() });
    let request = UpdateWorkspaceRequest {
        caller: Some(caller.to_proto()),
        workspace_id: id.to_string(),
        name: cleared.value("name", body.name),
        limits: cleared.value("limits", limits),
        enabled: cleared.value("enabled", body.enabled),
        clear: cleared.into_names(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.update_workspace(Request::new(request)).await?.into_inner();
    let record = required(answer.workspace, "workspace")?.try_into()?;
    Ok(Json(ChangedWorkspace { record, effect: Effect::of(answer.effect)? }))
}

impl TryFrom<keys::Workspace> for Workspace {
    type Error = Fault;

    fn try_from(workspace: keys::Workspace) -> Result<Self, Fault> {
        Ok(Self {
            id: workspace.id,
            name: workspace.name,
            role: workspace.role,
            limits: all(workspace.limits)?,
            enabled: workspace.enabled,
            created_at: instant(workspace.created_at, "created_at")?,
        })
    }
}
