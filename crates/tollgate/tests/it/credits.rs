//! `/v1/keys/{id}/credits`, `/v1/consumers/{id}/credits`, and what calls spend.

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_proto::gate::{Code, RefundCallRequest, SettleCallRequest, VerifyKeyRequest};

use crate::{
    actors::{Key, ServiceKey, User},
    app::TestApp,
    http::Call,
};

/// A thousand at once take a busy machine their time.
const PATIENT: [(&str, &str); 2] =
    [("TOLLGATE__EDGE__REQUEST_TIMEOUT_MS", "300000"), ("TOLLGATE__GRPC__TIMEOUT_MS", "300000")];

fn put(app: &TestApp, user: &User<'_>, path: &str, body: &Value) -> Call {
    app.call(Method::PUT, path).bearer(&user.tokens.access).json(body)
}

/// A key with so many credits, and no limit but those of its plan.
async fn key_with<'a>(app: &'a TestApp, user: &User<'a>, credits: u64) -> Key<'a> {
    let plan = json!({ "name": "metered" });
    let plan = user.post("/v1/plans", &plan).await.json(201)["id"].clone();
    let key = user.key().with("plan_id", plan).create().await;
    put(app, user, &format!("{}/credits", key.path()), &json!({})).await.json(200);
    if credits > 0 {
        grant(user, &key, credits, "first").await;
    }
    key
}

async fn grant(user: &User<'_>, key: &Key<'_>, amount: u64, request_id: &str) -> Value {
    let body = json!({ "amount": amount, "request_id": request_id });
    user.post(&format!("{}/credits/grants", key.path()), &body).await.json(201)
}

async fn available(user: &User<'_>, key: &Key<'_>) -> Value {
    user.get(&format!("{}/credits", key.path())).await.json(200)["available"].clone()
}

/// How many of a thousand questions at once, over sockets of their own, are answered with yes; the codes of the others.
async fn a_thousand(app: &TestApp, service: &ServiceKey<'_>, key: &Key<'_>) -> (usize, Vec<Value>) {
    let mut tasks = JoinSet::new();
    for _ in 0..1000 {
        let ask = app.post("/v1/keys/verify").bearer(&service.key).json(&json!({ "key": key.key }));
        tasks.spawn(async move { ask.await.json(200) });
    }
    let answers = tasks.join_all().await;
    let passed = answers.iter().filter(|it| it["valid"] == true).count();
    let mut codes: Vec<_> =
        answers.iter().filter(|it| it["valid"] != true).map(|it| it["code"].clone()).collect();
    codes.dedup();
    (passed, codes)
}

/// The same over gRPC.
async fn a_thousand_by_grpc(app: &TestApp, service: &ServiceKey<'_>, key: &Key<'_>) -> (usize, Vec<Code>) {
    let gates = [app.gate().await, app.gate().await, app.gate().await, app.gate().await];
    let mut tasks = JoinSet::new();
    for number in 0..1000 {
        let mut gate = gates[number % gates.len()].clone();
        let request = service.asks(VerifyKeyRequest { key: key.key.clone(), ..Default::default() });
        tasks.spawn(async move {
            gate.verify_key(request).await.expect("a verdict").into_inner().verdict.expect("a verdict")
        });
    }
    let answers = tasks.join_all().await;
    let passed = answers.iter().filter(|it| it.valid).count();
    let mut codes: Vec<_> =
        answers.iter().filter(|it| !it.valid).map(tollgate_proto::gate::Verdict::code).collect();
    codes.dedup();
    (passed, codes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_verifies_at_once_share_one_credit() {
    let app = TestApp::with(&PATIENT).await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let key = key_with(&app, &user, 1).await;
    assert_eq!(a_thousand(&app, &service, &key).await, (1, vec![json!("QUOTA_EXCEEDED")]));
    grant(&user, &key, 1, "second").await;
    assert_eq!(a_thousand_by_grpc(&app, &service, &key).await, (1, vec![Code::QuotaExceeded]));
    assert_eq!(available(&user, &key).await, 0);
    let usage = user.usage(&key).await;
    assert_eq!(usage["total"], 2000, "each call is counted once, whatever was asked for it");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_verifies_at_once_share_a_limit_of_ten() {
    let app = TestApp::with(&PATIENT).await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let key = key_with(&app, &user, 5000).await;
    let limits = json!({ "limits": [{ "name": "ten", "limit": 10, "window_seconds": 60 }] });
    user.patch(&key.path(), &limits).await.changed();
    assert_eq!(a_thousand(&app, &service, &key).await, (10, vec![json!("RATE_LIMITED")]));
    app.advance(60);
    let user = user.again().await;
    assert_eq!(a_thousand_by_grpc(&app, &service, &key).await, (10, vec![Code::RateLimited]));
    assert_eq!(available(&user, &key).await, 4980, "what the limit denied has spent nothing");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_blocks_are_spent_to_the_last_credit() {
    let [http, grpc] = PATIENT;
    let app = TestApp::with(&[http, grpc, ("TOLLGATE__KEYS__CREDIT_BLOCK_MIN", "50")]).await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let key = key_with(&app, &user, 300).await;
    assert_eq!(a_thousand(&app, &service, &key).await, (300, vec![json!("QUOTA_EXCEEDED")]));
    assert_eq!(available(&user, &key).await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_verdict_says_what_is_left_and_what_is_lacking() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = key_with(&app, &user, 3).await;
    let verify = |cost| user.post("/v1/keys/verify", &json!({ "key": key.key, "cost": cost }));
    let said = verify(2).await.json(200);
    assert_eq!((&said["code"], &said["credits"]), (&json!("VALID"), &json!({ "remaining": 1 })));
    let denied = verify(2).await.json(200);
    assert_eq!((&denied["code"], &denied["denied_by"]), (&json!("QUOTA_EXCEEDED"), &json!("credits")));
    assert_eq!((&denied["credits"]["remaining"], &denied["retry_after_ms"]), (&json!(1), &Value::Null));
    let dry = json!({ "key": key.key, "dry_run": true });
    assert_eq!(user.post("/v1/keys/verify", &dry).await.json(200)["valid"], true);

    let passed = key.whoami().await;
    passed.json(200);
    assert_eq!(passed.header("x-tollgate-credits-remaining"), Some("0"));
    let refused = key.whoami().await;
    let problem = refused.problem(429, "QUOTA_EXCEEDED");
    assert_eq!(
        (refused.header("x-tollgate-credits-remaining"), refused.header("retry-after")),
        (Some("0"), None)
    );
    assert_eq!(problem["violated-policies"], json!(["credits"]));

    grant(&user, &key, 1, "at once").await;
    key.whoami().await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn a_refill_says_when_to_come_back() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = key_with(&app, &user, 0).await;
    let path = format!("{}/credits", key.path());
    let refill = json!({ "amount": 2, "period": "day", "time_zone": "Asia/Kolkata" });
    let made = put(&app, &user, &path, &json!({ "refill": refill })).await.changed();
    assert_eq!(made["available"], 2, "{made}");
    assert_eq!(
        made["refill"],
        json!({ "mode": "raise", "amount": 2, "period": "day", "time_zone": "Asia/Kolkata" })
    );
    for _ in 0..2 {
        assert_eq!(user.verify(&key.key).await["code"], "VALID");
    }
    let denied = user.verify(&key.key).await;
    let wait = denied["retry_after_ms"].as_u64().expect("a refill is due");
    assert!(wait > 0 && wait <= 86_400_000, "{wait}");
    app.clock.advance(std::time::Duration::from_millis(wait));
    let user = user.again().await;
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    app.finish().await;
}

#[tokio::test]
async fn a_retried_request_is_charged_once_and_a_reserved_one_what_it_cost() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let key = key_with(&app, &user, 100).await;
    let body = json!({ "key": key.key, "cost": 10, "request_id": "a" });
    for _ in 0..3 {
        assert_eq!(service.post("/v1/keys/verify", &body).await.json(200)["credits"]["remaining"], 90);
    }
    let reserve = async |id: &str| {
        let body = json!({ "key": key.key, "cost": 30, "request_id": id, "reserve": true });
        assert_eq!(service.post("/v1/keys/verify", &body).await.json(200)["valid"], true);
    };
    reserve("b").await;
    reserve("c").await;
    assert_eq!(available(&user, &key).await, 30);
    let settle =
        |id: &str, cost: u64| service.post("/v1/credits/settle", &json!({ "request_id": id, "cost": cost }));
    settle("b", 31).await.violates(422, &["/cost"]);
    for _ in 0..2 {
        assert_eq!(settle("b", 5).await.status, 204);
    }
    settle("b", 6).await.problem(409, "CONFLICT");
    settle("unknown", 1).await.problem(404, "NOT_FOUND");
    let mut gate = app.gate().await;
    let refund = || RefundCallRequest { request_id: "c".into(), ..Default::default() };
    for _ in 0..2 {
        gate.refund_call(service.asks(refund())).await.expect("refunded");
    }
    let late = SettleCallRequest { request_id: "c".into(), cost: 1, ..Default::default() };
    let late = gate.settle_call(service.asks(late)).await.expect_err("it was refunded");
    assert_eq!(late.code(), tonic::Code::AlreadyExists);
    assert_eq!(available(&user, &key).await, 85);
    let by_user = json!({ "request_id": "b", "cost": 5, "workspace_id": user.workspace_id });
    assert_eq!(user.post("/v1/credits/settle", &by_user).await.status, 204);
    let nowhere = json!({ "request_id": "b", "cost": 5 });
    user.post("/v1/credits/settle", &nowhere).await.violates(422, &["/workspace_id"]);

    let stranger = app.user().await;
    let theirs = stranger.service_key(&["keys.verify", "keys.write"]).await;
    theirs.post("/v1/credits/settle", &by_user).await.problem(404, "NOT_FOUND");
    stranger
        .post("/v1/credits/refund", &json!({ "request_id": "a", "workspace_id": user.workspace_id }))
        .await
        .problem(404, "NOT_FOUND");
    let reader = user.service_key(&["keys.read"]).await;
    reader.post("/v1/credits/refund", &json!({ "request_id": "a" })).await.problem(403, "FORBIDDEN");
    app.finish().await;
}

#[tokio::test]
async fn keys_of_a_consumer_spend_its_credits() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let consumer = user.consumer(json!({ "name": "a shop" })).await["id"].as_str().unwrap().to_owned();
    let (one, two) = (
        user.key().with("consumer_id", json!(consumer)).create().await,
        user.key().with("consumer_id", json!(consumer)).create().await,
    );
    assert_eq!(user.verify(&one.key).await["credits"], Value::Null, "nothing is metered yet");
    let path = format!("/v1/consumers/{consumer}/credits");
    user.get(&path).await.problem(404, "NOT_FOUND");
    put(&app, &user, &path, &json!({})).await.changed();
    assert_eq!(user.verify(&one.key).await["denied_by"], "credits", "it holds when it returns");
    let body = json!({ "amount": 3, "request_id": "invoice-1" });
    let granted = user.post(&format!("{path}/grants"), &body).await.json(201);
    assert_eq!(user.post(&format!("{path}/grants"), &body).await.json(201), granted);
    for key in [&one, &two, &one] {
        assert_eq!(user.verify(&key.key).await["code"], "VALID");
    }
    assert_eq!(user.verify(&two.key).await["code"], "QUOTA_EXCEEDED");
    let ledger = user.get(&format!("{path}/ledger?limit=1")).await.json(200);
    assert_eq!(ledger["data"][0]["kind"], "block");
    let next = ledger["next_cursor"].as_str().expect("there is more");
    let rest = user.get(&format!("{path}/ledger?limit=1&cursor={next}")).await.json(200);
    assert_eq!(rest["data"], json!([granted]));
    user.delete(&path).await.held();
    assert_eq!(user.verify(&two.key).await["code"], "VALID", "nothing is metered any more");
    user.get(&format!("{path}/ledger")).await.problem(404, "NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = key_with(&app, &user, 0).await;
    let path = format!("{}/credits", key.path());
    for (refill, pointer) in [
        (json!({ "amount": 0, "period": "day" }), "/refill/amount"),
        (json!({ "amount": 1, "period": "year" }), "/refill/period"),
        (json!({ "amount": 1, "period": "day", "mode": "double" }), "/refill/mode"),
        (json!({ "amount": 1, "period": "day", "time_zone": "Nowhere" }), "/refill/time_zone"),
        (json!({ "amount": 1, "period": "day", "cap": 1 }), "/refill/cap"),
        (json!({ "amount": 1, "period": "day", "more": 1 }), "/refill/more"),
    ] {
        put(&app, &user, &path, &json!({ "refill": refill })).await.violates(422, &[pointer]);
    }
    for (body, pointer) in [
        (json!({ "amount": 0, "request_id": "a" }), "/amount"),
        (json!({ "amount": -1, "request_id": "a" }), "/amount"),
        (json!({ "amount": 1, "request_id": "return:1" }), "/request_id"),
    ] {
        user.post(&format!("{path}/grants"), &body).await.violates(422, &[pointer]);
    }
    let verify = |more: Value| {
        let mut body = json!({ "key": key.key });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        user.post("/v1/keys/verify", &body)
    };
    verify(json!({ "reserve": true })).await.violates(422, &["/request_id"]);
    verify(json!({ "hold_seconds": 5 })).await.violates(422, &["/hold_seconds"]);
    app.finish().await;
}

#[tokio::test]
async fn a_disabled_workspace_spends_no_credits_and_shows_them() {
    let app = TestApp::new().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let key = key_with(&app, &user, 10).await;
    let empty = user.key().create().await;
    put(&app, &user, &format!("{}/credits", empty.path()), &json!({})).await.json(200);
    key.whoami().await.json(200);
    let workspace = format!("/v1/workspaces/{}", user.workspace_id);
    operator.patch(&workspace, &json!({ "enabled": false })).await.json(200);
    for key in [&key, &empty] {
        let verdict = user.verify(&key.key).await;
        // Refused for the workspace, whatever there is to spend.
        assert_eq!((&verdict["code"], verdict.get("credits")), (&json!("DISABLED"), None));
        key.whoami().await.problem(401, "UNAUTHENTICATED");
    }
    assert_eq!(available(&user, &key).await, 9);
    let ledger = user.get(&format!("{}/credits/ledger", key.path())).await.json(200);
    assert_eq!(ledger["data"].as_array().unwrap().last().unwrap()["request_id"], "first");
    let path = format!("{}/credits", key.path());
    let more = json!({ "amount": 5, "request_id": "second" });
    user.post(&format!("{path}/grants"), &more).await.problem(403, "FORBIDDEN");
    put(&app, &user, &path, &json!({})).await.problem(403, "FORBIDDEN");
    user.delete(&path).await.problem(403, "FORBIDDEN");
    assert_eq!(available(&user, &key).await, 9);
    operator.patch(&workspace, &json!({ "enabled": true })).await.json(200);
    assert_eq!(user.verify(&key.key).await["credits"]["remaining"], 8);
    assert_eq!(user.verify(&empty.key).await["denied_by"], "credits");
    app.finish().await;
}
