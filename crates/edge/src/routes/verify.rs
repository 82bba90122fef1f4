//! The turnstile over HTTP: may a call with this key pass?

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_kernel::{Code, ExposeSecret, Fault, SecretString};
use tollgate_proto::ratelimit;
use tollgate_verify::Grant;
use utoipa::ToSchema;

use super::environment::Environment;
use crate::{
    app::App,
    extract::{Caller, Json},
    gate::{KeyVerdict, Question},
    principal::Principal,
    problem::Problem,
    question::Asked,
};

/// A key, and the call that somebody wants to make with it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyKey {
    /// The whole key, as the client sent it. What cannot be a key gets the verdict `MALFORMED`.
    #[schema(value_type = String, example = "tg_live_…")]
    key: SecretString,
    /// The scopes that the call needs, all of them; of at most 100 characters each, and none a wildcard.
    #[schema(max_items = 64, example = json!(["orders.read"]))]
    scopes: Option<Vec<String>>,
    /// What the call needs of the scopes, in words: `and`, `or`, parentheses. Both this and `scopes` must be met. A mistake is
    /// named with its place. At most 32 scopes, and 8 parentheses within one another.
    #[schema(max_length = 4096, example = "orders.read and (reports.read or admin)")]
    scope_expression: Option<String>,
    /// How many units the call takes of each limit, and credits; 1 if it is not given. 0 asks whether one would pass, and takes none.
    /// At most what the key's smallest limit ever allows; shadow limits aside.
    #[schema(minimum = 0, maximum = 1_000_000_000, example = 1)]
    cost: Option<u32>,
    /// The address that the call comes from, for keys that are bound to networks.
    #[schema(value_type = Option<String>, example = "203.0.113.9")]
    client_ip: Option<String>,
    /// What the client says of its program, for the record of the key's last use: its first 200 bytes are kept, without control
    /// characters.
    #[schema(example = "curl/8.5.0")]
    user_agent: Option<String>,
    /// Required of the key, if it is given.
    environment: Option<Environment>,
    /// Decide and report; count and charge nothing.
    dry_run: Option<bool>,
    /// Names the call, so that a retry within ten minutes is not charged again.
    #[schema(max_length = 128, example = "3f1c0b6e")]
    request_id: Option<String>,
    /// What the call costs is known afterwards only: `cost` is the most, and by its `request_id` it is settled or refunded at
    /// `/v1/credits`. What is not settled stays charged.
    reserve: Option<bool>,
    /// For how many seconds that is possible; 600 if it is not given. Of a call with `reserve` only.
    #[schema(minimum = 1, maximum = 86_400, example = 600)]
    hold_seconds: Option<u32>,
}

/// The answer to "may this call pass". Fields that have no value are left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Verdict {
    /// Whether it may.
    valid: bool,
    /// Why, or why not. The first reason of: `MALFORMED`, `NOT_FOUND` (also for a key of a foreign workspace), `DISABLED`,
    /// `REVOKED`, `EXPIRED`, `WRONG_ENVIRONMENT`, `FORBIDDEN_IP`, `INSUFFICIENT_SCOPE`, `RATE_LIMITED`, `QUOTA_EXCEEDED`;
    /// else `VALID`. Of several limits that deny, the one that makes the caller wait longest says which of the last two.
    #[schema(example = "VALID")]
    code: &'static str,
    /// The name of the limit that denied; `credits`: there were not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "minute")]
    denied_by: Option<String>,
    /// When the same call passes if nothing else is counted meanwhile: in milliseconds, rounded up. Only beside `denied_by`; with
    /// `credits`: when they are refilled, and left out if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 1500)]
    retry_after_ms: Option<u64>,
    /// The key. Left out, as the fields below, if it is malformed, unknown or foreign.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    key_id: Option<String>,
    /// The workspace that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
    /// Whom it was given to. Left out: nobody in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    consumer_id: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    environment: Option<Environment>,
    /// What it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = json!(["orders.read"]))]
    scopes: Option<Vec<String>>,
    /// As given when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// When it ends by itself. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<DateTime<Utc>>,
    /// An old secret of the key was presented: a newer one has taken its place, and from then on this one does not pass. Left
    /// out: it is the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retires_at: Option<DateTime<Utc>>,
    /// When the key is to be rotated, or was. Left out: neither a plan of its own nor the workspace's policy asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rotation_due_at: Option<DateTime<Utc>>,
    /// Where its limits stand, after this call. Left out if the call was refused before it came to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limits: Option<Vec<LimitState>>,
    /// The credits that it spends. Left out if it spends none, or the call was refused before it came to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credits: Option<Credits>,
    /// At least one limit was decided without its store. Left out if it is false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    degraded: bool,
}

/// Where credits stand.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Credits {
    /// What is left, after this call; grants and other calls of this moment may not be in it yet.
    #[schema(example = 9_500)]
    remaining: u64,
}

/// Where a limit stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitState {
    /// Which.
    #[schema(example = "minute")]
    name: String,
    /// The number in force: units per window or period; what the full bucket holds.
    #[schema(example = 60)]
    limit: u64,
    /// Units that are left.
    #[schema(example = 59)]
    remaining: u64,
    /// Until the full limit is available again, in milliseconds, rounded up.
    #[schema(example = 60_000)]
    reset_ms: u64,
    /// It stood in the way of this call. Left out if it is false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    exceeded: bool,
    /// It is counted and reported, and denies nothing. Left out if it is false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    shadow: bool,
}

/// Verify a key
///
/// Decides whether a call with this key may pass, counts it and charges its limits. The answer is 200 whatever the verdict:
/// `RATE_LIMITED` if a limit denied, `QUOTA_EXCEEDED` if that is one of a calendar, or if there are not enough credits.
/// The caller is a service key with `keys.verify` in the key's workspace, or a user who is a member of it.
#[utoipa::path(
    post, path = "/v1/keys/verify", operation_id = "verifyKey", tag = "verify",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The verdict.", body = Verdict),
        (status = 403, description = "The caller is a service key without `keys.verify`."),
    )
)]
pub(crate) async fn verify_key(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<VerifyKey>,
) -> Result<Json<Verdict>, Problem> {
    check_may_verify(&app, &caller.principal)?;
    let question = Question::try_from(Asked {
        scopes: body.scopes.unwrap_or_default(),
        scope_expression: expression(body.scope_expression)?,
        cost: body.cost,
        client_ip: body.client_ip.unwrap_or_default(),
        environment: body.environment.map(Into::into),
        dry_run: body.dry_run.unwrap_or_default(),
        request_id: body.request_id.unwrap_or_default(),
        user_agent: body.user_agent.unwrap_or_default(),
        reserve: body.reserve.unwrap_or_default(),
        hold_seconds: body.hold_seconds,
    })?;
    let verdict = app.gate.key(body.key.expose_secret(), Some(&caller.principal), &question).await?;
    Ok(Json(verdict.into()))
}

/// To a role of ours an empty text means "not given", which is not what a client means by it.
fn expression(text: Option<String>) -> Result<String, Fault> {
    match text {
        Some(text) if text.is_empty() => Err(Fault::invalid("/scope_expression", "must not be empty")),
        text => Ok(text.unwrap_or_default()),
    }
}

/// Refuses a service key that may not ask about keys.
pub(crate) fn check_may_verify(app: &App, principal: &Principal) -> Result<(), Fault> {
    if principal.may_verify(app.clock.now()) {
        return Ok(());
    }
    Err(Fault::new(Code::Forbidden, "The service key lacks the permission `keys.verify`."))
}

/// Microseconds as milliseconds, rounded up.
pub(crate) fn millis(micros: u64) -> u64 {
    micros.div_ceil(1000)
}

/// Whether a call that was denied passes some time, if nothing else is done.
pub(crate) fn is_matter_of_time(denied: &ratelimit::CheckResponse) -> bool {
    denied.retry_after_us > 0 || !denied.credit.as_ref().is_some_and(|credit| credit.denied)
}

/// What is left of the credits of a call.
pub(crate) fn remaining_credits(count: &ratelimit::CheckResponse) -> Option<u64> {
    count.credit.as_ref().map(|credit| credit.remaining.saturating_add(credit.behind))
}

impl From<KeyVerdict> for Verdict {
    fn from(KeyVerdict { code, grant, count }: KeyVerdict) -> Self {
        let grant = grant.as_deref();
        let denial = count.as_ref().filter(|count| !count.allowed);
        Self {
            valid: code == tollgate_verify::VerdictCode::Valid,
            code: code.as_str(),
            denied_by: denial.and_then(|it| it.denied_by.clone()),
            retry_after_ms: denial.filter(|it| is_matter_of_time(it)).map(|it| millis(it.retry_after_us)),
            key_id: grant.map(|it| it.key_id.to_string()),
            workspace_id: grant.map(|it| it.workspace_id.to_string()),
            consumer_id: grant.and_then(|it| it.consumer.as_ref()).map(|it| it.consumer_id.to_string()),
            environment: grant.map(|it| it.environment.into()),
            scopes: grant.map(|it| it.scopes.clone()),
            metadata: grant.map(|it| it.metadata.clone()),
            expires_at: grant.and_then(|it| it.expires_at),
            retires_at: grant.and_then(Grant::retires_at),
            rotation_due_at: grant.and_then(|it| it.rotation_due_at),
            degraded: count.as_ref().is_some_and(|it| it.degraded),
            credits: count.as_ref().and_then(remaining_credits).map(|remaining| Credits { remaining }),
            limits: count.map(|it| it.limits.into_iter().map(Into::into).collect()),
        }
    }
}

impl From<ratelimit::LimitState> for LimitState {
    fn from(state: ratelimit::LimitState) -> Self {
        Self {
            name: state.name,
            limit: state.limit,
            remaining: state.remaining,
            reset_ms: millis(state.reset_us),
            exceeded: state.exceeded,
            shadow: state.shadow,
        }
    }
}
