//! `GET /v1/usage`, `GET /v1/consumers/{id}/usage`, and what a key shows of its last use.

use serde_json::{Value, json};
use tollgate_kernel::{ExposeSecret, OsEntropy};
use tollgate_verify::{KeyKind, mint};

use crate::{actors::User, app::TestApp};

async fn total(user: &User<'_>, path: &str) -> u64 {
    user.get(path).await.json(200)["total"].as_u64().unwrap()
}

#[tokio::test]
async fn a_call_counts_for_the_consumer_at_that_time() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let one = user.consumer(json!({ "name": "one" })).await;
    let two = user.consumer(json!({ "name": "two" })).await;
    let key = user.key().with("consumer_id", one["id"].clone()).limit(3, 60).create().await;
    let path = |consumer: &Value| format!("/v1/consumers/{}/usage", consumer["id"].as_str().unwrap());
    for _ in 0..2 {
        key.whoami().await.json(200);
    }
    user.patch(&key.path(), &json!({ "consumer_id": two["id"] })).await.json(200);
    key.whoami().await.json(200);
    key.whoami().await.problem(429, "RATE_LIMITED");
    app.drain_usage().await;
    assert_eq!((total(&user, &path(&one)).await, total(&user, &path(&two)).await), (2, 2));
    for granularity in ["minute", "hour", "day"] {
        let answer = user.get(&format!("{}?granularity={granularity}", path(&two))).await.json(200);
        assert_eq!(
            answer["data"],
            json!([
                { "at": "2026-01-01T00:00:00Z", "code": "RATE_LIMITED", "count": 1 },
                { "at": "2026-01-01T00:00:00Z", "code": "VALID", "count": 1 },
            ])
        );
    }
    assert_eq!(user.usage(&key).await["total"], 4);
    app.finish().await;
}

#[tokio::test]
async fn a_workspace_sees_its_calls_and_no_other_s() {
    let app = TestApp::new().await;
    let (user, other) = (app.user().await, app.user().await);
    let consumer = user.consumer(json!({ "name": "one" })).await;
    let consumer = consumer["id"].as_str().unwrap();
    let busy = user.key().with("consumer_id", json!(consumer)).create().await;
    let quiet = user.key().create().await;
    let foreign = other.key().create().await;
    for key in [&busy, &busy, &quiet, &foreign] {
        key.whoami().await.json(200);
    }
    user.delete(&quiet.path()).await.held();
    quiet.whoami().await.problem(401, "UNAUTHENTICATED");
    quiet.whoami().await.problem(401, "UNAUTHENTICATED");
    // Of another's key nothing is told, and nothing is counted.
    assert_eq!(user.verify(&foreign.key).await["code"], "NOT_FOUND");
    app.drain_usage().await;

    let everything = user.get("/v1/usage").await.json(200);
    assert_eq!((&everything["total"], everything.get("groups")), (&json!(5), None));
    assert_eq!(total(&user, &format!("/v1/usage?workspace_id={}", user.workspace_id)).await, 5);
    assert_eq!(total(&user, &format!("/v1/usage?key_id={}", quiet.id)).await, 3);
    assert_eq!(total(&user, &format!("/v1/usage?key_id={}&code=REVOKED", quiet.id)).await, 2);
    assert_eq!(total(&user, &format!("/v1/usage?consumer_id={consumer}&granularity=day")).await, 2);
    // Another's ids say nothing here.
    assert_eq!(total(&user, &format!("/v1/usage?key_id={}", foreign.id)).await, 0);
    assert_eq!(total(&other, "/v1/usage").await, 1);

    let by = async |query: &str| user.get(&format!("/v1/usage?{query}")).await.json(200);
    let by_key = by("group_by=key").await;
    assert_eq!((&by_key["data"], &by_key["total"]), (&json!([]), &json!(5)));
    let group = |name: &str, count: u64| json!({ "name": name, "count": count });
    assert_eq!(by_key["groups"], json!([group(&quiet.id, 3), group(&busy.id, 2)]));
    assert_eq!(by("group_by=key&limit=1").await["groups"], json!([group(&quiet.id, 3)]));
    assert_eq!(by("group_by=consumer").await["groups"], json!([{ "count": 3 }, group(consumer, 2)]));
    assert_eq!(
        by("group_by=code&granularity=hour").await["groups"],
        json!([group("VALID", 3), group("REVOKED", 2)])
    );
    app.finish().await;
}

#[tokio::test]
async fn calls_for_trying_out_are_told_from_the_real_ones() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let consumer = user.consumer(json!({ "name": "one" })).await;
    let consumer = consumer["id"].as_str().unwrap();
    let live = user.key().with("consumer_id", json!(consumer)).create().await;
    let test =
        user.key().with("consumer_id", json!(consumer)).with("environment", json!("test")).create().await;
    let other = user.key().with("environment", json!("test")).create().await;
    for key in [&live, &test, &test, &other, &other, &other] {
        key.whoami().await.json(200);
    }
    user.delete(&other.path()).await.held();
    other.whoami().await.problem(401, "UNAUTHENTICATED");
    app.drain_usage().await;
    for granularity in ["minute", "hour", "day"] {
        let of = async |path: String| total(&user, &format!("{path}granularity={granularity}")).await;
        assert_eq!(of("/v1/usage?".to_owned()).await, 7);
        assert_eq!(of("/v1/usage?environment=live&".to_owned()).await, 1);
        assert_eq!(of("/v1/usage?environment=test&".to_owned()).await, 6);
        assert_eq!(of("/v1/usage?environment=test&code=REVOKED&".to_owned()).await, 1);
        assert_eq!(of(format!("/v1/usage?environment=test&consumer_id={consumer}&")).await, 2);
        assert_eq!(of(format!("/v1/usage?environment=live&key_id={}&", test.id)).await, 0);
        assert_eq!(of(format!("/v1/consumers/{consumer}/usage?")).await, 3);
        assert_eq!(of(format!("/v1/consumers/{consumer}/usage?environment=live&")).await, 1);
        assert_eq!(of(format!("/v1/consumers/{consumer}/usage?environment=test&")).await, 2);
    }
    let by_key = user.get("/v1/usage?environment=test&group_by=key").await.json(200);
    let group = |name: &str, count: u64| json!({ "name": name, "count": count });
    assert_eq!(by_key["groups"], json!([group(&other.id, 4), group(&test.id, 2)]));
    let wrong = format!("/v1/consumers/{consumer}/usage?environment=staging");
    user.get(&wrong).await.problem(422, "INVALID_ARGUMENT");
    // A key is of one environment: that is no question about one.
    let wrong = format!("{}/usage?environment=test", test.path());
    user.get(&wrong).await.problem(422, "INVALID_ARGUMENT");
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for query in [
        "group_by=user",
        "group_by=key&limit=0",
        "group_by=key&limit=101",
        "limit=5",
        "code=",
        "code=valid",
        "code=%27%20OR%201%3D1",
        "key_id=ws_1",
        "scope=all",
        "granularity=second",
        "environment=staging",
        "unknown=1",
        "from=2025-01-01T00:00:00Z",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
    ] {
        user.get(&format!("/v1/usage?{query}")).await.problem(422, "INVALID_ARGUMENT");
    }
    // A year by the hour is not too much.
    user.get("/v1/usage?from=2025-01-01T00:00:00Z&granularity=hour").await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_key_counts_for_the_instance() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let unknown = mint(KeyKind::Live, &OsEntropy).key;
    for wrong in ["tg_live_nonsense", unknown.expose_secret()] {
        app.get("/v1/whoami/key").api_key(wrong).await.problem(401, "UNAUTHENTICATED");
        assert_eq!(user.verify(wrong).await["valid"], false);
    }
    app.drain_usage().await;
    assert_eq!(total(&user, "/v1/usage").await, 0);
    user.get("/v1/usage?scope=instance").await.problem(403, "FORBIDDEN");
    let service = user.service_key(&["usage.read"]).await;
    service.get("/v1/usage?scope=instance").await.problem(403, "FORBIDDEN");
    let operator = app.operator().await;
    assert_eq!(total(&operator, "/v1/usage?scope=instance").await, 4);
    let by_code = operator.get("/v1/usage?scope=instance&group_by=code").await.json(200);
    let group = |name: &str| json!({ "name": name, "count": 2 });
    assert_eq!(by_code["groups"], json!([group("MALFORMED"), group("NOT_FOUND")]));
    let wrong = operator.get(&format!("/v1/usage?scope=instance&workspace_id={}", user.workspace_id)).await;
    wrong.problem(422, "INVALID_ARGUMENT");
    app.finish().await;
}

#[tokio::test]
async fn a_key_shows_where_it_was_used_last_and_by_what() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    let seen = async || {
        app.drain_usage().await;
        let seen = user.get(&key.path()).await.json(200);
        assert_eq!(user.get("/v1/keys").await.json(200)["data"][0], seen);
        ["last_used_at", "last_used_ip", "last_user_agent"].map(|field| seen[field].clone())
    };
    assert_eq!(seen().await, [Value::Null, Value::Null, Value::Null]);
    key.whoami().header("user-agent", "shop/1.0").await.json(200);
    assert_eq!(seen().await, [json!("2026-01-01T00:00:00Z"), json!("127.0.0.0/24"), json!("shop/1.0")]);
    // Within the minute nothing more is written.
    app.advance(30);
    key.whoami().header("user-agent", "shop/1.1").await.json(200);
    assert_eq!(seen().await[2], "shop/1.0");
    app.advance(30);
    let asked = json!({ "key": key.key, "client_ip": "2001:db8:1:2::9", "user_agent": "curl\r\n/8" });
    user.post("/v1/keys/verify", &asked).await.json(200);
    assert_eq!(seen().await, [json!("2026-01-01T00:01:00Z"), json!("2001:db8:1::/48"), json!("curl/8")]);
    // A dry run is no use.
    app.advance(60);
    user.post("/v1/keys/verify", &json!({ "key": key.key, "dry_run": true })).await.json(200);
    assert_eq!(seen().await[0], "2026-01-01T00:01:00Z");
    app.finish().await;
}

#[tokio::test]
async fn where_and_by_what_is_not_remembered_if_it_should_not_be() {
    let app = TestApp::with(&[("TOLLGATE__USAGE__RECORD_CLIENT", "false")]).await;
    let user = app.user().await;
    let key = user.key().create().await;
    key.whoami().header("user-agent", "shop/1.0").await.json(200);
    app.drain_usage().await;
    let seen = user.get(&key.path()).await.json(200);
    assert_eq!(seen["last_used_at"], "2026-01-01T00:00:00Z");
    assert!(seen.get("last_used_ip").is_none() && seen.get("last_user_agent").is_none(), "{seen}");
    app.finish().await;
}

#[tokio::test]
async fn hours_are_there_when_the_minutes_are_gone() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    key.whoami().await.json(200);
    app.drain_usage().await;
    app.advance(90 * 86_400);
    let user = user.again().await;
    // Nothing was deleted yet: the span alone is too long by the minute, and not by the hour.
    let path = format!("/v1/keys/{}/usage?from=2026-01-01T00:00:00Z", key.id);
    user.get(&path).await.problem(422, "INVALID_ARGUMENT");
    assert_eq!(total(&user, &format!("{path}&granularity=hour")).await, 1);
    assert_eq!(total(&user, &format!("{path}&granularity=day")).await, 1);
    app.finish().await;
}
