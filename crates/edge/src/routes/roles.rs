//! Roles: named sets of scopes, for keys to have.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, RoleId};
use tollgate_proto::keys::{
    self, CreateRoleRequest, DeleteRoleRequest, GetRoleRequest, ListRolesRequest, TextList, UpdateRoleRequest,
};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    created::Created,
    effect::{Effect, WaitQuery},
    list::{WorkspaceQuery, list_of, page},
};
use crate::{
    app::App,
    extract::{Caller, Cleared, IdempotencyKey, Json, Patch, PathId, Query},
    problem::Problem,
    wire::{all, instant, required},
};

/// A role to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRole {
    /// What keys call it; unique in the workspace, and for good.
    #[schema(min_length = 1, max_length = 100, pattern = "^[a-z0-9_.:-]+$", example = "order-reader")]
    name: String,
    /// What keys may do that have it. Of `a-z 0-9 _ . : -`, at most 100 characters each.
    #[schema(max_items = 64, example = json!(["orders.read"]))]
    scopes: Option<Vec<String>>,
    /// Where it is made; the caller's own workspace if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// What is to be changed of a role. What is left out stays; `null` takes the value away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolePatch {
    /// What keys may do that have it: all of it anew.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 64, example = json!(["orders.read"]))]
    scopes: Patch<Vec<String>>,
}

/// A named set of scopes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Role {
    /// Names the role.
    #[schema(example = "rol_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// The workspace that it is a role of.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// What keys call it.
    #[schema(example = "order-reader")]
    name: String,
    /// What keys may do that have it.
    #[schema(example = json!(["orders.read"]))]
    scopes: Vec<String>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A role that was just changed, and how that came to hold.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedRole {
    /// Its record.
    #[serde(flatten)]
    record: Role,
    /// How the change came to hold.
    effect: Effect,
}

list_of! {
    /// A page of roles.
    Roles(Role)
}

/// Make a role
#[utoipa::path(
    post, path = "/v1/roles", operation_id = "createRole", tag = "roles",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(IdempotencyKey),
    responses(
        (status = 201, description = "The role was made.", body = Role, headers(
            ("Location" = String, description = "The role's address."),
        )),
        (status = 403, description = "The caller may not make roles here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
        (status = 409, description = "The name is taken, or the `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn create_role(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<NewRole>,
) -> Result<Created<Role>, Problem> {
    let request = CreateRoleRequest {
        caller: Some(caller.to_proto()),
        workspace_id: body.workspace_id.unwrap_or_default(),
        name: body.name,
        scopes: body.scopes.unwrap_or_default(),
        idempotency_key,
    };
    let answer = app.keys.create_role(Request::new(request)).await?.into_inner();
    let record: Role = required(answer.role, "role")?.try_into()?;
    let path = format!("/v1/roles/{}", record.id);
    Ok(Created::at(path, record))
}

/// List roles
#[utoipa::path(
    get, path = "/v1/roles", operation_id = "listRoles", tag = "roles", params(WorkspaceQuery),
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The workspace's roles.", body = Roles),
        (status = 403, description = "The caller may not see roles here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn list_roles(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<WorkspaceQuery>,
) -> Result<Json<Roles>, Problem> {
    let request = ListRolesRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        page: Some(page(query.limit, query.cursor.as_deref())?),
    };
    let answer = app.keys.list_roles(Request::new(request)).await?.into_inner();
    Ok(Json(Roles { data: all(answer.roles)?, next_cursor: answer.next_cursor }))
}

/// Show a role
#[utoipa::path(
    get, path = "/v1/roles/{id}", operation_id = "getRole", tag = "roles",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the role.", example = "rol_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The role.", body = Role),
        (status = 403, description = "The caller may not see roles here."),
    )
)]
pub(crate) async fn get_role(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<RoleId>,
) -> Result<Json<Role>, Problem> {
    let request = GetRoleRequest { caller: Some(caller.to_proto()), role_id: id.to_string() };
    let answer = app.keys.get_role(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.role, "role")?.try_into()?))
}

/// Change a role
///
/// Changes every key that has it at once.
#[utoipa::path(
    patch, path = "/v1/roles/{id}", operation_id = "updateRole", tag = "roles",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the role.", example = "rol_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The role as it is now.", body = ChangedRole),
        (status = 403, description = "The caller may not change roles here."),
    )
)]
pub(crate) async fn update_role(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<RoleId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<RolePatch>,
) -> Result<Json<ChangedRole>, Problem> {
    let mut cleared = Cleared::default();
    let request = UpdateRoleRequest {
        caller: Some(caller.to_proto()),
        role_id: id.to_string(),
        scopes: cleared.value("scopes", body.scopes.map(|items| TextList { items })),
        clear: cleared.into_names(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.update_role(Request::new(request)).await?.into_inner();
    let record = required(answer.role, "role")?.try_into()?;
    Ok(Json(ChangedRole { record, effect: Effect::of(answer.effect)? }))
}

/// Delete a role
///
/// Not while keys that are not revoked have it.
#[utoipa::path(
    delete, path = "/v1/roles/{id}", operation_id = "deleteRole", tag = "roles",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the role.", example = "rol_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The role is gone.", body = Effect),
        (status = 403, description = "The caller may not delete roles here."),
        (status = 409, description = "Keys that are not revoked have it."),
    )
)]
pub(crate) async fn delete_role(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<RoleId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    let request = DeleteRoleRequest {
        caller: Some(caller.to_proto()),
        role_id: id.to_string(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.delete_role(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.effect, "effect")?.try_into()?))
}

impl TryFrom<keys::Role> for Role {
    type Error = Fault;

    fn try_from(role: keys::Role) -> Result<Self, Fault> {
        Ok(Self {
            id: role.id,
            workspace_id: role.workspace_id,
            name: role.name,
            scopes: role.scopes,
            created_at: instant(role.created_at, "created_at")?,
        })
    }
}
