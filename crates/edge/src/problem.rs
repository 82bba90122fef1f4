//! How every refusal leaves over HTTP: `application/problem+json` (RFC 9457), with the challenges of RFC 6750.
//!
//! A [`Fault`] becomes a problem by one total match; its cause is logged here, once, and never shown.

use std::{borrow::Cow, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use tollgate_kernel::{Code, Fault};
use tollgate_proto::context::Context;
use tollgate_verify::{Refusal, VerdictCode};
use utoipa::ToSchema;

/// The media type of RFC 9457.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// The type and title of every 429 (draft-ietf-httpapi-ratelimit-headers-10 section 5.1).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const QUOTA_EXCEEDED_TITLE: &str = "Request cannot be satisfied as assigned quota has been exceeded";

/// A refusal on its way out. Boxed, because it travels in the `Err` of every handler.
#[derive(Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Cow<'static, str>,
    status: StatusCode,
    title: &'static str,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    violated_policies: Vec<String>,
    headers: HeaderMap,
}

/// Why a request was refused or failed (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// Names the kind of problem; the same for the same `code`. Of a 429: that of draft-ietf-httpapi-ratelimit-headers.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "urn:tollgate:problem:invalid-argument")]
    kind: Cow<'static, str>,
    /// The kind of problem in words; the same for the same `code`.
    #[schema(example = "Invalid request")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 422, minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong this time, for a person. Not for programs to read.
    #[schema(example = "The request breaks a rule; see `errors`.")]
    detail: Cow<'static, str>,
    /// What programs branch on.
    #[schema(example = "INVALID_ARGUMENT")]
    code: &'static str,
    /// The request's id, as in the `x-request-id` header: what to quote when asking for help.
    #[schema(example = "req_8d1c6f0a2b9e4c7d5a3f1e0b")]
    request_id: String,
    /// Each thing that is wrong with the request. Left out if the problem is not about the request's fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// Of a 429: the names of the limits that are used up, as in `RateLimit-Policy`. Left out if they have no names.
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["minute"]))]
    violated_policies: Vec<String>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body, or the name of a query parameter after a slash.
    #[schema(example = "/limits/0/window_seconds")]
    pub(crate) pointer: Cow<'static, str>,
    /// What is wrong there.
    #[schema(example = "must be at least 1")]
    pub(crate) detail: Cow<'static, str>,
}

impl Problem {
    /// A problem of the transport's own: nothing that a role would say.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => QUOTA_EXCEEDED.into(),
            _ => format!("urn:tollgate:problem:{}", code.to_ascii_lowercase().replace('_', "-")).into(),
        };
        Self(Box::new(Inner {
            kind,
            status,
            title,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            violated_policies: Vec::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// 400: the request cannot be read.
    pub(crate) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", "Bad request", detail)
    }

    /// 400: more than one credential (RFC 6750 section 3.1, `invalid_request`).
    pub(crate) fn ambiguous_credential(detail: &'static str) -> Self {
        Self::bad_request(detail).challenge(r#"Bearer realm="tollgate", error="invalid_request""#)
    }

    /// 401: nobody has said who this is.
    pub(crate) fn no_credential() -> Self {
        Fault::new(Code::Unauthenticated, "Send an API key or an access token.").into()
    }

    /// 401: the credential is not valid. The same for every reason, so that nobody learns which keys there are.
    pub(crate) fn invalid_credential() -> Self {
        Self::from(Fault::new(Code::Unauthenticated, "The credential is not valid."))
            .challenge(r#"Bearer realm="tollgate", error="invalid_token""#)
    }

    /// 404: no such address, or nothing there.
    pub(crate) fn not_found() -> Self {
        Fault::new(Code::NotFound, "There is nothing at this address.").into()
    }

    /// 405. The router adds `Allow`.
    pub(crate) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            "Method not allowed",
            "This address does not take this method; see the `Allow` header.",
        )
    }

    /// The refusal of a call by verdict. `None` for [`VerdictCode::Valid`].
    pub(crate) fn refused(code: VerdictCode) -> Option<Self> {
        Some(match code.refusal()? {
            Refusal::WhoAreYou => Self::invalid_credential(),
            Refusal::MayYou => may_you(code),
            Refusal::TooMany => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                code.as_str(),
                status_and_title(Code::RateLimited).1,
                "A limit is used up; `Retry-After` says when to come back.",
            ),
        })
    }

    /// The same problem with the names of the limits that are used up.
    #[must_use]
    pub(crate) fn violating(mut self, policies: Vec<String>) -> Self {
        self.0.violated_policies = policies;
        self
    }

    /// The status that it will have.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The same problem under another status, for a client that does not know the right one.
    #[must_use]
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// The headers that it will have.
    #[cfg(test)]
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The same problem with this header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// The same problem with these headers.
    #[must_use]
    pub(crate) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.0.headers.extend(headers);
        self
    }

    /// The same problem with `Retry-After`.
    #[must_use]
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        self.header(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)))
    }

    fn challenge(self, challenge: &'static str) -> Self {
        self.header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }
}

/// Seconds, rounded up: whoever waits this long has waited long enough. At least one.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

fn may_you(code: VerdictCode) -> Problem {
    let detail = match code {
        VerdictCode::InsufficientScope => "The key lacks a scope that this call needs.",
        VerdictCode::ForbiddenIp => "The key may not be used from this network.",
        VerdictCode::WrongEnvironment => "The key belongs to the other environment.",
        _ => "The key may not make this call.",
    };
    let problem =
        Problem::new(StatusCode::FORBIDDEN, code.as_str(), status_and_title(Code::Forbidden).1, detail);
    match code {
        VerdictCode::InsufficientScope => {
            problem.challenge(r#"Bearer realm="tollgate", error="insufficient_scope""#)
        }
        _ => problem,
    }
}

/// The total match: what each kind of fault is over HTTP.
pub(crate) const fn status_and_title(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::InvalidArgument => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid request"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "Not authenticated"),
        Code::Forbidden => (StatusCode::FORBIDDEN, "Not allowed"),
        Code::NotFound => (StatusCode::NOT_FOUND, "Not found"),
        Code::Conflict => (StatusCode::CONFLICT, "Conflict"),
        Code::RateLimited => (StatusCode::TOO_MANY_REQUESTS, QUOTA_EXCEEDED_TITLE),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
        Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "Took too long"),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        log(&fault);
        let (status, title) = status_and_title(fault.code());
        let mut problem = Self::new(status, fault.code().as_str(), title, fault.message().to_owned());
        problem.0.errors = fault
            .violated()
            .iter()
            .map(|it| FieldError { pointer: it.pointer.clone(), detail: it.detail.clone() })
            .collect();
        if fault.code() == Code::Unauthenticated {
            // RFC 9110 section 15.5.2: every 401 says how to authenticate.
            problem = problem.challenge(r#"Bearer realm="tollgate""#);
        }
        match fault.wait() {
            Some(wait) => problem.retry_after(wait),
            None => problem,
        }
    }
}

impl From<tonic::Status> for Problem {
    fn from(status: tonic::Status) -> Self {
        tollgate_proto::fault::from_status(status).into()
    }
}

/// The same over gRPC. Its cause was logged when it became a problem.
impl From<Problem> for tonic::Status {
    fn from(problem: Problem) -> Self {
        let Inner { status, detail, headers, .. } = *problem.0;
        let code = Code::ALL.into_iter().find(|code| status_and_title(*code).0 == status);
        let fault = Fault::new(code.unwrap_or(Code::InvalidArgument), detail);
        let wait = headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
        tollgate_proto::fault::to_status(match wait {
            Some(seconds) => fault.retry_after(Duration::from_secs(seconds)),
            None => fault,
        })
    }
}

/// The boundary at which a cause is logged.
fn log(fault: &Fault) {
    let Some(cause) = fault.cause() else { return };
    if fault.code() == Code::Internal {
        tracing::error!(code = fault.code().as_str(), cause, "fault");
    } else {
        tracing::warn!(code = fault.code().as_str(), cause, "fault");
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner { kind, status, title, code, detail, errors, violated_policies, headers } = *self.0;
        let body = ProblemBody {
            kind,
            title,
            status: status.as_u16(),
            detail,
            code,
            request_id: Context::current().map(|it| it.request_id().to_owned()).unwrap_or_default(),
            errors,
            violated_policies,
        };
        let json = serde_json::to_vec(&body).expect("a problem has no map with odd keys");
        let mut response = (status, headers, json).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn sent(problem: Problem) -> (StatusCode, HeaderMap, serde_json::Value) {
        let (parts, body) = problem.into_response().into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).expect("JSON"))
    }

    #[test]
    fn every_fault_has_its_status() {
        let table: Vec<_> =
            Code::ALL.iter().map(|code| (code.as_str(), status_and_title(*code).0.as_u16())).collect();
        assert_eq!(
            table,
            [
                ("INVALID_ARGUMENT", 422),
                ("UNAUTHENTICATED", 401),
                ("FORBIDDEN", 403),
                ("NOT_FOUND", 404),
                ("CONFLICT", 409),
                ("RATE_LIMITED", 429),
                ("UNAVAILABLE", 503),
                ("DEADLINE_EXCEEDED", 504),
                ("INTERNAL", 500),
            ]
        );
    }

    #[test]
    fn every_refusal_has_its_status() {
        let table: Vec<_> = VerdictCode::ALL
            .iter()
            .map(|code| (code.as_str(), Problem::refused(*code).map(|it| it.status().as_u16())))
            .collect();
        assert_eq!(
            table,
            [
                ("VALID", None),
                ("MALFORMED", Some(401)),
                ("NOT_FOUND", Some(401)),
                ("DISABLED", Some(401)),
                ("REVOKED", Some(401)),
                ("EXPIRED", Some(401)),
                ("WRONG_ENVIRONMENT", Some(403)),
                ("FORBIDDEN_IP", Some(403)),
                ("INSUFFICIENT_SCOPE", Some(403)),
                ("RATE_LIMITED", Some(429)),
                ("QUOTA_EXCEEDED", Some(429)),
            ]
        );
    }

    #[tokio::test]
    async fn the_presenter_cannot_tell_who_are_you_refusals_apart() {
        let expected = sent(Problem::invalid_credential()).await;
        for code in VerdictCode::ALL {
            if code.refusal() == Some(Refusal::WhoAreYou) {
                assert_eq!(sent(Problem::refused(*code).expect("refused")).await, expected);
            }
        }
        assert_eq!(expected.1[WWW_AUTHENTICATE], r#"Bearer realm="tollgate", error="invalid_token""#);
    }

    #[tokio::test]
    async fn a_fault_says_what_is_public_and_no_more() {
        let fault = Fault::invalid("/name", "is too long").caused_by("the disk is on fire");
        let (status, headers, body) = sent(fault.into()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(headers[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:tollgate:problem:invalid-argument",
                "title": "Invalid request",
                "status": 422,
                "detail": "The request breaks a rule; see `errors`.",
                "code": "INVALID_ARGUMENT",
                "request_id": "",
                "errors": [{ "pointer": "/name", "detail": "is too long" }],
            })
        );
    }

    #[tokio::test]
    async fn every_429_is_of_the_registered_type() {
        let denied =
            Problem::refused(VerdictCode::QuotaExceeded).expect("refused").violating(vec!["month".into()]);
        let (status, _, body) = sent(denied).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            body,
            serde_json::json!({
                "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "title": "Request cannot be satisfied as assigned quota has been exceeded",
                "status": 429,
                "detail": "A limit is used up; `Retry-After` says when to come back.",
                "code": "QUOTA_EXCEEDED",
                "request_id": "",
                "violated-policies": ["month"],
            })
        );
        let throttled = sent(Fault::new(Code::RateLimited, "Later.").into()).await.2;
        assert_eq!((&throttled["type"], &throttled["title"]), (&body["type"], &body["title"]));
        assert!(throttled.get("violated-policies").is_none());
    }

    #[tokio::test]
    async fn a_wait_is_rounded_up() {
        let fault = Fault::new(Code::RateLimited, "Later.").retry_after(Duration::from_millis(1001));
        assert_eq!(sent(fault.into()).await.1[RETRY_AFTER], "2");
        for (wait, seconds) in [(0, 1), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_micros(wait)), seconds, "{wait} µs");
        }
    }
}
