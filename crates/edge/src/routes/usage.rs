//! How keys were used: one key, the keys of a consumer, all keys of a workspace; and what was presented that is no key.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{ConsumerId, Fault, KeyId};
use tollgate_proto::keys::{
    self, GetConsumerUsageRequest, GetUsageRequest, GetWorkspaceUsageRequest, UsageGrouping, UsageScope,
    UsageSpan,
};
use tonic::Request;
use utoipa::{IntoParams, ToSchema};

use super::environment::Environment;
use crate::{
    app::App,
    extract::{Caller, Json, PathId, Query},
    problem::Problem,
    wire::{all, filled, instant, optional_instant, optional_wire},
};

/// Which time, in which steps.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// From this instant; 24 hours before `to` if it is not given. The step that it is in counts whole.
    #[param(nullable = false)]
    from: Option<DateTime<Utc>>,
    /// To this instant, exclusive; now if it is not given. The step before it counts whole.
    #[param(nullable = false)]
    to: Option<DateTime<Utc>>,
    /// The steps; `minute` if it is not given.
    #[param(inline, nullable = false)]
    granularity: Option<Granularity>,
}

/// Which calls of a consumer's keys, in which steps.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsumerUsageQuery {
    /// From this instant; 24 hours before `to` if it is not given. The step that it is in counts whole.
    #[param(nullable = false)]
    from: Option<DateTime<Utc>>,
    /// To this instant, exclusive; now if it is not given. The step before it counts whole.
    #[param(nullable = false)]
    to: Option<DateTime<Utc>>,
    /// The steps; `minute` if it is not given.
    #[param(inline, nullable = false)]
    granularity: Option<Granularity>,
    /// Only calls with keys of this environment.
    #[param(inline, nullable = false)]
    environment: Option<Environment>,
}

/// Which calls of a workspace, and how they are summed up.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WorkspaceUsageQuery {
    /// From this instant; 24 hours before `to` if it is not given. The step that it is in counts whole.
    #[param(nullable = false)]
    from: Option<DateTime<Utc>>,
    /// To this instant, exclusive; now if it is not given. The step before it counts whole.
    #[param(nullable = false)]
    to: Option<DateTime<Utc>>,
    /// The steps; `minute` if it is not given.
    #[param(inline, nullable = false)]
    granularity: Option<Granularity>,
    /// The caller's own workspace if it is not given.
    #[param(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
    /// Only calls with this key.
    #[param(nullable = false, example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    key_id: Option<String>,
    /// Only calls with keys that were this consumer's at that time.
    #[param(nullable = false, example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    consumer_id: Option<String>,
    /// Only calls that ended so.
    #[param(nullable = false, max_length = 64, example = "RATE_LIMITED")]
    code: Option<String>,
    /// Only calls with keys of this environment.
    #[param(inline, nullable = false)]
    environment: Option<Environment>,
    /// Sum the whole span up by key, consumer or code, in place of steps.
    #[param(inline, nullable = false)]
    group_by: Option<GroupBy>,
    /// The most groups; 25 if it is not given. Only with `group_by`.
    #[param(minimum = 1, maximum = 100, nullable = false)]
    limit: Option<u32>,
    /// `instance`: what was presented and is no key, which belongs to no workspace. For operators only.
    #[param(inline, nullable = false)]
    scope: Option<Scope>,
}

/// The steps of a history, UTC.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Granularity {
    Minute,
    Hour,
    Day,
}

/// By what calls are summed up.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GroupBy {
    Key,
    Consumer,
    Code,
}

/// Whose usage.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scope {
    Workspace,
    Instance,
}

/// The calls of a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    /// In order of time, then code. Steps without a call are left out. At most 10 000.
    data: Vec<UsagePoint>,
    /// Of `data`.
    #[schema(example = 12)]
    total: u64,
    /// The latest call ever, to the minute. Left out: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<DateTime<Utc>>,
}

/// The calls of a consumer's keys.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConsumerUsage {
    /// In order of time, then code. Steps without a call are left out. At most 10 000.
    data: Vec<UsagePoint>,
    /// Of `data`.
    #[schema(example = 12)]
    total: u64,
}

/// The calls of a workspace.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorkspaceUsage {
    /// In order of time, then code. Steps without a call are left out. At most 10 000. Empty with `group_by`.
    data: Vec<UsagePoint>,
    /// The largest first. Left out without `group_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 100)]
    groups: Option<Vec<UsageGroup>>,
    /// Of `data`; with `group_by` of all groups, also those beyond `limit`.
    #[schema(example = 12)]
    total: u64,
}

/// How many calls of one step ended with one code.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsagePoint {
    /// The start of the minute, hour or day.
    at: DateTime<Utc>,
    /// The verdict.
    #[schema(example = "VALID")]
    code: String,
    /// Calls.
    #[schema(example = 12)]
    count: u64,
}

/// The calls of the span that have something in common.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageGroup {
    /// The key, the consumer or the verdict. Left out: keys that were no consumer's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    name: Option<String>,
    /// Calls.
    #[schema(example = 12)]
    count: u64,
}

/// Show how a key was used
///
/// Counts every call with the key, refused ones too, a second or two late.
#[utoipa::path(
    get, path = "/v1/keys/{id}/usage", operation_id = "getKeyUsage", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        UsageQuery,
    ),
    responses(
        (status = 200, description = "The key's calls.", body = Usage),
        (status = 403, description = "The caller may not see usage here."),
    )
)]
pub(crate) async fn get_key_usage(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Usage>, Problem> {
    let span = Some(span(query.from, query.to, query.granularity));
    let request = GetUsageRequest { caller: Some(caller.to_proto()), key_id: id.to_string(), span };
    let answer = app.keys.get_usage(Request::new(request)).await?.into_inner();
    Ok(Json(Usage {
        data: all(answer.points)?,
        total: answer.total,
        last_used_at: optional_instant(answer.last_used_at)?,
    }))
}

/// Show how a consumer's keys were used
///
/// Counts every call with a key that was the consumer's at that time, whosever it is now.
#[utoipa::path(
    get, path = "/v1/consumers/{id}/usage", operation_id = "getConsumerUsage", tag = "consumers",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        ConsumerUsageQuery,
    ),
    responses(
        (status = 200, description = "The calls of the consumer's keys.", body = ConsumerUsage),
        (status = 403, description = "The caller may not see usage here."),
    )
)]
pub(crate) async fn get_consumer_usage(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
    Query(query): Query<ConsumerUsageQuery>,
) -> Result<Json<ConsumerUsage>, Problem> {
    let request = GetConsumerUsageRequest {
        caller: Some(caller.to_proto()),
        consumer_id: id.to_string(),
        span: Some(span(query.from, query.to, query.granularity)),
        environment: query.environment.map(keys::Environment::from).unwrap_or_default().into(),
    };
    let answer = app.keys.get_consumer_usage(Request::new(request)).await?.into_inner();
    Ok(Json(ConsumerUsage { data: all(answer.points)?, total: answer.total }))
}

/// Show how a workspace's keys were used
///
/// Counts every call with a key of the workspace, refused ones too. A wrong secret is the secret of no key: what was presented
/// and is no key counts for the instance, where operators see it with `scope=instance`.
#[utoipa::path(
    get, path = "/v1/usage", operation_id = "getUsage", tag = "workspaces", params(WorkspaceUsageQuery),
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The workspace's calls.", body = WorkspaceUsage),
        (status = 403, description = "The caller may not see usage here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn get_usage(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<WorkspaceUsageQuery>,
) -> Result<Json<WorkspaceUsage>, Problem> {
    // To the role these mean "not given", which is not what a client means by them.
    if query.limit == Some(0) {
        return Err(Fault::invalid("/limit", "must be from 1 to 100").into());
    }
    if query.code.as_deref() == Some("") {
        return Err(Fault::invalid("/code", "must not be empty").into());
    }
    let request = GetWorkspaceUsageRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        key_id: query.key_id.unwrap_or_default(),
        consumer_id: query.consumer_id.unwrap_or_default(),
        code: query.code.unwrap_or_default(),
        span: Some(span(query.from, query.to, query.granularity)),
        group_by: query.group_by.map(UsageGrouping::from).unwrap_or_default().into(),
        limit: query.limit.unwrap_or_default(),
        scope: query.scope.map(UsageScope::from).unwrap_or_default().into(),
        environment: query.environment.map(keys::Environment::from).unwrap_or_default().into(),
    };
    let answer = app.keys.get_workspace_usage(Request::new(request)).await?.into_inner();
    let groups = answer.groups.into_iter().map(Into::into).collect();
    Ok(Json(WorkspaceUsage {
        data: all(answer.points)?,
        groups: query.group_by.map(|_| groups),
        total: answer.total,
    }))
}

fn span(
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    granularity: Option<Granularity>,
) -> UsageSpan {
    let granularity = granularity.map(keys::Granularity::from).unwrap_or_default().into();
    UsageSpan { from: optional_wire(from), to: optional_wire(to), granularity }
}

impl From<Granularity> for keys::Granularity {
    fn from(granularity: Granularity) -> Self {
        match granularity {
            Granularity::Minute => Self::Minute,
            Granularity::Hour => Self::Hour,
            Granularity::Day => Self::Day,
        }
    }
}

impl From<GroupBy> for UsageGrouping {
    fn from(by: GroupBy) -> Self {
        match by {
            GroupBy::Key => Self::Key,
            GroupBy::Consumer => Self::Consumer,
            GroupBy::Code => Self::Code,
        }
    }
}

impl From<Scope> for UsageScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Workspace => Self::Workspace,
            Scope::Instance => Self::Instance,
        }
    }
}

impl TryFrom<keys::UsagePoint> for UsagePoint {
    type Error = Fault;

    fn try_from(point: keys::UsagePoint) -> Result<Self, Fault> {
        Ok(Self { at: instant(point.at, "at")?, code: point.code, count: point.count })
    }
}

impl From<keys::UsageGroup> for UsageGroup {
    fn from(group: keys::UsageGroup) -> Self {
        Self { name: filled(group.name), count: group.count }
    }
}
