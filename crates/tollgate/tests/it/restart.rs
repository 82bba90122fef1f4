//! What survives the process: everything but the counters in memory, and usage above all.

use serde_json::json;

use crate::{actors::User, app::TestApp, shape::Shape};

#[tokio::test]
async fn users_sessions_keys_and_usage_survive() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(2, 60).create().await;
    key.whoami().await.json(200);
    key.whoami().await.json(200);
    let (access, secret, id) = (user.tokens.access.clone(), key.key.clone(), key.id.clone());
    let (email, password) = (user.email.clone(), user.password.clone());
    // No drain by hand: stopping flushes.
    let app = app.restart(&[]).await;
    app.get("/v1/me").bearer(&access).await.json(200);
    let usage = app.get(&format!("/v1/keys/{id}/usage")).bearer(&access).await.json(200);
    assert_eq!(usage["total"], 2);
    let left = if app.shape == Shape::Sqlite { 200 } else { 429 };
    assert_eq!(app.get("/v1/whoami/key").api_key(&secret).await.status, left, "counters are kept in Redis");
    app.log_in(&email, &password).await;
    app.finish().await;
}

#[tokio::test]
async fn a_token_for_another_audience_or_of_another_issuer_is_refused() {
    for setting in ["TOLLGATE__TOKENS__AUDIENCE", "TOLLGATE__TOKENS__ISSUER"] {
        let app = TestApp::with(&[(setting, "https://other.example.com")]).await;
        let User { tokens, email, password, .. } = app.user().await;
        app.get("/v1/me").bearer(&tokens.access).await.json(200);
        // Signed by the same key, which the restart does not change.
        let app = app.restart(&[]).await;
        app.get("/v1/me").bearer(&tokens.access).await.problem(401, "UNAUTHENTICATED");
        app.get("/v1/whoami").bearer(&tokens.access).await.problem(401, "UNAUTHENTICATED");
        app.log_in(&email, &password).await;
        app.finish().await;
    }
}

#[tokio::test]
async fn tokens_survive_the_rotation_of_signing_keys() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let app_set = async || app.get("/.well-known/jwks.json").await.text();
    let before = app_set().await;
    let mut refresh = user.tokens.refresh.clone();
    // Day by day past the thirty days of a key; every token that is issued is accepted.
    for _ in 0..40 {
        app.advance(86_400);
        let body = json!({ "refresh_token": refresh });
        let answer = app.post("/v1/auth/refresh").json(&body).await;
        let tokens = if answer.status == 200 {
            crate::actors::Tokens::of(&app, &answer)
        } else {
            // The session is thirty days old.
            app.log_in(&user.email, &user.password).await
        };
        app.get("/v1/me").bearer(&tokens.access).await.json(200);
        refresh = tokens.refresh;
    }
    assert_ne!(app_set().await, before);
    app.finish().await;
}
