//! Protected routes that say who called: counted and limited like any protected call.

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_verify::{Grant, LiveToken};
use utoipa::ToSchema;

use super::environment::Environment;
use crate::{
    app::App,
    extract::{Json, Presented},
    problem::Problem,
    protected::{Accepts, Subject},
};

/// Who called.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum WhoAmI {
    /// A person, by access token.
    User(WhoAmIUser),
    /// A key.
    Key(WhoAmIKey),
}

/// A person, by access token.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoAmIUser {
    /// Who.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    user_id: String,
    /// By which login.
    #[schema(example = "ses_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    session_id: String,
    /// Whether the user administers this instance.
    operator: bool,
    /// When the access token ends.
    expires_at: DateTime<Utc>,
}

/// A key.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoAmIKey {
    /// Which.
    #[schema(example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    key_id: String,
    /// The workspace that owns it.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: String,
    /// What it is for.
    environment: Environment,
    /// The name of its plan.
    #[schema(example = "basic")]
    plan: String,
    /// What it may do.
    #[schema(example = json!(["orders.read"]))]
    scopes: Vec<String>,
    /// As given when it was made.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// When it ends by itself. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<DateTime<Utc>>,
    /// An old secret of it was presented: a newer one has taken its place, and from then on this one does not pass. Left out: it
    /// is the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retires_at: Option<DateTime<Utc>>,
    /// When it is to be rotated, or was. Left out: neither a plan of its own nor the workspace's policy asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rotation_due_at: Option<DateTime<Utc>>,
}

/// Who am I
///
/// Takes a key or an access token.
#[utoipa::path(
    get, path = "/v1/whoami", operation_id = "whoami", tag = "protected",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses((status = 200, description = "Who called.", body = WhoAmI))
)]
pub(crate) async fn whoami(
    State(app): State<App>,
    presented: Presented,
) -> Result<(HeaderMap, Json<WhoAmI>), Problem> {
    let passed = app.gate.protect(presented, Accepts::Either).await?;
    Ok((passed.headers, Json(passed.subject.into())))
}

/// Which user am I
///
/// Takes an access token only.
#[utoipa::path(
    get, path = "/v1/whoami/user", operation_id = "whoamiUser", tag = "protected", security(("bearerAuth" = [])),
    responses((status = 200, description = "Who called.", body = WhoAmI))
)]
pub(crate) async fn whoami_user(
    State(app): State<App>,
    presented: Presented,
) -> Result<(HeaderMap, Json<WhoAmI>), Problem> {
    let passed = app.gate.protect(presented, Accepts::Token).await?;
    Ok((passed.headers, Json(passed.subject.into())))
}

/// Which key am I
///
/// Takes a key only.
#[utoipa::path(
    get, path = "/v1/whoami/key", operation_id = "whoamiKey", tag = "protected",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses((status = 200, description = "Who called.", body = WhoAmI))
)]
pub(crate) async fn whoami_key(
    State(app): State<App>,
    presented: Presented,
) -> Result<(HeaderMap, Json<WhoAmI>), Problem> {
    let passed = app.gate.protect(presented, Accepts::Key).await?;
    Ok((passed.headers, Json(passed.subject.into())))
}

impl From<Subject> for WhoAmI {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::User(token) => Self::User(token.into()),
            Subject::Key(grant) => Self::Key((&*grant).into()),
        }
    }
}

impl From<LiveToken> for WhoAmIUser {
    fn from(token: LiveToken) -> Self {
        Self {
            user_id: token.claims.user_id.to_string(),
            session_id: token.claims.session_id.to_string(),
            operator: token.operator,
            expires_at: token.claims.expires_at,
        }
    }
}

impl From<&Grant> for WhoAmIKey {
    fn from(grant: &Grant) -> Self {
        Self {
            key_id: grant.key_id.to_string(),
            workspace_id: grant.workspace_id.to_string(),
            environment: grant.environment.into(),
            plan: grant.plan.clone(),
            scopes: grant.scopes.clone(),
            metadata: grant.metadata.clone(),
            expires_at: grant.expires_at,
            retires_at: grant.retires_at(),
            rotation_due_at: grant.rotation_due_at,
        }
    }
}
