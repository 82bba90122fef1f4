//! `/v1/roles`: named sets of scopes, and the keys that have them.

use http::Method;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_role_gives_its_scopes_and_takes_them_away_at_once() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let created = user.post("/v1/roles", &json!({ "name": "reader", "scopes": ["orders.read"] })).await;
    let role = created.json(201);
    let at = format!("/v1/roles/{}", role["id"].as_str().unwrap());
    assert_eq!(created.header("location"), Some(at.as_str()));
    assert_eq!(user.get(&at).await.json(200), role);
    let key = user.key().with("roles", json!(["reader"])).with("scopes", json!(["own"])).create().await;
    assert_eq!((&key.created["roles"], &key.created["scopes"]), (&json!(["reader"]), &json!(["own"])));
    let ask = json!({ "key": key.key, "scopes": ["orders.read", "own"] });
    let code = async || user.post("/v1/keys/verify", &ask).await.json(200)["code"].clone();
    assert_eq!(code().await, "VALID");
    user.patch(&at, &json!({ "scopes": null })).await.changed();
    assert_eq!(code().await, "INSUFFICIENT_SCOPE");
    let changed = user.patch(&at, &json!({ "scopes": ["orders.read"] })).await.json(200);
    assert_eq!(
        (&changed["scopes"], &changed["effect"]["effective"]),
        (&json!(["orders.read"]), &json!("acknowledged"))
    );
    assert_eq!(code().await, "VALID");
    app.finish().await;
}

#[tokio::test]
async fn one_in_use_is_not_deleted_and_says_so() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let role = user.post("/v1/roles", &json!({ "name": "reader" })).await.json(201);
    let at = format!("/v1/roles/{}", role["id"].as_str().unwrap());
    let key = user.key().with("roles", json!(["reader"])).create().await;
    let problem = user.delete(&at).await.problem(409, "CONFLICT");
    assert_eq!(problem["detail"], "Keys that are not revoked have the role: 1.");
    user.delete(&format!("/v1/keys/{}", key.id)).await.held();
    user.delete(&at).await.held();
    user.get(&at).await.problem(404, "NOT_FOUND");
    user.post("/v1/keys", &json!({ "name": "a", "roles": ["reader"] })).await.violates(422, &["/roles/0"]);
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    stranger.post("/v1/roles", &json!({ "name": "theirs" })).await.json(201);
    for (field, value, pointer) in [
        ("name", json!(""), "/name"),
        ("name", json!("Reader"), "/name"),
        ("scopes", json!(["A"]), "/scopes/0"),
        ("id", json!("rol_00000000000000000000000001"), "/id"),
    ] {
        let mut body = json!({ "name": "reader" });
        body[field] = value;
        user.post("/v1/roles", &body).await.violates(422, &[pointer]);
    }
    let role = user.post("/v1/roles", &json!({ "name": "reader" })).await.json(201);
    let problem = user.post("/v1/roles", &json!({ "name": "reader" })).await.problem(409, "CONFLICT");
    assert_eq!(problem["detail"], "Another role of the workspace has this name.");
    let at = format!("/v1/roles/{}", role["id"].as_str().unwrap());
    user.patch(&at, &json!({ "name": "writer" })).await.violates(422, &["/name"]);
    let wrong = json!({ "name": "a", "roles": ["reader", "theirs"] });
    user.post("/v1/keys", &wrong).await.violates(422, &["/roles/1"]);
    user.post("/v1/keys", &json!({ "name": "a", "roles": vec!["reader"; 17] }))
        .await
        .violates(422, &["/roles"]);
    app.finish().await;
}

#[tokio::test]
async fn pages_show_every_role_once_in_the_order_of_their_making() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for name in ["c", "a", "b"] {
        app.advance(1);
        user.post("/v1/roles", &json!({ "name": name })).await.json(201);
    }
    let first = user.get("/v1/roles?limit=2").await.json(200);
    let cursor = first["next_cursor"].as_str().expect("there are more");
    let second = user.get(&format!("/v1/roles?limit=2&cursor={cursor}")).await.json(200);
    let pages = first["data"].as_array().unwrap().iter().chain(second["data"].as_array().unwrap());
    assert_eq!(pages.map(|it| it["name"].as_str().unwrap()).collect::<Vec<_>>(), ["c", "a", "b"]);
    assert!(second.get("next_cursor").is_none());
    user.get("/v1/roles?color=red").await.violates(422, &["/color"]);
    app.finish().await;
}

#[tokio::test]
async fn a_service_key_reads_them_and_makes_none() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let role = user.post("/v1/roles", &json!({ "name": "reader" })).await.json(201);
    let at = format!("/v1/roles/{}", role["id"].as_str().unwrap());
    let service = user.service_key(&["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
    service.get("/v1/roles").await.json(200);
    service.get(&at).await.json(200);
    service.post("/v1/roles", &json!({ "name": "mine" })).await.problem(403, "FORBIDDEN");
    let change = app.call(Method::PATCH, &at).bearer(&service.key).json(&json!({ "scopes": ["all"] }));
    change.await.problem(403, "FORBIDDEN");
    app.delete(&at).bearer(&service.key).await.problem(403, "FORBIDDEN");
    app.finish().await;
}
