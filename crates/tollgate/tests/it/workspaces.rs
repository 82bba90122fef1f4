//! `/v1/workspaces/{id}`: its name is for its owners to say, its limits for operators.

use http::Method;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn an_owner_names_it_and_an_operator_limits_it() {
    let app = TestApp::new().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let at = format!("/v1/workspaces/{}", user.workspace_id);
    let named = user.patch(&at, &json!({ "name": "Acme" })).await.json(200);
    assert_eq!(
        (&named["name"], &named["role"], &named["limits"]),
        (&json!("Acme"), &json!("owner"), &json!([]))
    );
    let limits = json!({ "limits": [{ "name": "minute", "limit": 2, "window_seconds": 60 }] });
    user.patch(&at, &limits).await.problem(403, "FORBIDDEN");
    let both = json!({ "name": "Mine", "limits": [] });
    user.patch(&at, &both).await.problem(403, "FORBIDDEN");
    operator.patch(&at, &limits).await.changed();
    let seen = user.get(&at).await.json(200);
    assert_eq!((&seen["name"], &seen["limits"][0]["limit"]), (&json!("Acme"), &json!(2)));
    let listed = user.get("/v1/workspaces").await.json(200);
    assert_eq!(listed["data"][0], seen);

    // All its keys together.
    let (first, second) = (user.key().create().await, user.key().create().await);
    first.whoami().await.json(200);
    second.whoami().await.json(200);
    first.whoami().await.problem(429, "RATE_LIMITED");
    assert_eq!(user.verify(&second.key).await["denied_by"], "workspace.minute");
    operator.patch(&at, &json!({ "limits": null })).await.changed();
    first.whoami().await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let app = TestApp::new().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let at = format!("/v1/workspaces/{}", user.workspace_id);
    let limit = |name: &str| json!({ "name": name, "limit": 1, "window_seconds": 1 });
    let many: Vec<_> = (0..5).map(|number| limit(&format!("n{number}"))).collect();
    for (body, pointer) in [
        (json!({ "limits": many }), "/limits"),
        (json!({ "limits": [limit("consumer.a")] }), "/limits/0/name"),
        (json!({ "limits": [limit(&"n".repeat(55))] }), "/limits/0/name"),
        (json!({ "name": " " }), "/name"),
        (json!({ "name": null }), "/name"),
        (json!({ "role": "owner" }), "/role"),
        (json!({ "enabled": "no" }), "/enabled"),
        (json!({ "personal_owner": operator.id }), "/personal_owner"),
    ] {
        operator.patch(&at, &body).await.violates(422, &[pointer]);
    }
    operator
        .patch("/v1/workspaces/ws_00000000000000000000000001", &json!({}))
        .await
        .problem(404, "NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn a_service_key_may_look_with_its_permission() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let at = format!("/v1/workspaces/{}", user.workspace_id);
    for (permission, status) in [("keys.verify", 403), ("keys.read", 200), ("keys.write", 403)] {
        let service = user.service_key(&[permission]).await;
        let seen = service.get(&at).await;
        assert_eq!(seen.status, status, "{permission}");
        assert!(!seen.text().contains("role"), "a machine has none");
        let rename = app.call(Method::PATCH, &at).bearer(&service.key).json(&json!({ "name": "mine" }));
        rename.await.problem(403, "FORBIDDEN");
    }
    app.finish().await;
}
