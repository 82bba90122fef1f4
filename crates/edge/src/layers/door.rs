//! Counts each request by its client's address, and turns it away if there were too many.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{app::App, door::Class, extract::ClientIp};

/// Of the routes of one class.
pub(crate) async fn count(
    State((app, class)): State<(App, Class)>,
    request: Request,
    next: Next,
) -> Response {
    let ip = ClientIp::of(request.extensions(), request.headers(), &app);
    match app.gate.door.count(class, ip).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
