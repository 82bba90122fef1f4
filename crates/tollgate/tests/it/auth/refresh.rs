//! `POST /v1/auth/refresh`

use serde_json::{Value, json};

use crate::{
    actors::Tokens,
    app::TestApp,
    http::{Answer, Call},
};

fn refresh(app: &TestApp, token: &str) -> Call {
    app.post("/v1/auth/refresh").json(&json!({ "refresh_token": token }))
}

fn refused(answer: &Answer) -> Value {
    answer.problem(401, "UNAUTHENTICATED")
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_for_its_successor() {
    let app = TestApp::new().await;
    let user = app.user().await;
    app.advance(60);
    let second = Tokens::of(&app, &refresh(&app, &user.tokens.refresh).await);
    assert_ne!(second.refresh, user.tokens.refresh);
    assert_eq!(second.session_id, user.tokens.session_id);
    app.get("/v1/me").bearer(&second.access).await.json(200);
    let third = Tokens::of(&app, &refresh(&app, &second.refresh).await);
    assert_ne!(third.refresh, second.refresh);
    app.finish().await;
}

#[tokio::test]
async fn a_retry_within_the_grace_gets_the_same_successor() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let first = Tokens::of(&app, &refresh(&app, &user.tokens.refresh).await);
    app.advance(9);
    let again = Tokens::of(&app, &refresh(&app, &user.tokens.refresh).await);
    assert_eq!(again.refresh, first.refresh);
    app.finish().await;
}

#[tokio::test]
async fn an_old_token_after_the_grace_ends_the_session() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let successor = Tokens::of(&app, &refresh(&app, &user.tokens.refresh).await);
    app.advance(11);
    refused(&refresh(&app, &user.tokens.refresh).await);
    refused(&refresh(&app, &successor.refresh).await);
    refused(&app.get("/v1/me").bearer(&successor.access).await);
    // The user's other sessions go on.
    let other = app.log_in(&user.email, &user.password).await;
    app.get("/v1/me").bearer(&other.access).await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn of_many_at_once_there_is_one_successor() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let all: Vec<_> =
        (0..16).map(|_| tokio::spawn(refresh(&app, &user.tokens.refresh).into_future())).collect();
    let mut successors = Vec::new();
    for one in all {
        successors.push(Tokens::of(&app, &one.await.expect("no panic")).refresh);
    }
    successors.dedup();
    assert_eq!(successors.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_idle_session_ends_and_use_does_not_prolong_it_for_ever() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let (day, mut refresh_token) = (86_400, user.tokens.refresh.clone());
    // Used every six days it lives, until the thirty days are over.
    for _ in 0..4 {
        app.advance(6 * day);
        refresh_token = Tokens::of(&app, &refresh(&app, &refresh_token).await).refresh;
    }
    app.advance(6 * day);
    refused(&refresh(&app, &refresh_token).await);

    let idle = app.log_in(&user.email, &user.password).await;
    app.advance(7 * day);
    refused(&refresh(&app, &idle.refresh).await);
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let tampered = format!("{}A", &user.tokens.refresh[..user.tokens.refresh.len() - 1]);
    let other = format!("{}B", &user.tokens.refresh[..user.tokens.refresh.len() - 1]);
    for wrong in ["", "tg_rt_", "nonsense", &user.tokens.access, &user.tokens.session_id, &"x".repeat(10_000)]
    {
        refused(&refresh(&app, wrong).await);
    }
    for wrong in [tampered, other].iter().filter(|it| **it != user.tokens.refresh) {
        refused(&refresh(&app, wrong).await);
    }
    // None of this has touched the session.
    refresh(&app, &user.tokens.refresh).await.json(200);
    app.finish().await;
}
