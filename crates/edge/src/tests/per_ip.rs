//! Limits by client address: every route has one, garbage costs no look-up, and what is known to be good passes.

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request},
};
use serde_json::json;
use tollgate_kernel::ExposeSecret;
use tollgate_verify::KeyKind;

use super::{
    Answer, TestEdge,
    document::{document, operations, with_id},
    fakes::workspace,
    request, unknown,
};
use crate::{Config, PerIp};

const ONE_EACH: PerIp = PerIp { auth: 1, management: 1, protected: 1, public: 1, window_seconds: 60 };

fn config(per_ip: PerIp) -> Config {
    Config { per_ip, ..Config::default() }
}

fn edge(per_ip: PerIp) -> TestEdge {
    TestEdge::with(config(per_ip), Vec::new())
}

impl TestEdge {
    /// A request from this address.
    async fn from(&self, ip: &str, mut request: Request<Body>) -> Answer {
        let peer = SocketAddr::new(ip.parse().expect("an address"), 4711);
        request.extensions_mut().insert(ConnectInfo(peer));
        self.send(request).await
    }

    async fn whoami(&self, ip: &str, headers: &[(&str, &str)]) -> u16 {
        self.from(ip, request(Method::GET, "/v1/whoami", headers, Body::empty())).await.status.as_u16()
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "there are as many routes")]
async fn every_route_has_a_class() {
    // What never answers is given up at once.
    let quick = serde_json::from_value(json!({ "request_timeout_ms": 1 })).expect("a config");
    let quick = Config { per_ip: ONE_EACH, ..quick };
    let document = document();
    let documented = operations(&document).into_iter().map(|(path, method, _)| (path.to_owned(), method));
    let others = ["/docs/", "/docs/index.css", "/nothing"].map(|path| (path.to_owned(), Method::GET));
    let mut classes = Vec::new();
    for (path, method) in documented.chain(others) {
        let edge = TestEdge::with(quick.clone(), Vec::new());
        let ask = || request(method.clone(), &with_id(&path), &[], Body::empty());
        let first = edge.from("203.0.113.9", ask()).await;
        assert_ne!(first.status, 429, "{method} {path}");
        let second = edge.from("203.0.113.9", ask()).await;
        assert_eq!(second.status, 429, "{method} {path} is not limited by address");
        assert_eq!(second.header("retry-after"), "42", "{method} {path}");
        let policy = second.header("ratelimit-policy").split('"').nth(1).expect("a name").to_owned();
        assert!(
            method == Method::HEAD || second.body["violated-policies"] == json!([policy]),
            "{method} {path}"
        );
        assert_ne!(
            edge.from("203.0.113.10", ask()).await.status,
            429,
            "{method} {path}: each address has its own"
        );
        classes.push(format!("{method} {path}: {policy}"));
    }
    insta::assert_snapshot!(classes.join("\n"), @r"
    GET /.well-known/jwks.json: ip-public
    GET /docs: ip-public
    GET /livez: ip-public
    GET /openapi.json: ip-public
    GET /readyz: ip-public
    GET /v1/audit-events: ip-management
    POST /v1/auth/login: ip-auth
    POST /v1/auth/logout: ip-auth
    POST /v1/auth/logout-all: ip-auth
    POST /v1/auth/refresh: ip-auth
    POST /v1/auth/signup: ip-auth
    GET /v1/consumers: ip-management
    POST /v1/consumers: ip-management
    GET /v1/consumers/{id}: ip-management
    PATCH /v1/consumers/{id}: ip-management
    DELETE /v1/consumers/{id}: ip-management
    GET /v1/consumers/{id}/credits: ip-management
    PUT /v1/consumers/{id}/credits: ip-management
    DELETE /v1/consumers/{id}/credits: ip-management
    POST /v1/consumers/{id}/credits/grants: ip-management
    GET /v1/consumers/{id}/credits/ledger: ip-management
    GET /v1/consumers/{id}/usage: ip-management
    POST /v1/credits/refund: ip-protected
    POST /v1/credits/settle: ip-protected
    GET /v1/gate: ip-protected
    HEAD /v1/gate: ip-protected
    POST /v1/gate: ip-protected
    PUT /v1/gate: ip-protected
    PATCH /v1/gate: ip-protected
    DELETE /v1/gate: ip-protected
    OPTIONS /v1/gate: ip-protected
    POST /v1/invitations/accept: ip-auth
    GET /v1/keys: ip-management
    POST /v1/keys: ip-management
    GET /v1/keys/export: ip-management
    POST /v1/keys/import: ip-management
    POST /v1/keys/revoke: ip-management
    POST /v1/keys/verify: ip-protected
    GET /v1/keys/{id}: ip-management
    PATCH /v1/keys/{id}: ip-management
    DELETE /v1/keys/{id}: ip-management
    GET /v1/keys/{id}/credits: ip-management
    PUT /v1/keys/{id}/credits: ip-management
    DELETE /v1/keys/{id}/credits: ip-management
    POST /v1/keys/{id}/credits/grants: ip-management
    GET /v1/keys/{id}/credits/ledger: ip-management
    GET /v1/keys/{id}/overrides: ip-management
    POST /v1/keys/{id}/overrides: ip-management
    DELETE /v1/keys/{id}/overrides/{name}: ip-management
    POST /v1/keys/{id}/rotate: ip-management
    GET /v1/keys/{id}/rotation: ip-management
    PUT /v1/keys/{id}/rotation: ip-management
    DELETE /v1/keys/{id}/rotation: ip-management
    GET /v1/keys/{id}/secrets: ip-management
    DELETE /v1/keys/{id}/secrets/{secret_id}: ip-management
    GET /v1/keys/{id}/usage: ip-management
    GET /v1/me: ip-management
    GET /v1/plans: ip-management
    POST /v1/plans: ip-management
    GET /v1/plans/{id}: ip-management
    PATCH /v1/plans/{id}: ip-management
    DELETE /v1/plans/{id}: ip-management
    GET /v1/roles: ip-management
    POST /v1/roles: ip-management
    GET /v1/roles/{id}: ip-management
    PATCH /v1/roles/{id}: ip-management
    DELETE /v1/roles/{id}: ip-management
    POST /v1/secret-scanning/github: ip-public
    GET /v1/service-keys: ip-management
    POST /v1/service-keys: ip-management
    DELETE /v1/service-keys/{id}: ip-management
    GET /v1/usage: ip-management
    GET /v1/webhooks: ip-management
    POST /v1/webhooks: ip-management
    GET /v1/webhooks/{id}: ip-management
    PATCH /v1/webhooks/{id}: ip-management
    DELETE /v1/webhooks/{id}: ip-management
    GET /v1/webhooks/{id}/deliveries: ip-management
    POST /v1/webhooks/{id}/deliveries/{delivery_id}/replay: ip-management
    POST /v1/webhooks/{id}/rotate-secret: ip-management
    POST /v1/webhooks/{id}/test: ip-management
    GET /v1/whoami: ip-protected
    GET /v1/whoami/key: ip-protected
    GET /v1/whoami/user: ip-protected
    GET /v1/workspaces: ip-management
    POST /v1/workspaces: ip-management
    GET /v1/workspaces/{id}: ip-management
    PATCH /v1/workspaces/{id}: ip-management
    GET /v1/workspaces/{id}/invitations: ip-management
    POST /v1/workspaces/{id}/invitations: ip-management
    DELETE /v1/workspaces/{id}/invitations/{invitation_id}: ip-management
    GET /v1/workspaces/{id}/members: ip-management
    PATCH /v1/workspaces/{id}/members/{user_id}: ip-management
    DELETE /v1/workspaces/{id}/members/{user_id}: ip-management
    GET /v1/workspaces/{id}/policy: ip-management
    PATCH /v1/workspaces/{id}/policy: ip-management
    GET /docs/: ip-public
    GET /docs/index.css: ip-public
    GET /nothing: ip-public
    ");
}

#[tokio::test]
async fn a_class_is_used_up_by_itself_and_zero_is_no_limit() {
    let edge = edge(PerIp { auth: 2, management: 3, protected: 0, public: 0, window_seconds: 60 });
    let mut said = Vec::new();
    for path in ["/v1/auth/logout", "/v1/keys", "/v1/whoami", "/livez"] {
        let method = if path.starts_with("/v1/auth") { Method::POST } else { Method::GET };
        let mut passed = 0;
        for _ in 0..5 {
            let ask = request(method.clone(), path, &[], Body::empty());
            passed += u32::from(edge.from("203.0.113.9", ask).await.status != 429);
        }
        said.push(passed);
    }
    assert_eq!(said, [2, 3, 5, 5]);
}

#[tokio::test]
async fn a_flood_of_garbage_costs_no_look_up_and_does_not_lock_good_keys_out() {
    let edge = edge(PerIp { protected: 5, ..PerIp::default() });
    let (good, late) = (edge.keys.key(workspace(), |_| {}), edge.keys.key(workspace(), |_| {}));
    let bound = edge.keys.key(workspace(), |it| it.allowed_ips.push("198.51.100.0/24".into()));
    let here = "203.0.113.9";
    assert_eq!(edge.whoami(here, &[("x-api-key", good.expose_secret())]).await, 200);
    assert_eq!(edge.whoami(here, &[("x-api-key", bound.expose_secret())]).await, 403, "which is no failure");
    edge.ratelimit.asked();
    let looked_up = edge.keys.looked_up();

    let stranger = unknown(KeyKind::Live);
    let two = [("x-api-key", "a"), ("authorization", "Bearer b")];
    for (failure, status) in [
        (&[][..], 401),
        (&[("x-api-key", "tg_live_nonsense")], 401),
        (&[("authorization", "Bearer a.b.c")], 401),
        (&two, 400),
        (&[("x-api-key", stranger.expose_secret())], 401),
    ] {
        assert_eq!(edge.whoami(here, failure).await, status);
    }
    assert_eq!(edge.keys.looked_up(), looked_up + 1, "only the stranger was looked up");

    for _ in 0..50 {
        let stranger = unknown(KeyKind::Live);
        for garbage in [
            &[][..],
            &[("x-api-key", "tg_live_nonsense")],
            &[("authorization", "Bearer a.b.c")],
            &two,
            &[("x-api-key", stranger.expose_secret())],
            // Good, but nobody here knows it yet.
            &[("x-api-key", late.expose_secret())],
        ] {
            assert_eq!(edge.whoami(here, garbage).await, 429);
        }
        assert_eq!(edge.whoami(here, &[("x-api-key", good.expose_secret())]).await, 200);
        assert_eq!(edge.whoami(here, &[("x-api-key", bound.expose_secret())]).await, 403);
    }
    assert_eq!(edge.keys.looked_up(), looked_up + 1, "nothing else was");
    let asked = edge.ratelimit.asked();
    let (garbage, good): (Vec<_>, Vec<_>) = asked.iter().partition(|it| it.partition == "instance");
    assert_eq!(good.len(), 100, "the good keys alone were counted");
    assert_eq!(garbage.len(), 3, "and of the garbage what came before the door was shut");

    assert_eq!(edge.whoami("203.0.113.10", &[("x-api-key", late.expose_secret())]).await, 200);
    assert_eq!(edge.whoami(here, &[("x-api-key", late.expose_secret())]).await, 200, "it is known now");
    let gate = |path| request(Method::GET, path, &[], Body::empty());
    let plain = edge.from(here, gate("/v1/gate")).await;
    assert_eq!((plain.status.as_u16(), &plain.body["code"]), (429, &json!("RATE_LIMITED")));
    let nginx = edge.from(here, gate("/v1/gate?status=nginx")).await;
    assert_eq!((nginx.status.as_u16(), nginx.header("x-tollgate-status")), (403, "429"));
    assert_eq!(nginx.header("retry-after"), "42");
}

#[tokio::test]
async fn garbage_in_the_shape_of_an_imported_key_costs_one_look_up_where_there_is_none() {
    let edge = edge(PerIp { protected: 5, ..PerIp::default() });
    let mut said = Vec::new();
    for number in 0..50 {
        let garbage = format!("garbage-of-the-right-shape-{number}");
        said.push(edge.whoami("203.0.113.9", &[("x-api-key", &garbage)]).await);
    }
    assert_eq!((&said[..5], said[5..].iter().all(|status| *status == 429)), (&[401; 5][..], true));
    assert_eq!(edge.keys.looked_up(), 1, "whether there is any");
    for number in 0..50 {
        let ip = format!("203.0.113.{}", 10 + number);
        let garbage = format!("Bearer more-garbage-of-the-right-shape-{number}");
        assert_eq!(edge.whoami(&ip, &[("authorization", &garbage)]).await, 401);
    }
    assert_eq!(edge.keys.looked_up(), 1, "which is known, for all clients");
}

#[tokio::test]
async fn where_there_are_imported_keys_garbage_costs_no_more_look_ups_than_the_door_lets_in() {
    let edge = edge(PerIp { protected: 5, ..PerIp::default() });
    let good = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
    edge.keys.import(good, workspace());
    let here = "203.0.113.9";
    assert_eq!(edge.whoami(here, &[("x-api-key", good)]).await, 200);
    let looked_up = edge.keys.looked_up();
    for number in 0..50 {
        let garbage = format!("garbage-of-the-right-shape-{number}");
        let expected = if number < 5 { 401 } else { 429 };
        assert_eq!(edge.whoami(here, &[("x-api-key", &garbage)]).await, expected, "{number}");
        let bearer = format!("Bearer {good}");
        assert_eq!(edge.whoami(here, &[("authorization", &bearer)]).await, 200, "it is known to be good");
    }
    assert_eq!(edge.keys.looked_up(), looked_up + 5);
}

#[tokio::test]
async fn a_revoked_key_that_is_held_is_garbage() {
    use tollgate_kernel::Clock;
    let edge = edge(PerIp { protected: 2, ..PerIp::default() });
    let now = tollgate_proto::time::to_wire(tollgate_testkit::MockClock::new().now());
    let revoked = edge.keys.key(workspace(), |it| it.revoked_at = Some(now));
    let headers = [("x-api-key", revoked.expose_secret())];
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push(edge.whoami("203.0.113.9", &headers).await);
    }
    assert_eq!(said, [401, 401, 429, 429]);
    assert_eq!(edge.ratelimit.asked().len(), 2, "and is tallied no more");
}

#[tokio::test]
async fn who_is_counted_is_who_the_trusted_proxies_say() {
    let spoofed: &[(&str, &str)] = &[("x-forwarded-for", "192.0.2.1")];
    let others: &[(&str, &str)] = &[("x-forwarded-for", "192.0.2.2")];
    let counted = async |trusted: &[&str], peer: &str| {
        let config = serde_json::from_value(json!({ "trusted_proxies": trusted })).expect("a config");
        let edge = TestEdge::with(config, Vec::new());
        for headers in [spoofed, others, others] {
            assert_eq!(edge.whoami(peer, headers).await, 401);
        }
        edge.door.counted().into_iter().map(|(who, _, count)| (who, count)).collect::<Vec<_>>()
    };
    let of = |who: &[(&str, u64)]| who.iter().map(|(who, n)| ((*who).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(counted(&[], "203.0.113.9").await, of(&[("203.0.113.9", 3)]));
    assert_eq!(counted(&["10.0.0.0/8"], "203.0.113.9").await, of(&[("203.0.113.9", 3)]));
    assert_eq!(counted(&["10.0.0.0/8"], "10.0.0.1").await, of(&[("192.0.2.1", 1), ("192.0.2.2", 2)]));
}

#[tokio::test]
async fn an_address_is_counted_as_what_one_client_has() {
    let edge = TestEdge::new();
    for ip in ["203.0.113.9", "::ffff:203.0.113.9", "2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"] {
        assert_eq!(edge.whoami(ip, &[]).await, 401);
    }
    assert_eq!(edge.get("/v1/whoami", &[]).await.status, 401, "from nowhere");
    let counted: Vec<_> = edge.door.counted().into_iter().map(|(who, _, count)| (who, count)).collect();
    let expected = [("2001:db8:0:1::/64", 1), ("2001:db8::/64", 2), ("203.0.113.9", 2), ("unknown", 1)];
    assert_eq!(counted, expected.map(|(who, count)| (who.to_owned(), count)));
}

#[tokio::test]
async fn a_door_that_is_broken_stands_open() {
    let edge = edge(ONE_EACH);
    edge.door.breaks();
    for _ in 0..3 {
        assert_eq!(edge.whoami("203.0.113.9", &[]).await, 401);
        assert_eq!(edge.get("/livez", &[]).await.status, 200);
    }
}
