//! Limits of a key, of its consumer and of its workspace: every call is charged at all levels in one step, or at none.

use serde_json::{Value, json};

use crate::{actors::Key, app::TestApp};

fn minute(limit: u64) -> Value {
    json!([{ "name": "minute", "limit": limit, "window_seconds": 60 }])
}

/// What is left of a limit, without taking any.
async fn left(app: &TestApp, user: &crate::actors::User<'_>, key: &Key<'_>, name: &str) -> Value {
    let ask = json!({ "key": key.key, "dry_run": true, "cost": 0 });
    let verdict = user.post("/v1/keys/verify", &ask).await.json(200);
    let limits = verdict["limits"].as_array().unwrap_or_else(|| panic!("{verdict} {}", app.now()));
    limits.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}: {verdict}"))["remaining"]
        .clone()
}

#[tokio::test]
async fn every_level_is_charged_and_the_first_that_is_used_up_denies() {
    let app = TestApp::new().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let at = format!("/v1/workspaces/{}", user.workspace_id);
    operator.patch(&at, &json!({ "limits": minute(6) })).await.changed();
    let consumer = user.consumer(json!({ "name": "a", "limits": minute(4) })).await["id"].clone();
    let plan = user.post("/v1/plans", &json!({ "name": "bare" })).await.json(201)["id"].clone();
    let key = || user.key().with("plan_id", plan.clone()).with("limits", minute(3));
    let first = key().with("consumer_id", consumer.clone()).create().await;
    let second = key().with("consumer_id", consumer.clone()).create().await;
    let third = key().create().await;

    let passed = first.whoami().await;
    assert_eq!(
        passed.header("ratelimit-policy"),
        Some(r#""minute";q=3;w=60, "consumer.minute";q=4;w=60, "workspace.minute";q=6;w=60"#)
    );
    for _ in 0..2 {
        first.whoami().await.json(200);
    }
    let denied = user.verify(&first.key).await;
    assert_eq!((&denied["code"], &denied["denied_by"]), (&json!("RATE_LIMITED"), &json!("minute")));
    // What was denied was charged to none.
    assert_eq!(left(&app, &user, &first, "consumer.minute").await, 1);
    assert_eq!(left(&app, &user, &first, "workspace.minute").await, 3);

    second.whoami().await.json(200);
    for _ in 0..3 {
        assert_eq!(user.verify(&second.key).await["denied_by"], "consumer.minute");
    }
    assert_eq!(left(&app, &user, &second, "minute").await, 2);
    assert_eq!(left(&app, &user, &second, "workspace.minute").await, 2);

    third.whoami().await.json(200);
    third.whoami().await.json(200);
    let denied = third.whoami().await;
    denied.problem(429, "RATE_LIMITED");
    assert_eq!(denied.header("retry-after"), Some("60"));
    assert_eq!(user.verify(&third.key).await["denied_by"], "workspace.minute");
    assert_eq!(left(&app, &user, &third, "minute").await, 1);

    app.advance(60);
    first.whoami().await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn a_consumer_s_plan_is_shared_by_its_keys_and_its_own_limit_replaces_it() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let plan = user.post("/v1/plans", &json!({ "name": "shared", "limits": minute(2) })).await.json(201);
    let consumer = user.consumer(json!({ "name": "a", "plan_id": plan["id"] })).await;
    let at = format!("/v1/consumers/{}", consumer["id"].as_str().unwrap());
    let key = || user.key().with("consumer_id", consumer["id"].clone());
    let (first, second) = (key().create().await, key().create().await);
    first.whoami().await.json(200);
    second.whoami().await.json(200);
    assert_eq!(user.verify(&first.key).await["denied_by"], "consumer.minute");

    user.patch(&at, &json!({ "limits": minute(3) })).await.changed();
    second.whoami().await.json(200);
    assert_eq!(user.verify(&second.key).await["denied_by"], "consumer.minute");
    let five = json!({ "limits": minute(5) });
    user.patch(&format!("/v1/plans/{}", plan["id"].as_str().unwrap()), &five).await.changed();
    assert_eq!(user.verify(&second.key).await["denied_by"], "consumer.minute", "its own is in force");
    user.patch(&at, &json!({ "limits": null })).await.changed();
    first.whoami().await.json(200);
    first.whoami().await.json(200);
    assert_eq!(user.verify(&second.key).await["denied_by"], "consumer.minute");
    app.finish().await;
}

#[tokio::test]
async fn as_many_limits_as_all_levels_can_have_are_decided_in_one_call() {
    let app = TestApp::new().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let some = |prefix: &str, count: usize| -> Value {
        let limit = |number| json!({ "name": format!("{prefix}{number}"), "limit": 2, "window_seconds": 60 });
        (0..count).map(limit).collect()
    };
    let at = format!("/v1/workspaces/{}", user.workspace_id);
    operator.patch(&at, &json!({ "limits": some("w", 4) })).await.changed();
    let plan =
        user.post("/v1/plans", &json!({ "name": "p", "limits": some("p", 8) })).await.json(201)["id"].clone();
    let consumer = json!({ "name": "a", "plan_id": plan, "limits": some("c", 4) });
    let consumer = user.consumer(consumer).await["id"].clone();
    let key =
        user.key().with("plan_id", plan.clone()).with("limits", some("k", 8)).with("consumer_id", consumer);
    let key = key.create().await;
    let verdict = user.verify(&key.key).await;
    assert_eq!((&verdict["code"], verdict["limits"].as_array().unwrap().len()), (&json!("VALID"), 32));
    key.whoami().await.json(200);
    key.whoami().await.problem(429, "RATE_LIMITED");
    app.finish().await;
}

#[tokio::test]
async fn a_cost_that_a_shared_limit_never_allows_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let consumer = user.consumer(json!({ "name": "a", "limits": minute(4) })).await["id"].clone();
    let key = user.key().with("consumer_id", consumer).create().await;
    let at_once = json!({ "key": key.key, "cost": 5 });
    let reserved = json!({ "key": key.key, "cost": 5, "request_id": "r", "reserve": true });
    for body in [at_once, reserved] {
        let answer = user.post("/v1/keys/verify", &body).await;
        answer.violates(422, &["/cost"]);
        assert!(answer.text().contains("`consumer.minute`"), "{}", answer.text());
    }
    assert_eq!(
        user.post("/v1/keys/verify", &json!({ "key": key.key, "cost": 4 })).await.json(200)["code"],
        "VALID"
    );
    app.finish().await;
}
