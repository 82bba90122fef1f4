//! The OpenAPI document: from the routes themselves, completed by what holds for all of them.

mod complete;

use axum::body::Bytes;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    problem::{FieldError, ProblemBody},
    router,
};

/// What the document says before there is a route.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tollgate",
        description = "The login desk, the key cabinet and the turnstile in front of an API: users and sessions, API keys, \
            and the answer to \"may this call pass\".\n\n\
            Fields that have no value are left out of answers; `null` in a request reads as left out, but in a PATCH it takes the \
            value away. Times are RFC 3339, UTC. \
            Unknown fields and unknown query parameters are refused. Every refusal is a problem of RFC 9457.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/", description = "This instance.")),
    tags(
        (name = "auth", description = "Signing up, logging in and out."),
        (name = "users", description = "The caller's own user."),
        (name = "workspaces", description = "Tenants, the plans in them, and who is in them."),
        (name = "consumers", description = "Whom a workspace gives keys to, and what their keys share."),
        (name = "credits", description = "What keys and consumers may spend, and never more."),
        (name = "roles", description = "Named sets of scopes, for keys to have."),
        (name = "keys", description = "API keys and how they are used."),
        (name = "service-keys", description = "Management credentials for machines."),
        (name = "audit", description = "What was done, by whom."),
        (name = "webhooks", description = "Endpoints that are told what happens to keys."),
        (name = "secret-scanning", description = "Keys that others have found in public."),
        (name = "verify", description = "The turnstile, for services that hold somebody's key in their hands."),
        (name = "protected", description = "Routes behind the turnstile: counted and limited by the credential that calls."),
        (name = "discovery", description = "What describes this API and its tokens."),
        (name = "health", description = "For those who watch over the process."),
    ),
    components(schemas(ProblemBody, FieldError)),
    modifiers(&Credentials),
)]
struct Base;

/// How to say who calls.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An access token, a key or a service key (RFC 6750)."))
            .build();
        let key = ApiKeyValue::with_description("X-API-Key", "A key or a service key.");
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearerAuth", SecurityScheme::Http(bearer));
        components.add_security_scheme("apiKeyAuth", SecurityScheme::ApiKey(ApiKey::Header(key)));
    }
}

/// The document (OpenAPI 3.1).
pub fn openapi() -> Document {
    let mut document = Base::openapi();
    let api = router::api().into_iter().map(|(_, routes)| routes);
    for routes in api.chain([router::gateways(), router::unbounded()]) {
        document.merge(routes.into_openapi());
    }
    complete::complete(&mut document);
    document
}

/// The document, as it is sent.
pub(crate) fn json() -> Bytes {
    serde_json::to_vec(&openapi()).expect("a document has no map with odd keys").into()
}
