//! `/v1/keys/{id}/overrides`: for a time, another number for one of a key's limits.

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn an_override_holds_with_the_next_call_and_ends_on_time() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(3, 3600).create().await;
    let at = format!("/v1/keys/{}/overrides", key.id);
    for _ in 0..3 {
        key.whoami().await.json(200);
    }
    key.whoami().await.problem(429, "RATE_LIMITED");
    let wanted = json!({ "name": "per-3600", "limit": 5, "expires_at": "2026-01-01T00:10:00Z" });
    assert_eq!(user.post(&at, &wanted).await.json(201), wanted);
    for _ in 0..2 {
        key.whoami().await.json(200);
    }
    key.whoami().await.problem(429, "RATE_LIMITED");
    assert_eq!(user.get(&at).await.json(200), json!({ "data": [wanted] }));

    let more = json!({ "name": "per-3600", "limit": 6, "expires_at": "2026-01-01T00:10:00Z" });
    user.post(&at, &more).await.json(201);
    key.whoami().await.json(200);
    app.advance(600);
    key.whoami().await.problem(429, "RATE_LIMITED");
    assert_eq!(user.get(&at).await.json(200), json!({ "data": [] }));
    app.finish().await;
}

#[tokio::test]
async fn an_override_lets_one_call_cost_more_than_the_limit() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(3, 3600).create().await;
    let cost = async |cost: u32| user.post("/v1/keys/verify", &json!({ "key": key.key, "cost": cost })).await;
    cost(4).await.violates(422, &["/cost"]);
    let wanted = json!({ "name": "per-3600", "limit": 5, "expires_at": "2026-01-01T00:10:00Z" });
    user.post(&format!("/v1/keys/{}/overrides", key.id), &wanted).await.json(201);
    let answer = cost(6).await;
    answer.violates(422, &["/cost"]);
    assert!(answer.text().contains("`per-3600`"), "{}", answer.text());
    assert_eq!(cost(4).await.json(200)["code"], "VALID");
    app.advance(600);
    cost(4).await.violates(422, &["/cost"]);
    assert_eq!(cost(1).await.json(200)["code"], "RATE_LIMITED");
    app.finish().await;
}

#[tokio::test]
async fn an_override_can_be_ended_before_its_time() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(3, 3600).create().await;
    let at = format!("/v1/keys/{}/overrides", key.id);
    let wanted = json!({ "name": "per-3600", "limit": 1, "expires_at": "2026-01-02T00:00:00Z" });
    user.post(&at, &wanted).await.json(201);
    key.whoami().await.json(200);
    key.whoami().await.problem(429, "RATE_LIMITED");
    for _ in 0..2 {
        assert_eq!(user.delete(&format!("{at}/per-3600")).await.status, 204);
    }
    key.whoami().await.json(200);
    key.whoami().await.json(200);
    key.whoami().await.problem(429, "RATE_LIMITED");
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named_and_who_may_not_is_refused() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let key = user.key().create().await;
    let at = format!("/v1/keys/{}/overrides", key.id);
    let right = json!({ "name": "minute", "limit": 1, "expires_at": "2026-01-02T00:00:00Z" });
    for (field, value, pointer) in [
        ("name", json!("never"), "/name"),
        ("limit", json!(0), "/limit"),
        ("limit", json!(1_000_000_001), "/limit"),
        ("limit", json!(-1), "/limit"),
        ("expires_at", json!("2026-01-01T00:00:00Z"), "/expires_at"),
        ("expires_at", json!("2027-02-05T00:00:01Z"), "/expires_at"),
        ("expires_at", json!(null), "/expires_at"),
        ("subject", json!("ws_00000000000000000000000001"), "/subject"),
    ] {
        let mut wrong = right.clone();
        wrong[field] = value;
        user.post(&at, &wrong).await.violates(422, &[pointer]);
    }
    stranger.post(&at, &right).await.problem(404, "NOT_FOUND");
    stranger.get(&at).await.problem(404, "NOT_FOUND");
    stranger.delete(&format!("{at}/minute")).await.problem(404, "NOT_FOUND");
    let reader = user.service_key(&["keys.read"]).await;
    reader.post(&at, &right).await.problem(403, "FORBIDDEN");
    app.delete(&format!("{at}/minute")).bearer(&reader.key).await.problem(403, "FORBIDDEN");
    for nothing in ["/v1/keys/nonsense/overrides/minute", "/v1/keys/%ff/overrides/minute"] {
        user.delete(nothing).await.problem(404, "NOT_FOUND");
    }
    key.whoami().await.json(200);
    app.finish().await;
}
