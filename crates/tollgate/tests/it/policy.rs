//! `/v1/workspaces/{id}/policy`

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_rule_holds_for_what_is_made_and_changed() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let path = format!("/v1/workspaces/{}/policy", user.workspace_id);
    let empty = json!({ "require_expiry": false, "require_description": false });
    assert_eq!(user.get(&path).await.json(200), empty);
    let before = user.key().create().await;

    let rules = json!({ "require_expiry": true, "require_description": true, "max_lifetime_days": 30 });
    assert_eq!(user.patch(&path, &rules).await.json(200), rules);
    let create = async |body| user.post("/v1/keys", &body).await;
    create(json!({ "name": "a" })).await.violates(422, &["/expires_at", "/expires_at", "/description"]);
    let long = json!({ "name": "a", "description": "d", "expires_in_days": 31 });
    let refused = create(long).await.problem(422, "INVALID_ARGUMENT");
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("`max_lifetime_days`"), "{refused}");
    let key = user.key().with("description", json!("d")).with("expires_in_days", json!(30)).create().await;
    app.advance(86_400);
    let user = user.again().await;
    let later = json!({ "expires_at": "2026-01-31T00:00:01Z" });
    user.patch(&key.path(), &later).await.violates(422, &["/expires_at"]);
    user.patch(&key.path(), &json!({ "expires_at": null }))
        .await
        .violates(422, &["/expires_at", "/expires_at"]);
    user.patch(&key.path(), &json!({ "description": null })).await.violates(422, &["/description"]);
    user.patch(&key.path(), &json!({ "expires_at": "2026-01-31T00:00:00Z" })).await.json(200);
    // A key that is there and breaks a rule can be changed in what the rule is not about.
    user.patch(&before.path(), &json!({ "name": "renamed" })).await.json(200);

    let less = json!({ "require_expiry": null, "max_lifetime_days": null, "require_description": false });
    assert_eq!(user.patch(&path, &less).await.json(200), empty);
    app.finish().await;
}

#[tokio::test]
async fn a_policy_is_for_owners_and_bounded() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let path = format!("/v1/workspaces/{}/policy", user.workspace_id);
    let machine = user.service_key(&["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
    machine.get(&path).await.problem(403, "FORBIDDEN");
    machine.patch(&path, &json!({})).await.problem(403, "FORBIDDEN");
    stranger.get(&path).await.problem(404, "NOT_FOUND");
    stranger.patch(&path, &json!({})).await.problem(404, "NOT_FOUND");
    for (body, pointer) in [
        (json!({ "max_lifetime_days": 0 }), "/max_lifetime_days"),
        (json!({ "undelete_days": 3651 }), "/undelete_days"),
        (json!({ "auto_disable_unused_days": -1 }), "/auto_disable_unused_days"),
        (json!({ "max_secret_age_days": 0 }), "/max_secret_age_days"),
        (json!({ "max_secret_age_days": 3651 }), "/max_secret_age_days"),
        (json!({ "require_everything": true }), "/require_everything"),
    ] {
        user.patch(&path, &body).await.violates(422, &[pointer]);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_disabled_key_can_be_enabled_within_the_window() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let path = format!("/v1/workspaces/{}/policy", user.workspace_id);
    user.patch(&path, &json!({ "undelete_days": 1 })).await.json(200);
    let key = user.key().create().await;
    user.patch(&key.path(), &json!({ "enabled": false })).await.json(200);
    app.advance(86_400);
    let user = user.again().await;
    user.patch(&key.path(), &json!({ "enabled": true })).await.json(200);
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    user.patch(&key.path(), &json!({ "enabled": false })).await.json(200);
    app.advance(86_401);
    let user = user.again().await;
    user.patch(&key.path(), &json!({ "enabled": true })).await.problem(409, "CONFLICT");
    app.finish().await;
}
