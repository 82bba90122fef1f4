//! Webhooks: endpoints that are told of events. What they were told is in `webhook_deliveries`.

use axum::{extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, WebhookId};
use tollgate_proto::keys::{
    self, CreateWebhookRequest, DeleteWebhookRequest, GetWebhookRequest, ListWebhooksRequest,
    RotateWebhookSecretRequest, UpdateWebhookRequest, WebhookEvents,
};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    created::Created,
    list::{WorkspaceQuery, list_of, page},
};
use crate::{
    app::App,
    extract::{Caller, Cleared, IdempotencyKey, Json, Patch, PathId, Query},
    problem::Problem,
    wire::{all, filled, instant, optional_instant, required},
};

/// A webhook to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewWebhook {
    /// Where events are posted to: https, on the public internet, without user and fragment.
    #[schema(max_length = 2048, example = "https://hooks.example.com/tollgate")]
    url: String,
    /// What it is told of: `key.created`, `key.rotated`, `key.revoked`, `key.leaked`, `key.expiring`, `key.rotation_due`,
    /// `key.retired`, `quota.reached`, `webhook.disabled`.
    #[schema(min_items = 1, max_items = 9, example = json!(["key.revoked", "key.leaked"]))]
    events: Vec<String>,
    /// For people.
    #[schema(max_length = 1000, nullable = false, example = "The on-call channel")]
    description: Option<String>,
    /// Whether it is told at all; it is if this is not given.
    #[schema(nullable = false, example = true)]
    enabled: Option<bool>,
    /// Where it is made; the caller's own workspace if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// What is to be changed of a webhook. What is left out stays; `null` takes the value away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookPatch {
    /// Where events are posted to from then on, also those that were tried before.
    #[serde(default)]
    #[schema(value_type = String, max_length = 2048, example = "https://hooks.example.com/tollgate")]
    url: Patch<String>,
    /// What it is told of: all of it anew.
    #[serde(default)]
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 9, example = json!(["key.leaked"]))]
    events: Patch<Vec<String>>,
    /// For people.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 1000)]
    description: Patch<String>,
    /// Whether it is told at all. What happens while it is not, it is never told.
    #[serde(default)]
    #[schema(value_type = bool, example = true)]
    enabled: Patch<bool>,
}

/// How a webhook gets another secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRotation {
    /// For how many seconds the secret before signs, too, at most 7 days. A day if it is not given; 0: not at all.
    #[schema(minimum = 0, maximum = 604_800, nullable = false, example = 86_400)]
    overlap_seconds: Option<u32>,
}

/// An endpoint that is told of events.
#[derive(Serialize, ToSchema)]
pub(crate) struct Webhook {
    /// Names the webhook.
    #[schema(example = "whk_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// The workspace whose events it is told of.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// Where events are posted to.
    #[schema(example = "https://hooks.example.com/tollgate")]
    url: String,
    /// What it is told of.
    #[schema(example = json!(["key.revoked", "key.leaked"]))]
    events: Vec<String>,
    /// For people.
    #[schema(example = "The on-call channel")]
    description: String,
    /// Whether it is told at all.
    enabled: bool,
    /// Why it was disabled, if nobody did it: `failures` (nothing reached it for days) or `gone` (it answered 410).
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(example = "failures")]
    disabled_for: String,
    /// Since when nothing has reached it. Left out: the last attempt did, or there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failing_since: Option<DateTime<Utc>>,
    /// Until then the secret before signs, too. Left out: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    previous_secret_until: Option<DateTime<Utc>>,
    /// The user who made it.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    created_by: String,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A webhook with a secret that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookWithSecret {
    /// Its record.
    #[serde(flatten)]
    record: Webhook,
    /// What signs (Standard Webhooks): shown here and never again. Left out of the answer to a retry with the same
    /// `Idempotency-Key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "whsec_…")]
    secret: Option<String>,
}

list_of! {
    /// A page of webhooks.
    Webhooks(Webhook)
}

/// Make a webhook
///
/// For owners and admins. A workspace has 20 at most.
#[utoipa::path(
    post, path = "/v1/webhooks", operation_id = "createWebhook", tag = "webhooks",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(IdempotencyKey),
    responses(
        (status = 201, description = "The webhook was made. Its secret is shown this once.", body = WebhookWithSecret, headers(
            ("Location" = String, description = "The webhook's address."),
        )),
        (status = 403, description = "The caller may not make webhooks here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
        (status = 409, description = "The workspace has as many as it may have, or the `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn create_webhook(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<NewWebhook>,
) -> Result<Created<WebhookWithSecret>, Problem> {
    let request = CreateWebhookRequest {
        caller: Some(caller.to_proto()),
        workspace_id: body.workspace_id.unwrap_or_default(),
        url: body.url,
        events: body.events,
        description: body.description.unwrap_or_default(),
        enabled: body.enabled,
        idempotency_key,
    };
    let answer = app.keys.create_webhook(Request::new(request)).await?.into_inner();
    let record: Webhook = required(answer.webhook, "webhook")?.try_into()?;
    let path = format!("/v1/webhooks/{}", record.id);
    let made = WebhookWithSecret { record, secret: filled(answer.secret) };
    Ok(Created::at(path, made))
}

/// List webhooks
#[utoipa::path(
    get, path = "/v1/webhooks", operation_id = "listWebhooks", tag = "webhooks", params(WorkspaceQuery),
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The workspace's webhooks.", body = Webhooks),
        (status = 403, description = "The caller may not see webhooks here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn list_webhooks(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<WorkspaceQuery>,
) -> Result<Json<Webhooks>, Problem> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let request = ListWebhooksRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        limit: page.limit,
        cursor: page.cursor,
    };
    let answer = app.keys.list_webhooks(Request::new(request)).await?.into_inner();
    Ok(Json(Webhooks { data: all(answer.webhooks)?, next_cursor: answer.next_cursor }))
}

/// Show a webhook
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", operation_id = "getWebhook", tag = "webhooks",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the webhook.", example = "whk_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The webhook.", body = Webhook),
        (status = 403, description = "The caller may not see webhooks here."),
    )
)]
pub(crate) async fn get_webhook(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WebhookId>,
) -> Result<Json<Webhook>, Problem> {
    let request = GetWebhookRequest { caller: Some(caller.to_proto()), webhook_id: id.to_string() };
    let answer = app.keys.get_webhook(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.webhook, "webhook")?.try_into()?))
}

/// Change a webhook
///
/// Enabling one that was disabled begins its failures anew.
#[utoipa::path(
    patch, path = "/v1/webhooks/{id}", operation_id = "updateWebhook", tag = "webhooks",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the webhook.", example = "whk_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The webhook as it is now.", body = Webhook),
        (status = 403, description = "The caller may not change webhooks here."),
    )
)]
pub(crate) async fn update_webhook(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WebhookId>,
    Json(body): Json<WebhookPatch>,
) -> Result<Json<Webhook>, Problem> {
    let mut cleared = Cleared::default();
    let request = UpdateWebhookRequest {
        caller: Some(caller.to_proto()),
        webhook_id: id.to_string(),
        url: cleared.value("url", body.url),
        events: cleared.value("events", body.events.map(|items| WebhookEvents { items })),
        enabled: cleared.value("enabled", body.enabled),
        description: cleared.value("description", body.description),
        clear: cleared.into_names(),
    };
    let answer = app.keys.update_webhook(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.webhook, "webhook")?.try_into()?))
}

/// Delete a webhook
///
/// With what it was told. Nothing is sent to it any more, but for what is on its way.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", operation_id = "deleteWebhook", tag = "webhooks",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the webhook.", example = "whk_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 204, description = "The webhook is gone."),
        (status = 403, description = "The caller may not delete webhooks here."),
    )
)]
pub(crate) async fn delete_webhook(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WebhookId>,
) -> Result<StatusCode, Problem> {
    let request = DeleteWebhookRequest { caller: Some(caller.to_proto()), webhook_id: id.to_string() };
    app.keys.delete_webhook(Request::new(request)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a webhook another secret
///
/// While the two overlap, what is sent has a signature by each. One that still overlaps from an earlier rotation signs no more.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate-secret", operation_id = "rotateWebhookSecret", tag = "webhooks",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the webhook.", example = "whk_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The webhook has a new secret, which is shown this once.", body = WebhookWithSecret),
        (status = 403, description = "The caller may not change webhooks here."),
    )
)]
pub(crate) async fn rotate_webhook_secret(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WebhookId>,
    Json(body): Json<SecretRotation>,
) -> Result<Json<WebhookWithSecret>, Problem> {
    let request = RotateWebhookSecretRequest {
        caller: Some(caller.to_proto()),
        webhook_id: id.to_string(),
        overlap_seconds: body.overlap_seconds,
    };
    let answer = app.keys.rotate_webhook_secret(Request::new(request)).await?.into_inner();
    let record = required(answer.webhook, "webhook")?.try_into()?;
    Ok(Json(WebhookWithSecret { record, secret: filled(answer.secret) }))
}

impl TryFrom<keys::Webhook> for Webhook {
    type Error = Fault;

    fn try_from(webhook: keys::Webhook) -> Result<Self, Fault> {
        Ok(Self {
            failing_since: optional_instant(webhook.failing_since)?,
            previous_secret_until: optional_instant(webhook.previous_secret_until)?,
            created_at: instant(webhook.created_at, "created_at")?,
            id: webhook.id,
            workspace_id: webhook.workspace_id,
            url: webhook.url,
            events: webhook.events,
            description: webhook.description,
            enabled: webhook.enabled,
            disabled_for: webhook.disabled_for,
            created_by: webhook.created_by,
        })
    }
}
