//! The admin port: metrics, and whether the process lives and is ready. It asks nobody who they are, so it listens on
//! loopback unless told otherwise.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use serde_json::json;
use tollgate_edge::Probe;

use crate::telemetry;

/// What the port answers.
pub(crate) fn router(probes: Vec<Probe>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { Json(json!({ "status": "alive" })) }))
        .route("/readyz", get(readiness))
        .with_state(Arc::new(probes))
}

async fn metrics() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::metrics().render())
}

async fn readiness(State(probes): State<Arc<Vec<Probe>>>) -> impl IntoResponse {
    let mut checks = serde_json::Map::new();
    let mut ready = true;
    for probe in probes.iter() {
        let answer = (probe.check)().await;
        ready &= answer.is_ok();
        checks.insert(probe.name.to_owned(), json!(if answer.is_ok() { "ready" } else { "not ready" }));
    }
    let (status, word) =
        if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (status, Json(json!({ "status": word, "checks": checks })))
}
