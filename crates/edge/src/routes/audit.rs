//! What was done in a workspace, by whom.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::Fault;
use tollgate_proto::keys::{self, ListAuditEventsRequest};
use tonic::Request;
use utoipa::{IntoParams, ToSchema};

use super::list::{list_of, page};
use crate::{
    app::App,
    extract::{Caller, Json, Query},
    problem::Problem,
    wire::{all, instant, optional_wire},
};

/// Something that was done.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditEvent {
    /// Names the event.
    #[schema(example = "aud_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// Where it was done.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// When.
    at: DateTime<Utc>,
    /// The user or the service key that did it; `system` for what a policy asked for.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    actor: String,
    /// The user's session. Left out: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "ses_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    session: Option<String>,
    /// Where the actor called from. Left out: it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "203.0.113.9")]
    ip: Option<String>,
    /// What was done.
    #[schema(example = "key.create")]
    action: String,
    /// The id of what it was done to.
    #[schema(example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    target: String,
}

list_of! {
    /// A page of audit events.
    AuditEvents(AuditEvent)
}

/// Which events.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// How many; 25 if it is not given.
    #[param(minimum = 1, maximum = 100, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before; the first page if it is not given.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// The caller's own workspace if it is not given.
    #[param(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
    /// By this user or service key only.
    #[param(nullable = false, max_length = 100, example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    actor: Option<String>,
    /// Of this kind only.
    #[param(nullable = false, max_length = 100, example = "key.create")]
    action: Option<String>,
    /// To the thing with this id only.
    #[param(nullable = false, max_length = 100, example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    target: Option<String>,
    /// From this instant.
    #[param(nullable = false)]
    from: Option<DateTime<Utc>>,
    /// To this instant, exclusive.
    #[param(nullable = false)]
    to: Option<DateTime<Utc>>,
}

/// List what was done
///
/// The newest first; as long as `keys.audit_retention_days` says. For owners and admins.
#[utoipa::path(
    get, path = "/v1/audit-events", operation_id = "listAuditEvents", tag = "audit",
    params(AuditQuery), security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "What was done in the workspace.", body = AuditEvents),
        (status = 403, description = "The caller may not see what was done here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn list_audit_events(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditEvents>, Problem> {
    let page = page(query.limit, query.cursor.as_deref())?;
    let request = ListAuditEventsRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        limit: page.limit,
        cursor: page.cursor,
        actor: query.actor.unwrap_or_default(),
        action: query.action.unwrap_or_default(),
        target: query.target.unwrap_or_default(),
        from: optional_wire(query.from),
        to: optional_wire(query.to),
    };
    let answer = app.keys.list_audit_events(Request::new(request)).await?.into_inner();
    Ok(Json(AuditEvents { data: all(answer.events)?, next_cursor: answer.next_cursor }))
}

impl TryFrom<keys::AuditEvent> for AuditEvent {
    type Error = Fault;

    fn try_from(event: keys::AuditEvent) -> Result<Self, Fault> {
        Ok(Self {
            at: instant(event.at, "at")?,
            id: event.id,
            workspace_id: event.workspace_id,
            actor: event.actor,
            session: event.session,
            ip: event.ip,
            action: event.action,
            target: event.target,
        })
    }
}
