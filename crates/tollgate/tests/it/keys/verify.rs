//! `POST /v1/keys/verify`: always 200 for a verdict.

use serde_json::{Value, json};
use tollgate_kernel::{ExposeSecret as _, OsEntropy};

use crate::app::TestApp;

#[tokio::test]
async fn a_valid_key_s_verdict_says_everything() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let limits = json!([
        { "name": "day", "limit": 100, "window_seconds": 86400 }, { "name": "minute", "limit": 10, "window_seconds": 60 },
    ]);
    let key = user.key().with("limits", limits).with("scopes", json!(["orders.read"]));
    let key = key.with("metadata", json!({ "customer": 7 })).with("expires_in_days", json!(1)).create().await;
    let service = user.service_key(&["keys.verify"]).await;
    let mut verdict = service.verify(&key.key).await;
    verdict["limits"].as_array_mut().unwrap().sort_by_key(|limit| limit["name"].to_string());
    assert_eq!(
        verdict,
        json!({
            "valid": true, "code": "VALID", "key_id": key.id, "workspace_id": user.workspace_id, "environment": "live",
            "scopes": ["orders.read"], "metadata": { "customer": 7 }, "expires_at": "2026-01-02T00:00:00Z",
            "limits": [
                { "name": "day", "limit": 100, "remaining": 99, "reset_ms": 86_400_000 },
                { "name": "minute", "limit": 10, "remaining": 9, "reset_ms": 60_000 },
            ],
        })
    );
    app.finish().await;
}

#[tokio::test]
async fn a_denial_names_the_limit_and_the_moment() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(2, 60).create().await;
    user.verify(&key.key).await;
    app.advance(10);
    user.verify(&key.key).await;
    app.advance(10);
    let denied = user.verify(&key.key).await;
    assert_eq!((&denied["valid"], &denied["code"]), (&json!(false), &json!("RATE_LIMITED")));
    assert_eq!((&denied["denied_by"], &denied["retry_after_ms"]), (&json!("per-60"), &json!(40_000)));
    assert_eq!(denied["key_id"], key.id);
    app.advance(39);
    assert_eq!(user.verify(&key.key).await["retry_after_ms"], 1_000);
    app.advance(1);
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    assert_eq!(user.verify(&key.key).await["code"], "RATE_LIMITED");
    app.finish().await;
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let stranger = app.user().await;
    let key = user.key().with("scopes", json!(["a"])).with("allowed_ips", json!(["203.0.113.0/24"]));
    let key = key.with("expires_in_days", json!(1)).create().await;
    let foreign = stranger.key().create().await;
    let body = |extra: Value| {
        let mut body = json!({ "key": key.key, "client_ip": "203.0.113.9" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let unknown = unknown_key(&app);
    for (body, code) in [
        (body(json!({})), "VALID"),
        (body(json!({ "scopes": ["a"] })), "VALID"),
        (body(json!({ "environment": "live" })), "VALID"),
        (body(json!({ "client_ip": "::ffff:203.0.113.9" })), "VALID"),
        (body(json!({ "scopes": ["a", "b"] })), "INSUFFICIENT_SCOPE"),
        (body(json!({ "client_ip": "198.51.100.1" })), "FORBIDDEN_IP"),
        (json!({ "key": key.key }), "FORBIDDEN_IP"),
        (body(json!({ "environment": "test" })), "WRONG_ENVIRONMENT"),
        // The order of the checks: the first that fails is named.
        (
            body(json!({ "environment": "test", "client_ip": "198.51.100.1", "scopes": ["b"] })),
            "WRONG_ENVIRONMENT",
        ),
        (body(json!({ "client_ip": "198.51.100.1", "scopes": ["b"] })), "FORBIDDEN_IP"),
        (json!({ "key": "" }), "MALFORMED"),
        (json!({ "key": "nonsense" }), "MALFORMED"),
        (json!({ "key": "k".repeat(5000) }), "MALFORMED"),
        (json!({ "key": broken(&key.key) }), "MALFORMED"),
        (json!({ "key": user.tokens.access }), "MALFORMED"),
        (json!({ "key": unknown }), "NOT_FOUND"),
        (json!({ "key": foreign.key }), "NOT_FOUND"),
    ] {
        let verdict = user.post("/v1/keys/verify", &body).await.json(200);
        assert_eq!(verdict["code"], code, "{verdict}");
        assert_eq!(verdict["valid"], code == "VALID");
        if ["MALFORMED", "NOT_FOUND"].contains(&code) {
            assert_eq!(verdict, json!({ "valid": false, "code": code }), "nothing is told");
        }
    }
    app.advance(86_400);
    let user = user.again().await;
    let expired =
        user.post("/v1/keys/verify", &json!({ "key": key.key, "environment": "test" })).await.json(200);
    assert_eq!(expired["code"], "EXPIRED");
    user.delete(&format!("/v1/keys/{}", key.id)).await.held();
    let revoked = user.post("/v1/keys/verify", &json!({ "key": key.key })).await.json(200);
    assert_eq!(revoked["code"], "REVOKED");
    app.finish().await;
}

/// A key of the right form that nobody has: it was made by another installation.
fn unknown_key(app: &TestApp) -> String {
    let minted = tollgate_verify::mint(tollgate_verify::KeyKind::Live, &OsEntropy);
    let key = minted.key.expose_secret().to_owned();
    app.secret("an unknown key", &key);
    key
}

/// The key with another last character: its check digits are wrong.
fn broken(key: &str) -> String {
    let last = if key.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &key[..key.len() - 1])
}

#[tokio::test]
async fn a_dry_run_decides_and_changes_nothing() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(1, 60).create().await;
    let dry = json!({ "key": key.key, "dry_run": true });
    for _ in 0..3 {
        assert_eq!(user.post("/v1/keys/verify", &dry).await.json(200)["code"], "VALID");
    }
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    assert_eq!(user.post("/v1/keys/verify", &dry).await.json(200)["code"], "RATE_LIMITED");
    assert_eq!(user.usage(&key).await["total"], 1);
    app.finish().await;
}

#[tokio::test]
async fn a_retry_with_its_id_is_charged_once() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(2, 60).create().await;
    let with_id = json!({ "key": key.key, "request_id": "call-1" });
    for _ in 0..4 {
        assert_eq!(user.post("/v1/keys/verify", &with_id).await.json(200)["code"], "VALID");
    }
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    assert_eq!(user.verify(&key.key).await["code"], "RATE_LIMITED");
    app.finish().await;
}

#[tokio::test]
async fn a_call_may_cost_more_than_one_unit() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(10, 60).create().await;
    let cost = async |cost: u32| {
        let body = json!({ "key": key.key, "cost": cost });
        user.post("/v1/keys/verify", &body).await.json(200)["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(cost(7).await, "VALID");
    assert_eq!(cost(4).await, "RATE_LIMITED");
    assert_eq!(cost(3).await, "VALID");
    assert_eq!(cost(1).await, "RATE_LIMITED");
    assert_eq!(user.usage(&key).await["total"], 4);
    let impossible = user.post("/v1/keys/verify", &json!({ "key": key.key, "cost": 11 })).await;
    impossible.violates(422, &["/cost"]);
    app.finish().await;
}

#[tokio::test]
async fn a_hundred_at_once_get_exactly_the_limit() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(10, 60).create().await;
    let body = json!({ "key": key.key });
    let all: Vec<_> =
        (0..100).map(|_| tokio::spawn(user.post("/v1/keys/verify", &body).into_future())).collect();
    let mut valid = 0;
    for one in all {
        valid += u32::from(one.await.expect("no panic").json(200)["code"] == "VALID");
    }
    assert_eq!(valid, 10);
    app.finish().await;
}

#[tokio::test]
async fn the_asker_needs_the_permission() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    let body = json!({ "key": key.key });
    user.service_key(&["keys.read"]).await.post("/v1/keys/verify", &body).await.problem(403, "FORBIDDEN");
    app.post("/v1/keys/verify").json(&body).await.problem(401, "UNAUTHENTICATED");
    // A key does not ask about keys, not even about itself.
    app.post("/v1/keys/verify").api_key(&key.key).json(&body).await.problem(401, "UNAUTHENTICATED");
    assert_eq!(user.usage(&key).await["total"], 0);
    app.finish().await;
}
