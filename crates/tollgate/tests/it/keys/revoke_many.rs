//! `POST /v1/keys/revoke`: many keys at once.

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn all_that_fit_are_refused_when_it_returns() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let theirs = json!({ "partner": "acme", "seats": 5 });
    let mut keys = Vec::new();
    for number in 0..4 {
        let key = user
            .key()
            .with("name", json!(format!("acme {number}")))
            .with("metadata", theirs.clone())
            .create()
            .await;
        key.whoami().await.json(200);
        keys.push(key);
    }
    let other = user.key().with("name", json!("acme too")).create().await;
    other.whoami().await.json(200);
    let filter = json!({ "q": "ACME", "metadata": { "partner": "acme", "seats": 5 } });

    let said = user.post("/v1/keys/revoke", &json!({ "filter": filter, "dry_run": true })).await.json(200);
    assert_eq!((&said["matched"], &said["revoked"], &said["more"]), (&json!(4), &json!(0), &json!(false)));
    assert_eq!(said["sample"].as_array().unwrap().len(), 4);
    for key in &keys {
        key.whoami().await.json(200);
    }

    let wrong = json!({ "filter": filter, "dry_run": false, "expected_count": 5 });
    user.post("/v1/keys/revoke", &wrong).await.problem(409, "CONFLICT");
    keys[0].whoami().await.json(200);

    let right = json!({ "filter": filter, "dry_run": false, "expected_count": 4, "reason": "the contract has ended" });
    let done = user.post("/v1/keys/revoke", &right).await;
    done.held();
    let done = done.json(200);
    assert_eq!((&done["matched"], &done["revoked"]), (&json!(4), &json!(4)));
    for key in &keys {
        key.whoami().await.problem(401, "UNAUTHENTICATED");
        assert_eq!(user.verify(&key.key).await["code"], "REVOKED");
    }
    other.whoami().await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn more_than_a_few_are_refused_when_it_returns() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.write", "keys.verify"]).await;
    let mut keys = Vec::new();
    for _ in 0..52 {
        keys.push(user.key().create().await);
    }
    for key in &keys {
        key.whoami().await.json(200);
    }
    let all = json!({ "all": true, "dry_run": false });
    let done = service.post("/v1/keys/revoke", &all).await;
    done.held();
    assert_eq!(done.json(200)["revoked"], 52);
    for key in &keys {
        key.whoami().await.problem(401, "UNAUTHENTICATED");
    }
    let again = service.post("/v1/keys/revoke", &all).await;
    again.held();
    assert_eq!(again.json(200)["matched"], 0);
    app.finish().await;
}

#[tokio::test]
async fn nobody_revokes_everything_by_mistake() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    for (body, pointer) in [
        (json!({ "dry_run": false }), "/filter"),
        (json!({ "filter": {}, "dry_run": false }), "/filter"),
        (json!({ "filter": { "q": "" }, "dry_run": false }), "/filter"),
        (json!({ "filter": { "q": "a" }, "all": true, "dry_run": false }), "/all"),
        (json!({ "filter": { "q": "a" } }), "/dry_run"),
        (json!({ "filter": { "name": "a" }, "dry_run": false }), "/filter/name"),
        (json!({ "filter": { "metadata": { "a": [] } }, "dry_run": false }), "/filter/metadata"),
        (json!({ "filter": { "metadata": { "a": 1.5 } }, "dry_run": false }), "/filter/metadata"),
        (json!({ "all": true, "dry_run": false, "expected_count": 10_001 }), "/expected_count"),
        (json!({ "all": true, "dry_run": false, "expected_count": -1 }), "/expected_count"),
    ] {
        user.post("/v1/keys/revoke", &body).await.violates(422, &[pointer]);
    }
    key.whoami().await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn a_stranger_revokes_none() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let key = user.key().create().await;
    let reader = user.service_key(&["keys.read", "keys.verify"]).await;
    let there = json!({ "all": true, "dry_run": false, "workspace_id": user.workspace_id });
    stranger.post("/v1/keys/revoke", &there).await.problem(404, "NOT_FOUND");
    reader.post("/v1/keys/revoke", &there).await.problem(403, "FORBIDDEN");
    let own = stranger.post("/v1/keys/revoke", &json!({ "all": true, "dry_run": false })).await.json(200);
    assert_eq!(own["matched"], 0);
    key.whoami().await.json(200);
    app.finish().await;
}
