//! `POST /v1/auth/signup`

use serde_json::json;

use crate::{
    actors::{email, password},
    app::TestApp,
};

#[tokio::test]
async fn a_user_and_a_personal_workspace_are_made() {
    let app = TestApp::new().await;
    let (email, password) = (email(), password());
    app.secret("a password", &password);
    let body = json!({ "email": email, "password": password, "name": "Ada" });
    let mut made = app.post("/v1/auth/signup").json(&body).await.json(201);
    assert!(made["user"]["id"].take().as_str().unwrap().starts_with("usr_"));
    assert!(made["workspace"]["id"].take().as_str().unwrap().starts_with("ws_"));
    assert_eq!(made["user"]["email"].take(), email);
    assert_eq!(made["user"]["name"], "Ada");
    assert_eq!(made["user"]["operator"], false);
    assert_eq!(made["user"]["created_at"], "2026-01-01T00:00:00Z");
    assert_eq!(made["workspace"]["role"], "owner");
    app.finish().await;
}

#[tokio::test]
async fn an_address_is_taken_once_whatever_its_case() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let other = password();
    app.secret("a password", &other);
    app.sign_up(&user.email.to_uppercase(), &other).await.problem(409, "CONFLICT");
    app.log_in(&user.email, &user.password).await;
    app.finish().await;
}

#[tokio::test]
async fn of_many_at_once_one_gets_the_address() {
    let app = TestApp::new().await;
    let (email, password) = (email(), password());
    app.secret("a password", &password);
    let all = (0..8).map(|_| tokio::spawn(app.sign_up(&email, &password).into_future()));
    let mut statuses = Vec::new();
    for one in all.collect::<Vec<_>>() {
        statuses.push(one.await.expect("no panic").status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named_and_nothing_is_made() {
    let app = TestApp::new().await;
    let (good_email, good) = (email(), password());
    for (wrong, pointers) in [
        (json!({ "email": "nobody", "password": good }), ["/email"]),
        (json!({ "email": "", "password": good }), ["/email"]),
        (json!({ "email": format!("{}@example.com", "a".repeat(250)), "password": good }), ["/email"]),
        (json!({ "email": "a\u{0}b@example.com", "password": good }), ["/email"]),
        (json!({ "email": good_email, "password": "too short" }), ["/password"]),
        (json!({ "email": good_email, "password": "x".repeat(257) }), ["/password"]),
        (json!({ "email": good_email, "password": good, "name": "n".repeat(201) }), ["/name"]),
        (json!({ "email": good_email, "password": good, "operator": true }), ["/operator"]),
        (json!({ "email": good_email }), ["/password"]),
        (json!({ "email": 7, "password": good }), ["/email"]),
    ] {
        app.post("/v1/auth/signup").json(&wrong).await.violates(422, &pointers);
    }
    app.post("/v1/auth/login")
        .json(&json!({ "email": good_email, "password": good }))
        .await
        .problem(401, "UNAUTHENTICATED");
    app.finish().await;
}

#[tokio::test]
async fn a_password_is_taken_as_it_is() {
    let app = TestApp::new().await;
    let (email, spaced) = (email(), format!("  {} \u{1F600} ", password()));
    app.secret("a password", spaced.trim());
    app.sign_up(&email, &spaced).await.json(201);
    app.log_in(&email, &spaced).await;
    let trimmed = json!({ "email": email, "password": spaced.trim() });
    app.post("/v1/auth/login").json(&trimmed).await.problem(401, "UNAUTHENTICATED");
    app.finish().await;
}
