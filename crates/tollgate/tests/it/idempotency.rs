//! The `Idempotency-Key` of whatever can be made.

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_retry_gets_the_record_of_the_first() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for path in ["/v1/plans", "/v1/consumers", "/v1/roles", "/v1/service-keys"] {
        let body = |name: &str| match path {
            "/v1/service-keys" => json!({ "name": name, "permissions": ["keys.read"], "expires_in_days": 3 }),
            _ => json!({ "name": name }),
        };
        let once = async |name: &str| user.post(path, &body(name)).header("idempotency-key", path).await;
        let mut first = once("once").await.json(201);
        if let Some(key) = first.as_object_mut().unwrap().remove("key") {
            app.secret("a service key", key.as_str().unwrap());
        }
        app.advance(1);
        let again = once("once").await;
        assert_eq!(again.json(201), first, "{path}");
        assert_eq!(
            again.header("location"),
            Some(format!("{path}/{}", first["id"].as_str().unwrap()).as_str())
        );
        once("another").await.problem(409, "CONFLICT");
        let named = user.get(path).await.json(200);
        let named = named["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["name"] == "once" || it["name"] == "another");
        assert_eq!(named.count(), 1, "{path}");
        user.post(path, &body("x")).header("idempotency-key", "a b").await.problem(400, "BAD_REQUEST");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_override_too() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let path = format!("{}/overrides", user.key().create().await.path());
    let once = async |limit: u32| {
        let body = json!({ "name": "minute", "limit": limit, "expires_at": "2026-01-01T01:00:00Z" });
        user.post(&path, &body).header("idempotency-key", "once").await
    };
    let first = once(9).await.json(201);
    assert_eq!(user.delete(&format!("{path}/minute")).await.status, 204);
    assert_eq!(once(9).await.json(201), first);
    assert_eq!(user.get(&path).await.json(200)["data"], json!([]), "it does not come back");
    once(8).await.problem(409, "CONFLICT");
    app.finish().await;
}
