//! The public keys that verify access tokens.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tollgate_proto::identity::GetSigningKeysRequest;
use tonic::Request;

use crate::{app::App, problem::Problem};

/// How long clients may keep the keys: shorter than a new key is published before it signs.
const CACHE: &str = "public, max-age=300";

/// Keys that verify access tokens
///
/// A JWK Set (RFC 7517 section 5). Of public members only.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", operation_id = "getSigningKeys", tag = "discovery", security(()),
    responses((status = 200, description = "The keys.", content_type = "application/jwk-set+json", body = Object))
)]
pub(crate) async fn jwks(State(app): State<App>) -> Result<Response, Problem> {
    let answer = app.identity.get_signing_keys(Request::new(GetSigningKeysRequest {})).await?.into_inner();
    let headers = [(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, CACHE)];
    Ok((headers, answer.jwks).into_response())
}
