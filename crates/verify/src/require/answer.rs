//! How a refusal leaves: `application/problem+json` (RFC 9457), with the challenges of RFC 6750.

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;
use tollgate_kernel::{Code, Fault};

use crate::{Refusal, VerdictCode, credential::Missing};

/// Why a request is not let through.
#[derive(Debug)]
pub(super) enum Refused {
    Missing(Missing),
    Verdict(VerdictCode),
    Fault(Fault),
}

struct Answer {
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
    challenge: Option<&'static str>,
}

impl Refused {
    pub(super) fn into_response<R: From<String>>(self) -> Response<R> {
        match self {
            Self::Missing(Missing::Ambiguous) => AMBIGUOUS,
            Self::Missing(Missing::Absent) => ABSENT,
            Self::Missing(Missing::Unusable) => INVALID,
            Self::Verdict(code) => verdict(code),
            Self::Fault(fault) => failed(&fault),
        }
        .into_response()
    }
}

const AMBIGUOUS: Answer = Answer {
    status: StatusCode::BAD_REQUEST,
    code: "BAD_REQUEST",
    detail: "Send one credential, once.",
    challenge: Some(r#"Bearer realm="tollgate", error="invalid_request""#),
};

const ABSENT: Answer = Answer {
    status: StatusCode::UNAUTHORIZED,
    code: "UNAUTHENTICATED",
    detail: "Send an API key or an access token.",
    challenge: Some(r#"Bearer realm="tollgate""#),
};

/// The same for every reason, so that nobody learns which keys there are.
const INVALID: Answer = Answer {
    detail: "The credential is not valid.",
    challenge: Some(r#"Bearer realm="tollgate", error="invalid_token""#),
    ..ABSENT
};

fn verdict(code: VerdictCode) -> Answer {
    let (detail, challenge) = match code {
        VerdictCode::InsufficientScope => (
            "The key lacks a scope that this call needs.",
            Some(r#"Bearer realm="tollgate", error="insufficient_scope""#),
        ),
        VerdictCode::ForbiddenIp => ("The key may not be used from this network.", None),
        VerdictCode::WrongEnvironment => ("The key belongs to the other environment.", None),
        _ => ("The key may not make this call.", None),
    };
    match code.refusal() {
        Some(Refusal::MayYou) => {
            Answer { status: StatusCode::FORBIDDEN, code: code.as_str(), detail, challenge }
        }
        // Nothing counts here, so there is no 429.
        _ => INVALID,
    }
}

/// Whatever a role says is about our call to it, never about the client's credential. The cause is logged here and not shown.
fn failed(fault: &Fault) -> Answer {
    let (code, cause) = (fault.code().as_str(), fault.cause().unwrap_or_else(|| fault.message().to_owned()));
    if fault.retryable() {
        tracing::warn!(code, cause, "a credential could not be verified");
        return Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: Code::Unavailable.as_str(),
            detail: "A part that this needs is not available; try again shortly.",
            challenge: None,
        };
    }
    tracing::error!(code, cause, "a credential could not be verified");
    Answer {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: Code::Internal.as_str(),
        detail: "Something went wrong on our side.",
        challenge: None,
    }
}

impl Answer {
    fn into_response<R: From<String>>(self) -> Response<R> {
        let body = json!({
            "type": format!("urn:tollgate:problem:{}", self.code.to_ascii_lowercase().replace('_', "-")),
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        let mut response = Response::new(R::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
