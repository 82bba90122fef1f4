//! Credits: what a key or a consumer may spend.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{ConsumerId, Fault, KeyId};
use tollgate_proto::{
    keys::{
        self, DeleteCreditsRequest, GetCreditsRequest, GrantCreditsRequest, ListCreditLedgerRequest,
        PutCreditsRequest,
    },
    ratelimit,
};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    effect::{Effect, WaitQuery},
    list::{PageQuery, list_of},
};
use crate::{
    app::App,
    extract::{Caller, IdempotencyKey, Json, PathId, Query},
    problem::Problem,
    wire::{all, instant, optional_instant, required},
};

/// How an account of credits is set up.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreditSettings {
    /// What comes from time to time by itself; nothing if it is not given.
    refill: Option<Refill>,
}

/// What comes from time to time by itself: once as each period begins, the first time at once.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refill {
    /// `raise`, as if it is not given: a balance below the amount is raised to it, and periods that were missed are one. `add`:
    /// the amount is added, once for each period, also for those that were missed.
    #[serde(default)]
    #[schema(value_type = String, example = "raise")]
    mode: RefillMode,
    /// Credits.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64, example = 10_000)]
    amount: u64,
    /// How often: `day`, `week` (from Monday) or `month`.
    #[schema(value_type = String, example = "month")]
    period: RefillPeriod,
    /// An IANA time zone; `UTC` if it is not given.
    #[serde(default = "utc")]
    #[schema(default = "UTC", example = "Europe/Berlin")]
    time_zone: String,
    /// With `add`: no refill raises the balance above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64, example = 50_000)]
    cap: Option<u64>,
}

/// How a refill is made.
#[derive(Default, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefillMode {
    #[default]
    Raise,
    Add,
}

/// A day, a week from Monday, a month.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefillPeriod {
    Day,
    Week,
    Month,
}

/// An account of credits.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreditAccount {
    /// Names the account.
    #[schema(example = "crd_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// The workspace.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// The key or the consumer that it is of.
    #[schema(example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    owner_id: String,
    /// What can be spent: what is not lent, and what is lent and not spent.
    #[schema(example = 9_500)]
    available: u64,
    /// What is not lent: the sum of the ledger.
    #[schema(example = 9_000)]
    balance: u64,
    /// What is where calls spend it, and not spent yet. Left out if that cannot be said now; then it is not in `available`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 500)]
    lent: Option<u64>,
    /// What comes by itself. Left out: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refill: Option<Refill>,
    /// When the next refill is made. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_refill_at: Option<DateTime<Utc>>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// An account that was just set up, and how that came to hold.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedCreditAccount {
    /// Its record.
    #[serde(flatten)]
    record: CreditAccount,
    /// How the change came to hold.
    effect: Effect,
}

/// Credits to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreditGrant {
    /// How many.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64, example = 10_000)]
    amount: u64,
    /// Names the grant: the same again adds nothing, and is answered as the first time, for as long as the ledger is kept (400 days, or
    /// what the operator has set). Without colons. The `Idempotency-Key` if it is not given; if both are, they are the same.
    #[schema(nullable = false, min_length = 1, max_length = 128, example = "invoice-4711")]
    request_id: Option<String>,
}

/// One movement of an account. All of them together are its balance.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreditEntry {
    /// Counts upwards; not every number is there.
    #[schema(example = 3)]
    number: u64,
    /// When.
    at: DateTime<Utc>,
    /// `grant`, `refill`, `block` (lent to where calls spend it), `return` (what was not spent of it), `close`.
    #[schema(example = "grant")]
    kind: String,
    /// Credits; negative: taken.
    #[schema(example = 10_000)]
    amount: i64,
    /// The balance after it.
    #[schema(example = 10_000)]
    balance_after: u64,
    /// Unique within the account.
    #[schema(example = "invoice-4711")]
    request_id: String,
    /// Whose doing it was: a user, a service key, or `system`.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    actor: String,
}

list_of! {
    /// A page of movements.
    CreditLedger(CreditEntry)
}

/// Show a key's credits
///
/// Of the key's own account. A key without one spends those of its consumer; without either, its calls are not metered.
#[utoipa::path(
    get, path = "/v1/keys/{id}/credits", operation_id = "getKeyCredits", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The account.", body = CreditAccount),
        (status = 403, description = "The caller may not see credits here."),
    )
)]
pub(crate) async fn get_key_credits(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
) -> Result<Json<CreditAccount>, Problem> {
    get(&app, &caller, id.to_string()).await
}

/// Set up a key's credits
///
/// Makes the account, empty, if there is none: from then on the key's calls spend credits, and pass only if there are enough. With
/// a refill the first one is made at once. Changes how an account that is there is refilled.
#[utoipa::path(
    put, path = "/v1/keys/{id}/credits", operation_id = "putKeyCredits", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The account as it is now.", body = ChangedCreditAccount),
        (status = 403, description = "The caller may not change credits here."),
        (status = 409, description = "Somebody else made the account in the same moment."),
    )
)]
pub(crate) async fn put_key_credits(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<CreditSettings>,
) -> Result<Json<ChangedCreditAccount>, Problem> {
    put(&app, &caller, id.to_string(), &query, body).await
}

/// Delete a key's credits
///
/// What the account had is gone, and its ledger is shown no more.
#[utoipa::path(
    delete, path = "/v1/keys/{id}/credits", operation_id = "deleteKeyCredits", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The account is gone.", body = Effect),
        (status = 403, description = "The caller may not change credits here."),
    )
)]
pub(crate) async fn delete_key_credits(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    delete(&app, &caller, id.to_string(), &query).await
}

/// Grant credits to a key
#[utoipa::path(
    post, path = "/v1/keys/{id}/credits/grants", operation_id = "grantKeyCredits", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        IdempotencyKey,
    ),
    responses(
        (status = 201, description = "They were granted, now or before.", body = CreditEntry),
        (status = 403, description = "The caller may not change credits here."),
        (status = 409, description = "The `request_id` was used for another movement."),
    )
)]
pub(crate) async fn grant_key_credits(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    once: IdempotencyKey,
    Json(body): Json<CreditGrant>,
) -> Result<(StatusCode, Json<CreditEntry>), Problem> {
    grant(&app, &caller, id.to_string(), once, body).await
}

/// List what moved in a key's credits
///
/// The newest first.
#[utoipa::path(
    get, path = "/v1/keys/{id}/credits/ledger", operation_id = "listKeyCreditLedger", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        PageQuery,
    ),
    responses(
        (status = 200, description = "The movements.", body = CreditLedger),
        (status = 403, description = "The caller may not see credits here."),
    )
)]
pub(crate) async fn list_key_credit_ledger(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<CreditLedger>, Problem> {
    ledger(&app, &caller, id.to_string(), &query).await
}

/// Show a consumer's credits
///
/// All its keys spend them, but those that have an account of their own.
#[utoipa::path(
    get, path = "/v1/consumers/{id}/credits", operation_id = "getConsumerCredits", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The account.", body = CreditAccount),
        (status = 403, description = "The caller may not see credits here."),
    )
)]
pub(crate) async fn get_consumer_credits(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
) -> Result<Json<CreditAccount>, Problem> {
    get(&app, &caller, id.to_string()).await
}

/// Set up a consumer's credits
///
/// As those of a key, for all keys of the consumer that have no account of their own.
#[utoipa::path(
    put, path = "/v1/consumers/{id}/credits", operation_id = "putConsumerCredits", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The account as it is now.", body = ChangedCreditAccount),
        (status = 403, description = "The caller may not change credits here."),
        (status = 409, description = "Somebody else made the account in the same moment."),
    )
)]
pub(crate) async fn put_consumer_credits(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<CreditSettings>,
) -> Result<Json<ChangedCreditAccount>, Problem> {
    put(&app, &caller, id.to_string(), &query, body).await
}

/// Delete a consumer's credits
///
/// What the account had is gone, and its ledger is shown no more.
#[utoipa::path(
    delete, path = "/v1/consumers/{id}/credits", operation_id = "deleteConsumerCredits", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The account is gone.", body = Effect),
        (status = 403, description = "The caller may not change credits here."),
    )
)]
pub(crate) async fn delete_consumer_credits(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    delete(&app, &caller, id.to_string(), &query).await
}

/// Grant credits to a consumer
#[utoipa::path(
    post, path = "/v1/consumers/{id}/credits/grants", operation_id = "grantConsumerCredits", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        IdempotencyKey,
    ),
    responses(
        (status = 201, description = "They were granted, now or before.", body = CreditEntry),
        (status = 403, description = "The caller may not change credits here."),
        (status = 409, description = "The `request_id` was used for another movement."),
    )
)]
pub(crate) async fn grant_consumer_credits(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
    once: IdempotencyKey,
    Json(body): Json<CreditGrant>,
) -> Result<(StatusCode, Json<CreditEntry>), Problem> {
    grant(&app, &caller, id.to_string(), once, body).await
}

/// List what moved in a consumer's credits
///
/// The newest first.
#[utoipa::path(
    get, path = "/v1/consumers/{id}/credits/ledger", operation_id = "listConsumerCreditLedger", tag = "credits",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        PageQuery,
    ),
    responses(
        (status = 200, description = "The movements.", body = CreditLedger),
        (status = 403, description = "The caller may not see credits here."),
    )
)]
pub(crate) async fn list_consumer_credit_ledger(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<CreditLedger>, Problem> {
    ledger(&app, &caller, id.to_string(), &query).await
}

async fn get(app: &App, caller: &Caller, owner_id: String) -> Result<Json<CreditAccount>, Problem> {
    let request = GetCreditsRequest { caller: Some(caller.to_proto()), owner_id };
    let answer = app.keys.get_credits(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.account, "account")?.try_into()?))
}

async fn put(
    app: &App,
    caller: &Caller,
    owner_id: String,
    query: &WaitQuery,
    body: CreditSettings,
) -> Result<Json<ChangedCreditAccount>, Problem> {
    let request = PutCreditsRequest {
        caller: Some(caller.to_proto()),
        owner_id,
        refill: body.refill.map(Into::into),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.put_credits(Request::new(request)).await?.into_inner();
    let record = required(answer.account, "account")?.try_into()?;
    Ok(Json(ChangedCreditAccount { record, effect: Effect::of(answer.effect)? }))
}

async fn delete(
    app: &App,
    caller: &Caller,
    owner_id: String,
    query: &WaitQuery,
) -> Result<Json<Effect>, Problem> {
    let request =
        DeleteCreditsRequest { caller: Some(caller.to_proto()), owner_id, no_wait: query.no_wait() };
    let answer = app.keys.delete_credits(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.effect, "effect")?.try_into()?))
}

async fn grant(
    app: &App,
    caller: &Caller,
    owner_id: String,
    once: IdempotencyKey,
    body: CreditGrant,
) -> Result<(StatusCode, Json<CreditEntry>), Problem> {
    let CreditGrant { amount, request_id } = body;
    let request_id = named(request_id, once)?;
    let request = GrantCreditsRequest { caller: Some(caller.to_proto()), owner_id, amount, request_id };
    let answer = app.keys.grant_credits(Request::new(request)).await?.into_inner();
    Ok((StatusCode::CREATED, Json(required(answer.entry, "entry")?.try_into()?)))
}

/// What a grant is known by. One name in two places is one name.
fn named(request_id: Option<String>, IdempotencyKey(once): IdempotencyKey) -> Result<String, Fault> {
    match request_id {
        None if once.is_empty() => {
            Err(Fault::invalid("/request_id", "is required, unless there is an `Idempotency-Key`"))
        }
        None => Ok(once),
        Some(request_id) if once.is_empty() || once == request_id => Ok(request_id),
        Some(_) => Err(Fault::invalid("/request_id", "must be the same as the `Idempotency-Key`")),
    }
}

async fn ledger(
    app: &App,
    caller: &Caller,
    owner_id: String,
    query: &PageQuery,
) -> Result<Json<CreditLedger>, Problem> {
    let keys::Page { limit, cursor } = query.to_proto()?;
    let request = ListCreditLedgerRequest { caller: Some(caller.to_proto()), owner_id, limit, cursor };
    let answer = app.keys.list_credit_ledger(Request::new(request)).await?.into_inner();
    Ok(Json(CreditLedger { data: all(answer.entries)?, next_cursor: answer.next_cursor }))
}

fn utc() -> String {
    "UTC".to_owned()
}

impl From<Refill> for keys::CreditRefill {
    fn from(refill: Refill) -> Self {
        let mode = match refill.mode {
            RefillMode::Raise => keys::CreditRefillMode::Raise,
            RefillMode::Add => keys::CreditRefillMode::Add,
        };
        let period = match refill.period {
            RefillPeriod::Day => ratelimit::Period::Day,
            RefillPeriod::Week => ratelimit::Period::Week,
            RefillPeriod::Month => ratelimit::Period::Month,
        };
        Self {
            mode: mode.into(),
            amount: refill.amount,
            period: period.into(),
            time_zone: refill.time_zone,
            cap: refill.cap,
        }
    }
}

impl TryFrom<keys::CreditRefill> for Refill {
    type Error = Fault;

    fn try_from(refill: keys::CreditRefill) -> Result<Self, Fault> {
        let mode = match refill.mode() {
            keys::CreditRefillMode::Add => RefillMode::Add,
            _ => RefillMode::Raise,
        };
        let period = match refill.period() {
            ratelimit::Period::Day => Some(RefillPeriod::Day),
            ratelimit::Period::Week => Some(RefillPeriod::Week),
            ratelimit::Period::Month => Some(RefillPeriod::Month),
            _ => None,
        };
        let period = required(period, "period")?;
        Ok(Self { mode, amount: refill.amount, period, time_zone: refill.time_zone, cap: refill.cap })
    }
}

impl TryFrom<keys::CreditAccount> for CreditAccount {
    type Error = Fault;

    fn try_from(account: keys::CreditAccount) -> Result<Self, Fault> {
        Ok(Self {
            refill: account.refill.map(Refill::try_from).transpose()?,
            next_refill_at: optional_instant(account.next_refill_at)?,
            created_at: instant(account.created_at, "created_at")?,
            available: account.balance.saturating_add(account.lent.unwrap_or(0)),
            id: account.id,
            workspace_id: account.workspace_id,
            owner_id: account.owner_id,
            balance: account.balance,
            lent: account.lent,
        })
    }
}

impl TryFrom<keys::CreditLedgerEntry> for CreditEntry {
    type Error = Fault;

    fn try_from(entry: keys::CreditLedgerEntry) -> Result<Self, Fault> {
        Ok(Self {
            number: entry.number,
            at: instant(entry.at, "at")?,
            kind: entry.kind,
            amount: entry.amount,
            balance_after: entry.balance_after,
            request_id: entry.request_id,
            actor: entry.actor,
        })
    }
}
