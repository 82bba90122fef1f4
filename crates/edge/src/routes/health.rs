//! Whether this process is alive, and whether it is ready to serve.

use std::time::Duration;

use axum::extract::State;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;
use tollgate_kernel::{Code, Fault};
use utoipa::ToSchema;

use crate::{Probe, app::App, extract::Json, problem::Problem};

/// A probe that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process is alive.
#[derive(Serialize, ToSchema)]
pub(crate) struct Alive {
    /// `alive`
    #[schema(example = "alive")]
    status: &'static str,
}

/// The process is ready.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ready {
    /// `ready`
    #[schema(example = "ready")]
    status: &'static str,
    /// What was asked, and is up.
    #[schema(example = json!(["identity", "keys", "ratelimit"]))]
    checks: Vec<&'static str>,
}

/// Alive?
///
/// If this does not answer, restart the process.
#[utoipa::path(
    get, path = "/livez", operation_id = "getLiveness", tag = "health", security(()),
    responses((status = 200, description = "Alive.", body = Alive))
)]
pub(crate) async fn livez() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Ready?
///
/// While this answers 503, send requests elsewhere.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "health", security(()),
    responses(
        (status = 200, description = "Ready.", body = Ready),
        (status = 503, description = "Not ready; `detail` names the parts that are not up."),
    )
)]
pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Ready>, Problem> {
    let failed: Vec<_> = join_all(app.readiness.iter().map(failure)).await.into_iter().flatten().collect();
    if failed.is_empty() {
        return Ok(Json(Ready { status: "ready", checks: app.readiness.iter().map(|it| it.name).collect() }));
    }
    let fault = Fault::new(Code::Unavailable, format!("Not ready: {}.", failed.join(", ")));
    Err(Problem::from(fault.retry_after(PATIENCE)))
}

/// The name of a probe that fails.
async fn failure(probe: &Probe) -> Option<&'static str> {
    let cause = match timeout(PATIENCE, (probe.check)()).await {
        Ok(Ok(())) => return None,
        Ok(Err(fault)) => fault.cause().unwrap_or_else(|| fault.message().to_owned()),
        Err(_) => "no answer in time".to_owned(),
    };
    tracing::warn!(probe = probe.name, cause, "not ready");
    Some(probe.name)
}
