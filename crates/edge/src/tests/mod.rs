//! Tests of the router as a whole, over hand-written roles. What real roles say is tested in the binary.

mod bounds;
mod document;
mod doors;
mod ext_authz;
mod fakes;
mod grpc;
mod levels;
mod limits;
mod manage;
mod per_ip;
mod tallies;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header::CONTENT_TYPE},
};
use http_body_util::BodyExt;
use serde_json::Value;
use tollgate_kernel::{ExposeSecret, OsEntropy, SecretString};
use tollgate_testkit::MockClock;
use tollgate_verify::{Changes, KeyKind, Settings, TokenRules, Verifier, watch::always};
use tower::ServiceExt;

use self::fakes::{FakeDoor, FakeIdentity, FakeKeys, FakeRateLimit};
use crate::{Config, Edge, Parts, Probe};

/// An edge over hand-written roles.
struct TestEdge {
    edge: Edge,
    router: Router,
    keys: Arc<FakeKeys>,
    ratelimit: Arc<FakeRateLimit>,
    door: Arc<FakeDoor>,
}

/// An answer, whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl TestEdge {
    fn new() -> Self {
        Self::with(Config::default(), Vec::new())
    }

    fn with(config: Config, readiness: Vec<Probe>) -> Self {
        Self::built(config, readiness, true)
    }

    fn built(config: Config, readiness: Vec<Probe>, record_client: bool) -> Self {
        let (keys, ratelimit) = (Arc::new(FakeKeys::default()), Arc::new(FakeRateLimit::default()));
        let (identity, door, clock) =
            (Arc::new(FakeIdentity), Arc::new(FakeDoor::default()), MockClock::new());
        let rules = TokenRules { issuer: "https://test".into(), audience: "test".into() };
        let settings = Settings {
            rules,
            keys: always(),
            identity: always(),
            patience: Duration::from_mins(1),
            capacity: 100_000,
            absence: Settings::ABSENCE,
        };
        let verifier = Verifier::new(settings, keys.clone(), identity.clone(), Changes::new(), clock.clone());
        let parts = Parts {
            record_client,
            verifier,
            identity,
            keys: keys.clone(),
            ratelimit: ratelimit.clone(),
            door: door.clone(),
            readiness,
            clock,
            entropy: Arc::new(OsEntropy),
        };
        let edge = Edge::new(config, parts);
        Self { router: edge.http(), edge, keys, ratelimit, door }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers, Body::empty())).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let json = [headers, &[(CONTENT_TYPE.as_str(), "application/json")]].concat();
        self.send(request(Method::POST, path, &json, body.to_string().into())).await
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII")).unwrap_or_default()
    }

    /// What a stranger can compare: everything but the request's own id and trace.
    fn alike(mut self) -> (StatusCode, HeaderMap, Value) {
        for name in ["x-request-id", "traceparent"] {
            self.headers.remove(name);
        }
        if let Some(body) = self.body.as_object_mut() {
            body.remove("request_id");
        }
        (self.status, self.headers, self.body)
    }
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).expect("a request")
}

fn bearer(key: &SecretString) -> String {
    format!("Bearer {}", key.expose_secret())
}

fn unknown(kind: KeyKind) -> SecretString {
    tollgate_verify::mint(kind, &OsEntropy).key
}
