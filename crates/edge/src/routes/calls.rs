//! Calls whose cost is known afterwards: reserved by a question about a key, then settled or refunded.

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use tollgate_kernel::Fault;
use utoipa::ToSchema;

use super::verify::check_may_verify;
use crate::{
    app::App,
    extract::{Caller, Json},
    principal::Principal,
    problem::Problem,
};

/// What a reserved call turned out to cost.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettledCall {
    /// As in the question about the key.
    #[schema(min_length = 1, max_length = 128, example = "3f1c0b6e")]
    request_id: String,
    /// Units: at most what was reserved.
    #[schema(minimum = 0, maximum = 1_000_000_000, example = 1)]
    cost: u32,
    /// The key's workspace; a service key's own if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// A reserved call that shall have cost nothing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefundedCall {
    /// As in the question about the key.
    #[schema(min_length = 1, max_length = 128, example = "3f1c0b6e")]
    request_id: String,
    /// The key's workspace; a service key's own if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// Settle a reserved call
///
/// Says what it turned out to cost: what was charged beyond it is given back, of limits and of credits. The same cost again
/// succeeds. Who may verify keys of the workspace may settle their calls.
#[utoipa::path(
    post, path = "/v1/credits/settle", operation_id = "settleCall", tag = "verify",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 204, description = "It has cost that."),
        (status = 403, description = "The caller is a service key without `keys.verify`."),
        (status = 404, description = "No such call is remembered any more, which stays charged; or there is no such workspace."),
        (status = 409, description = "It was settled otherwise, or refunded."),
    )
)]
pub(crate) async fn settle_call(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<SettledCall>,
) -> Result<StatusCode, Problem> {
    check_may_verify(&app, &caller.principal)?;
    let workspace = body.workspace_id.unwrap_or_default();
    settle(&app, &caller.principal, &workspace, body.request_id, Some(body.cost)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refund a reserved call
///
/// Gives back all that it was charged. Again succeeds.
#[utoipa::path(
    post, path = "/v1/credits/refund", operation_id = "refundCall", tag = "verify",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 204, description = "It has cost nothing."),
        (status = 403, description = "The caller is a service key without `keys.verify`."),
        (status = 404, description = "No such call is remembered any more, which stays charged; or there is no such workspace."),
        (status = 409, description = "It was settled."),
    )
)]
pub(crate) async fn refund_call(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<RefundedCall>,
) -> Result<StatusCode, Problem> {
    check_may_verify(&app, &caller.principal)?;
    let workspace = body.workspace_id.unwrap_or_default();
    settle(&app, &caller.principal, &workspace, body.request_id, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Settles a call of this workspace, or, if that is empty, of the caller's own; no cost: it is refunded.
pub(crate) async fn settle(
    app: &App,
    caller: &Principal,
    workspace: &str,
    request_id: String,
    cost: Option<u32>,
) -> Result<(), Fault> {
    let workspace = match (workspace, caller) {
        ("", Principal::ServiceKey(grant)) => grant.workspace_id,
        ("", Principal::User { .. }) => return Err(Fault::invalid("/workspace_id", "is required of a user")),
        (text, _) => text.parse().map_err(|_| Fault::not_found("workspace"))?,
    };
    app.gate.settle(caller, workspace, request_id, cost).await
}
