//! Limits of each algorithm, from the making of a key to the verdict about it.

use serde_json::{Value, json};

use crate::app::TestApp;

#[tokio::test]
async fn limits_of_each_algorithm_are_kept_and_shown() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let said = json!([
        { "name": "a", "limit": 1_000_000_000, "window_seconds": 34_560_000 },
        { "name": "b", "limit": 10, "window_seconds": 1, "algorithm": "token_bucket", "burst": 50, "on_failure": "deny" },
        { "name": "c", "limit": 7, "window_seconds": 60, "algorithm": "token_bucket" },
        { "name": "d", "limit": 5, "algorithm": "calendar", "calendar": { "period": "day" }, "shadow": true },
        { "name": "e", "limit": 5, "algorithm": "calendar",
          "calendar": { "period": "month", "time_zone": "Asia/Kolkata", "anchor_day": 31 } },
    ]);
    let key = user.key().with("limits", said).create().await;
    let shown = user.get(&format!("/v1/keys/{}", key.id)).await.json(200);
    assert_eq!(shown["limits"], key.created["limits"]);
    let own: Vec<_> = shown["limits"].as_array().unwrap().iter().skip(2).collect();
    let day = json!({ "period": "day", "time_zone": "UTC" });
    let month = json!({ "period": "month", "time_zone": "Asia/Kolkata", "anchor_day": 31 });
    for (shown, expected) in own.into_iter().zip([
        json!({ "name": "a", "limit": 1_000_000_000, "window_seconds": 34_560_000, "algorithm": "sliding_window", "on_failure": "local" }),
        json!({ "name": "b", "limit": 10, "window_seconds": 1, "algorithm": "token_bucket", "burst": 50, "on_failure": "deny" }),
        json!({ "name": "c", "limit": 7, "window_seconds": 60, "algorithm": "token_bucket", "burst": 7, "on_failure": "local" }),
        json!({ "name": "d", "limit": 5, "algorithm": "calendar", "calendar": day, "on_failure": "local", "shadow": true }),
        json!({ "name": "e", "limit": 5, "algorithm": "calendar", "calendar": month, "on_failure": "local" }),
    ]) {
        assert_eq!(*shown, expected);
    }
    app.finish().await;
}

#[tokio::test]
async fn what_an_algorithm_does_not_take_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let with = |extra: Value| {
        let mut limit = json!({ "name": "x", "limit": 5 });
        limit.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({ "name": "a key", "limits": [limit] })
    };
    let calendar = |calendar: Value| with(json!({ "algorithm": "calendar", "calendar": calendar }));
    for (body, field) in [
        (with(json!({})), "window_seconds"),
        (with(json!({ "window_seconds": 60, "burst": 5 })), "burst"),
        (with(json!({ "window_seconds": 60, "calendar": { "period": "day" } })), "calendar"),
        (with(json!({ "window_seconds": 60, "algorithm": "leaky_bucket" })), "algorithm"),
        (with(json!({ "window_seconds": 60, "algorithm": "concurrency" })), "algorithm"),
        (with(json!({ "algorithm": "token_bucket" })), "window_seconds"),
        (with(json!({ "algorithm": "token_bucket", "window_seconds": 34_560_000, "burst": 6 })), "burst"),
        (with(json!({ "algorithm": "token_bucket", "window_seconds": 1, "burst": 1_000_000_001 })), "burst"),
        (with(json!({ "algorithm": "calendar" })), "calendar"),
        (
            with(json!({ "algorithm": "calendar", "window_seconds": 60, "calendar": { "period": "day" } })),
            "window_seconds",
        ),
        (calendar(json!({})), "calendar/period"),
        (calendar(json!({ "period": "hour" })), "calendar/period"),
        (calendar(json!({ "period": "day", "time_zone": "Mars/Olympus" })), "calendar/time_zone"),
        (calendar(json!({ "period": "day", "anchor_day": 1 })), "calendar/anchor_day"),
        (calendar(json!({ "period": "week", "anchor_day": 8 })), "calendar/anchor_day"),
        (calendar(json!({ "period": "day", "hour": 3 })), "calendar/hour"),
    ] {
        let answer = user.post("/v1/keys", &body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text());
        answer.violates(422, &[&format!("/limits/0/{field}")]);
    }
    let leases = with(json!({ "window_seconds": 60, "algorithm": "concurrency" }));
    let refused = user.post("/v1/keys", &leases).await.problem(422, "INVALID_ARGUMENT");
    assert!(
        refused["errors"][0]["detail"].as_str().unwrap().contains("nobody tells the gate when a call ends")
    );
    app.finish().await;
}

#[tokio::test]
async fn a_new_workspace_has_the_plans_of_the_design() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let plans = user.get("/v1/plans").await.json(200);
    let said: Vec<_> = plans["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plan| {
            let limits = plan["limits"].as_array().unwrap().iter();
            let limits: Vec<_> =
                limits.map(|it| format!("{}/{}", it["limit"], it["window_seconds"])).collect();
            format!("{} {}", plan["name"].as_str().unwrap(), limits.join(" "))
        })
        .collect();
    assert_eq!(said, ["free 10/60", "basic 60/60 5000/86400", "pro 600/60 100000/86400"]);
    app.finish().await;
}

#[tokio::test]
async fn a_calendar_that_is_used_up_is_a_quota_until_its_period_ends() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let quota =
        json!([{ "name": "quota", "limit": 2, "algorithm": "calendar", "calendar": { "period": "day" } }]);
    let key = user.key().with("limits", quota).create().await;
    let passed = key.whoami().await;
    passed.json(200);
    assert!(
        passed.header("ratelimit-policy").unwrap().contains(r#""quota";q=2;w=86400"#),
        "{:?}",
        passed.headers
    );
    app.advance(3600);
    let user = user.again().await;
    key.whoami().await.json(200);
    let denied = key.whoami().await;
    let problem = denied.problem(429, "QUOTA_EXCEEDED");
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], json!(["quota"]));
    assert_eq!(denied.header("retry-after"), Some("82800"), "until midnight");
    assert_eq!(user.verify(&key.key).await["code"], "QUOTA_EXCEEDED");
    let usage = user.usage(&key).await;
    assert!(usage.to_string().contains("QUOTA_EXCEEDED"), "{usage}");
    app.advance(82_799);
    let user = user.again().await;
    assert_eq!(user.verify(&key.key).await["retry_after_ms"], 1000);
    app.advance(1);
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    app.finish().await;
}

#[tokio::test]
async fn a_bucket_lets_its_burst_through_and_then_its_refill() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let bucket = json!([{ "name": "bucket", "limit": 1, "window_seconds": 10, "algorithm": "token_bucket", "burst": 3 }]);
    let key = user.key().with("limits", bucket).create().await;
    for left in [2, 1, 0] {
        let passed = key.whoami().await;
        passed.json(200);
        assert!(passed.header("ratelimit").unwrap().contains(&format!(r#""bucket";r={left};t="#)));
        assert!(passed.header("ratelimit-policy").unwrap().contains(r#""bucket";q=3;w=30"#));
    }
    let denied = key.whoami().await;
    denied.problem(429, "RATE_LIMITED");
    assert_eq!(denied.header("retry-after"), Some("10"));
    app.advance(10);
    key.whoami().await.json(200);
    key.whoami().await.problem(429, "RATE_LIMITED");
    app.finish().await;
}

#[tokio::test]
async fn a_shadow_limit_reports_and_denies_nothing() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let limits = json!([{ "name": "trial", "limit": 1, "window_seconds": 60, "shadow": true }]);
    let key = user.key().with("limits", limits).create().await;
    let trial = |verdict: &Value| {
        let limits = verdict["limits"].as_array().unwrap().iter();
        limits.into_iter().find(|it| it["name"] == "trial").cloned().unwrap()
    };
    let first = user.verify(&key.key).await;
    assert_eq!((&first["code"], trial(&first).get("exceeded")), (&json!("VALID"), None));
    let second = user.verify(&key.key).await;
    assert_eq!(second["code"], "VALID");
    let said = trial(&second);
    assert_eq!((&said["shadow"], &said["exceeded"]), (&json!(true), &json!(true)));
    let passed = key.whoami().await;
    passed.json(200);
    assert!(!passed.header("ratelimit").unwrap().contains("trial"), "{:?}", passed.headers);
    app.finish().await;
}

#[tokio::test]
async fn a_large_limit_counts() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let limits = json!([{ "name": "minute", "limit": 1_000_000_000, "window_seconds": 60 }]);
    let key = user.key().with("limits", limits).create().await;
    let cost = async |cost: u64| {
        user.post("/v1/keys/verify", &json!({ "key": key.key, "cost": cost })).await.json(200)
    };
    // Its plan has a day of 5000.
    let verdict = cost(4000).await;
    assert_eq!(
        (&verdict["code"], &verdict["limits"][0]["remaining"]),
        (&json!("VALID"), &json!(999_996_000))
    );
    let denied = cost(1001).await;
    assert_eq!((&denied["code"], &denied["denied_by"]), (&json!("RATE_LIMITED"), &json!("day")));
    assert_eq!(cost(1000).await["code"], "VALID");
    app.finish().await;
}
