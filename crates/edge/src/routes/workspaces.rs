//! The workspaces that the caller is a member of.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tollgate_kernel::Fault;
use tollgate_proto::keys::{self, ListWorkspacesRequest};
use tonic::Request;
use utoipa::ToSchema;

use super::list::{PageQuery, list_of};
use crate::{
    app::App,
    extract::{Caller, Json, Query},
    problem::Problem,
    wire::{all, instant},
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
    /// When it was made.
    created_at: DateTime<Utc>,
}

list_of! {
    /// A page of workspaces.
    Workspaces(Workspace)
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

impl TryFrom<keys::Workspace> for Workspace {
    type Error = Fault;

    fn try_from(workspace: keys::Workspace) -> Result<Self, Fault> {
        Ok(Self {
            id: workspace.id,
            name: workspace.name,
            role: workspace.role,
            created_at: instant(workspace.created_at, "created_at")?,
        })
    }
}
