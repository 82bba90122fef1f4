//! What is tallied of a call: for whom, and what is remembered of who made it.

use serde_json::json;
use tollgate_kernel::{ConsumerId, ExposeSecret, Id, OsEntropy, SecretString};
use tollgate_proto::{
    gate::{AuthorizeRequest, VerifyKeyRequest, gate_server::Gate},
    keys::{ConsumerGrant, Grant},
    ratelimit::{CheckRequest, Tally},
};
use tollgate_testkit::MockClock;
use tollgate_verify::KeyKind;
use tonic::Request;

use super::{TestEdge, bearer, fakes::workspace, unknown};
use crate::{Config, grpc};

fn tallied(edge: &TestEdge) -> Tally {
    let asked = edge.ratelimit.asked();
    let [CheckRequest { tally: Some(tally), .. }] = &asked[..] else { panic!("{asked:?}") };
    tally.clone()
}

fn ask(key: &SecretString) -> serde_json::Value {
    json!({ "key": key.expose_secret(), "client_ip": "203.0.113.77", "user_agent": "curl/8\r\nX: y" })
}

#[tokio::test]
async fn a_call_counts_for_the_consumer_that_the_key_is_s() {
    let edge = TestEdge::new();
    let consumer = Id::new(&*MockClock::new(), &OsEntropy);
    let consumer: ConsumerId = consumer;
    let given = |grant: &mut Grant| {
        grant.consumer = Some(ConsumerGrant {
            consumer_id: consumer.to_string(),
            enabled: true,
            ..ConsumerGrant::default()
        });
    };
    for (key, group) in [
        (edge.keys.key(workspace(), given), consumer.to_string()),
        (edge.keys.key(workspace(), |_| {}), String::new()),
    ] {
        edge.get("/v1/whoami", &[("x-api-key", key.expose_secret())]).await;
        assert_eq!(tallied(&edge).group, group);
    }
    let refused = edge.keys.key(workspace(), |grant| {
        given(grant);
        grant.enabled = false;
    });
    edge.get("/v1/whoami", &[("x-api-key", refused.expose_secret())]).await;
    let tally = tallied(&edge);
    assert_eq!((tally.group, tally.code.as_str()), (consumer.to_string(), "DISABLED"));
}

#[tokio::test]
async fn every_door_says_who_called() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let service = edge.keys.service_key(workspace, &["keys.verify"]);
    let key = edge.keys.key(workspace, |_| {});
    let headers = [("x-api-key", key.expose_secret()), ("user-agent", "shop/1.0 (\u{9}linux)")];
    for path in ["/v1/whoami", "/v1/gate"] {
        edge.get(path, &headers).await;
        assert_eq!(tallied(&edge).user_agent, "shop/1.0 (linux)", "{path}");
    }
    let said = |tally: Tally| (tally.network, tally.user_agent);
    let expected = ("203.0.113.0/24".to_owned(), "curl/8X: y".to_owned());
    edge.post("/v1/keys/verify", &[("authorization", &bearer(&service)), ("user-agent", "asker")], ask(&key))
        .await;
    assert_eq!(said(tallied(&edge)), expected, "the client's, not that of whoever asks");

    let gate = grpc::service(edge.edge.app.clone());
    let (client_ip, user_agent) = ("203.0.113.77".to_owned(), "curl/8\r\nX: y".to_owned());
    let mut request = Request::new(VerifyKeyRequest {
        key: key.expose_secret().into(),
        client_ip: client_ip.clone(),
        user_agent: user_agent.clone(),
        ..VerifyKeyRequest::default()
    });
    request.metadata_mut().insert("authorization", bearer(&service).parse().expect("ASCII"));
    gate.verify_key(request).await.expect("a verdict");
    assert_eq!(said(tallied(&edge)), expected);
    let credential = key.expose_secret().into();
    let request = AuthorizeRequest { credential, client_ip, user_agent, ..AuthorizeRequest::default() };
    let mut request = Request::new(request);
    request.metadata_mut().insert("authorization", bearer(&service).parse().expect("ASCII"));
    gate.authorize(request).await.expect("a verdict");
    assert_eq!(said(tallied(&edge)), expected);
}

#[tokio::test]
async fn a_program_may_say_of_itself_what_it_likes() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let service = bearer(&edge.keys.service_key(workspace, &["keys.verify"]));
    let key = edge.keys.key(workspace, |_| {});
    for (said, kept) in
        [("u".repeat(50_000), "u".repeat(200)), ("\u{1}\u{1b}[2J".to_owned(), "[2J".to_owned())]
    {
        let body = json!({ "key": key.expose_secret(), "user_agent": said });
        let answer = edge.post("/v1/keys/verify", &[("authorization", &service)], body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (200, &json!("VALID")));
        assert_eq!(tallied(&edge).user_agent, kept);
    }
}

#[tokio::test]
async fn nothing_is_remembered_of_clients_if_it_should_not_be() {
    let edge = TestEdge::built(Config::default(), Vec::new(), false);
    let workspace = workspace();
    let service = bearer(&edge.keys.service_key(workspace, &["keys.verify"]));
    let key = edge.keys.key(workspace, |_| {});
    edge.post("/v1/keys/verify", &[("authorization", &service)], ask(&key)).await;
    edge.get("/v1/whoami", &[("x-api-key", key.expose_secret()), ("user-agent", "shop/1.0")]).await;
    for asked in edge.ratelimit.asked() {
        let tally = asked.tally.expect("tallied");
        assert_eq!((tally.network.as_str(), tally.user_agent.as_str()), ("", ""));
    }
}

#[tokio::test]
async fn what_is_no_key_is_one_row_whatever_it_is() {
    let edge = TestEdge::new();
    let service = bearer(&edge.keys.service_key(workspace(), &["keys.verify"]));
    let mut rows = std::collections::HashSet::new();
    for number in 0..20 {
        let wrong =
            if number % 2 == 0 { unknown(KeyKind::Live) } else { format!("tg_live_nonsense{number}").into() };
        let agent = format!("agent {number}");
        edge.get("/v1/whoami", &[("x-api-key", wrong.expose_secret()), ("user-agent", &agent)]).await;
        edge.post("/v1/keys/verify", &[("authorization", &service)], ask(&wrong)).await;
        for asked in edge.ratelimit.asked() {
            let tally = asked.tally.expect("tallied");
            assert_eq!(
                (asked.charges.len(), &*asked.partition, &*tally.subject),
                (0, "instance", "instance")
            );
            rows.insert((tally.code, tally.group, tally.network, tally.user_agent));
        }
    }
    let row = |code: &str| (code.to_owned(), String::new(), String::new(), String::new());
    assert_eq!(rows, [row("MALFORMED"), row("NOT_FOUND")].into());
}

#[tokio::test]
async fn a_foreign_key_and_a_dry_run_count_for_nobody() {
    let edge = TestEdge::new();
    let service = bearer(&edge.keys.service_key(workspace(), &["keys.verify"]));
    let foreign = edge.keys.key(workspace(), |_| {});
    let answer = edge.post("/v1/keys/verify", &[("authorization", &service)], ask(&foreign)).await;
    assert_eq!(answer.body["code"], "NOT_FOUND");
    for wrong in [unknown(KeyKind::Test), "nonsense".into()] {
        let body = json!({ "key": wrong.expose_secret(), "dry_run": true });
        edge.post("/v1/keys/verify", &[("authorization", &service)], body).await;
    }
    assert!(edge.ratelimit.asked().is_empty());
}
