//! The API's own description: the OpenAPI document, and Swagger UI from this binary, which needs no internet.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use tollgate_kernel::Fault;
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

use crate::{app::App, problem::Problem};

/// What Swagger UI needs: its own scripts and requests to this API; styles that it writes itself; icons in `data:` URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The OpenAPI document
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "discovery", security(()),
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Object))
)]
pub(crate) async fn openapi(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}

/// This documentation, to read and to try out
#[utoipa::path(
    get, path = "/docs", operation_id = "getDocs", tag = "discovery", security(()),
    responses((status = 308, description = "To the page.", headers(("Location" = String, description = "`/docs/`"))))
)]
pub(crate) async fn docs() -> Redirect {
    Redirect::permanent("/docs/")
}

/// The page.
pub(crate) async fn index() -> Result<Response, Problem> {
    file("index.html")
}

/// What the page is made of.
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    file(&name)
}

fn file(name: &str) -> Result<Response, Problem> {
    // Without "none", Swagger UI asks a public service to validate the document.
    let config = Arc::new(Config::from("/openapi.json").validator_url("none"));
    let file = serve(name, config).map_err(|error| Fault::internal(error.to_string()))?;
    Ok(answer(file.ok_or_else(Problem::not_found)?))
}

fn answer(file: SwaggerFile<'_>) -> Response {
    let headers = [(CONTENT_TYPE, &*file.content_type), (CONTENT_SECURITY_POLICY, POLICY)];
    let body = Body::from(file.bytes.into_owned());
    if file.gzpipped {
        (headers, [(CONTENT_ENCODING, "gzip")], body).into_response()
    } else {
        (headers, body).into_response()
    }
}
