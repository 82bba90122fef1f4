//! What survives the process: everything, usage and the counters in memory included.

use crate::{actors::User, app::TestApp};

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
    // The limit of two is used up still: counters are kept in Redis, or from the end of one process to the next.
    app.get("/v1/whoami/key").api_key(&secret).await.problem(429, "RATE_LIMITED");
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
    let mut app = TestApp::new().await;
    let User { email, password, .. } = app.user().await;
    let first = app.get("/.well-known/jwks.json").await.text();
    // The rotation is a periodic job that works at each start, too: ten starts, past the thirty days of a key.
    for _ in 0..10 {
        app.advance(4 * 86_400 - 300);
        let tokens = app.log_in(&email, &password).await;
        app.advance(300);
        app = app.restart(&[]).await;
        app.get("/v1/me").bearer(&tokens.access).await.json(200);
    }
    assert_ne!(app.get("/.well-known/jwks.json").await.text(), first);
    app.finish().await;
}
