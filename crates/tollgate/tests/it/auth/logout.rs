//! `POST /v1/auth/logout` and `/v1/auth/logout-all`

use serde_json::json;

use crate::{app::TestApp, http::Call};

fn logout(app: &TestApp, path: &str, token: &str) -> Call {
    app.post(path).json(&json!({ "refresh_token": token }))
}

#[tokio::test]
async fn a_logout_ends_every_token_of_the_session() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let other = app.log_in(&user.email, &user.password).await;
    user.get("/v1/me").await.json(200);
    logout(&app, "/v1/auth/logout", &user.tokens.refresh).await.held();
    user.get("/v1/me").await.problem(401, "UNAUTHENTICATED");
    user.get("/v1/whoami").await.problem(401, "UNAUTHENTICATED");
    let refresh = json!({ "refresh_token": user.tokens.refresh });
    app.post("/v1/auth/refresh").json(&refresh).await.problem(401, "UNAUTHENTICATED");
    app.get("/v1/me").bearer(&other.access).await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn a_second_logout_succeeds() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for _ in 0..2 {
        logout(&app, "/v1/auth/logout", &user.tokens.refresh).await.held();
    }
    app.finish().await;
}

#[tokio::test]
async fn logout_all_ends_every_session_of_the_user_and_of_nobody_else() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let other = app.log_in(&user.email, &user.password).await;
    for token in [&user.tokens.access, &other.access, &stranger.tokens.access] {
        app.get("/v1/me").bearer(token).await.json(200);
    }
    logout(&app, "/v1/auth/logout-all", &other.refresh).await.held();
    for token in [&user.tokens.access, &other.access] {
        app.get("/v1/me").bearer(token).await.problem(401, "UNAUTHENTICATED");
    }
    stranger.get("/v1/me").await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_refresh_token_ends_nothing() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for wrong in ["", "nonsense", &user.tokens.access] {
        logout(&app, "/v1/auth/logout", wrong).await.problem(401, "UNAUTHENTICATED");
    }
    user.get("/v1/me").await.json(200);
    app.finish().await;
}
