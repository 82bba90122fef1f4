//! Which web pages may call this API from a browser (CORS, Fetch standard section 3.3): those of configured origins, and
//! never with cookies.

use http::{
    HeaderName, Method,
    header::{AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use tollgate_proto::context::{REQUEST_ID, TRACEPARENT};
use tollgate_verify::credential::API_KEY;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{
    config::Origin,
    limit_headers::{POLICY, STATE, X_LIMIT, X_REMAINING, X_RESET},
};

/// The layer; `None` if no origin is allowed.
pub(crate) fn layer(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let idempotency_key = HeaderName::from_static("idempotency-key");
    let sent = [
        AUTHORIZATION,
        CONTENT_TYPE,
        API_KEY.clone(),
        idempotency_key,
        REQUEST_ID.clone(),
        TRACEPARENT.clone(),
    ];
    let limits = [&POLICY, &STATE, &X_LIMIT, &X_REMAINING, &X_RESET, &REQUEST_ID].map(HeaderName::clone);
    Some(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins.iter().map(Origin::to_header)))
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers(sent)
            .expose_headers(limits.into_iter().chain([LOCATION, RETRY_AFTER]).collect::<Vec<_>>()),
    )
}
