//! `GET /v1/me`

use crate::app::TestApp;

#[tokio::test]
async fn a_user_sees_itself() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let me = user.get("/v1/me").await.json(200);
    assert_eq!(me["id"], user.id);
    assert_eq!(me["email"], user.email);
    assert_eq!(me["operator"], false);
    assert!(me.get("name").is_none(), "what has no value is left out");
    app.finish().await;
}

#[tokio::test]
async fn a_key_is_nobody() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let (key, service) = (user.key().create().await, user.service_key(&["keys.read"]).await);
    app.get("/v1/me").api_key(&key.key).await.problem(401, "UNAUTHENTICATED");
    service.get("/v1/me").await.problem(403, "FORBIDDEN");
    app.finish().await;
}

#[tokio::test]
async fn an_access_token_ends_on_time() {
    let app = TestApp::new().await;
    let user = app.user().await;
    app.advance(899);
    user.get("/v1/me").await.json(200);
    app.advance(1);
    user.get("/v1/me").await.problem(401, "UNAUTHENTICATED");
    app.finish().await;
}
