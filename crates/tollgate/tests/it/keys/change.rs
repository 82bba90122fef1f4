//! `PATCH /v1/keys/{id}`

use serde_json::{Value, json};

use crate::app::TestApp;

#[tokio::test]
async fn absent_null_and_a_value_are_three_things() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let said = json!({
        "description": "for the shop", "scopes": ["orders.*"], "allowed_ips": ["203.0.113.0/24"], "metadata": { "a": 1 },
        "limits": [{ "name": "burst", "limit": 10, "window_seconds": 60 }], "expires_at": "2026-02-01T00:00:00Z",
        "not_before": "2026-01-01T00:00:00Z",
    });
    let mut key = user.key();
    for (field, value) in said.as_object().unwrap() {
        key = key.with(field, value.clone());
    }
    let key = key.create().await;
    let before = user.get(&key.path()).await.json(200);

    let mut after = user.patch(&key.path(), &json!({})).await.json(200);
    assert_eq!(after["effect"]["effective"], "acknowledged");
    after.as_object_mut().unwrap().remove("effect");
    assert_eq!(after, before, "what is absent stays");

    let cleared = json!({
        "description": null, "scopes": null, "allowed_ips": null, "metadata": null, "limits": null, "expires_at": null,
        "not_before": null, "consumer_id": null, "roles": null,
    });
    let after = user.patch(&key.path(), &cleared).await.json(200);
    assert_eq!((&after["description"], &after["scopes"]), (&json!(""), &json!([])));
    assert_eq!((&after["allowed_ips"], &after["metadata"]), (&json!([]), &json!({})));
    assert!(after["limits"].as_array().unwrap().iter().all(|it| it["name"] != "burst"));
    assert!(after.get("expires_at").is_none() && after.get("not_before").is_none());

    let mut set = said.clone();
    set["name"] = json!("another name");
    let after = user.patch(&key.path(), &set).await.json(200);
    for field in ["name", "description", "scopes", "allowed_ips", "metadata", "expires_at", "not_before"] {
        assert_eq!(after[field], set[field], "{field}");
    }
    let pro = user.get("/v1/plans").await.json(200)["data"][2]["id"].clone();
    assert_eq!(user.patch(&key.path(), &json!({ "plan_id": pro })).await.json(200)["plan_id"], pro);
    app.finish().await;
}

#[tokio::test]
async fn a_change_holds_for_the_very_next_call() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    let verdict = async |change: Value| {
        user.patch(&key.path(), &change).await.json(200);
        let body = json!({ "key": key.key, "scopes": ["orders.read"], "client_ip": "203.0.113.9" });
        user.post("/v1/keys/verify", &body).await.json(200)["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict(json!({})).await, "INSUFFICIENT_SCOPE");
    assert_eq!(verdict(json!({ "scopes": ["orders.*"] })).await, "VALID");
    assert_eq!(verdict(json!({ "allowed_ips": ["198.51.100.0/24"] })).await, "FORBIDDEN_IP");
    assert_eq!(verdict(json!({ "allowed_ips": null })).await, "VALID");
    assert_eq!(verdict(json!({ "enabled": false })).await, "DISABLED");
    assert_eq!(user.get(&key.path()).await.json(200)["disabled_at"], "2026-01-01T00:00:00Z");
    assert_eq!(verdict(json!({ "enabled": true })).await, "VALID");
    assert!(user.get(&key.path()).await.json(200).get("disabled_at").is_none());
    assert_eq!(verdict(json!({ "expires_at": "2025-01-01T00:00:00Z" })).await, "EXPIRED");
    assert_eq!(
        verdict(json!({ "expires_at": null, "not_before": "2026-01-01T00:01:00Z" })).await,
        "DISABLED"
    );
    app.advance(60);
    assert_eq!(verdict(json!({})).await, "VALID");
    let one = json!({ "limits": [{ "name": "minute", "limit": 2, "window_seconds": 60 }] });
    assert_eq!(verdict(one).await, "VALID");
    assert_eq!(verdict(json!({})).await, "RATE_LIMITED");
    assert_eq!(
        verdict(json!({ "limits": null })).await,
        "VALID",
        "an enlarged limit is seen, and what was used is kept"
    );
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named_and_nothing_changes() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    let before = user.get(&key.path()).await.json(200);
    for (field, value, pointer) in [
        ("name", json!(null), "/name"),
        ("name", json!(""), "/name"),
        ("enabled", json!(null), "/enabled"),
        ("enabled", json!("yes"), "/enabled"),
        ("plan_id", json!(null), "/plan_id"),
        ("plan_id", json!(""), "/plan_id"),
        ("plan_id", json!("pln_00000000000000000000000001"), "/plan_id"),
        ("consumer_id", json!("con_00000000000000000000000001"), "/consumer_id"),
        ("roles", json!(["nobody"]), "/roles/0"),
        ("scopes", json!(["orders*"]), "/scopes/0"),
        ("description", json!("x".repeat(501)), "/description"),
        ("expires_at", json!("2200-01-01T00:00:00Z"), "/expires_at"),
        ("not_before", json!("tomorrow"), "/not_before"),
        ("metadata", json!("text"), "/metadata"),
        // What cannot be changed is not a field here.
        ("id", json!("key_00000000000000000000000001"), "/id"),
        ("environment", json!("test"), "/environment"),
        ("start", json!("tg_live_abcd"), "/start"),
        ("created_by", json!("nobody"), "/created_by"),
        ("workspace_id", json!("ws_00000000000000000000000001"), "/workspace_id"),
        ("revoked_at", json!(null), "/revoked_at"),
        ("key", json!("tg_live_x"), "/key"),
    ] {
        let answer = user.patch(&key.path(), &json!({ field: value })).await;
        assert_eq!(answer.status, 422, "{field} {value}: {}", answer.text());
        answer.violates(422, &[pointer]);
    }
    let both = json!({ "expires_at": "2026-01-02T00:00:00Z", "not_before": "2026-01-02T00:00:00Z" });
    user.patch(&key.path(), &both).await.violates(422, &["/not_before"]);
    assert_eq!(user.get(&key.path()).await.json(200), before);
    app.finish().await;
}

#[tokio::test]
async fn a_revoked_key_does_not_change() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let stranger = app.user().await;
    let key = user.key().create().await;
    stranger.patch(&key.path(), &json!({ "name": "mine" })).await.problem(404, "NOT_FOUND");
    user.delete(&key.path()).await.held();
    user.patch(&key.path(), &json!({ "enabled": true })).await.problem(409, "CONFLICT");
    user.post(&format!("{}/rotate", key.path()), &json!({})).await.problem(409, "CONFLICT");
    assert_eq!(user.verify(&key.key).await["code"], "REVOKED");
    app.finish().await;
}
