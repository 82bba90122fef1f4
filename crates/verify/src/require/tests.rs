//! The layer, around a service that says what reached it.

use std::convert::Infallible;

use http::{
    StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tollgate_kernel::{ExposeSecret, OsEntropy, SecretString};
use tollgate_proto::keys;
use tonic::Status;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::{
    KeyKind, Subject, mint,
    verifier::fixture::{Fixture, KEY, grant, revoked},
};

type Headers<'a> = &'a [(&'a str, &'a str)];

fn key(kind: KeyKind) -> SecretString {
    mint(kind, &OsEntropy).key
}

fn bearer(text: &str) -> String {
    format!("Bearer {text}")
}

/// What reached the service: its headers and extensions, as a careless log would print them.
async fn seen(request: Request<()>) -> Result<Response<String>, Infallible> {
    let who = request.extensions().get::<Identity>().expect("put there by the layer");
    Ok(Response::new(format!("{who:?} {:?}", request.headers())))
}

async fn call(require: Require, headers: Headers<'_>, from: Option<ClientIp>) -> Response<String> {
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).expect("a request");
    if let Some(from) = from {
        request.extensions_mut().insert(from);
    }
    let Ok(response) = require.layer(service_fn(seen)).oneshot(request).await;
    response
}

fn either(it: &Fixture) -> Require {
    Require::either(Admission::new(it.verifier.clone()))
}

fn header(response: &Response<String>, name: http::HeaderName) -> Option<&str> {
    response.headers().get(name).map(|value| value.to_str().expect("text"))
}

async fn status(it: &Fixture, headers: Headers<'_>) -> StatusCode {
    call(either(it), headers, None).await.status()
}

#[tokio::test]
async fn one_credential_in_either_place_is_let_through() {
    let it = Fixture::new();
    let key = key(KeyKind::Live);
    let key = key.expose_secret();
    assert_eq!(status(&it, &[("x-api-key", key)]).await, 200);
    assert_eq!(status(&it, &[("authorization", &bearer(key))]).await, 200);
    assert_eq!(status(&it, &[("authorization", &bearer(&it.sign("one")))]).await, 200);
}

#[tokio::test]
async fn each_layer_lets_its_own_kind_through() {
    let it = Fixture::new();
    let admission = Admission::new(it.verifier.clone());
    let (token, live, service) = (it.sign("one"), key(KeyKind::Live), key(KeyKind::Service));
    let presented = [token.as_str(), live.expose_secret(), service.expose_secret()];
    for (require, expected) in [
        (Require::user(admission.clone()), [200, 401, 401]),
        (Require::key(admission.clone()), [401, 200, 401]),
        (Require::either(admission), [200, 200, 401]),
    ] {
        let mut statuses = Vec::new();
        for text in presented {
            let response = call(require.clone(), &[("authorization", &bearer(text))], None).await;
            statuses.push(response.status().as_u16());
        }
        assert_eq!(statuses, expected, "{:?}", require.accepts);
    }
}

#[tokio::test]
async fn two_credentials_are_refused_whatever_they_are() {
    let it = Fixture::new();
    let (key, token) = (key(KeyKind::Live), bearer(&it.sign("one")));
    let key = key.expose_secret();
    for headers in [
        [("x-api-key", key), ("x-api-key", key)],
        [("x-api-key", key), ("authorization", &token)],
        [("authorization", &token), ("authorization", &token)],
    ] {
        let response = call(either(&it), &headers, None).await;
        assert_eq!(response.status(), 400);
        let challenge = r#"Bearer realm="tollgate", error="invalid_request""#;
        assert_eq!(header(&response, WWW_AUTHENTICATE), Some(challenge));
    }
    assert_eq!(it.calls(), [0; 5]);
}

#[tokio::test]
async fn without_a_good_credential_the_answer_says_how_to_authenticate() {
    let it = Fixture::new();
    let absent = call(either(&it), &[], None).await;
    assert_eq!(absent.status(), 401);
    assert_eq!(header(&absent, WWW_AUTHENTICATE), Some(r#"Bearer realm="tollgate""#));
    assert_eq!(header(&absent, CONTENT_TYPE), Some("application/problem+json"));

    it.roles.key.answers(keys::ResolveKeyResponse { grant: None });
    let unknown = key(KeyKind::Live);
    let mut bodies = Vec::new();
    for headers in [
        ("x-api-key", unknown.expose_secret()),
        ("x-api-key", "tg_live_x"),
        ("x-api-key", ""),
        ("authorization", "Basic dXNlcjpwYXNz"),
        ("authorization", "Bearer a.b.c"),
    ] {
        let response = call(either(&it), &[headers], None).await;
        assert_eq!(response.status(), 401, "{headers:?}");
        let challenge = r#"Bearer realm="tollgate", error="invalid_token""#;
        assert_eq!(header(&response, WWW_AUTHENTICATE), Some(challenge));
        bodies.push(response.into_body());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the presenter cannot tell the reasons apart: {bodies:?}");
}

#[tokio::test]
async fn a_key_without_the_scope_is_refused_and_with_it_let_through() {
    let it = Fixture::new();
    let scoped = keys::Grant { scopes: vec!["read".into()], ..grant() };
    it.roles.key.answers(keys::ResolveKeyResponse { grant: Some(scoped) });
    let key = key(KeyKind::Live);
    let headers = [("x-api-key", key.expose_secret())];
    assert_eq!(call(either(&it).scopes(["read"]), &headers, None).await.status(), 200);
    let refused = call(either(&it).scopes(["read", "write"]), &headers, None).await;
    assert_eq!(refused.status(), 403);
    let challenge = r#"Bearer realm="tollgate", error="insufficient_scope""#;
    assert_eq!(header(&refused, WWW_AUTHENTICATE), Some(challenge));
    assert!(refused.body().contains("INSUFFICIENT_SCOPE"), "{}", refused.body());
    let elsewhere = call(either(&it).environment(Environment::Test), &headers, None).await;
    assert_eq!(elsewhere.status(), 403);
    assert_eq!(header(&elsewhere, WWW_AUTHENTICATE), None);
}

#[tokio::test]
async fn an_expression_is_required_too_and_wildcards_grant() {
    let it = Fixture::new();
    let scoped = keys::Grant { scopes: vec!["orders.*".into(), "audit".into()], ..grant() };
    it.roles.key.answers(keys::ResolveKeyResponse { grant: Some(scoped) });
    let key = key(KeyKind::Live);
    let headers = [("x-api-key", key.expose_secret())];
    for (expression, expected) in [
        ("orders.read and (admin or audit)", 200),
        ("orders.items.read or admin", 200),
        ("orders.read and admin", 403),
    ] {
        let expression = expression.parse().expect("an expression");
        let layer = either(&it).scopes(["orders.write"]).scope_expression(expression);
        assert_eq!(call(layer, &headers, None).await.status(), expected);
    }
    let layer = either(&it).scopes(["users.read"]).scope_expression("audit".parse().expect("an expression"));
    assert_eq!(call(layer, &headers, None).await.status(), 403);
}

#[tokio::test]
async fn a_key_that_is_bound_to_networks_needs_a_known_address() {
    let it = Fixture::new();
    let bound = keys::Grant { allowed_ips: vec!["10.0.0.0/8".into()], ..grant() };
    it.roles.key.answers(keys::ResolveKeyResponse { grant: Some(bound) });
    let key = key(KeyKind::Live);
    let headers = [("x-api-key", key.expose_secret())];
    for (from, expected) in [(None, 403), (Some("192.0.2.1"), 403), (Some("10.1.2.3"), 200)] {
        let from = from.map(|ip| ClientIp(ip.parse().expect("an address")));
        assert_eq!(call(either(&it), &headers, from).await.status(), expected, "{from:?}");
    }
}

#[tokio::test]
async fn a_role_out_of_reach_is_unavailable_and_never_a_verdict() {
    let it = Fixture::new();
    let key = key(KeyKind::Live);
    for (down, expected) in [
        (Status::unavailable("tcp connect error"), 503),
        (Status::deadline_exceeded("slow"), 503),
        (Status::unauthenticated("the mesh token is wrong"), 500),
    ] {
        it.roles.key.fails(down);
        let response = call(either(&it), &[("x-api-key", key.expose_secret())], None).await;
        assert_eq!(response.status(), expected);
        assert_eq!(header(&response, RETRY_AFTER), (expected == 503).then_some("1"));
        assert!(!response.body().contains("mesh") && !response.body().contains("tcp"));
    }
}

#[tokio::test]
async fn a_published_change_refuses_the_next_request() {
    let it = Fixture::new();
    let key = key(KeyKind::Live);
    let headers = [("x-api-key", key.expose_secret())];
    assert_eq!(status(&it, &headers).await, 200);
    assert_eq!(status(&it, &headers).await, 200);
    assert_eq!(it.roles.key.calls(), 1);
    it.roles.key.answers(revoked(&it.clock));
    it.changes.publish(Subject::Key(KEY));
    assert_eq!(status(&it, &headers).await, 401);
}

#[tokio::test]
async fn no_credential_prints() {
    let it = Fixture::new();
    let (key, token) = (key(KeyKind::Live), it.sign("one"));
    let key = key.expose_secret();
    for (headers, secret) in
        [([("x-api-key", key)], &key[20..]), ([("authorization", &*bearer(&token))], &token[20..])]
    {
        let response = call(either(&it), &headers, None).await;
        assert!(response.body().contains("Sensitive"), "{}", response.body());
        assert!(!response.body().contains(secret), "{}", response.body());
    }
    let layer = either(&it);
    call(layer.clone(), &[("x-api-key", key)], None).await;
    assert!(!format!("{layer:?} {:?}", Credential::from_text(key)).contains(&key[20..]));
}
