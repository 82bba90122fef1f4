//! An id in a path, and a name beside it.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use crate::problem::Problem;

/// The `{id}` of the path. What is not an id of this kind names nothing: 404.
pub(crate) struct PathId<T>(pub(crate) T);

/// The `{id}` of the path, and the `{name}` behind it.
pub(crate) struct PathName<T>(pub(crate) T, pub(crate) String);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for PathName<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let named = texts.ok().and_then(|Path((id, name))| Some(Self(id.parse().ok()?, name)));
        named.ok_or_else(Problem::not_found)
    }
}

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let id = text.ok().and_then(|Path(text)| text.parse().ok());
        id.map(Self).ok_or_else(Problem::not_found)
    }
}
