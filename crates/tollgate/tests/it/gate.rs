//! `ANY /v1/gate`: forward authentication for gateways.

use http::Method;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_call_that_passes_is_introduced() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().with("scopes", json!(["a", "b"])).create().await;
    for method in [Method::GET, Method::POST, Method::DELETE, Method::PUT, Method::HEAD] {
        let passed = app.call(method, "/v1/gate").api_key(&key.key).await;
        assert_eq!(passed.status, 200, "{}", passed.text());
        assert_eq!(passed.header("x-tollgate-key-id"), Some(key.id.as_str()));
        assert_eq!(passed.header("x-tollgate-workspace-id"), Some(user.workspace_id.as_str()));
        assert_eq!(passed.header("x-tollgate-scopes"), Some("a b"));
        assert_eq!(passed.header("x-tollgate-plan"), Some("basic"));
    }
    let passed = user.get("/v1/gate").await;
    assert_eq!(passed.header("x-tollgate-user-id"), Some(user.id.as_str()));
    assert_eq!(user.usage(&key).await["total"], 5);
    app.finish().await;
}

#[tokio::test]
async fn a_call_that_does_not_is_told_why_even_through_nginx() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(1, 60).create().await;
    app.get("/v1/gate").await.problem(401, "UNAUTHENTICATED");
    assert_eq!(app.get("/v1/gate").api_key(&key.key).await.status, 200);
    let denied = app.get("/v1/gate").api_key(&key.key).await;
    denied.problem(429, "RATE_LIMITED");
    assert_eq!(denied.header("retry-after"), Some("60"));
    let nginx = app.get("/v1/gate?status=nginx").api_key(&key.key).await;
    assert_eq!((nginx.status.as_u16(), nginx.header("x-tollgate-status")), (403, Some("429")));
    assert_eq!(nginx.header("retry-after"), Some("60"));
    app.finish().await;
}
