//! `/v1/plans`: a plan is changed for all that have it, and what was counted stays.

use http::Method;
use serde_json::{Value, json};

use crate::{actors::Key, app::TestApp};

fn three() -> Value {
    json!({ "name": "gold", "limits": [{ "name": "hour", "limit": 3, "window_seconds": 3600 }] })
}

async fn passes(key: &Key<'_>, calls: usize) -> usize {
    let mut passed = 0;
    for _ in 0..calls {
        passed += usize::from(key.whoami().await.status == 200);
    }
    passed
}

#[tokio::test]
async fn a_raised_limit_lets_pass_what_it_was_raised_by() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let created = user.post("/v1/plans", &three()).await;
    let plan = created.json(201);
    let at = format!("/v1/plans/{}", plan["id"].as_str().unwrap());
    assert_eq!(created.header("location"), Some(at.as_str()));
    assert_eq!(user.get(&at).await.json(200), plan);
    let keys = [user.key(), user.key()].map(|key| key.with("plan_id", plan["id"].clone()));
    let [first, second] = keys;
    let (first, second) = (first.create().await, second.create().await);
    assert_eq!((passes(&first, 5).await, passes(&second, 1).await), (3, 1));
    first.whoami().await.problem(429, "RATE_LIMITED");

    let five = json!({ "limits": [{ "name": "hour", "limit": 5, "window_seconds": 3600 }] });
    user.patch(&at, &five).await.changed();
    assert_eq!((passes(&first, 5).await, passes(&second, 7).await), (2, 4));
    let two = json!({ "limits": [{ "name": "hour", "limit": 2, "window_seconds": 3600 }] });
    user.patch(&at, &two).await.changed();
    assert_eq!((passes(&first, 2).await, passes(&second, 2).await), (0, 0), "less than was used already");
    user.patch(&at, &json!({ "limits": null })).await.changed();
    assert_eq!(passes(&first, 3).await, 3, "without limits");
    app.finish().await;
}

#[tokio::test]
async fn a_key_s_own_limit_replaces_the_plan_s_after_a_change_too() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let plan = user.post("/v1/plans", &three()).await.json(201);
    let own = json!([{ "name": "hour", "limit": 1, "window_seconds": 3600 }]);
    let key = user.key().with("plan_id", plan["id"].clone()).with("limits", own).create().await;
    let more = json!({ "limits": [
        { "name": "hour", "limit": 9, "window_seconds": 3600 }, { "name": "day", "limit": 9, "window_seconds": 86400 },
    ] });
    user.patch(&format!("/v1/plans/{}", plan["id"].as_str().unwrap()), &more).await.changed();
    let seen = user.get(&format!("/v1/keys/{}", key.id)).await.json(200);
    let limits: Vec<_> = seen["limits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].clone(), it["limit"].clone()))
        .collect();
    assert_eq!(limits, [(json!("hour"), json!(1)), (json!("day"), json!(9))]);
    assert_eq!(passes(&key, 3).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn its_scopes_are_taken_away_from_its_keys_at_once() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let plan = user.post("/v1/plans", &json!({ "name": "gold", "scopes": ["orders.read"] })).await.json(201);
    let key = user.key().with("plan_id", plan["id"].clone()).create().await;
    let ask = json!({ "key": key.key, "scopes": ["orders.read"] });
    let code = async || user.post("/v1/keys/verify", &ask).await.json(200)["code"].clone();
    assert_eq!(code().await, "VALID");
    let at = format!("/v1/plans/{}", plan["id"].as_str().unwrap());
    user.patch(&at, &json!({ "scopes": ["orders.write"] })).await.changed();
    assert_eq!(code().await, "INSUFFICIENT_SCOPE");
    let renamed = user.patch(&at, &json!({ "name": "platinum", "scopes": ["orders.read"] })).await.json(200);
    assert_eq!(
        (&renamed["name"], &renamed["effect"]["effective"]),
        (&json!("platinum"), &json!("acknowledged"))
    );
    assert_eq!(code().await, "VALID");
    assert_eq!(app.get("/v1/gate").api_key(&key.key).await.header("x-tollgate-plan"), Some("platinum"));
    app.finish().await;
}

#[tokio::test]
async fn one_in_use_is_not_deleted_and_says_by_what() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let plan = user.post("/v1/plans", &three()).await.json(201);
    let at = format!("/v1/plans/{}", plan["id"].as_str().unwrap());
    let consumer = user.consumer(json!({ "name": "a", "plan_id": plan["id"] })).await;
    let key = user.key().with("plan_id", plan["id"].clone()).create().await;
    let problem = user.delete(&at).await.problem(409, "CONFLICT");
    let said = "The plan is in use: by 1 keys, of which some may be revoked, and by 1 consumers.";
    assert_eq!(problem["detail"], said);
    key.whoami().await.json(200);
    user.patch(&format!("/v1/consumers/{}", consumer["id"].as_str().unwrap()), &json!({ "plan_id": null }))
        .await
        .changed();
    user.delete(&at).await.problem(409, "CONFLICT");
    let unused = user.post("/v1/plans", &json!({ "name": "unused" })).await.json(201);
    user.delete(&format!("/v1/plans/{}", unused["id"].as_str().unwrap())).await.held();
    user.get(&format!("/v1/plans/{}", unused["id"].as_str().unwrap())).await.problem(404, "NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let limit = |name: &str| json!({ "name": name, "limit": 1, "window_seconds": 1 });
    let many: Vec<_> = (0..9).map(|number| limit(&format!("n{number}"))).collect();
    for (field, value, pointer) in [
        ("name", json!(" gold"), "/name"),
        ("name", json!("g\u{f6}ld"), "/name"),
        ("limits", json!(many), "/limits"),
        ("limits", json!([limit("workspace.minute")]), "/limits/0/name"),
        ("limits", json!([limit(&"n".repeat(55))]), "/limits/0/name"),
        ("scopes", json!(["Orders"]), "/scopes/0"),
        ("id", json!("pln_00000000000000000000000001"), "/id"),
        ("created_at", json!("2026-01-01T00:00:00Z"), "/created_at"),
    ] {
        let mut body = json!({ "name": "gold" });
        body[field] = value;
        user.post("/v1/plans", &body).await.violates(422, &[pointer]);
    }
    user.post("/v1/plans", &json!({ "name": "gold" })).await.json(201);
    let problem = user.post("/v1/plans", &json!({ "name": "gold" })).await.problem(409, "CONFLICT");
    assert_eq!(problem["detail"], "Another plan of the workspace has this name.");
    let basic = format!("/v1/plans/{}", user.plan("basic").await.as_str().unwrap());
    user.patch(&basic, &json!({ "name": "gold" })).await.problem(409, "CONFLICT");
    user.patch(&basic, &json!({ "name": null })).await.violates(422, &["/name"]);
    user.patch(&basic, &json!({ "workspace_id": "x" })).await.violates(422, &["/workspace_id"]);
    app.finish().await;
}

#[tokio::test]
async fn a_service_key_does_not_widen_its_own_plan() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
    let at = format!("/v1/plans/{}", user.plan("basic").await.as_str().unwrap());
    service.get(&at).await.json(200);
    service.post("/v1/plans", &three()).await.problem(403, "FORBIDDEN");
    let change = app.call(Method::PATCH, &at).bearer(&service.key).json(&json!({ "limits": [] }));
    change.await.problem(403, "FORBIDDEN");
    app.delete(&at).bearer(&service.key).await.problem(403, "FORBIDDEN");
    app.finish().await;
}
