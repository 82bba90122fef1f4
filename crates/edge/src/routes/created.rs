//! The answer to what has made something: 201, where that is, and what it is.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::LOCATION};
use serde::Serialize;
use tollgate_kernel::Fault;

use crate::{extract::Json, problem::Problem};

/// Something that was made, now or by the same request before.
pub(crate) struct Created<T> {
    path: String,
    made: T,
}

impl<T> Created<T> {
    /// At this path.
    pub(crate) fn at(path: String, made: T) -> Self {
        Self { path, made }
    }
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        match HeaderValue::try_from(self.path) {
            Ok(location) => (StatusCode::CREATED, [(LOCATION, location)], Json(self.made)).into_response(),
            Err(error) => Problem::from(Fault::internal(error)).into_response(),
        }
    }
}
