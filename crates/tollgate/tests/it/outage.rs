//! A store that goes away: 503, or what the limit's failure policy says; and recovery without a restart.
//!
//! On servers of the test's own, so that nobody else's go away.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use tollgate_testkit::{PrivatePostgres, PrivateRedis};

use crate::{
    actors::{Key, User},
    app::{Stores, TestApp},
    shape::Shape,
};

/// Stores that answer soon or not at all.
const IMPATIENT: [(&str, &str); 4] = [
    ("TOLLGATE__DATABASE__ACQUIRE_TIMEOUT_MS", "2000"),
    ("TOLLGATE__DATABASE__WORK_TIMEOUT_MS", "2000"),
    ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "1000"),
    ("TOLLGATE__RATELIMIT__REDIS_CONNECT_TIMEOUT_MS", "1000"),
];

async fn app(postgres: &PrivatePostgres, redis: &PrivateRedis) -> TestApp {
    let shape = match Shape::of_this_run() {
        Shape::Split => Shape::Split,
        Shape::Sqlite | Shape::Postgres => Shape::Postgres,
    };
    TestApp::start(shape, Stores::on(&postgres.url(), &redis.url()), &IMPATIENT).await
}

async fn key_that<'a>(user: &User<'a>, on_failure: &str) -> Key<'a> {
    let limit = |name: &str, limit: u64, window: u64| json!({ "name": name, "limit": limit, "window_seconds": window, "on_failure": on_failure });
    // Those of the plan are replaced, so that this policy is the only one.
    let limits = json!([limit("minute", 3, 60), limit("day", 1000, 86_400)]);
    user.key().with("limits", limits).create().await
}

/// Asks again until the answer is right. The system finds out for itself that a server is gone or back.
async fn comes_true(mut right: impl AsyncFnMut() -> bool) {
    let asking = async { while !right().await {} };
    timeout(Duration::from_mins(1), asking).await.expect("it finds out without a restart");
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn without_redis_each_limit_does_what_it_says() {
    let (postgres, mut redis) = (PrivatePostgres::start().await, PrivateRedis::start().await);
    let app = app(&postgres, &redis).await;
    let user = app.user().await;
    let local = key_that(&user, "local").await;
    let deny = key_that(&user, "deny").await;
    let allow = key_that(&user, "allow").await;
    for key in [&local, &deny, &allow] {
        key.whoami().await.json(200);
    }

    redis.kill();
    deny.whoami().await.problem(503, "UNAVAILABLE");
    for _ in 0..5 {
        allow.whoami().await.json(200);
    }
    let mut passed = 0;
    for _ in 0..8 {
        let verdict = user.verify(&local.key).await;
        assert_eq!(verdict["degraded"], true, "{verdict}");
        passed += u32::from(verdict["valid"] == true);
    }
    assert_eq!(passed, 2, "exact in the process, which remembers the one that Redis let pass");
    app.get("/livez").await.json(200);

    redis.restart().await;
    comes_true(async || deny.whoami().await.status == 200).await;
    comes_true(async || user.verify(&allow.key).await.get("degraded").is_none()).await;
    app.finish().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redis_that_hangs_is_one_that_is_gone() {
    let (postgres, redis) = (PrivatePostgres::start().await, PrivateRedis::start().await);
    let app = app(&postgres, &redis).await;
    let user = app.user().await;
    let (deny, allow) = (key_that(&user, "deny").await, key_that(&user, "allow").await);
    deny.whoami().await.json(200);
    redis.pause();
    deny.whoami().await.problem(503, "UNAVAILABLE");
    allow.whoami().await.json(200);
    redis.resume();
    comes_true(async || deny.whoami().await.status != 503).await;
    app.finish().await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn without_postgres_it_is_503_and_nothing_is_lost() {
    let (mut postgres, redis) = (PrivatePostgres::start().await, PrivateRedis::start().await);
    let app = app(&postgres, &redis).await;
    let user = app.user().await;
    let key = user.key().create().await;
    key.whoami().await.json(200);

    postgres.kill();
    let login = json!({ "email": user.email, "password": user.password });
    for answer in [
        app.post("/v1/auth/login").json(&login).await,
        app.sign_up(&crate::actors::email(), "a long passphrase for nobody").await,
        app.post("/v1/auth/refresh").json(&json!({ "refresh_token": user.tokens.refresh })).await,
        user.get("/v1/keys").await,
        user.post("/v1/keys", &json!({ "name": "lost" })).await,
        user.delete(&format!("/v1/keys/{}", key.id)).await,
    ] {
        let status = answer.status.as_u16();
        assert!([503, 504].contains(&status), "{status} {}", answer.text());
        let problem: Value = serde_json::from_slice(&answer.body).expect("a problem");
        assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
    }
    // Across processes the news travels by a health check every two seconds.
    comes_true(async || app.get("/readyz").await.status == 503).await;
    // What is cached is still known, and counted.
    if app.shape == Shape::Postgres {
        key.whoami().await.json(200);
    }
    app.get("/livez").await.json(200);

    postgres.restart().await;
    comes_true(async || user.get("/v1/keys").await.status == 200).await;
    comes_true(async || app.get("/readyz").await.status == 200).await;
    app.log_in(&user.email, &user.password).await;
    let listed = user.get("/v1/keys").await.json(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "nothing was half-written");
    assert!(listed["data"][0].get("revoked_at").is_none());
    let expected = if app.shape == Shape::Postgres { 2 } else { 1 };
    assert_eq!(user.usage(&key).await["total"], expected);
    app.finish().await;
}
