//! `POST /v1/keys/import` and `GET /v1/keys/export`

use serde_json::{Value, json};
use tollgate_proto::gate::VerifyKeyRequest;

use super::{foreign, sha256};
use crate::{
    actors::{ServiceKey, User},
    app::TestApp,
    webhooks::{Receiver, SETTINGS},
};

const IMPORT: &str = "/v1/keys/import";
const MD5: &str = "4032af8d61035123906e58e067140cc5";

/// What became of each row: its outcome, and where something is wrong with it.
fn outcomes(report: &Value) -> Vec<(&str, Vec<&str>)> {
    let results = report["results"].as_array().expect("a list").iter().enumerate();
    let outcomes = results.map(|(place, result)| {
        assert_eq!(result["row"], place, "{result}");
        let errors = result["errors"].as_array().into_iter().flatten();
        (text(&result["outcome"]), errors.map(|it| text(&it["pointer"])).collect())
    });
    outcomes.collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn counts(report: &Value) -> [&Value; 3] {
    [&report["created"], &report["existing"], &report["invalid"]]
}

/// All keys, page by page, without when they were used: that becomes known some time after.
async fn exported(service: &ServiceKey<'_>, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = service.get(&format!("/v1/keys/export?limit={limit}{cursor}")).await.json(200);
        let data = page["data"].as_array().expect("a list");
        assert!(data.len() <= limit);
        all.extend(data.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    for it in &mut all {
        it.as_object_mut().expect("an object").remove("last_used_at");
    }
    all
}

/// Passes at every door as this key of that workspace.
async fn passes(app: &TestApp, service: &ServiceKey<'_>, key: &str, id: &Value) {
    for call in [app.get("/v1/whoami").api_key(key), app.get("/v1/whoami/key").bearer(key)] {
        assert_eq!(&call.await.json(200)["key_id"], id);
    }
    assert_eq!(app.get("/v1/gate").api_key(key).await.status, 200);
    assert_eq!(&service.verify(key).await["key_id"], id);
    let question = VerifyKeyRequest { key: key.to_owned(), ..Default::default() };
    let verdict = app.gate().await.verify_key(service.asks(question)).await.expect("a verdict").into_inner();
    assert_eq!(json!(verdict.verdict.expect("a verdict").key_id), *id);
}

#[tokio::test]
async fn what_comes_in_passes_at_every_door_and_goes_out_again() {
    let app = TestApp::with(&SETTINGS).await;
    let (user, mut receiver) = (app.user().await, Receiver::new().await);
    let hook = receiver.hook(&user, &["key.created"]).await;
    app.secret("the secret of a webhook", hook["secret"].as_str().unwrap());
    let service = user.service_key(&["keys.write", "keys.verify", "keys.export"]).await;
    user.consumer(json!({ "name": "Acme", "external_id": "acme" })).await;
    let key = foreign(11);
    app.secret("an imported key", &key);
    let theirs = json!({
        "hash": sha256(&key), "prefix": &key[..12], "name": "theirs", "description": "as it was", "consumer": "acme",
        "limits": [
            { "name": "minute", "limit": 100, "window_seconds": 60 },
            { "name": "burst", "limit": 100, "window_seconds": 60, "algorithm": "token_bucket" },
            { "name": "month", "limit": 100, "algorithm": "calendar", "calendar": { "period": "month" } },
        ],
        "metadata": { "customer": 4711 }, "created_at": "2025-03-01T00:00:00Z",
    });
    let rows = json!([
        theirs,
        { "hash": MD5, "name": "of a kind that cannot be" },
        { "hash": sha256("a key that nobody has"), "name": "of another plan", "plan": "none", "environment": "test" },
        { "hash": sha256(&key), "name": "the first once more" },
    ]);
    let said = [
        ("created", vec![]),
        ("invalid", vec!["/rows/1/hash"]),
        ("invalid", vec!["/rows/2/plan"]),
        ("exists", vec![]),
    ];

    let dry = service.post(IMPORT, &json!({ "rows": rows, "dry_run": true })).await.json(200);
    assert_eq!((outcomes(&dry), counts(&dry)), (said.to_vec(), [&json!(1), &json!(1), &json!(2)]));
    assert_eq!(dry["results"][0]["key_id"], Value::Null, "{dry}");
    assert_eq!(user.get("/v1/keys").await.json(200)["data"], json!([]));
    app.get("/v1/whoami").api_key(&key).await.problem(401, "UNAUTHENTICATED");

    let taken = service.post(IMPORT, &json!({ "rows": rows })).await.json(200);
    assert_eq!(outcomes(&taken), said);
    let id = &taken["results"][0]["key_id"];
    passes(&app, &service, &key, id).await;
    // The first that is told: of the dry run nothing was.
    assert_eq!(receiver.next().await.json()["data"]["key"]["id"], *id);
    let again = service.post(IMPORT, &json!({ "rows": rows })).await.json(200);
    assert_eq!(counts(&again), [&json!(0), &json!(2), &json!(2)]);

    // Keys are in the order of their making.
    app.advance(1);
    let ours = user.key().create().await;
    assert_eq!(
        receiver.next().await.json()["data"]["key"]["id"],
        ours.id,
        "what was there is not told again"
    );
    let pages = exported(&service, 1).await;
    assert_eq!(pages, exported(&service, 200).await);
    let [out, other] = &pages[..] else { panic!("two keys: {pages:?}") };
    for field in ["hash", "prefix", "name", "description", "consumer", "metadata", "created_at"] {
        assert_eq!(out[field], theirs[field], "{field}");
    }
    assert_eq!(
        (&out["algorithm"], &out["plan"], &out["enabled"]),
        (&json!("sha256"), &json!("basic"), &json!(true))
    );
    assert!(other["hash"].as_str().unwrap().starts_with("tollgate$"), "{other}");
    let text = json!(pages).to_string();
    assert!(!text.contains(&key) && !text.contains(&ours.key), "{text}");
    let events = user.get("/v1/audit-events?action=key.export").await.json(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 3, "each page: {events}");
    lives_on_elsewhere(&pages, &[&key, &ours.key]).await;
    app.finish().await;
}

/// In another instance, where it is as it was.
async fn lives_on_elsewhere(pages: &[Value], keys: &[&str]) {
    let there = TestApp::new().await;
    // Here it is as late: what comes in was not made in the future.
    there.advance(1);
    let other = there.user().await;
    let to = other.service_key(&["keys.write", "keys.verify", "keys.export"]).await;
    let moved = to.post(IMPORT, &json!({ "rows": pages, "create_consumers": true })).await.json(200);
    assert_eq!(counts(&moved), [&json!(2), &json!(0), &json!(0)], "{moved}");
    for (key, result) in keys.iter().zip(moved["results"].as_array().unwrap()) {
        there.secret("a key", key);
        passes(&there, &to, key, &result["key_id"]).await;
    }
    let (mut found, mut expected) = (exported(&to, 100).await, pages.to_vec());
    // Here both were made in one moment.
    for keys in [&mut found, &mut expected] {
        keys.sort_by_key(|it| text(&it["name"]).to_owned());
    }
    assert_eq!(found, expected);
    there.finish().await;
}

async fn import(user: &User<'_>, row: Value) -> Value {
    user.post(IMPORT, &json!({ "rows": [row] })).await.json(200)
}

#[tokio::test]
async fn what_cannot_be_read_brings_nothing_in() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let row = |number: usize| json!({ "hash": sha256(&foreign(number)), "name": "a" });
    let many: Vec<_> = (0..501).map(row).collect();
    for (body, pointers) in [
        (json!({ "rows": [] }), ["/rows"]),
        (json!({ "rows": many }), ["/rows"]),
        (json!({ "rows": [row(0), { "hash": "a" }] }), ["/rows/1/name"]),
        (json!({ "rows": [{ "name": "a" }] }), ["/rows/0/hash"]),
        (json!({ "rows": [{ "hash": 7, "name": "a" }] }), ["/rows/0/hash"]),
        (json!({ "rows": [{ "hash": "a", "name": "a", "key": "sk_live_x" }] }), ["/rows/0/key"]),
        (json!({ "rows": [{ "hash": "a", "name": "a", "environment": "prod" }] }), ["/rows/0/environment"]),
        (json!({ "rows": [{ "hash": "a", "name": "a", "limits": "[]" }] }), ["/rows/0/limits"]),
        (json!({ "rows": [{ "hash": "a", "name": "a", "created_at": "soon" }] }), ["/rows/0/created_at"]),
        (json!({ "rows": [row(0)], "workspace_id": "ws_1" }), ["/workspace_id"]),
        (json!({ "rows": [row(0)], "dry_run": "yes" }), ["/dry_run"]),
    ] {
        user.post(IMPORT, &body).await.violates(422, &pointers);
    }
    let padded = |length: usize| format!(r#"{{"rows":[]{}}}"#, " ".repeat(length - 11));
    let send = |body: String| {
        app.post(IMPORT).bearer(&user.tokens.access).header("content-type", "application/json").body(body)
    };
    send(padded(1024 * 1024)).await.violates(422, &["/rows"]);
    send(padded(1024 * 1024 + 1)).await.problem(413, "CONTENT_TOO_LARGE");
    for (query, pointer) in [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("cursor=nonsense", "/cursor"),
        ("workspace_id=ws_1", "/workspace_id"),
        ("page=2", "/page"),
    ] {
        user.get(&format!("/v1/keys/export?{query}")).await.violates(422, &[pointer]);
    }
    assert_eq!(user.get("/v1/keys").await.json(200)["data"], json!([]));
    // As many as may come at once.
    let all = user.post(IMPORT, &json!({ "rows": many[..500] })).await.json(200);
    assert_eq!(counts(&all), [&json!(500), &json!(0), &json!(0)]);
    app.finish().await;
}

#[tokio::test]
async fn nobody_brings_in_what_is_another_s_or_more_than_may_be() {
    let app = TestApp::new().await;
    let (user, other) = (app.user().await, app.user().await);
    let plan = other.post("/v1/plans", &json!({ "name": "theirs" })).await.json(201);
    other.post("/v1/roles", &json!({ "name": "theirs" })).await.json(201);
    other.consumer(json!({ "name": "Theirs", "external_id": "theirs" })).await;
    let taken = foreign(21);
    app.secret("an imported key", &taken);
    assert_eq!(counts(&import(&other, json!({ "hash": sha256(&taken), "name": "theirs" })).await)[0], 1);
    app.advance(1);
    let ours = other.key().create().await;
    let out = other.get("/v1/keys/export").await.json(200)["data"].clone();

    let new = sha256(&foreign(22));
    for (row, pointer) in [
        (json!({ "hash": new, "name": "a", "plan": "theirs" }), "/rows/0/plan"),
        (json!({ "hash": new, "name": "a", "plan": plan["id"] }), "/rows/0/plan"),
        (json!({ "hash": new, "name": "a", "roles": ["theirs"] }), "/rows/0/roles/0"),
        (json!({ "hash": new, "name": "a", "consumer": "theirs" }), "/rows/0/consumer"),
        (
            json!({ "hash": new, "name": "a", "limits": [{ "name": "a b", "limit": 1, "window_seconds": 1 }] }),
            "/rows/0/limits/0/name",
        ),
        (json!({ "hash": new, "name": "a", "retiring": [{ "hash": MD5 }] }), "/rows/0/retiring/0/hash"),
        (json!({ "hash": sha256(&taken), "name": "a" }), "/rows/0/hash"),
        (
            json!({ "hash": new, "name": "a", "retiring": [{ "hash": sha256(&taken) }] }),
            "/rows/0/retiring/0/hash",
        ),
        (out[1].clone(), "/rows/0/hash"),
    ] {
        let report = import(&user, row.clone()).await;
        assert_eq!(outcomes(&report), [("invalid", vec![pointer])], "{row}");
    }
    let machine = user.service_key(&["keys.write"]).await;
    let rows = json!([{ "hash": new, "name": "a", "scopes": ["orders.read"] }]);
    let report = machine.post(IMPORT, &json!({ "rows": rows })).await.json(200);
    assert_eq!(outcomes(&report), [("invalid", vec!["/rows/0/scopes"])], "no more than it may give");
    machine.get("/v1/keys/export").await.problem(403, "FORBIDDEN");
    let elsewhere = json!({ "rows": [{ "hash": new, "name": "a" }], "workspace_id": other.workspace_id });
    for stranger in [user.post(IMPORT, &elsewhere).await, machine.post(IMPORT, &elsewhere).await] {
        stranger.problem(404, "NOT_FOUND");
    }
    let export = format!("/v1/keys/export?workspace_id={}", other.workspace_id);
    user.get(&export).await.problem(404, "NOT_FOUND");

    assert_eq!(user.get("/v1/keys").await.json(200)["data"], json!([]));
    assert_eq!(other.get("/v1/keys").await.json(200)["data"].as_array().unwrap().len(), 2);
    for key in [&taken, &ours.key] {
        let passed = app.get("/v1/whoami/key").api_key(key).await.json(200);
        assert_eq!(passed["workspace_id"], json!(other.workspace_id));
    }
    app.finish().await;
}
