//! `/v1/service-keys`, and what service keys may do.

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_service_key_is_shown_once_and_listed_without_its_secret() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify", "keys.read"]).await;
    assert!(service.key.starts_with("tg_svc_"));
    let listed = user.get("/v1/service-keys").await;
    assert!(!listed.text().contains(&service.key[12..]));
    let listed = listed.json(200);
    assert_eq!(listed["data"][0]["id"], service.id);
    assert_eq!(listed["data"][0]["permissions"], json!(["keys.verify", "keys.read"]));
    assert_eq!(listed["data"][0]["start"], service.key[..11]);
    app.finish().await;
}

#[tokio::test]
async fn each_permission_opens_its_door_only() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    for (permission, verify, read, write, usage) in [
        ("keys.verify", 200, 403, 403, 403),
        ("keys.read", 403, 200, 403, 403),
        ("keys.write", 403, 403, 201, 403),
        ("usage.read", 403, 403, 403, 200),
    ] {
        let service = user.service_key(&[permission]).await;
        let ask = json!({ "key": key.key });
        assert_eq!(service.post("/v1/keys/verify", &ask).await.status, verify, "{permission} verify");
        assert_eq!(service.get("/v1/keys").await.status, read, "{permission} list");
        assert_eq!(service.get(&format!("/v1/keys/{}", key.id)).await.status, read, "{permission} get");
        let made = service.post("/v1/keys", &json!({ "name": "by a machine" })).await;
        assert_eq!(made.status, write, "{permission} create");
        if write == 201 {
            let made = made.json(201);
            app.secret("a key", made["key"].as_str().unwrap());
            assert_eq!(
                (&made["created_by"], &made["workspace_id"]),
                (&json!(service.id), &json!(user.workspace_id))
            );
        }
        let history = service.get(&format!("/v1/keys/{}/usage", key.id)).await;
        assert_eq!(history.status, usage, "{permission} usage");
        // No machine makes credentials for machines.
        let more = json!({ "name": "more", "permissions": [permission] });
        service.post("/v1/service-keys", &more).await.problem(403, "FORBIDDEN");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_revoked_service_key_is_refused_by_the_very_next_call() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.read"]).await;
    service.get("/v1/keys").await.json(200);
    user.delete(&format!("/v1/service-keys/{}", service.id)).await.held();
    service.get("/v1/keys").await.problem(401, "UNAUTHENTICATED");
    app.finish().await;
}

#[tokio::test]
async fn a_service_key_ends_on_time() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let body = json!({ "name": "short", "permissions": ["keys.read"], "expires_at": "2026-01-01T00:01:00Z" });
    let key = user.post("/v1/service-keys", &body).await.json(201)["key"].as_str().unwrap().to_owned();
    app.secret("a service key", &key);
    app.advance(59);
    app.get("/v1/keys").bearer(&key).await.json(200);
    app.advance(1);
    app.get("/v1/keys").bearer(&key).await.problem(401, "UNAUTHENTICATED");
    app.finish().await;
}

#[tokio::test]
async fn a_service_key_acts_in_its_workspace_only() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let key = user.key().create().await;
    let theirs = stranger.service_key(&["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
    assert_eq!(theirs.verify(&key.key).await, json!({ "valid": false, "code": "NOT_FOUND" }));
    theirs.get(&format!("/v1/keys/{}", key.id)).await.problem(404, "NOT_FOUND");
    app.delete(&format!("/v1/keys/{}", key.id)).bearer(&theirs.key).await.problem(404, "NOT_FOUND");
    let there = json!({ "name": "a", "workspace_id": user.workspace_id });
    theirs.post("/v1/keys", &there).await.problem(404, "NOT_FOUND");
    stranger.delete("/v1/service-keys/svc_00000000000000000000000001").await.problem(404, "NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for (body, pointer) in [
        (json!({ "name": "a", "permissions": [] }), "/permissions"),
        (json!({ "name": "a", "permissions": ["keys.burn"] }), "/permissions/0"),
        (json!({ "name": "", "permissions": ["keys.read"] }), "/name"),
        (json!({ "name": "a", "permissions": "keys.read" }), "/permissions"),
        (json!({ "name": "a", "permissions": ["keys.read"], "expires_in_days": 0 }), "/expires_in_days"),
    ] {
        user.post("/v1/service-keys", &body).await.violates(422, &[pointer]);
    }
    assert_eq!(user.get("/v1/service-keys").await.json(200)["data"], json!([]));
    app.finish().await;
}
