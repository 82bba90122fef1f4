//! Every route of the OpenAPI document, as nobody and as a stranger.

use http::Method;
use serde_json::{Value, json};

use crate::{app::TestApp, docs::operations};

/// Routes that anybody may call. A new route that is not here must ask who calls.
const PUBLIC: [&str; 11] = [
    "/v1/auth/signup",
    "/v1/auth/login",
    "/v1/auth/refresh",
    "/v1/auth/logout",
    "/v1/auth/logout-all",
    "/.well-known/jwks.json",
    "/openapi.json",
    "/docs",
    "/livez",
    "/readyz",
    // Signed by GitHub.
    "/v1/secret-scanning/github",
];

/// Where something is made, or ended, in a workspace that the body may name.
const IN_A_WORKSPACE: [&str; 8] = [
    "/v1/keys",
    "/v1/keys/import",
    "/v1/keys/revoke",
    "/v1/service-keys",
    "/v1/consumers",
    "/v1/plans",
    "/v1/roles",
    "/v1/webhooks",
];

/// A body that parses, so that it is the caller that is refused and not the body.
fn body(path: &str) -> Value {
    match path {
        "/v1/service-keys" => json!({ "name": "a", "permissions": ["keys.verify"] }),
        "/v1/keys" | "/v1/consumers" | "/v1/plans" | "/v1/roles" | "/v1/workspaces" => json!({ "name": "a" }),
        "/v1/keys/{id}/rotation" => json!({ "every_days": 30 }),
        "/v1/keys/{id}/overrides" => {
            json!({ "name": "minute", "limit": 1, "expires_at": "2026-01-02T00:00:00Z" })
        }
        "/v1/webhooks" => json!({ "url": "https://example.com/", "events": ["key.created"] }),
        "/v1/keys/revoke" => json!({ "all": true, "dry_run": false }),
        "/v1/keys/import" => json!({ "rows": [{ "hash": "0".repeat(64), "name": "a" }] }),
        "/v1/keys/verify" => json!({ "key": "tg_live_x" }),
        "/v1/workspaces/{id}/members/{user_id}" => json!({ "role": "member" }),
        "/v1/workspaces/{id}/invitations" => json!({ "email": "a@example.com", "role": "member" }),
        "/v1/invitations/accept" => json!({ "token": "tg_inv_x" }),
        "/v1/keys/{id}/credits/grants" | "/v1/consumers/{id}/credits/grants" => {
            json!({ "amount": 1, "request_id": "a" })
        }
        "/v1/credits/settle" => json!({ "request_id": "a", "cost": 1 }),
        "/v1/credits/refund" => json!({ "request_id": "a" }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn nobody_gets_in_where_a_credential_is_needed() {
    let app = TestApp::new().await;
    let document = app.get("/openapi.json").await.json(200);
    let mut asked = 0;
    for (path, method, operation) in operations(&document) {
        let concrete = path.replace("{id}", "key_00000000000000000000000001").replace("{name}", "minute");
        let concrete = concrete.replace("{secret_id}", "sec_00000000000000000000000001");
        let concrete = concrete.replace("{user_id}", "usr_00000000000000000000000001");
        let concrete = concrete.replace("{invitation_id}", "inv_00000000000000000000000001");
        let concrete = concrete.replace("{delivery_id}", "dlv_00000000000000000000000001");
        let verb: Method = method.to_uppercase().parse().unwrap();
        if PUBLIC.contains(&path) {
            continue;
        }
        let needs = operation["security"]
            .as_array()
            .is_some_and(|needs| !needs.contains(&json!({})) && !needs.is_empty());
        assert!(needs, "{method} {path} does not say that it needs a credential");
        for credential in [None, Some("tg_live_nonsense"), Some("a.b.c")] {
            let mut call = app.call(verb.clone(), &concrete).json(&body(path));
            if let Some(credential) = credential {
                call = call.bearer(credential);
            }
            let answer = call.await;
            assert_eq!(answer.status, 401, "{method} {path} {credential:?}: {}", answer.text());
            assert!(answer.header("www-authenticate").is_some(), "{method} {path}");
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
    app.finish().await;
}

#[tokio::test]
async fn a_stranger_gets_at_nothing_that_is_somebody_s() {
    let app = TestApp::new().await;
    let (owner, stranger) = (app.user().await, app.user().await);
    let (key, service) = (owner.key().create().await, owner.service_key(&["keys.verify"]).await);
    let made = async |path: &str| {
        let made = owner.post(path, &body(path)).await.json(201);
        made["id"].as_str().unwrap().to_owned()
    };
    let consumer = made("/v1/consumers").await;
    let (plan, role) = (made("/v1/plans").await, made("/v1/roles").await);
    let webhook = made("/v1/webhooks").await;
    let theirs = stranger.service_key(&["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
    let document = app.get("/openapi.json").await.json(200);
    let mut asked = 0;
    for (path, method, operation) in operations(&document) {
        let verb: Method = method.to_uppercase().parse().unwrap();
        let workspace =
            operation["parameters"].as_array().into_iter().flatten().any(|it| it["name"] == "workspace_id");
        let concrete = if path.contains("{id}") {
            let id = match path.split('/').nth(2) {
                Some("service-keys") => &service.id,
                Some("consumers") => &consumer,
                Some("plans") => &plan,
                Some("roles") => &role,
                Some("webhooks") => &webhook,
                Some("workspaces") => &owner.workspace_id,
                _ => &key.id,
            };
            let path = path.replace("{secret_id}", "sec_00000000000000000000000001");
            let path = path.replace("{invitation_id}", "inv_00000000000000000000000001");
            let path = path.replace("{delivery_id}", "dlv_00000000000000000000000001");
            path.replace("{id}", id).replace("{name}", "minute").replace("{user_id}", &owner.id)
        } else if workspace {
            format!("{path}?workspace_id={}", owner.workspace_id)
        } else if operation["requestBody"].is_object() && IN_A_WORKSPACE.contains(&path) {
            path.to_owned()
        } else {
            continue;
        };
        let mut sent = body(path);
        if method == "post" && IN_A_WORKSPACE.contains(&path) {
            sent["workspace_id"] = json!(owner.workspace_id);
        }
        for credential in [&stranger.tokens.access, &theirs.key] {
            let answer = app.call(verb.clone(), &concrete).json(&sent).bearer(credential).await;
            let status = answer.status.as_u16();
            assert!([403, 404].contains(&status), "{method} {concrete}: {status} {}", answer.text());
            assert!(!answer.text().contains(&owner.email));
            asked += 1;
        }
    }
    assert!(asked >= 50, "{asked}");
    // Nothing of it had an effect.
    key.whoami().await.json(200);
    assert_eq!(service.verify(&key.key).await["code"], "VALID");
    assert_eq!(owner.get("/v1/keys").await.json(200)["data"].as_array().unwrap().len(), 1);
    assert_eq!(owner.get("/v1/service-keys").await.json(200)["data"].as_array().unwrap().len(), 1);
    for (path, id) in [("consumers", &consumer), ("plans", &plan), ("roles", &role)] {
        let seen = owner.get(&format!("/v1/{path}/{id}")).await.json(200);
        assert_eq!(seen["name"], "a", "{seen}");
    }
    app.finish().await;
}
