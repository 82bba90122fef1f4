//! Many API keys are revoked at once.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_kernel::Fault;
use tollgate_proto::keys::{self, KeyFilter, KeyStatus, MetadataValue, RevokeKeysRequest};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    effect::{Effect, WaitQuery},
    environment::Environment,
    key_lists::Status,
    keys::Key,
};
use crate::{
    app::App,
    extract::{Caller, Json, Query},
    problem::Problem,
    wire::{all, optional_wire},
};

/// Which keys are to be revoked, and what is expected of that.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRevocation {
    /// Which: what `GET /v1/keys` lists with the same filters, but for those that are revoked already.
    filter: Option<Filter>,
    /// Every key of the workspace. Said if, and only if, the filter is empty or left out.
    all: Option<bool>,
    /// Say only what would be revoked.
    #[schema(example = true)]
    dry_run: bool,
    /// Revoke none unless it is so many.
    #[schema(minimum = 0, maximum = 10_000, example = 3)]
    expected_count: Option<u32>,
    /// For the audit.
    #[schema(max_length = 500, example = "The partner's laptop was stolen")]
    reason: Option<String>,
    /// Whose keys; the caller's own workspace if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// What keys must fit, all of it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// They stand so.
    status: Option<Status>,
    /// They are of this environment.
    environment: Option<Environment>,
    /// This is in their name, without regard to ASCII case.
    #[schema(max_length = 100)]
    q: Option<String>,
    /// They are of this consumer.
    #[schema(example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    consumer_id: Option<String>,
    /// They have this plan.
    #[schema(example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: Option<String>,
    /// They have the role of this name.
    #[schema(max_length = 100, example = "reader")]
    role: Option<String>,
    /// They end by themselves before then.
    expiring_before: Option<DateTime<Utc>>,
    /// They were never used, or last before then.
    unused_since: Option<DateTime<Utc>>,
    /// They were made then or later.
    created_after: Option<DateTime<Utc>>,
    /// They were made before then.
    created_before: Option<DateTime<Utc>>,
    /// They are to be rotated before then, or were, by their plan or by the workspace's policy.
    rotation_due_before: Option<DateTime<Utc>>,
    /// They have all of these at the top of their metadata: texts, truths or whole numbers, of at most three names.
    #[schema(value_type = Option<Object>, example = json!({ "customer": "4711" }))]
    metadata: Option<Map<String, Value>>,
}

/// What was revoked, or would be.
#[derive(Serialize, ToSchema)]
pub(crate) struct RevokedKeys {
    /// How many keys fitted, at most 10 000.
    #[schema(minimum = 0, maximum = 10_000, example = 3)]
    matched: u32,
    /// How many of them this call has revoked: none in a dry run.
    #[schema(minimum = 0, maximum = 10_000, example = 3)]
    revoked: u32,
    /// There are more than 10 000: the oldest were taken. Call again for the others.
    more: bool,
    /// The oldest of those that fitted, at most ten, as they were.
    #[schema(max_items = 10)]
    sample: Vec<Key>,
    /// How it came to hold.
    #[serde(flatten)]
    effect: Effect,
}

/// Revoke many keys
///
/// Ends for good all keys that fit when it is asked: when this returns, the next call with any of them is refused. Each is in the audit. If
/// it fails in between, those that are revoked by then stay so. By owners, admins, and service keys with `keys.write`.
#[utoipa::path(
    post, path = "/v1/keys/revoke", operation_id = "revokeKeys", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(WaitQuery),
    responses(
        (status = 200, description = "They are revoked, or, in a dry run, would be.", body = RevokedKeys),
        (status = 403, description = "The caller may not revoke the keys of others here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
        (status = 409, description = "It is not as many as expected; nothing was revoked."),
    )
)]
pub(crate) async fn revoke_keys(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<WaitQuery>,
    Json(body): Json<KeyRevocation>,
) -> Result<Json<RevokedKeys>, Problem> {
    let request = RevokeKeysRequest {
        caller: Some(caller.to_proto()),
        workspace_id: body.workspace_id.unwrap_or_default(),
        filter: Some(body.filter.unwrap_or_default().try_into()?),
        all: body.all.unwrap_or_default(),
        dry_run: body.dry_run,
        expected_count: body.expected_count,
        reason: body.reason.unwrap_or_default(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.revoke_keys(Request::new(request)).await?.into_inner();
    Ok(Json(RevokedKeys {
        matched: answer.matched,
        revoked: answer.revoked,
        more: answer.more,
        sample: all(answer.sample)?,
        effect: Effect::of(answer.effect)?,
    }))
}

impl TryFrom<Filter> for KeyFilter {
    type Error = Fault;

    fn try_from(filter: Filter) -> Result<Self, Fault> {
        let metadata = filter.metadata.unwrap_or_default().into_iter();
        let metadata = metadata.map(|(name, value)| Ok(MetadataValue { value: text(value)?, name }));
        Ok(Self {
            status: filter.status.map(KeyStatus::from).unwrap_or_default().into(),
            environment: filter.environment.map(keys::Environment::from).unwrap_or_default().into(),
            q: filter.q.unwrap_or_default(),
            consumer_id: filter.consumer_id.unwrap_or_default(),
            plan_id: filter.plan_id.unwrap_or_default(),
            role: filter.role.unwrap_or_default(),
            expiring_before: optional_wire(filter.expiring_before),
            unused_since: optional_wire(filter.unused_since),
            created_after: optional_wire(filter.created_after),
            created_before: optional_wire(filter.created_before),
            rotation_due_before: optional_wire(filter.rotation_due_before),
            metadata: metadata.collect::<Result<_, Fault>>()?,
        })
    }
}

/// As keys are found by it. What they are not found by is refused, since it would fit none.
fn text(value: Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) if number.is_i64() => Ok(number.to_string()),
        _ => Err(Fault::invalid("/filter/metadata", "must have texts, truths and whole numbers only")),
    }
}
