//! What surrounds every handler: bounds, headers, CORS, probes.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
};

use axum::{body::Body, http::Method};
use futures_util::FutureExt;
use serde_json::json;
use tollgate_kernel::Fault;
use tower::ServiceExt;

use super::{TestEdge, request};
use crate::{Config, Probe, problem::MEDIA_TYPE};

const LOGIN: &str = "/v1/auth/login";

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems_with_all_headers() {
    let edge = TestEdge::new();
    for (method, path, status) in [
        (Method::GET, "/", 404),
        (Method::GET, "/v1/nothing", 404),
        (Method::GET, "/docs/nothing.js", 404),
        (Method::GET, LOGIN, 405),
        (Method::POST, "/livez", 405),
    ] {
        let answer = edge.send(request(method, path, &[("x-request-id", "mine")], Body::empty())).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.body["request_id"], "mine", "{path}");
        for (name, value) in [
            ("content-type", MEDIA_TYPE),
            ("x-request-id", "mine"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        assert!(!answer.header("traceparent").is_empty());
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_and_says_nothing() {
    let edge = TestEdge::new();
    let answer = edge.post(LOGIN, &[], json!({ "email": "a@b.c", "password": "hunter2" })).await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (500, &json!("INTERNAL")));
    assert!(!answer.body.to_string().contains("fire"));
    assert!(!answer.header("x-request-id").is_empty());
}

#[tokio::test]
async fn what_takes_too_long_is_given_up() {
    let config = Config { request_timeout_ms: NonZeroU64::MIN, ..Config::default() };
    let edge = TestEdge::with(config, Vec::new());
    let answer = edge.get("/.well-known/jwks.json", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (504, &json!("DEADLINE_EXCEEDED")));
}

#[tokio::test]
async fn one_request_too_many_is_turned_away_and_the_pulse_is_not() {
    let config = Config { max_concurrent_requests: NonZeroU32::MIN, ..Config::default() };
    let edge = TestEdge::with(config, Vec::new());
    let stuck =
        edge.router.clone().oneshot(request(Method::GET, "/.well-known/jwks.json", &[], Body::empty()));
    let mut stuck = Box::pin(stuck);
    assert!((&mut stuck).now_or_never().is_none());

    let answer = edge.get("/openapi.json", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    assert_eq!(edge.get("/livez", &[]).await.status, 200);

    drop(stuck);
    assert_eq!(edge.get("/openapi.json", &[]).await.status, 200);
}

#[tokio::test]
async fn readiness_names_what_is_down() {
    let probe = |name, up: bool| Probe {
        name,
        check: Arc::new(move || {
            Box::pin(async move { if up { Ok(()) } else { Err(Fault::unavailable("refused")) } })
        }),
    };
    let up = TestEdge::with(Config::default(), vec![probe("keys", true), probe("identity", true)]);
    let answer = up.get("/readyz", &[]).await;
    assert_eq!(answer.body, json!({ "status": "ready", "checks": ["keys", "identity"] }));

    let down = TestEdge::with(Config::default(), vec![probe("keys", true), probe("identity", false)]);
    let answer = down.get("/readyz", &[]).await;
    assert_eq!((answer.status.as_u16(), &answer.body["detail"]), (503, &json!("Not ready: identity.")));
}

#[tokio::test]
async fn only_pages_of_listed_origins_may_call() {
    let ours = "https://app.example.com";
    let config = serde_json::from_value(json!({ "cors_origins": [ours] })).expect("a config");
    let edge = TestEdge::with(config, Vec::new());
    let preflight = |path: &'static str, origin: &str| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        request(Method::OPTIONS, path, &headers, Body::empty())
    };
    let answer = edge.send(preflight(LOGIN, ours)).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (200, ours));
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    assert!(answer.header("vary").contains("origin"));

    let answer = edge.send(preflight(LOGIN, "https://evil.example.com")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let answer = edge.get("/v1/whoami", &[("origin", ours)]).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (401, ours));

    let answer = edge.send(preflight("/v1/gate", ours)).await;
    assert_eq!(answer.status, 401, "a preflight does not pass the gate");

    let answer = TestEdge::new().send(preflight(LOGIN, ours)).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (405, ""));
}

#[tokio::test]
async fn the_documentation_needs_nothing_from_elsewhere() {
    let edge = TestEdge::new();
    let answer = edge.get("/docs", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (308, "/docs/"));
    for name in ["", "index.css", "swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        let answer = edge.get(&format!("/docs/{name}"), &[]).await;
        assert_eq!(answer.status, 200, "{name}");
        assert!(answer.header("content-security-policy").contains("script-src 'self';"), "{name}");
    }
    let answer = edge.get("/openapi.json", &[]).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.body["info"]["title"], "Tollgate");
}
