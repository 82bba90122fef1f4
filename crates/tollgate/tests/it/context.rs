//! Request ids and traces, through every role.

use serde_json::json;

use crate::{app::TestApp, shape::Shape};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test]
async fn a_request_s_id_and_trace_come_back_and_are_in_the_log_of_every_role() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let id = format!("order-{}", user.id);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    // A failed login: the role has something to say about it.
    let body = json!({ "email": user.email, "password": "not the password at all" });
    let call = app.post("/v1/auth/login").json(&body);
    let answer = call.header("x-request-id", &id).header("traceparent", &traceparent).await;
    answer.problem(401, "UNAUTHENTICATED");
    assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
    assert!(answer.header("traceparent").unwrap().starts_with(&format!("00-{TRACE}-")));
    let logged = app.logged();
    let lines: Vec<_> = logged.lines().filter(|line| line.contains(&id)).collect();
    assert!(lines.iter().all(|line| line.contains(TRACE)), "{lines:#?}");
    let role = match app.shape {
        Shape::Sqlite | Shape::Postgres => "/v1/auth/login",
        Shape::Split => "/tollgate.identity.v1.Identity/Login",
    };
    assert!(lines.iter().any(|line| line.contains(role) && line.contains("tollgate_identity")), "{lines:#?}");
    app.finish().await;
}

#[tokio::test]
async fn an_id_that_is_not_plain_is_replaced() {
    let app = TestApp::new().await;
    for wrong in ["", "a b", "<script>", &"x".repeat(200)] {
        let answer = app.get("/livez").header("x-request-id", wrong).await;
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"), "{wrong}");
    }
    app.finish().await;
}
