//! Service keys: a workspace's management credentials for machines.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, ServiceKeyId};
use tollgate_proto::keys::{self, CreateServiceKeyRequest, ListServiceKeysRequest, RevokeServiceKeyRequest};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    created::Created,
    effect::{Effect, WaitQuery},
    expiry::days,
    list::{WorkspaceQuery, list_of, page},
};
use crate::{
    app::App,
    extract::{Caller, IdempotencyKey, Json, PathId, Query},
    problem::Problem,
    wire::{all, filled, instant, optional_instant, optional_wire, required},
};

/// A service key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewServiceKey {
    /// For people.
    #[schema(min_length = 1, max_length = 100, example = "the order service")]
    name: String,
    /// What it may do, of: `keys.verify`, `keys.read`, `keys.write`, `keys.export`, `usage.read`.
    #[schema(min_items = 1, max_items = 5, example = json!(["keys.verify"]))]
    permissions: Vec<String>,
    /// What it may give to keys beside the scopes of their plan; nothing more if none are given. Wildcards as in a key.
    #[schema(max_items = 64, example = json!(["orders.*"]))]
    scopes: Option<Vec<String>>,
    /// When it ends by itself. Never, if neither this nor `expires_in_days` is given.
    expires_at: Option<DateTime<Utc>>,
    /// The same, in days from now. Not together with `expires_at`.
    #[schema(minimum = 1, maximum = 36_500, example = 90)]
    expires_in_days: Option<u32>,
    /// Where it is made; the caller's own workspace if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// A service key, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServiceKey {
    /// Names the service key.
    #[schema(example = "svc_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// The workspace that it acts for.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// For people.
    #[schema(example = "the order service")]
    name: String,
    /// How it begins: enough to recognize it, not enough to use it.
    #[schema(example = "tg_svc_7Gk2")]
    start: String,
    /// What it may do.
    #[schema(example = json!(["keys.verify"]))]
    permissions: Vec<String>,
    /// What it may give to keys beside the scopes of their plan.
    #[schema(example = json!(["orders.*"]))]
    scopes: Vec<String>,
    /// When it ends by itself. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked. Left out: it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked_at: Option<DateTime<Utc>>,
    /// The user or the service key that made it.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A service key that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedServiceKey {
    /// Its record.
    #[serde(flatten)]
    record: ServiceKey,
    /// The service key itself: shown here and never again. Left out of the answer to a retry with the same `Idempotency-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "tg_svc_…")]
    key: Option<String>,
}

list_of! {
    /// A page of service keys.
    ServiceKeys(ServiceKey)
}

/// Make a service key
#[utoipa::path(
    post, path = "/v1/service-keys", operation_id = "createServiceKey", tag = "service-keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(IdempotencyKey),
    responses(
        (status = 201, description = "The service key was made, and is shown this once.", body = CreatedServiceKey, headers(
            ("Location" = String, description = "Where it can be revoked."),
        )),
        (status = 403, description = "The caller may not make service keys here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
        (status = 409, description = "The `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn create_service_key(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<NewServiceKey>,
) -> Result<Created<CreatedServiceKey>, Problem> {
    let request = CreateServiceKeyRequest {
        caller: Some(caller.to_proto()),
        workspace_id: body.workspace_id.unwrap_or_default(),
        name: body.name,
        permissions: body.permissions,
        expires_at: optional_wire(body.expires_at),
        // To keys as it is, not as an instant: that would differ at each retry.
        expires_in_days: days(body.expires_in_days)?,
        scopes: body.scopes.unwrap_or_default(),
        idempotency_key,
    };
    let answer = app.keys.create_service_key(Request::new(request)).await?.into_inner();
    let record: ServiceKey = required(answer.service_key, "service_key")?.try_into()?;
    let path = format!("/v1/service-keys/{}", record.id);
    let created = CreatedServiceKey { record, key: filled(answer.secret) };
    Ok(Created::at(path, created))
}

/// List service keys
///
/// The newest first.
#[utoipa::path(
    get, path = "/v1/service-keys", operation_id = "listServiceKeys", tag = "service-keys",
    params(WorkspaceQuery), security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The workspace's service keys.", body = ServiceKeys),
        (status = 403, description = "The caller may not see service keys here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn list_service_keys(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<WorkspaceQuery>,
) -> Result<Json<ServiceKeys>, Problem> {
    let request = ListServiceKeysRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        page: Some(page(query.limit, query.cursor.as_deref())?),
    };
    let answer = app.keys.list_service_keys(Request::new(request)).await?.into_inner();
    Ok(Json(ServiceKeys { data: all(answer.service_keys)?, next_cursor: answer.next_cursor }))
}

/// Revoke a service key
///
/// Ends it for good. Succeeds if it is already revoked.
#[utoipa::path(
    delete, path = "/v1/service-keys/{id}", operation_id = "revokeServiceKey", tag = "service-keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the service key.", example = "svc_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The service key is revoked.", body = Effect),
        (status = 403, description = "The caller may not revoke service keys here."),
    )
)]
pub(crate) async fn revoke_service_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ServiceKeyId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    let request = RevokeServiceKeyRequest {
        caller: Some(caller.to_proto()),
        service_key_id: id.to_string(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.revoke_service_key(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.effect, "effect")?.try_into()?))
}

impl TryFrom<keys::ServiceKey> for ServiceKey {
    type Error = Fault;

    fn try_from(key: keys::ServiceKey) -> Result<Self, Fault> {
        Ok(Self {
            expires_at: optional_instant(key.expires_at)?,
            revoked_at: optional_instant(key.revoked_at)?,
            created_at: instant(key.created_at, "created_at")?,
            id: key.id,
            workspace_id: key.workspace_id,
            name: key.name,
            start: key.start,
            permissions: key.permissions,
            scopes: key.scopes,
            created_by: key.created_by,
        })
    }
}
