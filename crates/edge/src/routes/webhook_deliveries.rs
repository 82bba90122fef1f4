//! What a webhook was told, and how that went: listed, told once more, tried out.

use axum::{
    extract::{FromRequestParts, Path, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use http::request::Parts;
use serde::Serialize;
use tollgate_kernel::{DeliveryId, Fault, WebhookId};
use tollgate_proto::keys::{
    self, ListWebhookDeliveriesRequest, ReplayWebhookDeliveryRequest, TestWebhookRequest,
};
use tonic::Request;
use utoipa::ToSchema;

use super::list::{PageQuery, list_of};
use crate::{
    app::App,
    extract::{Caller, Json, PathId, Query},
    problem::Problem,
    wire::{all, instant, optional_instant, required},
};

/// The telling of one webhook of one event.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookDelivery {
    /// Names the delivery.
    #[schema(example = "dlv_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// What `webhook-id` says in every attempt, and in a replay.
    #[schema(example = "msg_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    message_id: String,
    /// The type of the event.
    #[schema(example = "key.revoked")]
    event: String,
    /// `pending`, `delivered` or `failed`.
    #[schema(example = "delivered")]
    status: String,
    /// How often it was tried.
    attempts: u32,
    /// Of a pending one: when it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_attempt_at: Option<DateTime<Utc>>,
    /// What the last attempt was answered with. Left out: with nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 200)]
    status_code: Option<u32>,
    /// Why the last attempt had no answer: `timeout`, `dns`, `address`, `connect`, `tls`, `http`. Or why there was none:
    /// `disabled`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(example = "timeout")]
    error: String,
    /// When it was first to be told.
    created_at: DateTime<Utc>,
    /// When it was delivered, or given up. Left out: neither yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    finished_at: Option<DateTime<Utc>>,
}

list_of! {
    /// A page of deliveries.
    WebhookDeliveries(WebhookDelivery)
}

/// The `{id}` and the `{delivery_id}` of the path.
pub(crate) struct DeliveryPath(WebhookId, DeliveryId);

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let ids =
            texts.ok().and_then(|Path((webhook, id))| Some(Self(webhook.parse().ok()?, id.parse().ok()?)));
        ids.ok_or_else(Problem::not_found)
    }
}

/// List what a webhook was told
///
/// The newest first; kept for a month, unless the installation says otherwise.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/deliveries", operation_id = "listWebhookDeliveries", tag = "webhooks",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the webhook.", example = "whk_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        PageQuery,
    ),
    responses(
        (status = 200, description = "The webhook's deliveries.", body = WebhookDeliveries),
        (status = 403, description = "The caller may not see webhooks here."),
    )
)]
pub(crate) async fn list_webhook_deliveries(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WebhookId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<WebhookDeliveries>, Problem> {
    let page = query.to_proto()?;
    let request = ListWebhookDeliveriesRequest {
        caller: Some(caller.to_proto()),
        webhook_id: id.to_string(),
        limit: page.limit,
        cursor: page.cursor,
    };
    let answer = app.keys.list_webhook_deliveries(Request::new(request)).await?.into_inner();
    Ok(Json(WebhookDeliveries { data: all(answer.deliveries)?, next_cursor: answer.next_cursor }))
}

/// Tell a webhook once more
///
/// Makes another delivery of the same message, with the same `webhook-id`: a receiver that has seen it may pass over it.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/deliveries/{delivery_id}/replay", operation_id = "replayWebhookDelivery",
    tag = "webhooks", security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the webhook.", example = "whk_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        ("delivery_id" = String, Path, description = "Names a delivery of the message.", example = "dlv_01jd3t9y2ve5rbq2m8xg7kz4hn"),
    ),
    responses(
        (status = 202, description = "It is going to be sent.", body = WebhookDelivery),
        (status = 403, description = "The caller may not use webhooks here."),
        (status = 409, description = "The webhook is disabled."),
    )
)]
pub(crate) async fn replay_webhook_delivery(
    State(app): State<App>,
    caller: Caller,
    DeliveryPath(webhook, delivery): DeliveryPath,
) -> Result<(StatusCode, Json<WebhookDelivery>), Problem> {
    let request = ReplayWebhookDeliveryRequest {
        caller: Some(caller.to_proto()),
        webhook_id: webhook.to_string(),
        delivery_id: delivery.to_string(),
    };
    let answer = app.keys.replay_webhook_delivery(Request::new(request)).await?.into_inner();
    Ok((StatusCode::ACCEPTED, Json(required(answer.delivery, "delivery")?.try_into()?)))
}

/// Try a webhook out
///
/// Sends it an event of the type `webhook.test`, whatever it asks for.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/test", operation_id = "testWebhook", tag = "webhooks",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the webhook.", example = "whk_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 202, description = "It is going to be sent.", body = WebhookDelivery),
        (status = 403, description = "The caller may not use webhooks here."),
        (status = 409, description = "The webhook is disabled."),
    )
)]
pub(crate) async fn test_webhook(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WebhookId>,
) -> Result<(StatusCode, Json<WebhookDelivery>), Problem> {
    let request = TestWebhookRequest { caller: Some(caller.to_proto()), webhook_id: id.to_string() };
    let answer = app.keys.test_webhook(Request::new(request)).await?.into_inner();
    Ok((StatusCode::ACCEPTED, Json(required(answer.delivery, "delivery")?.try_into()?)))
}

impl TryFrom<keys::WebhookDelivery> for WebhookDelivery {
    type Error = Fault;

    fn try_from(delivery: keys::WebhookDelivery) -> Result<Self, Fault> {
        Ok(Self {
            next_attempt_at: optional_instant(delivery.next_attempt_at)?,
            created_at: instant(delivery.created_at, "created_at")?,
            finished_at: optional_instant(delivery.finished_at)?,
            id: delivery.id,
            message_id: delivery.message_id,
            event: delivery.event,
            status: delivery.status,
            attempts: delivery.attempts,
            status_code: delivery.status_code,
            error: delivery.error,
        })
    }
}
