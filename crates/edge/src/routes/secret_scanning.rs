//! What GitHub's secret scanning sends: keys that it has found in public. The role keys decides whether it was GitHub.

use axum::{
    body::{Body, to_bytes},
    extract::State,
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use tollgate_proto::keys::{LeakVerdict, ReportLeaksRequest};
use tonic::Request;
use utoipa::ToSchema;

use crate::{app::App, extract::Json, problem::Problem};

/// Bytes.
const LONGEST: usize = 1_000_000;
const IDENTIFIER: &str = "github-public-key-identifier";
const SIGNATURE: &str = "github-public-key-signature";

/// A token that was found.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document: the role reads the very bytes that were signed")]
pub(crate) struct FoundToken {
    /// The token.
    token: String,
    /// What GitHub calls this kind of tokens.
    r#type: String,
    /// Where it was found.
    url: String,
    /// In what it was found.
    #[schema(example = "commit")]
    source: String,
}

/// What became of a token that was found.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenVerdict {
    /// SHA-256 of the token, in hex.
    token_hash: String,
    /// As it was sent.
    token_type: String,
    /// `true_positive`: it is, or was, a key of this installation; it does not pass any more. `false_positive`: it never was.
    #[schema(example = "true_positive")]
    label: &'static str,
}

/// Report keys that were found in public
///
/// For GitHub's secret scanning partner programme, and signed by it. Live keys and service keys among them are revoked. Reporting
/// again changes nothing.
#[utoipa::path(
    post, path = "/v1/secret-scanning/github", operation_id = "reportLeaks", tag = "secret-scanning", security(()),
    params(
        ("Github-Public-Key-Identifier" = String, Header, description = "Names the key of GitHub's that signed the body."),
        ("Github-Public-Key-Signature" = String, Header, description = "The signature over the body: ECDSA P-256 with SHA-256, in base64 of DER."),
    ),
    request_body(content = Vec<FoundToken>, description = "At most 500 tokens in 1 000 000 bytes."),
    responses(
        (status = 200, description = "What became of each, in their order.", body = Vec<TokenVerdict>),
        (status = 401, description = "The signature is not GitHub's over this body. Nothing was done."),
        (status = 404, description = "This installation takes no such reports."),
        (status = 413, description = "The body has more than 1 000 000 bytes."),
    )
)]
pub(crate) async fn report_leaks(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Vec<TokenVerdict>>, Problem> {
    let body = to_bytes(body, LONGEST).await.map_err(|_| too_large())?;
    let request = ReportLeaksRequest {
        body: body.to_vec(),
        key_identifier: only(&headers, IDENTIFIER),
        signature: only(&headers, SIGNATURE),
    };
    let answer = app.keys.report_leaks(Request::new(request)).await?.into_inner();
    Ok(Json(answer.verdicts.into_iter().map(Into::into).collect()))
}

/// The value of a header that is there once; empty if it is not.
fn only(headers: &HeaderMap, name: &str) -> String {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return String::new() };
    value.to_str().unwrap_or_default().to_owned()
}

fn too_large() -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "CONTENT_TOO_LARGE",
        "Content too large",
        "The body ended early, or has more than 1 000 000 bytes.",
    )
}

impl From<LeakVerdict> for TokenVerdict {
    fn from(verdict: LeakVerdict) -> Self {
        Self {
            token_hash: verdict.token_hash,
            token_type: verdict.token_type,
            label: if verdict.ours { "true_positive" } else { "false_positive" },
        }
    }
}
