//! `DELETE /v1/keys/{id}`: revoked means revoked.

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn the_very_next_call_is_refused() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    key.whoami().await.json(200);
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    user.delete(&format!("/v1/keys/{}", key.id)).await.held();
    key.whoami().await.problem(401, "UNAUTHENTICATED");
    let verdict = user.verify(&key.key).await;
    assert_eq!((&verdict["valid"], &verdict["code"]), (&json!(false), &json!("REVOKED")));
    app.finish().await;
}

#[tokio::test]
async fn a_revoked_key_stays_and_says_when() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    app.advance(7);
    for _ in 0..2 {
        user.delete(&format!("/v1/keys/{}", key.id)).await.held();
        app.advance(7);
    }
    let seen = user.get(&format!("/v1/keys/{}", key.id)).await.json(200);
    assert_eq!(seen["revoked_at"], "2026-01-01T00:00:07Z");
    app.finish().await;
}

#[tokio::test]
async fn a_stranger_revokes_nothing() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let key = user.key().create().await;
    stranger.delete(&format!("/v1/keys/{}", key.id)).await.problem(404, "NOT_FOUND");
    key.whoami().await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn no_call_that_starts_after_the_answer_is_accepted() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let limits = json!([
        { "name": "minute", "limit": 1000, "window_seconds": 60 }, { "name": "day", "limit": 1000, "window_seconds": 86400 },
    ]);
    for _ in 0..5 {
        let key = user.key().with("limits", limits.clone()).create().await;
        // Calls that are under way while the key is revoked may end either way.
        let around: Vec<_> = (0..8).map(|_| tokio::spawn(key.whoami().into_future())).collect();
        user.delete(&format!("/v1/keys/{}", key.id)).await.held();
        for _ in 0..8 {
            key.whoami().await.problem(401, "UNAUTHENTICATED");
        }
        for call in around {
            assert!([200, 401].contains(&call.await.expect("no panic").status.as_u16()));
        }
    }
    app.finish().await;
}
