//! The `Idempotency-Key` of whatever can be made.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use crate::{actors::User, app::TestApp, docs::operations, http::Answer};

/// What has no `Idempotency-Key`, and why.
const WITHOUT: [&str; 1] = [
    // Nobody has signed up yet to whom it could belong. The e-mail address is made once as it is.
    "/v1/auth/signup",
];

/// A route that makes something.
struct Making {
    path: &'static str,
    /// Of its path.
    id: String,
    body: Value,
    /// Of another request.
    other: Value,
    /// Where what it makes is listed.
    list: &'static str,
    /// What is shown once. Empty: nothing is.
    shown: &'static str,
}

async fn all_that_can_be_made(user: &User<'_>) -> Vec<Making> {
    let key = user.key().create().await.id;
    let consumer = user.consumer(json!({ "name": "metered" })).await["id"].as_str().unwrap().to_owned();
    for owner in [format!("/v1/keys/{key}"), format!("/v1/consumers/{consumer}")] {
        let put = user.app.call(Method::PUT, &format!("{owner}/credits")).json(&json!({}));
        put.bearer(&user.tokens.access).await.json(200);
    }
    let named = |path: &'static str, shown: &'static str| Making {
        path,
        id: String::new(),
        body: json!({ "name": "one" }),
        other: json!({ "name": "two" }),
        list: path,
        shown,
    };
    let service_key =
        |name: &str| json!({ "name": name, "permissions": ["keys.read"], "expires_in_days": 3 });
    let webhook =
        |path: &str| json!({ "url": format!("https://example.com/{path}"), "events": ["key.created"] });
    let invitation = |role: &str| json!({ "email": "ann@example.com", "role": role });
    let limit =
        |limit: u32| json!({ "name": "minute", "limit": limit, "expires_at": "2026-01-01T01:00:00Z" });
    let grant = |path: &'static str, list: &'static str, id: &str| Making {
        path,
        id: id.to_owned(),
        body: json!({ "amount": 1 }),
        other: json!({ "amount": 2 }),
        list,
        shown: "",
    };
    vec![
        named("/v1/keys", "key"),
        named("/v1/plans", ""),
        named("/v1/consumers", ""),
        named("/v1/roles", ""),
        named("/v1/workspaces", ""),
        Making { body: service_key("one"), other: service_key("two"), ..named("/v1/service-keys", "key") },
        Making { body: webhook("one"), other: webhook("two"), ..named("/v1/webhooks", "secret") },
        Making {
            id: user.workspace_id.clone(),
            body: invitation("member"),
            other: invitation("admin"),
            ..named("/v1/workspaces/{id}/invitations", "token")
        },
        Making { id: key.clone(), body: limit(9), other: limit(8), ..named("/v1/keys/{id}/overrides", "") },
        grant("/v1/keys/{id}/credits/grants", "/v1/keys/{id}/credits/ledger", &key),
        grant("/v1/consumers/{id}/credits/grants", "/v1/consumers/{id}/credits/ledger", &consumer),
    ]
}

impl Making {
    /// How many there are. (What is lent of credits is listed with what is granted.)
    async fn count(&self, user: &User<'_>) -> usize {
        let listed = user.get(&self.list.replace("{id}", &self.id)).await.json(200);
        let all = listed["data"].as_array().unwrap().iter();
        all.filter(|it| it["kind"].is_null() || it["kind"] == "grant").count()
    }

    async fn ask(&self, user: &User<'_>, body: &Value) -> Answer {
        // Each its own: that of one kind is not that of another.
        user.post(&self.path.replace("{id}", &self.id), body).header("idempotency-key", self.path).await
    }
}

#[tokio::test]
async fn whatever_is_made_is_made_once() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let all = all_that_can_be_made(&user).await;
    let document = app.get("/openapi.json").await.json(200);
    let mut documented = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        if operation["responses"]["201"].is_null() {
            continue;
        }
        assert_eq!(method, "post", "{path}");
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        let takes = parameters.any(|it| it["name"] == "Idempotency-Key" && it["in"] == "header");
        assert_eq!(takes, !WITHOUT.contains(&path), "{path}");
        documented.insert(path);
    }
    let tried: BTreeSet<_> = all.iter().map(|it| it.path).chain(WITHOUT).collect();
    assert_eq!(documented, tried, "what answers 201 is tried below");

    for it in &all {
        let before = it.count(&user).await;
        let made = it.ask(&user, &it.body).await;
        let mut first = made.json(201);
        if !it.shown.is_empty() {
            let shown = first.as_object_mut().unwrap().remove(it.shown).expect("it is shown once");
            app.secret(it.path, shown.as_str().unwrap());
        }
        app.advance(1);
        let again = it.ask(&user, &it.body).await;
        assert_eq!(again.json(201), first, "{}", it.path);
        assert_eq!(again.header("location"), made.header("location"), "{}", it.path);
        it.ask(&user, &it.other).await.problem(409, "CONFLICT");
        assert_eq!(it.count(&user).await, before + 1, "{}", it.path);
        let path = it.path.replace("{id}", &it.id);
        for wrong in [&["a b"][..], &[""], &["a", "b"]] {
            let call = user.post(&path, &it.body);
            let call = wrong.iter().fold(call, |call, value| call.header("idempotency-key", value));
            call.await.problem(400, "BAD_REQUEST");
        }
        assert_eq!(it.count(&user).await, before + 1, "{}", it.path);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_grant_has_one_name() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let path = user.key().create().await.path();
    let put = app.call(Method::PUT, &format!("{path}/credits")).json(&json!({}));
    put.bearer(&user.tokens.access).await.json(200);
    let path = format!("{path}/credits/grants");
    let grant = |body: Value| user.post(&path, &body);
    grant(json!({ "amount": 1 })).await.violates(422, &["/request_id"]);
    let both = json!({ "amount": 1, "request_id": "a" });
    grant(both.clone()).header("idempotency-key", "b").await.violates(422, &["/request_id"]);
    let first = grant(both.clone()).await.json(201);
    assert_eq!(grant(both).header("idempotency-key", "a").await.json(201), first);
    assert_eq!(grant(json!({ "amount": 1 })).header("idempotency-key", "a").await.json(201), first);
    grant(json!({ "amount": 2 })).header("idempotency-key", "a").await.problem(409, "CONFLICT");
    grant(json!({ "amount": 2 })).header("idempotency-key", "a:b").await.violates(422, &["/request_id"]);
    app.finish().await;
}

#[tokio::test]
async fn an_override_too() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let path = format!("{}/overrides", user.key().create().await.path());
    let once = async |limit: u32| {
        let body = json!({ "name": "minute", "limit": limit, "expires_at": "2026-01-01T01:00:00Z" });
        user.post(&path, &body).header("idempotency-key", "once").await
    };
    let first = once(9).await.json(201);
    assert_eq!(user.delete(&format!("{path}/minute")).await.status, 204);
    assert_eq!(once(9).await.json(201), first);
    assert_eq!(user.get(&path).await.json(200)["data"], json!([]), "it does not come back");
    once(8).await.problem(409, "CONFLICT");
    app.finish().await;
}
