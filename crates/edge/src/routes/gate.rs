//! Forward authentication: a gateway asks before it lets a request through to somebody's API.

use axum::extract::State;
use chrono::SecondsFormat;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use tollgate_kernel::Fault;
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    extract::{Presented, Query},
    problem::Problem,
    protected::{Accepts, Subject},
};

static USER_ID: HeaderName = HeaderName::from_static("x-tollgate-user-id");
static KEY_ID: HeaderName = HeaderName::from_static("x-tollgate-key-id");
static WORKSPACE_ID: HeaderName = HeaderName::from_static("x-tollgate-workspace-id");
static CONSUMER_ID: HeaderName = HeaderName::from_static("x-tollgate-consumer-id");
static SCOPES: HeaderName = HeaderName::from_static("x-tollgate-scopes");
static KEY_RETIRES_AT: HeaderName = HeaderName::from_static("x-tollgate-key-retires-at");
static PLAN: HeaderName = HeaderName::from_static("x-tollgate-plan");
static STATUS: HeaderName = HeaderName::from_static("x-tollgate-status");

/// Every header that a gateway is told by, of which a client may send none.
pub(crate) static INTRODUCTION: [&HeaderName; 8] =
    [&USER_ID, &KEY_ID, &WORKSPACE_ID, &CONSUMER_ID, &SCOPES, &KEY_RETIRES_AT, &PLAN, &STATUS];

/// How the gateway wants to hear it.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GateQuery {
    /// `nginx`: any refusal but 401 and 403 is answered 403 with the true status in `X-Tollgate-Status`, because nginx's
    /// `auth_request` makes a 500 of all else.
    #[param(inline, nullable = false)]
    status: Option<StatusStyle>,
}

/// How the gateway wants to hear it.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusStyle {
    Nginx,
}

/// Ask for a gateway
///
/// Takes the client's key or access token as a protected route does, in a request of any method, without a body. 200 means:
/// let it through, with who it is in the headers. A header that does not apply is left out: the gateway must drop what the
/// client sent under that name.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options),
    path = "/v1/gate", operation_id = "gate", tag = "protected",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])), params(GateQuery),
    responses(
        (status = 200, description = "Let it through.", headers(
            ("X-Tollgate-User-Id" = String, description = "The user, of an access token."),
            ("X-Tollgate-Key-Id" = String, description = "The key."),
            ("X-Tollgate-Workspace-Id" = String, description = "The workspace that owns the key."),
            ("X-Tollgate-Consumer-Id" = String, description = "Whom the key was given to, if it is somebody in particular."),
            ("X-Tollgate-Scopes" = String, description = "What the key may do, separated by spaces."),
            ("X-Tollgate-Key-Retires-At" = String, description = "An old secret of the key was presented: until then it passes (RFC 3339)."),
            ("X-Tollgate-Plan" = String, description = "The name of the key's plan."),
        )),
        (status = 403, description = "The key may not make this call; or, for nginx, see `X-Tollgate-Status`."),
    )
)]
pub(crate) async fn gate(
    State(app): State<App>,
    Query(query): Query<GateQuery>,
    presented: Presented,
) -> Result<HeaderMap, Problem> {
    let answer = async {
        let passed = app.gate.protect(presented, Accepts::Either).await?;
        Ok(who(&passed.subject, passed.headers)?)
    };
    answer.await.map_err(|problem| match query.status {
        Some(StatusStyle::Nginx) => for_nginx(problem),
        None => problem,
    })
}

/// Who passed, in the headers of an answer that has these.
pub(crate) fn who(subject: &Subject, mut headers: HeaderMap) -> Result<HeaderMap, Fault> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(Fault::internal);
    match subject {
        Subject::User(token) => {
            headers.insert(&USER_ID, value(&token.claims.user_id.to_string())?);
        }
        Subject::Key(grant) => {
            headers.insert(&KEY_ID, value(&grant.key_id.to_string())?);
            headers.insert(&WORKSPACE_ID, value(&grant.workspace_id.to_string())?);
            if let Some(consumer) = &grant.consumer {
                headers.insert(&CONSUMER_ID, value(&consumer.consumer_id.to_string())?);
            }
            headers.insert(&SCOPES, value(&grant.scopes.join(" "))?);
            headers.insert(&PLAN, value(&grant.plan)?);
            if let Some(at) = grant.retires_at() {
                headers.insert(&KEY_RETIRES_AT, value(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true))?);
            }
        }
    }
    Ok(headers)
}

/// Refusals of the client, in the two statuses that nginx passes on. A failure of ours stays a failure.
fn for_nginx(problem: Problem) -> Problem {
    match problem.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => problem,
        status if status.is_client_error() => {
            problem.header(STATUS.clone(), status.as_u16().into()).with_status(StatusCode::FORBIDDEN)
        }
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_verify::VerdictCode;

    use super::*;

    #[test]
    fn nginx_hears_401_and_403_only() {
        for (code, status, true_status) in [
            (VerdictCode::Revoked, 401, None),
            (VerdictCode::ForbiddenIp, 403, None),
            (VerdictCode::RateLimited, 403, Some(429)),
        ] {
            let problem = for_nginx(Problem::refused(code).expect("a refusal"));
            assert_eq!(problem.status().as_u16(), status);
            assert_eq!(problem.headers().get(&STATUS), true_status.map(HeaderValue::from).as_ref());
        }
        let ours = for_nginx(Fault::unavailable("down").into());
        assert_eq!(ours.status(), StatusCode::SERVICE_UNAVAILABLE);
        let theirs = for_nginx(Problem::ambiguous_credential("two"));
        assert_eq!((theirs.status().as_u16(), &theirs.headers()[&STATUS]), (403, &HeaderValue::from(400)));
    }
}
