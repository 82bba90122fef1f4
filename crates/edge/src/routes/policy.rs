//! What a workspace requires of its keys.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tollgate_kernel::WorkspaceId;
use tollgate_proto::keys::{self, GetWorkspacePolicyRequest, UpdateWorkspacePolicyRequest};
use tonic::Request;
use utoipa::ToSchema;

use crate::{
    app::App,
    extract::{Caller, Cleared, Json, Patch, PathId},
    problem::Problem,
    wire::required,
};

/// What a workspace requires of its keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorkspacePolicy {
    /// The longest that a key may live after it was made, in days: a key without an end is refused. Left out: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 365)]
    max_lifetime_days: Option<u32>,
    /// Whether a key without an end is refused.
    require_expiry: bool,
    /// After so many days without a call, a key is switched off; its making, its beginning and its being switched on count as
    /// calls. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 90)]
    auto_disable_unused_days: Option<u32>,
    /// Whether a key without a description is refused.
    require_description: bool,
    /// For so many days a key that is switched off can be switched on again; then it is revoked. Left out: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 30)]
    undelete_days: Option<u32>,
    /// So many days after its newest secret was made, a key is due for rotation, unless its own plan is sooner: that is shown and
    /// announced. Left out: only plans say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 90)]
    max_secret_age_days: Option<u32>,
}

/// What is to change. A field that is left out stays as it is; `null` takes its value away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyChanges {
    /// The longest that a key may live after it was made, in days.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 36_500)]
    max_lifetime_days: Patch<u32>,
    /// Whether a key without an end is refused; `null`: it is not.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    require_expiry: Patch<bool>,
    /// After so many days without a call, a key is switched off.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3650)]
    auto_disable_unused_days: Patch<u32>,
    /// Whether a key without a description is refused; `null`: it is not.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    require_description: Patch<bool>,
    /// For so many days a key that is switched off can be switched on again; then it is revoked.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3650)]
    undelete_days: Patch<u32>,
    /// So many days after its newest secret was made, a key is due for rotation. Nothing ends because of that: what retires the secrets
    /// of a key that is not rotated is a plan with a deadline.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3650)]
    max_secret_age_days: Patch<u32>,
}

/// Show a workspace's policy
#[utoipa::path(
    get, path = "/v1/workspaces/{id}/policy", operation_id = "getWorkspacePolicy", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "What it requires of its keys.", body = WorkspacePolicy),
        (status = 403, description = "The caller is neither owner nor admin."),
    )
)]
pub(crate) async fn get_policy(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WorkspaceId>,
) -> Result<Json<WorkspacePolicy>, Problem> {
    let request = GetWorkspacePolicyRequest { caller: Some(caller.to_proto()), workspace_id: id.to_string() };
    let answer = app.keys.get_workspace_policy(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.policy, "policy")?.into()))
}

/// Change a workspace's policy
///
/// A rule holds for keys that are made, and for fields that are changed, from now on: a key that is there and breaks it stays as
/// it is. What is done from time to time is done to all keys.
#[utoipa::path(
    patch, path = "/v1/workspaces/{id}/policy", operation_id = "updateWorkspacePolicy", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the workspace.", example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "What it requires of its keys now.", body = WorkspacePolicy),
        (status = 403, description = "The caller is neither owner nor admin."),
        (status = 409, description = "It was changed by another in the same moment."),
    )
)]
pub(crate) async fn update_policy(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WorkspaceId>,
    Json(body): Json<PolicyChanges>,
) -> Result<Json<WorkspacePolicy>, Problem> {
    let mut cleared = Cleared::default();
    let request = UpdateWorkspacePolicyRequest {
        caller: Some(caller.to_proto()),
        workspace_id: id.to_string(),
        max_lifetime_days: cleared.value("max_lifetime_days", body.max_lifetime_days),
        require_expiry: cleared.value("require_expiry", body.require_expiry),
        auto_disable_unused_days: cleared.value("auto_disable_unused_days", body.auto_disable_unused_days),
        require_description: cleared.value("require_description", body.require_description),
        undelete_days: cleared.value("undelete_days", body.undelete_days),
        max_secret_age_days: cleared.value("max_secret_age_days", body.max_secret_age_days),
        clear: cleared.into_names(),
    };
    let answer = app.keys.update_workspace_policy(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.policy, "policy")?.into()))
}

impl From<keys::WorkspacePolicy> for WorkspacePolicy {
    fn from(policy: keys::WorkspacePolicy) -> Self {
        Self {
            max_lifetime_days: policy.max_lifetime_days,
            require_expiry: policy.require_expiry,
            auto_disable_unused_days: policy.auto_disable_unused_days,
            require_description: policy.require_description,
            undelete_days: policy.undelete_days,
            max_secret_age_days: policy.max_secret_age_days,
        }
    }
}
