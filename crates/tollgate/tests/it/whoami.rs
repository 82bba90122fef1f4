//! `GET /v1/whoami`, `/v1/whoami/user`, `/v1/whoami/key`: protected routes, with exact limits.

use std::time::Duration;

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn each_route_takes_its_kind_of_credential() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let (key, service) = (user.key().create().await, user.service_key(&["keys.verify"]).await);
    let (by_key, by_token) = (200, 401);
    for (path, key_status, token_status) in
        [("/v1/whoami", by_key, 200), ("/v1/whoami/key", by_key, by_token), ("/v1/whoami/user", 401, 200)]
    {
        assert_eq!(app.get(path).api_key(&key.key).await.status, key_status, "{path} by X-API-Key");
        assert_eq!(app.get(path).bearer(&key.key).await.status, key_status, "{path} by Bearer");
        assert_eq!(user.get(path).await.status, token_status, "{path} by token");
        assert_eq!(service.get(path).await.status, 401, "{path} by service key");
        let nobody = app.get(path).await;
        nobody.problem(401, "UNAUTHENTICATED");
        assert_eq!(nobody.header("www-authenticate"), Some(r#"Bearer realm="tollgate""#));
    }
    app.finish().await;
}

#[tokio::test]
async fn the_answer_says_who() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().with("scopes", json!(["a"])).with("metadata", json!({ "b": 1 })).create().await;
    assert_eq!(
        key.whoami().await.json(200),
        json!({
            "kind": "key", "key_id": key.id, "workspace_id": user.workspace_id, "environment": "live", "plan": "basic",
            "scopes": ["a"], "metadata": { "b": 1 },
        })
    );
    assert_eq!(
        user.get("/v1/whoami/user").await.json(200),
        json!({
            "kind": "user", "user_id": user.id, "session_id": user.tokens.session_id, "operator": false,
            "expires_at": "2026-01-01T00:15:00Z",
        })
    );
    app.finish().await;
}

#[tokio::test]
async fn ten_pass_and_the_eleventh_is_told_when_exactly_one_more_will() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let limits = json!([
        { "name": "minute", "limit": 10, "window_seconds": 60 }, { "name": "day", "limit": 1000, "window_seconds": 86400 },
    ]);
    let key = user.key().with("limits", limits).create().await;
    for used in 1..=10 {
        let passed = key.whoami().await;
        passed.json(200);
        let left = format!(r#""minute";r={};t="#, 10 - used);
        assert!(passed.header("ratelimit").unwrap().contains(&left), "{:?}", passed.headers);
        app.clock.advance(Duration::from_secs(1));
    }
    // The first was at 0 s, the tenth at 9 s; now it is 10 s.
    let denied = key.whoami().await;
    denied.problem(429, "RATE_LIMITED");
    assert_eq!(denied.header("retry-after"), Some("50"));
    assert!(
        denied.header("ratelimit-policy").unwrap().contains(r#""minute";q=10;w=60"#),
        "{:?}",
        denied.headers
    );
    assert!(denied.header("ratelimit").unwrap().contains(r#""minute";r=0;t="#), "{:?}", denied.headers);
    assert_eq!(denied.header("x-ratelimit-remaining"), Some("0"));

    app.clock.advance(Duration::from_micros(49_999_999));
    key.whoami().await.problem(429, "RATE_LIMITED");
    app.clock.advance(Duration::from_micros(1));
    key.whoami().await.json(200);
    let again = key.whoami().await;
    again.problem(429, "RATE_LIMITED");
    assert_eq!(again.header("retry-after"), Some("1"));
    app.finish().await;
}

#[tokio::test]
async fn never_more_than_the_limit_in_any_window() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(10, 60).create().await;
    // The moment at which counters per calendar minute let twenty pass.
    app.advance(59);
    let mut passed = 0;
    for second in 0..4 {
        for _ in 0..10 {
            passed += u32::from(key.whoami().await.status == 200);
        }
        assert_eq!(passed, 10, "second {second}");
        app.advance(1);
    }
    app.finish().await;
}

#[tokio::test]
async fn keys_do_not_share_limits() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let (one, other) = (user.key().limit(1, 60).create().await, user.key().limit(1, 60).create().await);
    for key in [&one, &other] {
        key.whoami().await.json(200);
        key.whoami().await.problem(429, "RATE_LIMITED");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_first_exhausted_of_several_limits_denies_and_none_is_charged() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(2, 10).limit(3, 60).create().await;
    for (expected, wait) in [(200, 0), (200, 0), (429, 10), (200, 0), (429, 10), (429, 0)] {
        assert_eq!(key.whoami().await.status, expected);
        app.advance(wait);
    }
    let denied = key.whoami().await;
    assert_eq!(denied.header("retry-after"), Some("40"), "the limit that makes the caller wait longest");
    app.finish().await;
}

#[tokio::test]
async fn calls_by_token_are_limited_by_user() {
    let app = TestApp::with(&[("TOLLGATE__EDGE__USER_LIMIT__LIMIT", "2")]).await;
    let user = app.user().await;
    let other = app.log_in(&user.email, &user.password).await;
    user.get("/v1/whoami").await.json(200);
    app.get("/v1/whoami/user").bearer(&other.access).await.json(200);
    let denied = user.get("/v1/whoami").await;
    denied.problem(429, "RATE_LIMITED");
    assert!(denied.header("ratelimit-policy").unwrap().contains(r#""user";q=2;w=60"#));
    // Managing is not what is limited.
    user.get("/v1/me").await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn a_key_bound_to_networks_works_from_there_only() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let near = user.key().with("allowed_ips", json!(["127.0.0.0/8"])).create().await;
    near.whoami().await.json(200);
    let far = user.key().with("allowed_ips", json!(["203.0.113.0/24"])).create().await;
    far.whoami().await.problem(403, "FORBIDDEN_IP");
    // Nobody but a trusted proxy says where a call comes from.
    far.whoami().header("x-forwarded-for", "203.0.113.9").await.problem(403, "FORBIDDEN_IP");
    far.whoami().header("forwarded", "for=203.0.113.9").await.problem(403, "FORBIDDEN_IP");
    app.finish().await;
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_from_right_to_left() {
    let app = TestApp::with(&[("TOLLGATE__EDGE__TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")]).await;
    let user = app.user().await;
    let far = user.key().with("allowed_ips", json!(["203.0.113.0/24"])).create().await;
    far.whoami().header("x-forwarded-for", "203.0.113.9, 10.0.0.1").await.json(200);
    let spoofed = far.whoami().header("x-forwarded-for", "203.0.113.9, 198.51.100.1, 10.0.0.1").await;
    spoofed.problem(403, "FORBIDDEN_IP");
    app.finish().await;
}
