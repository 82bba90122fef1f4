//! Consumers: whom a workspace gives keys to.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_kernel::{ConsumerId, Fault};
use tollgate_proto::keys::{
    self, CreateConsumerRequest, DeleteConsumerRequest, GetConsumerRequest, LimitList, ListConsumersRequest,
    UpdateConsumerRequest,
};
use tonic::Request;
use utoipa::{IntoParams, ToSchema};

use super::{
    created::Created,
    effect::{Effect, WaitQuery},
    limit::Limit,
    list::{list_of, page},
};
use crate::{
    app::App,
    extract::{Caller, Cleared, IdempotencyKey, Json, Patch, PathId, Query},
    problem::Problem,
    wire::{all, instant, object, required},
};

/// A consumer to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewConsumer {
    /// For people.
    #[schema(min_length = 1, max_length = 100, example = "The web shop")]
    name: String,
    /// What the workspace itself calls it; unique in the workspace.
    #[schema(min_length = 1, max_length = 255, example = "4711")]
    external_id: Option<String>,
    /// The plan whose limits all its keys share, and whose scopes keys have that have none of their own.
    #[schema(example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: Option<String>,
    /// Limits that all its keys share, beside the plan's; each replaces the plan's of the same name.
    #[schema(max_items = 4)]
    limits: Option<Vec<Limit>>,
    /// Anything that is worth knowing of it. At most 4 KiB of JSON.
    #[schema(value_type = Option<Object>, example = json!({ "country": "NZ" }))]
    metadata: Option<Map<String, Value>>,
    /// Whether its keys pass; they do if it is not given.
    enabled: Option<bool>,
    /// Where it is made; the caller's own workspace if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// What is to be changed of a consumer. What is left out stays; `null` takes the value away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConsumerPatch {
    /// For people. Cannot be taken away.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 100, example = "The web shop")]
    name: Patch<String>,
    /// What the workspace itself calls it; unique in the workspace.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255, example = "4711")]
    external_id: Patch<String>,
    /// The plan whose limits all its keys share.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: Patch<String>,
    /// Limits that all its keys share: all of them anew.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Limit>>, max_items = 4)]
    limits: Patch<Vec<Limit>>,
    /// Anything that is worth knowing of it: all of it anew.
    #[serde(default)]
    #[schema(value_type = Option<Object>, example = json!({ "country": "NZ" }))]
    metadata: Patch<Map<String, Value>>,
    /// `false`: none of its keys passes. Cannot be taken away.
    #[serde(default)]
    #[schema(value_type = Option<bool>, nullable = false)]
    enabled: Patch<bool>,
}

/// Whom a workspace gives keys to. All its keys share its limits.
#[derive(Serialize, ToSchema)]
pub(crate) struct Consumer {
    /// Names the consumer.
    #[schema(example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// The workspace that it is a consumer of.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// For people.
    #[schema(example = "The web shop")]
    name: String,
    /// What the workspace itself calls it. Left out: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "4711")]
    external_id: Option<String>,
    /// The plan whose limits all its keys share. Left out: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false, example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: String,
    /// Its own limits. Each replaces its plan's of the same name; in verdicts their names begin with `consumer.`.
    limits: Vec<Limit>,
    /// As given.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// Whether its keys pass.
    enabled: bool,
    /// The user or the service key that made it.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A consumer that was just changed, and how that came to hold.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedConsumer {
    /// Its record.
    #[serde(flatten)]
    record: Consumer,
    /// How the change came to hold.
    effect: Effect,
}

list_of! {
    /// A page of consumers.
    Consumers(Consumer)
}

/// Which consumers.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConsumersQuery {
    /// How many; 25 if it is not given.
    #[param(minimum = 1, maximum = 100, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before; the first page if it is not given.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// The caller's own workspace if it is not given.
    #[param(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
    /// Only consumers with this in their name, without regard to ASCII case.
    #[param(max_length = 100, nullable = false)]
    q: Option<String>,
    /// Only the one that the workspace itself calls so.
    #[param(min_length = 1, max_length = 255, nullable = false)]
    external_id: Option<String>,
    /// Only consumers that have this plan.
    #[param(nullable = false, example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    plan_id: Option<String>,
    /// Only consumers whose keys pass, or only those whose do not.
    #[param(nullable = false)]
    enabled: Option<bool>,
}

/// Make a consumer
#[utoipa::path(
    post, path = "/v1/consumers", operation_id = "createConsumer", tag = "consumers",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(IdempotencyKey),
    responses(
        (status = 201, description = "The consumer was made.", body = Consumer, headers(
            ("Location" = String, description = "The consumer's address."),
        )),
        (status = 403, description = "The caller may not make consumers here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
        (status = 409, description = "The `external_id` is taken, or the `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn create_consumer(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<NewConsumer>,
) -> Result<Created<Consumer>, Problem> {
    let request = CreateConsumerRequest {
        caller: Some(caller.to_proto()),
        workspace_id: body.workspace_id.unwrap_or_default(),
        name: body.name,
        external_id: body.external_id,
        plan_id: body.plan_id.unwrap_or_default(),
        limits: body.limits.unwrap_or_default().into_iter().map(Into::into).collect(),
        metadata_json: body.metadata.map(|it| Value::Object(it).to_string()).unwrap_or_default(),
        enabled: body.enabled,
        idempotency_key,
    };
    let answer = app.keys.create_consumer(Request::new(request)).await?.into_inner();
    let record: Consumer = required(answer.consumer, "consumer")?.try_into()?;
    let path = format!("/v1/consumers/{}", record.id);
    Ok(Created::at(path, record))
}

/// List consumers
///
/// The newest first.
#[utoipa::path(
    get, path = "/v1/consumers", operation_id = "listConsumers", tag = "consumers", params(ConsumersQuery),
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The workspace's consumers.", body = Consumers),
        (status = 403, description = "The caller may not see consumers here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn list_consumers(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ConsumersQuery>,
) -> Result<Json<Consumers>, Problem> {
    let request = ListConsumersRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        page: Some(page(query.limit, query.cursor.as_deref())?),
        q: query.q.unwrap_or_default(),
        external_id: query.external_id,
        plan_id: query.plan_id.unwrap_or_default(),
        enabled: query.enabled,
    };
    let answer = app.keys.list_consumers(Request::new(request)).await?.into_inner();
    Ok(Json(Consumers { data: all(answer.consumers)?, next_cursor: answer.next_cursor }))
}

/// Show a consumer
#[utoipa::path(
    get, path = "/v1/consumers/{id}", operation_id = "getConsumer", tag = "consumers",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The consumer.", body = Consumer),
        (status = 403, description = "The caller may not see consumers here."),
    )
)]
pub(crate) async fn get_consumer(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
) -> Result<Json<Consumer>, Problem> {
    let request = GetConsumerRequest { caller: Some(caller.to_proto()), consumer_id: id.to_string() };
    let answer = app.keys.get_consumer(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.consumer, "consumer")?.try_into()?))
}

/// Change a consumer
///
/// Changes all its keys at once: when this returns, the next call with any of them is decided by what stands here. Disabling
/// a consumer locks out all its keys.
#[utoipa::path(
    patch, path = "/v1/consumers/{id}", operation_id = "updateConsumer", tag = "consumers",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The consumer as it is now.", body = ChangedConsumer),
        (status = 403, description = "The caller may not change consumers here."),
        (status = 409, description = "The `external_id` is taken."),
    )
)]
pub(crate) async fn update_consumer(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<ConsumerPatch>,
) -> Result<Json<ChangedConsumer>, Problem> {
    let mut cleared = Cleared::default();
    let limits = body.limits.map(|it| LimitList { items: it.into_iter().map(Into::into).collect() });
    let metadata = body.metadata.map(|it| Value::Object(it).to_string());
    let request = UpdateConsumerRequest {
        caller: Some(caller.to_proto()),
        consumer_id: id.to_string(),
        name: cleared.value("name", body.name),
        external_id: cleared.value("external_id", body.external_id),
        plan_id: cleared.value("plan_id", body.plan_id),
        limits: cleared.value("limits", limits),
        metadata_json: cleared.value("metadata", metadata),
        enabled: cleared.value("enabled", body.enabled),
        clear: cleared.into_names(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.update_consumer(Request::new(request)).await?.into_inner();
    let record = required(answer.consumer, "consumer")?.try_into()?;
    Ok(Json(ChangedConsumer { record, effect: Effect::of(answer.effect)? }))
}

/// Delete a consumer
///
/// Not while it has keys that are not revoked. Those that are revoked lose it.
#[utoipa::path(
    delete, path = "/v1/consumers/{id}", operation_id = "deleteConsumer", tag = "consumers",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the consumer.", example = "con_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The consumer is gone.", body = Effect),
        (status = 403, description = "The caller may not delete consumers here."),
        (status = 409, description = "It has keys that are not revoked."),
    )
)]
pub(crate) async fn delete_consumer(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConsumerId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    let request = DeleteConsumerRequest {
        caller: Some(caller.to_proto()),
        consumer_id: id.to_string(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.delete_consumer(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.effect, "effect")?.try_into()?))
}

impl TryFrom<keys::Consumer> for Consumer {
    type Error = Fault;

    fn try_from(consumer: keys::Consumer) -> Result<Self, Fault> {
        Ok(Self {
            metadata: object(&consumer.metadata_json)?,
            created_at: instant(consumer.created_at, "created_at")?,
            id: consumer.id,
            workspace_id: consumer.workspace_id,
            name: consumer.name,
            external_id: consumer.external_id,
            plan_id: consumer.plan_id,
            limits: all(consumer.limits)?,
            enabled: consumer.enabled,
            created_by: consumer.created_by,
        })
    }
}
