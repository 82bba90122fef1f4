//! `POST /v1/auth/login`

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    actors::{Tokens, password},
    app::TestApp,
};

/// Header and claims of a JWT.
fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let mut json = || serde_json::from_slice(&parts.next().expect("three parts")).expect("JSON");
    (json(), json())
}

#[tokio::test]
async fn a_login_gives_a_jwt_of_rfc_9068_and_a_refresh_token() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let body = json!({ "email": user.email, "password": user.password });
    let answer = app.post("/v1/auth/login").json(&body).await;
    let tokens = Tokens::of(&app, &answer);
    let answered = answer.json(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answered["token_type"], "Bearer");
    assert_eq!(answered["expires_in"], 900);
    assert_eq!(answered["refresh_expires_in"], 604_800);
    assert!(tokens.refresh.starts_with("tg_rt_"));

    let (header, claims) = parts(&tokens.access);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("http://127.0.0.1:8080"), &json!("tollgate")));
    assert_eq!((&claims["sub"], &claims["sid"]), (&json!(user.id), &json!(tokens.session_id)));
    let now = app.now().timestamp();
    assert_eq!((&claims["iat"], &claims["exp"]), (&json!(now), &json!(now + 900)));
    assert!(claims["jti"].as_str().is_some_and(|id| id.len() >= 16));
    app.finish().await;
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_apart_by_nothing() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let wrong = password();
    app.secret("a wrong password", &wrong);
    let mut answers = Vec::new();
    for email in [user.email.as_str(), "nobody@example.com"] {
        let body = json!({ "email": email, "password": wrong });
        let answer = app.post("/v1/auth/login").json(&body).await;
        let mut problem = answer.problem(401, "UNAUTHENTICATED");
        problem["request_id"].take();
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        answers.push((problem, names));
    }
    assert_eq!(answers[0], answers[1]);
    app.finish().await;
}

#[tokio::test]
async fn a_failed_login_is_logged_without_the_password() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let wrong = password();
    app.secret("a wrong password", &wrong);
    let body = json!({ "email": user.email, "password": wrong });
    let answer = app.post("/v1/auth/login").json(&body).header("x-request-id", "a-failed-login").await;
    answer.problem(401, "UNAUTHENTICATED");
    let logged = app.logged();
    assert!(logged.contains("a-failed-login"), "the failure is in the log");
    app.finish().await;
}

#[tokio::test]
async fn too_many_attempts_on_one_address_are_refused_before_it_is_looked_at() {
    let app = TestApp::with(&[("TOLLGATE__IDENTITY__THROTTLE__LOGIN_PAIR__LIMIT", "3")]).await;
    let user = app.user().await;
    // The login of the new user was the first of three.
    for (email, left) in [(user.email.as_str(), 2), ("nobody@example.com", 3)] {
        let body = json!({ "email": email, "password": "not the password at all" });
        for _ in 0..left {
            app.post("/v1/auth/login").json(&body).await.problem(401, "UNAUTHENTICATED");
        }
        let refused = app.post("/v1/auth/login").json(&body).await;
        refused.problem(429, "RATE_LIMITED");
        assert_eq!(refused.header("retry-after"), Some("300"));
    }
    let right = json!({ "email": user.email, "password": user.password });
    app.post("/v1/auth/login").json(&right).await.problem(429, "RATE_LIMITED");
    app.advance(300);
    app.log_in(&user.email, &user.password).await;
    app.finish().await;
}
