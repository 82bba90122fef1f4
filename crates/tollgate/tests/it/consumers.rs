//! `/v1/consumers`: made, listed, changed field by field, deleted; and what that does to their keys.

use http::Method;
use serde_json::{Value, json};

use crate::app::TestApp;

#[tokio::test]
async fn everything_that_is_said_is_kept() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let said = json!({
        "name": "The web shop", "external_id": "4711", "plan_id": user.plan("pro").await,
        "limits": [{ "name": "burst", "limit": 10, "window_seconds": 60 }], "metadata": { "country": "NZ" }, "enabled": false,
    });
    let created = user.post("/v1/consumers", &said).await;
    let made = created.json(201);
    let at = format!("/v1/consumers/{}", made["id"].as_str().unwrap());
    assert_eq!(created.header("location"), Some(at.as_str()));
    assert!(at.starts_with("/v1/consumers/con_"));
    for field in ["name", "external_id", "plan_id", "metadata", "enabled"] {
        assert_eq!(made[field], said[field], "{field}");
    }
    assert_eq!((&made["limits"][0]["name"], &made["created_by"]), (&json!("burst"), &json!(user.id)));
    assert_eq!(user.get(&at).await.json(200), made);
    let bare = user.consumer(json!({ "name": "bare" })).await;
    assert_eq!(
        (&bare["enabled"], &bare["limits"], &bare["metadata"]),
        (&json!(true), &json!([]), &json!({}))
    );
    assert!(bare.get("external_id").is_none() && bare.get("plan_id").is_none(), "{bare}");
    app.finish().await;
}

#[tokio::test]
async fn a_change_keeps_what_is_left_out_and_takes_away_what_is_null() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let said =
        json!({ "name": "a", "external_id": "1", "metadata": { "a": 1 }, "plan_id": user.plan("pro").await });
    let made = user.consumer(said).await;
    let at = format!("/v1/consumers/{}", made["id"].as_str().unwrap());
    let kept = user.patch(&at, &json!({})).await;
    kept.changed();
    let changed =
        user.patch(&at, &json!({ "name": "b", "external_id": null, "metadata": null })).await.json(200);
    assert_eq!(
        (&changed["name"], &changed["plan_id"], &changed["metadata"]),
        (&json!("b"), &made["plan_id"], &json!({}))
    );
    assert!(changed.get("external_id").is_none(), "{changed}");
    let changed = user.patch(&at, &json!({ "plan_id": null, "limits": [] })).await.json(200);
    assert!(
        changed.get("plan_id").is_none() && changed["effect"]["effective"] == "acknowledged",
        "{changed}"
    );
    for (field, value, pointer) in [
        ("name", Value::Null, "/name"),
        ("enabled", Value::Null, "/enabled"),
        ("name", json!(""), "/name"),
        ("plan_id", json!("pln_00000000000000000000000001"), "/plan_id"),
        ("external_id", json!(""), "/external_id"),
        ("enabled", json!("yes"), "/enabled"),
        // What is not for the caller to say.
        ("id", json!("con_00000000000000000000000001"), "/id"),
        ("workspace_id", json!("ws_00000000000000000000000001"), "/workspace_id"),
        ("created_by", json!("usr_00000000000000000000000001"), "/created_by"),
        ("created_at", json!("2026-01-01T00:00:00Z"), "/created_at"),
        ("effect", json!({}), "/effect"),
    ] {
        let mut body = json!({});
        body[field] = value;
        user.patch(&at, &body).await.violates(422, &[pointer]);
    }
    assert_eq!(user.get(&at).await.json(200)["name"], "b");
    app.finish().await;
}

#[tokio::test]
async fn disabled_its_keys_are_refused_by_the_very_next_call_and_enabled_they_pass_again() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let consumer = user.consumer(json!({ "name": "a" })).await;
    let (id, at) = (consumer["id"].clone(), format!("/v1/consumers/{}", consumer["id"].as_str().unwrap()));
    let keys = [user.key().with("consumer_id", id.clone()), user.key().with("consumer_id", id.clone())];
    let other = user.key().create().await;
    let mut made = Vec::new();
    for key in keys {
        let key = key.create().await;
        assert_eq!(key.created["consumer_id"], id);
        key.whoami().await.json(200);
        made.push(key);
    }
    for _ in 0..2 {
        user.patch(&at, &json!({ "enabled": false })).await.changed();
        for key in &made {
            key.whoami().await.problem(401, "UNAUTHENTICATED");
            assert_eq!(user.verify(&key.key).await["code"], "DISABLED");
        }
        other.whoami().await.json(200);
        user.patch(&at, &json!({ "enabled": true })).await.changed();
        for key in &made {
            key.whoami().await.json(200);
        }
    }
    let pending = user.patch(&format!("{at}?wait=false"), &json!({ "enabled": false })).await.json(200);
    assert!(
        pending["effect"]["effective"] == "pending" || pending["effect"]["effective"] == "acknowledged",
        "{pending}"
    );
    app.finish().await;
}

#[tokio::test]
async fn one_with_keys_is_not_deleted_and_says_so() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let consumer = user.consumer(json!({ "name": "a", "external_id": "1" })).await;
    let at = format!("/v1/consumers/{}", consumer["id"].as_str().unwrap());
    let key = user.key().with("consumer_id", consumer["id"].clone()).create().await;
    let problem = user.delete(&at).await.problem(409, "CONFLICT");
    assert_eq!(problem["detail"], "The consumer has keys that are not revoked: 1. Revoke them first.");
    key.whoami().await.json(200);
    user.delete(&format!("/v1/keys/{}", key.id)).await.held();
    user.delete(&at).await.held();
    user.delete(&at).await.problem(404, "NOT_FOUND");
    user.get(&at).await.problem(404, "NOT_FOUND");
    user.consumer(json!({ "name": "a", "external_id": "1" })).await;
    app.finish().await;
}

#[tokio::test]
async fn an_external_id_is_taken_once() {
    let app = TestApp::new().await;
    let user = app.user().await;
    user.consumer(json!({ "name": "a", "external_id": "shop" })).await;
    let again = user.post("/v1/consumers", &json!({ "name": "b", "external_id": "shop" })).await;
    let problem = again.problem(409, "CONFLICT");
    assert_eq!(problem["detail"], "Another consumer of the workspace has this `external_id`.");
    user.consumer(json!({ "name": "b", "external_id": "Shop" })).await;
    app.user().await.consumer(json!({ "name": "a", "external_id": "shop" })).await;
    app.finish().await;
}

#[tokio::test]
async fn pages_and_filters() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let plan = user.plan("pro").await;
    for number in 0..5 {
        app.advance(1);
        let (name, even) = (format!("Shop {number}"), number % 2 == 0);
        let mut body = json!({ "name": name, "external_id": number.to_string(), "enabled": even });
        if even {
            body["plan_id"] = plan.clone();
        }
        user.consumer(body).await;
    }
    let list = async |query: &str| {
        let page = user.get(&format!("/v1/consumers?{query}")).await.json(200);
        let names: Vec<_> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect();
        (names, page["next_cursor"].as_str().map(str::to_owned))
    };
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let (names, cursor) = list(&query).await;
        seen.extend(names);
        let Some(cursor) = cursor else { break };
        query = format!("limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["Shop 4", "Shop 3", "Shop 2", "Shop 1", "Shop 0"]);
    let of_plan = format!("plan_id={}", plan.as_str().unwrap());
    for (query, expected) in [
        ("external_id=3", vec!["Shop 3"]),
        ("enabled=false", vec!["Shop 3", "Shop 1"]),
        (of_plan.as_str(), vec!["Shop 4", "Shop 2", "Shop 0"]),
        ("q=SHOP+2", vec!["Shop 2"]),
        ("q=shop&enabled=true&external_id=1", vec![]),
    ] {
        assert_eq!(list(query).await.0, expected, "{query}");
    }
    for (query, pointer) in [
        ("limit=0", "/limit"),
        ("cursor=x", "/cursor"),
        ("enabled=maybe", "/enabled"),
        ("plan_id=gold", "/plan_id"),
        ("external_id=", "/external_id"),
        ("color=red", "/color"),
    ] {
        user.get(&format!("/v1/consumers?{query}")).await.violates(422, &[pointer]);
    }
    let ids: Vec<_> = user.get("/v1/consumers?limit=2").await.json(200)["data"].as_array().unwrap().clone();
    user.key().with("consumer_id", ids[0]["id"].clone()).create().await;
    let its = user.get(&format!("/v1/keys?consumer_id={}", ids[0]["id"].as_str().unwrap())).await.json(200);
    let others =
        user.get(&format!("/v1/keys?consumer_id={}", ids[1]["id"].as_str().unwrap())).await.json(200);
    assert_eq!((its["data"].as_array().unwrap().len(), &others["data"]), (1, &json!([])));
    app.finish().await;
}

#[tokio::test]
async fn a_service_key_needs_the_permission_of_keys() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let consumer = user.consumer(json!({ "name": "a" })).await;
    let at = format!("/v1/consumers/{}", consumer["id"].as_str().unwrap());
    for (permission, read, write) in
        [("keys.verify", 403, 403), ("keys.read", 200, 403), ("keys.write", 403, 200)]
    {
        let service = user.service_key(&[permission]).await;
        assert_eq!(service.get("/v1/consumers").await.status, read, "{permission}");
        assert_eq!(service.get(&at).await.status, read, "{permission}");
        let change = app.call(Method::PATCH, &at).bearer(&service.key).json(&json!({ "name": "b" }));
        assert_eq!(change.await.status, write, "{permission}");
        let made = service.post("/v1/consumers", &json!({ "name": "by a machine" })).await;
        assert_eq!(made.status, if write == 200 { 201 } else { 403 }, "{permission}");
        let deleted = app.delete(&format!(
            "/v1/consumers/{}",
            user.consumer(json!({ "name": "c" })).await["id"].as_str().unwrap()
        ));
        assert_eq!(deleted.bearer(&service.key).await.status, write, "{permission}");
    }
    app.finish().await;
}
