//! When a key is to be rotated: planned, shown, planned no more. The rotation itself is in `key_secrets`.

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, KeyId};
use tollgate_proto::keys::{self, DeleteKeyRotationRequest, GetKeyRotationRequest, PutKeyRotationRequest};
use tonic::Request;
use utoipa::ToSchema;

use crate::{
    app::App,
    extract::{Caller, Json, PathId},
    problem::Problem,
    wire::{instant, optional_instant, required},
};

/// How often a key is to be rotated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotationPlan {
    /// So many days after its newest secret was made.
    #[schema(minimum = 1, maximum = 3650, example = 90)]
    every_days: u32,
    /// If it is not rotated within so many days after that, its secrets retire: it passes no more until it is rotated. Never, if this
    /// is not given.
    #[schema(minimum = 1, maximum = 365, nullable = false, example = 14)]
    deadline_days: Option<u32>,
}

/// When a key is to be rotated.
#[derive(Serialize, ToSchema)]
pub(crate) struct PlannedRotation {
    /// So many days after its newest secret was made.
    #[schema(example = 90)]
    every_days: u32,
    /// So many days later its secrets retire. Left out: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 14)]
    deadline_days: Option<u32>,
    /// When it is to be rotated.
    due_at: DateTime<Utc>,
    /// That is now, or was.
    due: bool,
    /// When its secrets retire if it is not. Left out: never, or they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retires_at: Option<DateTime<Utc>>,
}

/// Plan the rotation of a key
///
/// Nothing is rotated by itself, since nobody would be shown the new secret: the event `key.rotation_due` tells webhooks of it 7 days
/// before, a day before, and when it is due. Rotating the key plans the next time. Replaces the plan that is there.
#[utoipa::path(
    put, path = "/v1/keys/{id}/rotation", operation_id = "planKeyRotation", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The plan.", body = PlannedRotation),
        (status = 403, description = "The caller may not change the key."),
        (status = 409, description = "The key is revoked."),
    )
)]
pub(crate) async fn plan_key_rotation(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Json(body): Json<RotationPlan>,
) -> Result<Json<PlannedRotation>, Problem> {
    let request = PutKeyRotationRequest {
        caller: Some(caller.to_proto()),
        key_id: id.to_string(),
        every_days: body.every_days,
        deadline_days: body.deadline_days,
    };
    let answer = app.keys.put_key_rotation(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.rotation, "rotation")?.try_into()?))
}

/// Show when a key is to be rotated
#[utoipa::path(
    get, path = "/v1/keys/{id}/rotation", operation_id = "getKeyRotation", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The plan.", body = PlannedRotation),
        (status = 403, description = "The caller may not see keys here."),
    )
)]
pub(crate) async fn get_key_rotation(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
) -> Result<Json<PlannedRotation>, Problem> {
    let request = GetKeyRotationRequest { caller: Some(caller.to_proto()), key_id: id.to_string() };
    let answer = app.keys.get_key_rotation(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.rotation, "rotation")?.try_into()?))
}

/// Plan no rotation of a key
///
/// Succeeds if there is no plan.
#[utoipa::path(
    delete, path = "/v1/keys/{id}/rotation", operation_id = "deleteKeyRotation", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 204, description = "There is no plan."),
        (status = 403, description = "The caller may not change the key."),
        (status = 409, description = "The key is revoked."),
    )
)]
pub(crate) async fn delete_key_rotation(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
) -> Result<StatusCode, Problem> {
    let request = DeleteKeyRotationRequest { caller: Some(caller.to_proto()), key_id: id.to_string() };
    app.keys.delete_key_rotation(Request::new(request)).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl TryFrom<keys::KeyRotation> for PlannedRotation {
    type Error = Fault;

    fn try_from(it: keys::KeyRotation) -> Result<Self, Fault> {
        Ok(Self {
            every_days: it.every_days,
            deadline_days: it.deadline_days,
            due_at: instant(it.due_at, "due_at")?,
            due: it.due,
            retires_at: optional_instant(it.retires_at)?,
        })
    }
}
