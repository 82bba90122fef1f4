//! Of several reasons to refuse a call, the first in the documented order is named: every pair, over HTTP and gRPC.

use serde_json::{Value, json};
use tollgate_proto::gate::{Environment, VerifyKeyRequest};

use crate::{
    actors::{Key, ServiceKey, User},
    app::TestApp,
};

/// What can be wrong with a key or a call, in the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Malformed,
    Foreign,
    Disabled,
    NotBegun,
    ConsumerDisabled,
    Revoked,
    Expired,
    Environment,
    Network,
    Scope,
    Limit,
    Quota,
}

use Flaw::*;

const FLAWS: [(Flaw, &str); 12] = [
    (Malformed, "MALFORMED"),
    (Foreign, "NOT_FOUND"),
    (Disabled, "DISABLED"),
    (NotBegun, "DISABLED"),
    (ConsumerDisabled, "DISABLED"),
    (Revoked, "REVOKED"),
    (Expired, "EXPIRED"),
    (Environment, "WRONG_ENVIRONMENT"),
    (Network, "FORBIDDEN_IP"),
    (Scope, "INSUFFICIENT_SCOPE"),
    (Limit, "RATE_LIMITED"),
    (Quota, "QUOTA_EXCEEDED"),
];

/// The code of a call that has these two flaws. Limits are counted together: of several that deny, the one that makes the caller
/// wait longest is named, and that is the month.
fn code_of(flaws: [Flaw; 2], first: &'static str) -> &'static str {
    if flaws == [Limit, Quota] { "QUOTA_EXCEEDED" } else { first }
}

/// Who asks: somebody of the key's workspace, and somebody of another one.
struct Askers<'a> {
    user: User<'a>,
    own: ServiceKey<'a>,
    foreign: ServiceKey<'a>,
}

impl Askers<'_> {
    /// A key that has these flaws, as far as they are the key's.
    async fn key(&self, flaws: &[Flaw]) -> Key<'_> {
        let consumer = self.user.consumer(json!({ "name": "a" })).await;
        let mut limits = Vec::new();
        if flaws.contains(&Limit) {
            limits.push(json!({ "name": "minute", "limit": 1, "window_seconds": 60 }));
        }
        if flaws.contains(&Quota) {
            let calendar = json!({ "period": "month" });
            limits
                .push(json!({ "name": "month", "limit": 1, "algorithm": "calendar", "calendar": calendar }));
        }
        let key = self.user.key().with("limits", json!(limits)).with("scopes", json!(["a.*"]));
        let key = key.with("consumer_id", consumer["id"].clone());
        let key = key.with("allowed_ips", json!(["203.0.113.0/24"])).create().await;
        if !limits.is_empty() {
            assert_eq!(self.ask(&key, &[]).await["code"], "VALID");
        }
        for (flaw, change) in [
            (Disabled, json!({ "enabled": false })),
            (NotBegun, json!({ "not_before": "2026-01-01T01:00:00Z" })),
            (Expired, json!({ "expires_at": "2025-12-31T23:59:59Z" })),
        ] {
            // A key that has not begun cannot have ended: the one that begins later ends later, and time is not moved.
            if flaws.contains(&flaw) && !(flaw == Expired && flaws.contains(&NotBegun)) {
                self.user.patch(&key.path(), &change).await.json(200);
            }
        }
        if flaws.contains(&ConsumerDisabled) {
            let path = format!("/v1/consumers/{}", consumer["id"].as_str().expect("an id"));
            self.user.patch(&path, &json!({ "enabled": false })).await.json(200);
        }
        if flaws.contains(&Revoked) {
            self.user.delete(&key.path()).await.held();
        }
        key
    }

    /// The verdict on a call that has these flaws, as far as they are the call's; alike through both doors.
    async fn ask(&self, key: &Key<'_>, flaws: &[Flaw]) -> Value {
        let has = |flaw| flaws.contains(&flaw);
        let text = if has(Malformed) { format!("{}0", key.key) } else { key.key.clone() };
        let asker = if has(Foreign) { &self.foreign } else { &self.own };
        let ip = if has(Network) { "198.51.100.1" } else { "203.0.113.9" };
        let environment = if has(Environment) { "test" } else { "live" };
        let scope = if has(Scope) { "b.read" } else { "a.read" };
        let body = json!({
            "key": text, "client_ip": ip, "environment": environment, "scopes": [scope], "scope_expression": scope,
        });
        asker.post("/v1/keys/verify", &body).await.json(200)
    }
}

fn message(key: &Key<'_>, flaws: &[Flaw]) -> VerifyKeyRequest {
    let has = |flaw| flaws.contains(&flaw);
    let environment = if has(Environment) { Environment::Test } else { Environment::Live };
    VerifyKeyRequest {
        key: if has(Malformed) { format!("{}0", key.key) } else { key.key.clone() },
        client_ip: if has(Network) { "198.51.100.1" } else { "203.0.113.9" }.to_owned(),
        environment: environment.into(),
        scope_expression: if has(Scope) { "b.read and a.read" } else { "b.read or a.read" }.to_owned(),
        ..VerifyKeyRequest::default()
    }
}

#[tokio::test]
async fn of_two_reasons_the_first_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let own = user.service_key(&["keys.verify"]).await;
    let foreign = app.user().await.service_key(&["keys.verify"]).await;
    let askers = Askers { user, own, foreign };
    let mut gate = app.gate().await;
    let mut pairs = 0;
    for (place, (first, code)) in FLAWS.into_iter().enumerate() {
        for (second, _) in FLAWS.into_iter().skip(place) {
            let flaws = [first, second];
            let code = code_of(flaws, code);
            let key = askers.key(&flaws).await;
            let said = askers.ask(&key, &flaws).await;
            assert_eq!(said["code"], code, "HTTP: {flaws:?}");
            let asker = if flaws.contains(&Foreign) { &askers.foreign } else { &askers.own };
            let answer = gate.verify_key(asker.asks(message(&key, &flaws))).await.expect("a verdict");
            let said = answer.into_inner().verdict.expect("a verdict");
            assert_eq!(said.code().as_str_name(), format!("CODE_{code}"), "gRPC: {flaws:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 78);
    app.finish().await;
}
