//! What one call is charged with: the limits of its key, its consumer and its workspace, in one question.

use serde_json::json;
use tollgate_kernel::ExposeSecret;
use tollgate_proto::{
    keys::{ConsumerGrant, Grant},
    ratelimit::Limit,
};

use super::{TestEdge, bearer, fakes::workspace};

const CONSUMER: &str = "con_00000000000000000000000001";

fn limit(name: &str, limit: u64) -> Limit {
    Limit { name: name.into(), limit, window_seconds: 60, ..Limit::default() }
}

fn of_a_consumer(grant: &mut Grant) {
    let limits = vec![limit("minute", 7), limit("day", 8)];
    let consumer =
        ConsumerGrant { consumer_id: CONSUMER.into(), enabled: true, limits, plan_id: String::new() };
    grant.consumer = Some(consumer);
    grant.workspace_limits = vec![limit("minute", 9)];
}

#[tokio::test]
async fn every_level_is_charged_in_one_question() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let key = edge.keys.key(workspace, of_a_consumer);
    let answer = edge.get("/v1/whoami/key", &[("x-api-key", key.expose_secret())]).await;
    let key_id = answer.body["key_id"].as_str().expect("an id").to_owned();
    let [asked] = &edge.ratelimit.asked()[..] else { panic!("asked once") };
    let charges: Vec<_> = asked
        .charges
        .iter()
        .map(|charge| {
            let limit = charge.limit.as_ref().expect("a limit");
            (limit.name.as_str(), charge.subject.as_str(), limit.limit, charge.cost)
        })
        .collect();
    let workspace = workspace.to_string();
    let expected = [
        ("minute", key_id.as_str(), 10, 1),
        ("consumer.minute", CONSUMER, 7, 1),
        ("consumer.day", CONSUMER, 8, 1),
        ("workspace.minute", workspace.as_str(), 9, 1),
    ];
    assert_eq!(charges, expected);
    assert_eq!(asked.partition, workspace);
    assert_eq!(
        edge.get("/v1/gate", &[("x-api-key", key.expose_secret())]).await.header("x-tollgate-consumer-id"),
        CONSUMER
    );
    let policy = r#""minute";q=10;w=60, "consumer.minute";q=7;w=60, "consumer.day";q=8;w=60, "workspace.minute";q=9;w=60"#;
    assert_eq!(answer.header("ratelimit-policy"), policy);
}

#[tokio::test]
async fn a_denial_says_the_level_and_a_cost_is_measured_against_all() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let service = bearer(&edge.keys.service_key(workspace, &["keys.verify"]));
    let headers = [("authorization", &*service)];
    let key = edge.keys.key(workspace, |grant| {
        of_a_consumer(grant);
        grant.limits.clear();
    });
    let ask = |cost: u32| json!({ "key": key.expose_secret(), "cost": cost });
    let answer = edge.post("/v1/keys/verify", &headers, ask(8)).await;
    assert_eq!((answer.status.as_u16(), &answer.body["errors"][0]["pointer"]), (422, &json!("/cost")));
    assert!(edge.ratelimit.asked().is_empty());
    edge.ratelimit.deny();
    let answer = edge.post("/v1/keys/verify", &headers, ask(7)).await;
    let said = ["code", "denied_by", "consumer_id"].map(|name| answer.body[name].as_str());
    assert_eq!(said, [Some("RATE_LIMITED"), Some("consumer.minute"), Some(CONSUMER)]);
}
