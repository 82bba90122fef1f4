//! API keys: made, shown, revoked.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_kernel::{Fault, KeyId};
use tollgate_proto::keys::{self, CreateKeyRequest, GetKeyRequest, RevokeKeyRequest};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    created::Created,
    effect::{Effect, WaitQuery},
    environment::Environment,
    expiry::days,
    limit::Limit,
};
use crate::{
    app::App,
    extract::{Caller, IdempotencyKey, Json, PathId, Query},
    problem::Problem,
    wire::{all, filled, instant, object, optional_instant, optional_wire, required},
};

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// For people.
    #[schema(min_length = 1, max_length = 100, example = "CI of the web shop")]
    name: String,
    /// What it is for, in words.
    #[schema(max_length = 500, example = "Reads orders for the nightly report")]
    description: Option<String>,
    /// What it is for; `live` if it is not given.
    environment: Option<Environment>,
    /// The plan whose limits and scopes it has; `basic` if it is not given.
    #[schema(example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: Option<String>,
    /// Whom it is given to: then it shares that consumer's limits, and passes only while the consumer is enabled.
    #[schema(example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    consumer_id: Option<String>,
    /// What it may do; the plan's scopes if none are given. Of `a-z 0-9 _ . : -`, at most 100 characters each. A whole last segment
    /// may be `*`: `orders.*` grants `orders.read` and `orders.items.read`, and `*` grants all. A caller who is neither owner
    /// nor admin may give what the plan has; a service key also what it was given to give.
    #[schema(max_items = 64, example = json!(["orders.read"]))]
    scopes: Option<Vec<String>>,
    /// Names of roles of the workspace, whose scopes it has too.
    #[schema(max_items = 16, example = json!(["reader"]))]
    roles: Option<Vec<String>>,
    /// Limits of its own, beside the plan's.
    #[schema(max_items = 8)]
    limits: Option<Vec<Limit>>,
    /// When it ends by itself. Never, if neither this nor `expires_in_days` is given.
    expires_at: Option<DateTime<Utc>>,
    /// The same, in days from now. Not together with `expires_at`.
    #[schema(minimum = 1, maximum = 36_500, example = 90)]
    expires_in_days: Option<u32>,
    /// Until then it does not pass. Before it ends, if it does.
    not_before: Option<DateTime<Utc>>,
    /// Networks (CIDR) or addresses that it may be used from; from anywhere if none are given.
    #[schema(max_items = 32, example = json!(["203.0.113.0/24"]))]
    allowed_ips: Option<Vec<String>>,
    /// Anything that is worth knowing when the key is used. Verdicts repeat it. At most 4 KiB of JSON.
    #[schema(value_type = Option<Object>, example = json!({ "customer": "4711" }))]
    metadata: Option<Map<String, Value>>,
    /// Where it is made; the caller's own workspace if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// An API key, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct Key {
    /// Names the key.
    #[schema(example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// The workspace that owns it.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// For people.
    #[schema(example = "CI of the web shop")]
    name: String,
    /// What it is for, in words; may be empty.
    #[schema(example = "Reads orders for the nightly report")]
    description: String,
    /// What it is for.
    environment: Environment,
    /// The plan whose limits and scopes it has.
    #[schema(example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: String,
    /// How it begins: enough to recognize it, not enough to use it.
    #[schema(example = "tg_live_7Gk2")]
    start: String,
    /// Its own scopes; if it has neither scopes nor roles, the plan's are in force.
    scopes: Vec<String>,
    /// Names of roles of the workspace, whose scopes it has too.
    roles: Vec<String>,
    /// Whom it was given to. Left out: nobody in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    consumer_id: Option<String>,
    /// In force: the plan's limits, each replaced by the key's own of the same name.
    limits: Vec<Limit>,
    /// Where it may be used from; empty: anywhere.
    allowed_ips: Vec<String>,
    /// As given when it was made.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// Whether it is switched on.
    enabled: bool,
    /// When it was switched off. Left out: it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    disabled_at: Option<DateTime<Utc>>,
    /// When it is to be rotated, or was: by its plan, or by the workspace's policy if that is sooner. Left out: neither asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rotation_due_at: Option<DateTime<Utc>>,
    /// Until then it does not pass. Left out: it always did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    not_before: Option<DateTime<Utc>>,
    /// When it ends by itself. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked. Left out: it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked_at: Option<DateTime<Utc>>,
    /// The latest call with it, to the minute and a few seconds late. Left out: it was never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<DateTime<Utc>>,
    /// The network that that call came from: 24 bits of IPv4, 48 of IPv6. Left out: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "203.0.113.0/24")]
    last_used_ip: Option<String>,
    /// What that call said of its program: at most 200 bytes. Left out: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "curl/8.5.0")]
    last_user_agent: Option<String>,
    /// The user or the service key that made it.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// An API key that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    /// Its record. (`start` shows how it begins.)
    #[serde(flatten)]
    record: Key,
    /// The key itself: shown here and never again. Left out of the answer to a retry with the same `Idempotency-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "tg_live_…")]
    key: Option<String>,
}

/// Make a key
///
/// With an `Idempotency-Key`, a retry within a day makes no second key and gets the record of the first, without the secret.
#[utoipa::path(
    post, path = "/v1/keys", operation_id = "createKey", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(IdempotencyKey),
    responses(
        (status = 201, description = "The key was made, and is shown this once.", body = CreatedKey, headers(
            ("Location" = String, description = "The key's address."),
        )),
        (status = 403, description = "The caller may not make keys here."),
        (status = 404, description = "There is no such workspace or plan, or the caller may not know that there is."),
        (status = 409, description = "The `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn create_key(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<NewKey>,
) -> Result<Created<CreatedKey>, Problem> {
    let request = CreateKeyRequest {
        caller: Some(caller.to_proto()),
        workspace_id: body.workspace_id.unwrap_or_default(),
        name: body.name,
        description: body.description.unwrap_or_default(),
        consumer_id: body.consumer_id.unwrap_or_default(),
        roles: body.roles.unwrap_or_default(),
        not_before: optional_wire(body.not_before),
        environment: body.environment.map(keys::Environment::from).unwrap_or_default().into(),
        plan_id: body.plan_id.unwrap_or_default(),
        scopes: body.scopes.unwrap_or_default(),
        limits: body.limits.unwrap_or_default().into_iter().map(Into::into).collect(),
        expires_at: optional_wire(body.expires_at),
        // To keys as it is, not as an instant: that would differ at each retry.
        expires_in_days: days(body.expires_in_days)?,
        allowed_ips: body.allowed_ips.unwrap_or_default(),
        metadata_json: body.metadata.map(|it| Value::Object(it).to_string()).unwrap_or_default(),
        idempotency_key,
    };
    let answer = app.keys.create_key(Request::new(request)).await?.into_inner();
    let record: Key = required(answer.key, "key")?.try_into()?;
    let path = format!("/v1/keys/{}", record.id);
    Ok(Created::at(path, CreatedKey { record, key: filled(answer.secret) }))
}

/// Show a key
#[utoipa::path(
    get, path = "/v1/keys/{id}", operation_id = "getKey", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The key, without its secret.", body = Key),
        (status = 403, description = "The caller may not see keys here."),
    )
)]
pub(crate) async fn get_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
) -> Result<Json<Key>, Problem> {
    let request = GetKeyRequest { caller: Some(caller.to_proto()), key_id: id.to_string() };
    let answer = app.keys.get_key(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.key, "key")?.try_into()?))
}

/// Revoke a key
///
/// Ends it for good: when this returns, the next call with it is refused. Succeeds if it is already revoked.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", operation_id = "revokeKey", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The key is revoked.", body = Effect),
        (status = 403, description = "The caller may not revoke keys here."),
    )
)]
pub(crate) async fn revoke_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    let request = RevokeKeyRequest {
        caller: Some(caller.to_proto()),
        key_id: id.to_string(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.revoke_key(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.effect, "effect")?.try_into()?))
}

impl TryFrom<keys::Key> for Key {
    type Error = Fault;

    fn try_from(key: keys::Key) -> Result<Self, Fault> {
        Ok(Self {
            environment: required(Environment::from_keys(key.environment()), "environment")?,
            metadata: object(&key.metadata_json)?,
            expires_at: optional_instant(key.expires_at)?,
            revoked_at: optional_instant(key.revoked_at)?,
            last_used_at: optional_instant(key.last_used_at)?,
            last_used_ip: key.last_used_ip,
            last_user_agent: key.last_user_agent,
            created_at: instant(key.created_at, "created_at")?,
            not_before: optional_instant(key.not_before)?,
            disabled_at: optional_instant(key.disabled_at)?,
            rotation_due_at: optional_instant(key.rotation_due_at)?,
            id: key.id,
            workspace_id: key.workspace_id,
            name: key.name,
            description: key.description,
            roles: key.roles,
            consumer_id: filled(key.consumer_id),
            plan_id: key.plan_id,
            start: key.start,
            scopes: key.scopes,
            limits: all(key.limits)?,
            allowed_ips: key.allowed_ips,
            enabled: key.enabled,
            created_by: key.created_by,
        })
    }
}
