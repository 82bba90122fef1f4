//! The bounds of a request's life: how many at once, how long, and what if it panics. (Of its body: `extract/json.rs`.)

use std::{any::Any, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tollgate_kernel::{Code, Fault};

use crate::{app::App, problem::Problem};

/// When a client that was turned away may come back.
const COME_BACK: Duration = Duration::from_secs(1);

/// Turns a request away at once if too many are in progress: waiting in a queue would only make all of them late.
pub(crate) async fn concurrency(State(app): State<App>, request: Request, next: Next) -> Response {
    let Ok(_slot) = app.slots.try_acquire() else {
        let fault = Fault::new(Code::Unavailable, "Too many requests are in progress; try again shortly.");
        return Problem::from(fault.retry_after(COME_BACK)).into_response();
    };
    next.run(request).await
}

/// Gives a request up that takes too long.
pub(crate) async fn time(State(app): State<App>, request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(app.config.request_timeout(), next.run(request)).await;
    answered.unwrap_or_else(|_| {
        let text = "This took too long and was given up. It may or may not have had an effect.";
        Problem::from(Fault::new(Code::DeadlineExceeded, text)).into_response()
    })
}

/// What a client hears of a panic: nothing but that it was one of our mistakes.
#[expect(clippy::needless_pass_by_value, reason = "the shape that the layer wants")]
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
    Problem::from(Fault::internal(format!("panic: {said}"))).into_response()
}
