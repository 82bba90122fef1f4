//! [`Identity`] as an argument of an axum handler behind [`Require`](crate::Require).

use axum::extract::FromRequestParts;
use http::{StatusCode, request::Parts};

use crate::Identity;

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    /// 500: the route is not behind the layer. Nobody is let in by a mistake in the wiring.
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let identity = parts.extensions.get::<Self>().cloned();
        identity.ok_or_else(|| {
            tracing::error!("a route asks who is there, and no `Require` layer is before it");
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }
}
