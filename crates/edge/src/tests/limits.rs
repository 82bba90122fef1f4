//! What the doors say of limits of each kind.

use serde_json::{Value, json};
use tollgate_kernel::ExposeSecret;
use tollgate_proto::ratelimit::{Algorithm, Calendar, Limit, Period};

use super::{Answer, TestEdge, bearer, fakes::workspace};
use crate::Config;

fn limit(name: &str, algorithm: Algorithm) -> Limit {
    Limit {
        name: name.into(),
        limit: 10,
        window_seconds: 60,
        algorithm: algorithm.into(),
        ..Limit::default()
    }
}

fn calendar(name: &str) -> Limit {
    let calendar = Calendar { period: Period::Month.into(), time_zone: "UTC".into(), anchor_day: 1 };
    Limit { window_seconds: 0, calendar: Some(calendar), ..limit(name, Algorithm::Calendar) }
}

fn shadow(name: &str) -> Limit {
    Limit { shadow: true, ..limit(name, Algorithm::SlidingWindow) }
}

/// What a protected route and `/v1/keys/verify` say of a call with a key that has these limits.
async fn asked(edge: &TestEdge, limits: Vec<Limit>, cost: u64) -> (Answer, Answer) {
    let workspace = workspace();
    let key = edge.keys.key(workspace, |grant| grant.limits = limits);
    let whoami = edge.get("/v1/whoami", &[("x-api-key", key.expose_secret())]).await;
    let service = bearer(&edge.keys.service_key(workspace, &["keys.verify"]));
    let ask = json!({ "key": key.expose_secret(), "cost": cost });
    (whoami, edge.post("/v1/keys/verify", &[("authorization", &service)], ask).await)
}

#[tokio::test]
async fn a_denial_by_a_calendar_is_a_quota() {
    let edge = TestEdge::new();
    edge.ratelimit.deny();
    let sliding = || limit("minute", Algorithm::SlidingWindow);
    let bucket = || limit("minute", Algorithm::TokenBucket);
    for (limits, code) in [
        (vec![calendar("month"), sliding()], "QUOTA_EXCEEDED"),
        (vec![sliding(), calendar("month")], "RATE_LIMITED"),
        (vec![bucket(), calendar("month")], "RATE_LIMITED"),
    ] {
        let (whoami, verdict) = asked(&edge, limits.clone(), 1).await;
        assert_eq!((whoami.status.as_u16(), &whoami.body["code"]), (429, &json!(code)));
        let names: Vec<_> = limits.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(whoami.body["violated-policies"], json!(names), "all that are used up");
        assert_eq!(whoami.header("retry-after"), "2");
        assert_eq!((&verdict.body["code"], &verdict.body["valid"]), (&json!(code), &json!(false)));
        assert_eq!(verdict.body["limits"][1]["exceeded"], true);
    }
}

#[tokio::test]
async fn a_shadow_limit_is_reported_to_the_workspace_and_to_nobody_else() {
    let edge = TestEdge::new();
    edge.ratelimit.deny();
    let (whoami, verdict) = asked(&edge, vec![shadow("trial")], 1).await;
    assert_eq!((whoami.status.as_u16(), whoami.header("ratelimit")), (200, ""));
    assert_eq!((&verdict.body["valid"], &verdict.body["code"]), (&json!(true), &json!("VALID")));
    let expected: Value = json!([
        { "name": "trial", "limit": 10, "remaining": 0, "reset_ms": 59_001, "exceeded": true, "shadow": true },
    ]);
    assert_eq!(verdict.body["limits"], expected);

    let (whoami, _) = asked(&edge, vec![shadow("trial"), limit("minute", Algorithm::SlidingWindow)], 1).await;
    assert_eq!((whoami.status.as_u16(), whoami.header("ratelimit")), (429, r#""minute";r=0;t=2"#));
    assert_eq!(whoami.body["violated-policies"], json!(["minute"]));
}

#[tokio::test]
async fn a_call_costs_at_most_what_its_limits_ever_allow() {
    let edge = TestEdge::new();
    let bucket = |limit: Limit| Limit { burst: 50, ..limit };
    for (limits, cost, charged) in [
        (vec![limit("a", Algorithm::SlidingWindow)], 10, Some([10].as_slice())),
        (vec![limit("a", Algorithm::SlidingWindow)], 11, None),
        (vec![limit("a", Algorithm::TokenBucket)], 11, None),
        (vec![bucket(limit("a", Algorithm::TokenBucket))], 50, Some(&[50])),
        (vec![bucket(limit("a", Algorithm::TokenBucket))], 51, None),
        (vec![calendar("a")], 11, None),
        // A shadow limit refuses nothing, and is charged what it can take.
        (vec![bucket(limit("a", Algorithm::TokenBucket)), shadow("b")], 50, Some(&[50, 10])),
    ] {
        edge.ratelimit.asked();
        let (_, verdict) = asked(&edge, limits, cost).await;
        assert_eq!(verdict.status.as_u16(), if charged.is_some() { 200 } else { 422 }, "{}", verdict.body);
        let last = edge.ratelimit.asked().pop().expect("the protected route has asked, at least");
        let costs: Vec<_> = last.charges.iter().map(|it| it.cost).collect();
        assert_eq!(costs, charged.unwrap_or(&[1]));
    }
}

#[tokio::test]
async fn the_older_headers_can_be_switched_off() {
    for (legacy_ratelimit_headers, remaining) in [(true, "9"), (false, "")] {
        let edge = TestEdge::with(Config { legacy_ratelimit_headers, ..Config::default() }, Vec::new());
        let (whoami, _) = asked(&edge, vec![limit("minute", Algorithm::SlidingWindow)], 1).await;
        assert_eq!(whoami.header("ratelimit"), r#""minute";r=9;t=60"#);
        assert_eq!(whoami.header("x-ratelimit-remaining"), remaining);
    }
}
