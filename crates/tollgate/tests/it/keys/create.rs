//! `POST /v1/keys`

use serde_json::{Value, json};

use crate::app::TestApp;

#[tokio::test]
async fn a_key_is_shown_once() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().with("name", json!("laptop")).create().await;
    assert!(key.key.starts_with("tg_live_"));
    assert_eq!(key.key.len(), "tg_live_".len() + 12 + 43 + 6);
    assert!(key.id.starts_with("key_"));
    assert_eq!(key.created["start"], key.key[..12]);
    assert_eq!(key.created["workspace_id"], user.workspace_id);
    assert_eq!(key.created["created_by"], user.id);
    assert_eq!(key.created["environment"], "live");
    assert_eq!(key.created["enabled"], true);

    let seen = user.get(&format!("/v1/keys/{}", key.id)).await;
    assert!(!seen.text().contains(&key.key[12..]), "the secret is not shown again");
    let mut record = key.created.clone();
    record.as_object_mut().unwrap().remove("key");
    assert_eq!(seen.json(200), record);
    app.finish().await;
}

#[tokio::test]
async fn everything_that_is_said_is_kept() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let plans = user.get("/v1/plans").await.json(200);
    let pro = plans["data"].as_array().unwrap().iter().find(|plan| plan["name"] == "pro").expect("pro");
    let said = json!({
        "name": "CI", "environment": "test", "plan_id": pro["id"], "scopes": ["orders.read", "orders.write"],
        "limits": [{ "name": "burst", "limit": 10, "window_seconds": 60 }], "expires_at": "2026-02-01T00:00:00Z",
        "allowed_ips": ["203.0.113.0/24", "2001:db8::/32"], "metadata": { "customer": "4711", "deep": [1, { "a": null }] },
    });
    let created = user.post("/v1/keys", &said).await;
    let made = created.json(201);
    app.secret("a key", made["key"].as_str().unwrap());
    assert_eq!(
        created.header("location"),
        Some(format!("/v1/keys/{}", made["id"].as_str().unwrap()).as_str())
    );
    for field in ["name", "environment", "plan_id", "scopes", "expires_at", "allowed_ips", "metadata"] {
        assert_eq!(made[field], said[field], "{field}");
    }
    let limits: Vec<_> = made["limits"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert!(limits.contains(&json!("burst")) && limits.contains(&json!("minute")), "{limits:?}");
    assert!(made["key"].as_str().unwrap().starts_with("tg_test_"));
    app.finish().await;
}

#[tokio::test]
async fn a_limit_of_the_plan_s_name_replaces_it() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let limits = json!([{ "name": "minute", "limit": 2, "window_seconds": 60 }]);
    let key = user.key().with("limits", limits).create().await;
    let minutes: Vec<_> =
        key.created["limits"].as_array().unwrap().iter().filter(|it| it["name"] == "minute").collect();
    assert_eq!(minutes.len(), 1);
    assert_eq!(minutes[0]["limit"], 2);
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named_and_nothing_is_made() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let limit =
        |limit: Value, window: Value| json!([{ "name": "x", "limit": limit, "window_seconds": window }]);
    for (field, value, pointer) in [
        ("name", json!(""), "/name"),
        ("name", json!("n".repeat(101)), "/name"),
        ("name", json!("a\u{0}b"), "/name"),
        ("name", json!(7), "/name"),
        ("environment", json!("staging"), "/environment"),
        ("plan_id", json!("gold"), "/plan_id"),
        ("scopes", json!(["Orders Read"]), "/scopes/0"),
        ("scopes", json!(vec!["a"; 65]), "/scopes"),
        ("limits", limit(json!(0), json!(60)), "/limits/0/limit"),
        ("limits", limit(json!(1_000_000_001), json!(60)), "/limits/0/limit"),
        ("limits", limit(json!(-1), json!(60)), "/limits/0/limit"),
        ("limits", limit(json!(1), json!(0)), "/limits/0/window_seconds"),
        ("limits", limit(json!(1), json!(34_560_001)), "/limits/0/window_seconds"),
        ("limits", json!([{ "name": "x", "limit": 1, "window_seconds": 1, "color": 1 }]), "/limits/0/color"),
        ("expires_at", json!("tomorrow"), "/expires_at"),
        ("expires_at", json!("2025-01-01T00:00:00Z"), "/expires_at"),
        ("expires_in_days", json!(0), "/expires_in_days"),
        ("allowed_ips", json!(["10.0.0.0/33"]), "/allowed_ips/0"),
        ("metadata", json!("text"), "/metadata"),
        ("metadata", json!({ "big": "x".repeat(5000) }), "/metadata"),
        ("workspace_id", json!("nowhere"), "/workspace_id"),
        ("enabled", json!(true), "/enabled"),
        ("id", json!("key_00000000000000000000000001"), "/id"),
    ] {
        let mut body = json!({ "name": "a key" });
        body[field] = value;
        let answer = user.post("/v1/keys", &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        answer.violates(422, &[pointer]);
    }
    assert_eq!(user.get("/v1/keys").await.json(200)["data"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn a_retry_makes_no_second_key() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let body = json!({ "name": "a key" });
    let create = |body: &Value| user.post("/v1/keys", body).header("idempotency-key", "order-7");
    let first = create(&body).await.json(201);
    app.secret("a key", first["key"].as_str().unwrap());
    let again = create(&body).await.json(201);
    assert_eq!(again["id"], first["id"]);
    assert!(again.get("key").is_none(), "the key was shown at the first answer");
    create(&json!({ "name": "another" })).await.problem(409, "CONFLICT");
    assert_eq!(user.get("/v1/keys").await.json(200)["data"].as_array().unwrap().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_plan_or_workspace_of_somebody_else_does_not_exist() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let plan = stranger.get("/v1/plans").await.json(200)["data"][0]["id"].clone();
    let with_plan = user.post("/v1/keys", &json!({ "name": "a", "plan_id": plan })).await;
    assert!(with_plan.status == 404 || with_plan.status == 422, "{}", with_plan.text());
    let there = json!({ "name": "a", "workspace_id": stranger.workspace_id });
    user.post("/v1/keys", &there).await.problem(404, "NOT_FOUND");
    assert_eq!(stranger.get("/v1/keys").await.json(200)["data"], json!([]));
    app.finish().await;
}
