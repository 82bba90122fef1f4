//! `POST /v1/keys/{id}/rotate` and `/v1/keys/{id}/secrets`

use http::Method;
use serde_json::{Value, json};

use crate::{
    actors::{Key, User},
    app::TestApp,
};

/// The answer to a rotation, and the key in it.
async fn rotate(app: &TestApp, user: &User<'_>, key: &Key<'_>, body: Value) -> (Value, String) {
    let answer = user.post(&format!("{}/rotate", key.path()), &body).await.json(200);
    let text = answer["key"].as_str().expect("shown once").to_owned();
    app.secret("a rotated key", &text);
    (answer, text)
}

#[tokio::test]
async fn the_old_secret_passes_until_its_grace_is_over() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(4, 172_800).create().await;
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    let (answer, new) = rotate(&app, &user, &key, json!({})).await;
    assert_eq!(answer["id"], key.id);
    assert_eq!(answer["start"], new[..12]);
    assert_eq!(answer["effect"]["effective"], "acknowledged");
    assert_eq!(answer["previous"]["retires_at"], "2026-01-02T00:00:00Z");
    let seen = user.get(&key.path()).await;
    assert!(!seen.text().contains(&new[12..]), "the secret is not shown again");
    assert_eq!(seen.json(200)["start"], new[..12]);

    let old = user.verify(&key.key).await;
    assert_eq!((&old["code"], &old["retires_at"]), (&json!("VALID"), &json!("2026-01-02T00:00:00Z")));
    let latest = user.verify(&new).await;
    assert_eq!((&latest["code"], latest.get("retires_at")), (&json!("VALID"), None));
    let both: Vec<_> = [&old, &latest].iter().map(|it| it["limits"][2]["remaining"].clone()).collect();
    assert_eq!(both, [json!(2), json!(1)], "they are one key, and count together: {latest}");

    let passed = app.get("/v1/gate").api_key(&key.key).await;
    assert_eq!(passed.header("x-tollgate-key-retires-at"), Some("2026-01-02T00:00:00Z"));
    app.advance(86_399);
    assert_eq!(app.get("/v1/whoami/key").api_key(&key.key).await.status, 429);
    app.advance(1);
    key.whoami().await.problem(401, "UNAUTHENTICATED");
    let user = user.again().await;
    assert_eq!(user.verify(&key.key).await["code"], "EXPIRED");
    assert_eq!(user.verify(&new).await["code"], "RATE_LIMITED", "the new secret is good");
    assert_eq!(user.usage(&key).await["total"], 8);
    app.finish().await;
}

#[tokio::test]
async fn without_grace_the_old_secret_ends_at_once() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    key.whoami().await.json(200);
    let (_, new) = rotate(&app, &user, &key, json!({ "grace_seconds": 0 })).await;
    key.whoami().await.problem(401, "UNAUTHENTICATED");
    let passed = app.get("/v1/gate").api_key(&new).await;
    assert_eq!((passed.status.as_u16(), passed.header("x-tollgate-key-retires-at")), (200, None));
    let path = format!("{}/rotate", key.path());
    user.post(&path, &json!({ "grace_seconds": 2_592_001 })).await.violates(422, &["/grace_seconds"]);
    user.post(&path, &json!({ "grace": 1 })).await.violates(422, &["/grace"]);
    app.finish().await;
}

#[tokio::test]
async fn secrets_are_listed_and_ended_one_by_one() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    let secrets = format!("{}/secrets", key.path());
    let listed = async || user.get(&secrets).await.json(200)["data"].as_array().unwrap().clone();
    let only = listed().await;
    assert_eq!((only.len(), &only[0]["start"]), (1, &key.created["start"]));
    let last = format!("{secrets}/{}", only[0]["id"].as_str().unwrap());
    user.delete(&last).await.problem(409, "CONFLICT");

    app.advance(1);
    let (answer, new) = rotate(&app, &user, &key, json!({})).await;
    assert_eq!(answer["previous"]["secret_id"], only[0]["id"]);
    let text = user.get(&secrets).await.text();
    assert!(!text.contains(&new[12..]) && !text.contains(&key.key[12..]) && !text.contains("digest"));
    let both = listed().await;
    assert_eq!((&both[0]["id"], &both[1]["id"]), (&answer["secret_id"], &only[0]["id"]), "the newest first");
    assert_eq!((&both[0]["start"], &both[1]["start"]), (&answer["start"], &key.created["start"]));
    assert_eq!(both[1]["retires_at"], "2026-01-02T00:00:01Z");

    key.whoami().await.json(200);
    for _ in 0..2 {
        user.delete(&last).await.held();
        key.whoami().await.problem(401, "UNAUTHENTICATED");
    }
    assert_eq!(user.verify(&key.key).await["code"], "REVOKED");
    assert_eq!(user.verify(&new).await["code"], "VALID");
    assert_eq!(listed().await[1]["revoked_at"], "2026-01-01T00:00:01Z");
    let newest = format!("{secrets}/{}", answer["secret_id"].as_str().unwrap());
    user.delete(&newest).await.problem(409, "CONFLICT");
    for nowhere in ["sec_00000000000000000000000001", "nonsense", &key.id] {
        user.delete(&format!("{secrets}/{nowhere}")).await.problem(404, "NOT_FOUND");
    }
    // A secret is ended only through the key that has it.
    let other = user.key().create().await;
    let elsewhere = format!("{}/secrets/{}", other.path(), answer["secret_id"].as_str().unwrap());
    user.delete(&elsewhere).await.problem(404, "NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn five_secrets_live_at_most_and_a_retry_makes_none() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    let path = format!("{}/rotate", key.path());
    let once = async |body: Value| user.post(&path, &body).header("idempotency-key", "order-7").await;
    let first = once(json!({})).await.json(200);
    app.secret("a rotated key", first["key"].as_str().unwrap());
    for _ in 0..3 {
        app.advance(1);
        rotate(&app, &user, &key, json!({})).await;
    }
    user.post(&path, &json!({})).await.problem(409, "CONFLICT");
    let again = once(json!({})).await.json(200);
    assert_eq!((&again["secret_id"], again.get("key")), (&first["secret_id"], None), "it was shown then");
    assert_eq!(again["previous"], first["previous"]);
    once(json!({ "grace_seconds": 1 })).await.problem(409, "CONFLICT");
    let create = user.post("/v1/keys", &json!({ "name": "a" })).header("idempotency-key", "order-7").await;
    create.problem(409, "CONFLICT");
    // What ends now makes room.
    let (_, new) = rotate(&app, &user, &key, json!({ "grace_seconds": 0 })).await;
    assert_eq!(user.verify(&new).await["code"], "VALID");
    app.finish().await;
}

#[tokio::test]
async fn a_grace_does_not_outlive_the_key() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().with("expires_at", json!("2026-01-01T01:00:00Z")).create().await;
    let (answer, new) = rotate(&app, &user, &key, json!({})).await;
    assert_eq!(answer["previous"]["retires_at"], "2026-01-01T01:00:00Z");
    user.patch(&key.path(), &json!({ "expires_at": null })).await.json(200);
    let (_, newest) = rotate(&app, &user, &key, json!({ "grace_seconds": 2_592_000 })).await;
    let old = user.verify(&key.key).await;
    assert_eq!(old["retires_at"], "2026-01-01T01:00:00Z", "a later grace does not give it more");
    app.advance(3600);
    let user = user.again().await;
    assert_eq!(user.verify(&key.key).await["code"], "EXPIRED");
    assert_eq!(user.verify(&new).await["retires_at"], "2026-01-31T00:00:00Z");
    assert_eq!(user.verify(&newest).await["code"], "VALID");
    app.finish().await;
}

#[tokio::test]
async fn a_caller_learns_when_its_key_is_due() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let key = user.key().create().await;
    let due = async |user: &User<'_>, secret: &str| {
        let seen = user.get(&key.path()).await.json(200);
        let listed = user.get("/v1/keys").await.json(200)["data"][0].clone();
        let verdict = user.verify(secret).await;
        let called = app.get("/v1/whoami/key").api_key(secret).await.json(200);
        let said = [&seen, &listed, &verdict, &called].map(|it| it.get("rotation_due_at").cloned());
        assert!(said.iter().all(|it| *it == said[0]), "{said:?}");
        said[0].clone()
    };
    assert_eq!(due(&user, &key.key).await, None);
    let policy = format!("/v1/workspaces/{}/policy", user.workspace_id);
    let rule = user.patch(&policy, &json!({ "max_secret_age_days": 30 })).await.json(200);
    assert_eq!(rule["max_secret_age_days"], 30);
    assert_eq!(due(&user, &key.key).await, Some(json!("2026-01-31T00:00:00Z")));
    let plan = format!("{}/rotation", key.path());
    let body = json!({ "every_days": 10 });
    app.call(Method::PUT, &plan).bearer(&user.tokens.access).json(&body).await.json(200);
    assert_eq!(due(&user, &key.key).await, Some(json!("2026-01-11T00:00:00Z")), "the sooner of the two");
    let found = async |user: &User<'_>, before: &str| {
        let page = user.get(&format!("/v1/keys?rotation_due_before={before}")).await.json(200);
        page["data"].as_array().unwrap().len()
    };
    assert_eq!(found(&user, "2026-01-11T00:00:00Z").await, 0);
    assert_eq!(found(&user, "2026-01-11T00:00:01Z").await, 1);
    assert_eq!(found(&stranger, "2030-01-01T00:00:00Z").await, 0);
    user.get("/v1/keys?rotation_due_before=soon").await.violates(422, &["/rotation_due_before"]);
    app.advance(20 * 86_400);
    let user = user.again().await;
    assert_eq!(user.verify(&key.key).await["code"], "VALID", "to be due denies nothing");
    let (_, new) = rotate(&app, &user, &key, json!({})).await;
    assert_eq!(due(&user, &new).await, Some(json!("2026-01-31T00:00:00Z")), "and begins again");
    user.patch(&policy, &json!({ "max_secret_age_days": null })).await.json(200);
    assert_eq!(user.delete(&plan).await.status, 204);
    assert_eq!(due(&user, &new).await, None);
    app.finish().await;
}
