//! Changes of an API key that is there.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_kernel::KeyId;
use tollgate_proto::{
    keys::{LimitList, TextList, UpdateKeyRequest},
    time::to_wire,
};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    effect::{Effect, WaitQuery},
    keys::Key,
    limit::Limit,
};
use crate::{
    app::App,
    extract::{Caller, Cleared, Json, Patch, PathId, Query},
    problem::Problem,
    wire::required,
};

/// What is to change. A field that is left out stays as it is; `null` takes its value away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyChanges {
    /// For people. Not `null`.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, nullable = false)]
    name: Patch<String>,
    /// What it is for, in words.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 500)]
    description: Patch<String>,
    /// Whether it is switched on. Not `null`. A conflict if it was off for longer than the workspace's policy allows.
    #[serde(default)]
    #[schema(value_type = Option<bool>, nullable = false)]
    enabled: Patch<bool>,
    /// The plan whose limits and scopes it has. Not `null`.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: Patch<String>,
    /// Whom it is given to.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    consumer_id: Patch<String>,
    /// Its own scopes, as at its making.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 64, example = json!(["orders.*"]))]
    scopes: Patch<Vec<String>>,
    /// Names of roles of the workspace, whose scopes it has too.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 16)]
    roles: Patch<Vec<String>>,
    /// Limits of its own, beside the plan's.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Limit>>, max_items = 8)]
    limits: Patch<Vec<Limit>>,
    /// Networks (CIDR) or addresses that it may be used from.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 32)]
    allowed_ips: Patch<Vec<String>>,
    /// Anything that is worth knowing when the key is used. At most 4 KiB of JSON.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Patch<Map<String, Value>>,
    /// When it ends by itself; in the past: it ends now.
    #[serde(default)]
    #[schema(value_type = Option<DateTime<Utc>>)]
    expires_at: Patch<DateTime<Utc>>,
    /// Until then it does not pass.
    #[serde(default)]
    #[schema(value_type = Option<DateTime<Utc>>)]
    not_before: Patch<DateTime<Utc>>,
}

/// A key that was just changed.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedKey {
    /// Its record.
    #[serde(flatten)]
    record: Key,
    /// How the change came to hold.
    effect: Effect,
}

/// Change a key
///
/// When this returns, the change holds for the next call with the key, whatever it changes. A member may change the keys that it
/// has made. The id, the environment, what is counted and who made it do not change; a revoked key does not change at all.
#[utoipa::path(
    patch, path = "/v1/keys/{id}", operation_id = "updateKey", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The key as it is now.", body = ChangedKey),
        (status = 403, description = "The caller may not change the key, or not give it these scopes."),
        (status = 409, description = "The key is revoked, was switched off for too long, or was changed by another in the same moment."),
    )
)]
pub(crate) async fn update_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<KeyChanges>,
) -> Result<Json<ChangedKey>, Problem> {
    let mut cleared = Cleared::default();
    let texts = |items| TextList { items };
    let limits = |limits: Vec<Limit>| LimitList { items: limits.into_iter().map(Into::into).collect() };
    let request = UpdateKeyRequest {
        caller: Some(caller.to_proto()),
        key_id: id.to_string(),
        name: cleared.value("name", body.name),
        description: cleared.value("description", body.description),
        enabled: cleared.value("enabled", body.enabled),
        plan_id: cleared.value("plan_id", body.plan_id),
        consumer_id: cleared.value("consumer_id", body.consumer_id),
        scopes: cleared.value("scopes", body.scopes.map(texts)),
        roles: cleared.value("roles", body.roles.map(texts)),
        limits: cleared.value("limits", body.limits.map(limits)),
        allowed_ips: cleared.value("allowed_ips", body.allowed_ips.map(texts)),
        metadata_json: cleared.value("metadata", body.metadata.map(|it| Value::Object(it).to_string())),
        expires_at: cleared.value("expires_at", body.expires_at.map(to_wire)),
        not_before: cleared.value("not_before", body.not_before.map(to_wire)),
        no_wait: query.no_wait(),
        clear: cleared.into_names(),
    };
    let answer = app.keys.update_key(Request::new(request)).await?.into_inner();
    let record = required(answer.key, "key")?.try_into()?;
    Ok(Json(ChangedKey { record, effect: required(answer.effect, "effect")?.try_into()? }))
}
