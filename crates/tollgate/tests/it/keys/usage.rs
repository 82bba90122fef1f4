//! `GET /v1/keys/{id}/usage`: every call, by code, exactly.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::app::TestApp;

fn by_code(usage: &Value) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for point in usage["data"].as_array().unwrap() {
        *sums.entry(point["code"].as_str().unwrap().to_owned()).or_default() +=
            point["count"].as_u64().unwrap();
    }
    sums
}

fn expect(codes: &[(&str, u64)]) -> BTreeMap<String, u64> {
    codes.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect()
}

#[tokio::test]
async fn every_door_counts_by_code_exactly() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().limit(3, 60).with("scopes", json!(["a"])).create().await;
    for _ in 0..2 {
        key.whoami().await.json(200);
    }
    user.verify(&key.key).await;
    for _ in 0..4 {
        key.whoami().await.problem(429, "RATE_LIMITED");
    }
    let wants_b = json!({ "key": key.key, "scopes": ["b"] });
    assert_eq!(user.post("/v1/keys/verify", &wants_b).await.json(200)["code"], "INSUFFICIENT_SCOPE");
    let dry = json!({ "key": key.key, "dry_run": true });
    user.post("/v1/keys/verify", &dry).await.json(200);
    user.delete(&format!("/v1/keys/{}", key.id)).await.held();
    for _ in 0..5 {
        key.whoami().await.problem(401, "UNAUTHENTICATED");
    }
    let usage = user.usage(&key).await;
    let codes = expect(&[("VALID", 3), ("RATE_LIMITED", 4), ("INSUFFICIENT_SCOPE", 1), ("REVOKED", 5)]);
    assert_eq!(by_code(&usage), codes);
    assert_eq!(usage["total"], 13);
    assert_eq!(usage["last_used_at"], "2026-01-01T00:00:00Z");
    let seen = user.get(&format!("/v1/keys/{}", key.id)).await.json(200);
    assert_eq!(seen["last_used_at"], "2026-01-01T00:00:00Z");
    app.finish().await;
}

#[tokio::test]
async fn a_drain_that_comes_again_counts_nothing_twice() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    for round in 1..=5_u64 {
        key.whoami().await.json(200);
        app.drain_usage().await;
        app.drain_usage().await;
        assert_eq!(by_code(&user.usage(&key).await), expect(&[("VALID", round)]));
    }
    app.finish().await;
}

#[tokio::test]
async fn time_is_cut_into_steps() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    for wait in [0, 59, 1, 600, 3600 - 660] {
        app.advance(wait);
        key.whoami().await.json(200);
    }
    app.drain_usage().await;
    let user = user.again().await;
    let usage = async |query: &str| {
        let answer = user.get(&format!("/v1/keys/{}/usage?{query}", key.id)).await.json(200);
        let points = answer["data"].as_array().unwrap().iter();
        points
            .map(|point| (point["at"].as_str().unwrap()[11..16].to_owned(), point["count"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let pairs = |pairs: &[(&str, u64)]| {
        pairs.iter().map(|(at, count)| ((*at).to_owned(), *count)).collect::<Vec<_>>()
    };
    app.advance(1);
    assert_eq!(usage("").await, pairs(&[("00:00", 2), ("00:01", 1), ("00:11", 1), ("01:00", 1)]));
    assert_eq!(usage("granularity=hour").await, pairs(&[("00:00", 4), ("01:00", 1)]));
    assert_eq!(usage("granularity=day").await, pairs(&[("00:00", 5)]));
    let window = "from=2026-01-01T00:01:00Z&to=2026-01-01T01:00:00Z";
    assert_eq!(usage(window).await, pairs(&[("00:01", 1), ("00:11", 1)]));
    app.finish().await;
}

#[tokio::test]
async fn nonsense_in_the_query_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    for (query, pointer) in [
        ("from=yesterday", "/from"),
        ("granularity=second", "/granularity"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "/from"),
        ("until=2026-01-02T00:00:00Z", "/until"),
    ] {
        user.get(&format!("/v1/keys/{}/usage?{query}", key.id)).await.violates(422, &[pointer]);
    }
    app.finish().await;
}
