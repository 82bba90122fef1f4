//! What the doors say about keys: protected routes, `/v1/keys/verify`, `/v1/gate`.

use serde_json::json;
use tollgate_kernel::ExposeSecret;
use tollgate_proto::{keys::Grant, ratelimit::Tally, time::to_wire};
use tollgate_testkit::MockClock;
use tollgate_verify::KeyKind;

use super::{TestEdge, bearer, fakes::workspace, unknown};

fn revoked(grant: &mut Grant) {
    use tollgate_kernel::Clock;
    grant.revoked_at = Some(to_wire(MockClock::new().now()));
}

#[tokio::test]
async fn a_call_that_passes_says_who_and_what_is_left() {
    let edge = TestEdge::new();
    let key = edge.keys.key(workspace(), |_| {});
    for (path, status) in [("/v1/whoami", 200), ("/v1/whoami/key", 200), ("/v1/whoami/user", 401)] {
        for headers in [[("x-api-key", key.expose_secret())], [("authorization", &*bearer(&key))]] {
            assert_eq!(edge.get(path, &headers).await.status, status, "{path}");
        }
    }
    assert_eq!(edge.ratelimit.asked().len(), 4, "what a route does not accept is not counted");

    let answer = edge.get("/v1/whoami", &[("x-api-key", key.expose_secret())]).await;
    assert_eq!((&answer.body["kind"], &answer.body["plan"]), (&json!("key"), &json!("basic")));
    assert_eq!(answer.header("ratelimit-policy"), r#""minute";q=10;w=60"#);
    assert_eq!(answer.header("ratelimit"), r#""minute";r=9;t=60"#);
    assert_eq!(answer.header("x-ratelimit-remaining"), "9");
    assert_eq!(answer.header("cache-control"), "no-store");

    let asked = edge.ratelimit.asked();
    let subject = answer.body["key_id"].as_str().expect("an id");
    assert_eq!(asked[0].partition, answer.body["workspace_id"].as_str().expect("an id"));
    assert_eq!((asked[0].charges[0].subject.as_str(), asked[0].charges[0].cost), (subject, 1));
    assert_eq!(
        asked[0].tally,
        Some(Tally { subject: subject.into(), code: "VALID".into(), ..Tally::default() })
    );
}

#[tokio::test]
async fn a_call_over_the_limit_says_when_to_come_back() {
    let edge = TestEdge::new();
    let key = edge.keys.key(workspace(), |_| {});
    edge.ratelimit.deny();
    let answer = edge.get("/v1/whoami", &[("x-api-key", key.expose_secret())]).await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (429, &json!("RATE_LIMITED")));
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(answer.header("ratelimit"), r#""minute";r=0;t=2"#);
    assert_eq!(answer.body["violated-policies"], json!(["minute"]));

    let answer = edge.get("/v1/gate?status=nginx", &[("x-api-key", key.expose_secret())]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tollgate-status")), (403, "429"));
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn the_presenter_cannot_tell_bad_keys_apart_and_their_workspace_can() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let service = bearer(&edge.keys.service_key(workspace, &["keys.verify"]));
    let malformed = "tg_live_nonsense".into();
    let stranger = unknown(KeyKind::Live);
    let expected = edge.get("/v1/whoami", &[("x-api-key", stranger.expose_secret())]).await.alike();
    assert_eq!(expected.0, 401);
    edge.ratelimit.asked();
    let table = [
        (malformed, "MALFORMED", false),
        (stranger, "NOT_FOUND", false),
        (edge.keys.key(workspace, |it| it.enabled = false), "DISABLED", true),
        (edge.keys.key(workspace, |it| it.workspace_enabled = false), "DISABLED", true),
        (edge.keys.key(workspace, revoked), "REVOKED", true),
        (
            edge.keys.key(workspace, |it| it.expires_at = Some(to_wire(chrono::DateTime::UNIX_EPOCH))),
            "EXPIRED",
            true,
        ),
    ];
    for (key, code, known) in table {
        let answer = edge.get("/v1/whoami", &[("x-api-key", key.expose_secret())]).await;
        assert_eq!(answer.alike(), expected, "{code}");
        let asked = edge.ratelimit.asked();
        let [tallied] = &asked[..] else { panic!("{code}: {asked:?}") };
        let partition = if known { workspace.to_string() } else { "instance".to_owned() };
        assert_eq!((tallied.charges.len(), &tallied.partition), (0, &partition), "{code}");
        assert_eq!(tallied.tally.as_ref().expect("tallied").code, code);

        let headers = [("authorization", &*service)];
        let answer = edge.post("/v1/keys/verify", &headers, json!({ "key": key.expose_secret() })).await;
        assert_eq!((answer.status.as_u16(), &answer.body["code"]), (200, &json!(code)));
        assert_eq!(
            (&answer.body["valid"], answer.body["key_id"].is_string()),
            (&json!(false), known),
            "{code}"
        );
        assert_eq!(edge.ratelimit.asked(), asked, "however it is asked");
    }
}

#[tokio::test]
async fn a_verdict_says_all_that_the_workspace_may_know() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let service = bearer(&edge.keys.service_key(workspace, &["keys.verify"]));
    let key = edge.keys.key(workspace, |_| {});
    let ask = json!({ "key": key.expose_secret(), "scopes": ["orders.read"], "cost": 3, "request_id": "r1" });
    let answer = edge.post("/v1/keys/verify", &[("authorization", &service)], ask).await;
    insta::assert_json_snapshot!(answer.body, { ".key_id" => "[id]", ".workspace_id" => "[id]" }, @r#"
    {
      "code": "VALID",
      "environment": "live",
      "key_id": "[id]",
      "limits": [
        {
          "limit": 10,
          "name": "minute",
          "remaining": 9,
          "reset_ms": 59001
        }
      ],
      "metadata": {
        "customer": "4711"
      },
      "scopes": [
        "orders.read"
      ],
      "valid": true,
      "workspace_id": "[id]"
    }
    "#);
    let asked = edge.ratelimit.asked();
    assert_eq!((asked[0].charges[0].cost, asked[0].peek, asked[0].request_id.as_str()), (3, false, "r1"));

    edge.ratelimit.deny();
    let ask = json!({ "key": key.expose_secret(), "dry_run": true });
    let answer = edge.post("/v1/keys/verify", &[("authorization", &service)], ask).await;
    assert_eq!(answer.body["code"], "RATE_LIMITED");
    assert_eq!((&answer.body["denied_by"], &answer.body["retry_after_ms"]), (&json!("minute"), &json!(1001)));
    assert!(edge.ratelimit.asked()[0].peek);
}

#[tokio::test]
async fn a_foreign_key_is_unknown_and_not_counted() {
    let edge = TestEdge::new();
    let service = bearer(&edge.keys.service_key(workspace(), &["keys.verify"]));
    for key in [edge.keys.key(workspace(), |_| {}), edge.keys.key(workspace(), revoked)] {
        let ask = json!({ "key": key.expose_secret(), "cost": 1000 });
        let answer = edge.post("/v1/keys/verify", &[("authorization", &service)], ask).await;
        assert_eq!(answer.body, json!({ "valid": false, "code": "NOT_FOUND" }));
    }
    assert!(edge.ratelimit.asked().is_empty());
}

#[tokio::test]
async fn asking_about_keys_takes_a_right() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let ask = || json!({ "key": "x" });
    let reader = bearer(&edge.keys.service_key(workspace, &["keys.read"]));
    let plain = bearer(&edge.keys.key(workspace, |_| {}));
    for (caller, status) in [(&*reader, 403), (&*plain, 401), (&*bearer(&unknown(KeyKind::Service)), 401)] {
        assert_eq!(edge.post("/v1/keys/verify", &[("authorization", caller)], ask()).await.status, status);
    }
    let verifier = bearer(&edge.keys.service_key(workspace, &["keys.verify"]));
    for (body, pointer) in [
        (json!({ "key": "x", "cost": 1_000_000_001 }), "/cost"),
        (json!({ "key": "x", "client_ip": "here" }), "/client_ip"),
        (json!({ "key": edge.keys.key(workspace, |_| {}).expose_secret(), "cost": 11 }), "/cost"),
    ] {
        let answer = edge.post("/v1/keys/verify", &[("authorization", &verifier)], body).await;
        assert_eq!((answer.status.as_u16(), &answer.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
}

#[tokio::test]
async fn two_credentials_are_one_too_many() {
    let edge = TestEdge::new();
    let key = edge.keys.key(workspace(), |_| {});
    let both = [("x-api-key", key.expose_secret()), ("authorization", &*bearer(&key))];
    let answer = edge.get("/v1/whoami", &both).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="tollgate", error="invalid_request""#);
    assert!(edge.ratelimit.asked().is_empty());
}

#[tokio::test]
async fn a_gateway_hears_who_it_is() {
    let edge = TestEdge::new();
    let key = edge.keys.key(workspace(), |it| it.scopes.push("orders.write".into()));
    let answer = edge.get("/v1/gate", &[("x-api-key", key.expose_secret())]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-tollgate-scopes"), "orders.read orders.write");
    assert_eq!(answer.header("x-tollgate-plan"), "basic");
    assert!(answer.header("x-tollgate-key-id").starts_with("key_"));
    assert!(answer.header("x-tollgate-workspace-id").starts_with("ws_"));
    assert_eq!(answer.header("x-tollgate-user-id"), "");
    assert_eq!(answer.header("ratelimit"), r#""minute";r=9;t=60"#);
    assert_eq!(edge.get("/v1/gate?state=nginx", &[]).await.status, 422);
}

#[tokio::test]
async fn a_key_that_is_bound_to_networks_needs_an_address() {
    let edge = TestEdge::new();
    let key = edge.keys.key(workspace(), |it| it.allowed_ips.push("203.0.113.0/24".into()));
    let answer = edge.get("/v1/whoami", &[("x-api-key", key.expose_secret())]).await;
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (403, &json!("FORBIDDEN_IP")));
}
