//! Lists of API keys: filters, orders, pages.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_proto::keys::{self, KeyFilter, KeySort, KeyStatus, ListKeysRequest, MetadataValue};
use tonic::Request;
use utoipa::{IntoParams, ToSchema};

use super::{
    environment::Environment,
    keys::Key,
    list::{list_of, page},
};
use crate::{
    app::App,
    extract::{Caller, Json, Prefix, QueryWith},
    problem::Problem,
    wire::{all, optional_wire},
};

list_of! {
    /// A page of keys.
    Keys(Key)
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Active,
    Disabled,
    Expired,
    Revoked,
}

/// What keys are sorted by.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sort {
    CreatedAt,
    ExpiresAt,
    LastUsedAt,
    Name,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    Asc,
    Desc,
}

/// Which keys, and in which order.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    /// How many; 25 if it is not given.
    #[param(minimum = 1, maximum = 100, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before, with the same filters and order; the first page if it is not given.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// The caller's own workspace if it is not given.
    #[param(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
    /// Only keys that stand so.
    #[param(inline, nullable = false)]
    status: Option<Status>,
    /// Only keys of this environment.
    #[param(inline, nullable = false)]
    environment: Option<Environment>,
    /// Only keys with this in their name, without regard to ASCII case.
    #[param(max_length = 100, nullable = false)]
    q: Option<String>,
    /// Only keys of this consumer.
    #[param(nullable = false, example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    consumer_id: Option<String>,
    /// Only keys that have this plan.
    #[param(nullable = false, example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: Option<String>,
    /// Only keys that have the role of this name.
    #[param(max_length = 100, nullable = false, example = "reader")]
    role: Option<String>,
    /// Only keys that end by themselves before then, or have ended. With `status=active`: that still pass.
    #[param(nullable = false)]
    expiring_before: Option<DateTime<Utc>>,
    /// Only keys that were never used, or last before then.
    #[param(nullable = false)]
    unused_since: Option<DateTime<Utc>>,
    /// Only keys that were made then or later.
    #[param(nullable = false)]
    created_after: Option<DateTime<Utc>>,
    /// Only keys that were made before then.
    #[param(nullable = false)]
    created_before: Option<DateTime<Utc>>,
    /// Only keys that are to be rotated before then, or were, by their plan or by the workspace's policy.
    #[param(nullable = false)]
    rotation_due_before: Option<DateTime<Utc>>,
    /// What they are sorted by; `created_at` if it is not given. A key that never ends comes after those that do, one that was never used
    /// before those that were, and names are in the order of their bytes, with ASCII letters in lower case.
    #[param(inline, nullable = false)]
    sort: Option<Sort>,
    /// Which way; if it is not given `asc` for names, and `desc`, which is the newest first, for times.
    #[param(inline, nullable = false)]
    order: Option<Order>,
}

/// `metadata.customer=4711`
pub(crate) struct Metadata;

impl Prefix for Metadata {
    const PREFIX: &'static str = "metadata.";
}

/// List keys
///
/// The newest first, unless another order is asked for. `metadata.<name>=<value>`, up to three times with different names, narrows the list
/// to keys that have just this at the top of their metadata: a text of at most 255 characters, `true` or `false`, or a whole number of at
/// most 18 digits.
///
/// A page may be shorter than `limit`, or even empty, though it has a `next_cursor`: no page looks at more than 20 000 keys. Go on until
/// there is none. No key that is there all the while is left out or comes twice, whatever is written meanwhile, if what the list is sorted by
/// does not change.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "listKeys", tag = "keys", params(KeysQuery),
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The workspace's keys.", body = Keys),
        (status = 403, description = "The caller may not see keys here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn list_keys(
    State(app): State<App>,
    caller: Caller,
    QueryWith(query, metadata, _): QueryWith<KeysQuery, Metadata>,
) -> Result<Json<Keys>, Problem> {
    let metadata = metadata.into_iter().map(|(name, value)| MetadataValue { name, value });
    let filter = KeyFilter {
        status: query.status.map(KeyStatus::from).unwrap_or_default().into(),
        environment: query.environment.map(keys::Environment::from).unwrap_or_default().into(),
        q: query.q.unwrap_or_default(),
        consumer_id: query.consumer_id.unwrap_or_default(),
        plan_id: query.plan_id.unwrap_or_default(),
        role: query.role.unwrap_or_default(),
        expiring_before: optional_wire(query.expiring_before),
        unused_since: optional_wire(query.unused_since),
        created_after: optional_wire(query.created_after),
        created_before: optional_wire(query.created_before),
        rotation_due_before: optional_wire(query.rotation_due_before),
        metadata: metadata.collect(),
    };
    let request = ListKeysRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        page: Some(page(query.limit, query.cursor.as_deref())?),
        filter: Some(filter),
        sort: query.sort.map(KeySort::from).unwrap_or_default().into(),
        ascending: query.order.map(|order| order == Order::Asc),
    };
    let answer = app.keys.list_keys(Request::new(request)).await?.into_inner();
    Ok(Json(Keys { data: all(answer.keys)?, next_cursor: answer.next_cursor }))
}

impl From<Status> for KeyStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Disabled => Self::Disabled,
            Status::Expired => Self::Expired,
            Status::Revoked => Self::Revoked,
        }
    }
}

impl From<Sort> for KeySort {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::CreatedAt => Self::CreatedAt,
            Sort::ExpiresAt => Self::ExpiresAt,
            Sort::LastUsedAt => Self::LastUsedAt,
            Sort::Name => Self::Name,
        }
    }
}
