//! Overrides of a key's limits: for a time, another number.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, KeyId};
use tollgate_proto::{
    keys::{DeleteKeyOverrideRequest, KeyOverride, ListKeyOverridesRequest, PutKeyOverrideRequest},
    time::to_wire,
};
use tonic::Request;
use utoipa::ToSchema;

use crate::{
    app::App,
    extract::{Caller, IdempotencyKey, Json, PathId, PathName},
    problem::Problem,
    wire::{all, instant, required},
};

/// For a time, another number for one of a key's limits.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Override {
    /// The limit's name: one that is in force for the key.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9_.-]+$", example = "minute")]
    name: String,
    /// Units, in place of the limit's own number.
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 600)]
    limit: u64,
    /// Until when: at most 400 days from now.
    expires_at: DateTime<Utc>,
}

/// A key's overrides: all of them, there is one for each of its limits at most.
#[derive(Serialize, ToSchema)]
pub(crate) struct Overrides {
    /// Those in force, by name.
    data: Vec<Override>,
}

/// Override a limit
///
/// Replaces an override of the same limit. Holds with the next call.
#[utoipa::path(
    post, path = "/v1/keys/{id}/overrides", operation_id = "overrideKeyLimit", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        IdempotencyKey,
    ),
    responses(
        (status = 201, description = "The override is in force.", body = Override),
        (status = 403, description = "The caller may not change this key's limits."),
        (status = 409, description = "The `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn override_key_limit(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<Override>,
) -> Result<(StatusCode, Json<Override>), Problem> {
    let wanted =
        KeyOverride { name: body.name, limit: body.limit, expires_at: Some(to_wire(body.expires_at)) };
    let request = PutKeyOverrideRequest {
        caller: Some(caller.to_proto()),
        key_id: id.to_string(),
        r#override: Some(wanted),
        idempotency_key,
    };
    let answer = app.keys.put_key_override(Request::new(request)).await?.into_inner();
    Ok((StatusCode::CREATED, Json(required(answer.r#override, "override")?.try_into()?)))
}

/// List overrides
#[utoipa::path(
    get, path = "/v1/keys/{id}/overrides", operation_id = "listKeyOverrides", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The key's overrides.", body = Overrides),
        (status = 403, description = "The caller may not see keys here."),
    )
)]
pub(crate) async fn list_key_overrides(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
) -> Result<Json<Overrides>, Problem> {
    let request = ListKeyOverridesRequest { caller: Some(caller.to_proto()), key_id: id.to_string() };
    let answer = app.keys.list_key_overrides(Request::new(request)).await?.into_inner();
    Ok(Json(Overrides { data: all(answer.overrides)? }))
}

/// End an override
///
/// The limit's own number is in force with the next call. Succeeds if there is none.
#[utoipa::path(
    delete, path = "/v1/keys/{id}/overrides/{name}", operation_id = "deleteKeyOverride", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        ("name" = String, Path, description = "The limit's name.", example = "minute"),
    ),
    responses(
        (status = 204, description = "There is no such override."),
        (status = 403, description = "The caller may not change this key's limits."),
    )
)]
pub(crate) async fn delete_key_override(
    State(app): State<App>,
    caller: Caller,
    PathName(id, name): PathName<KeyId>,
) -> Result<StatusCode, Problem> {
    let request = DeleteKeyOverrideRequest { caller: Some(caller.to_proto()), key_id: id.to_string(), name };
    app.keys.delete_key_override(Request::new(request)).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl TryFrom<KeyOverride> for Override {
    type Error = Fault;

    fn try_from(it: KeyOverride) -> Result<Self, Fault> {
        Ok(Self { name: it.name, limit: it.limit, expires_at: instant(it.expires_at, "expires_at")? })
    }
}
