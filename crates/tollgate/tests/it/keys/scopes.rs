//! What a key's scopes grant, and who may give them.

use serde_json::{Value, json};
use tollgate_proto::gate::{Code, VerifyKeyRequest};

use crate::app::TestApp;

#[tokio::test]
async fn wildcards_grant_and_expressions_require() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let key = user.key().with("scopes", json!(["orders.*", "audit"])).create().await;
    for (scopes, expression, code) in [
        (json!([]), None, "VALID"),
        (json!(["orders.read", "orders.items.read", "audit"]), None, "VALID"),
        (json!(["orders"]), None, "INSUFFICIENT_SCOPE"),
        (json!(["audit.read"]), None, "INSUFFICIENT_SCOPE"),
        (json!([]), Some("orders.read and (admin or audit)"), "VALID"),
        (json!([]), Some("orders.read and admin or audit"), "VALID"),
        (json!([]), Some("orders.read and admin"), "INSUFFICIENT_SCOPE"),
        (json!(["admin"]), Some("audit"), "INSUFFICIENT_SCOPE"),
    ] {
        let mut body = json!({ "key": key.key, "scopes": scopes });
        if let Some(expression) = expression {
            body["scope_expression"] = json!(expression);
        }
        let said = user.post("/v1/keys/verify", &body).await.json(200);
        assert_eq!(said["code"], code, "{body}");
        let scopes = scopes.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect();
        let scope_expression = expression.unwrap_or_default().to_owned();
        let request = VerifyKeyRequest {
            key: key.key.clone(),
            scopes,
            scope_expression,
            ..VerifyKeyRequest::default()
        };
        let answer = app.gate().await.verify_key(service.asks(request)).await.expect("a verdict");
        let said = answer.into_inner().verdict.expect("a verdict");
        assert_eq!(said.code().as_str_name(), format!("CODE_{code}"), "{body}");
        assert_eq!(said.valid, said.code() == Code::Valid);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_requirement_that_is_none_is_named_with_its_place() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().with("scopes", json!(["*"])).create().await;
    let ask = async |field: &str, value: Value| {
        user.post("/v1/keys/verify", &json!({ "key": key.key, field: value })).await
    };
    ask("scopes", json!(["a", "orders.*"])).await.violates(422, &["/scopes/1"]);
    for (expression, place) in [("a and", "6"), ("a.* and b", "3"), ("(a", "3"), ("a b", "3")] {
        let refused = ask("scope_expression", json!(expression)).await.problem(422, "INVALID_ARGUMENT");
        assert_eq!(refused["errors"][0]["pointer"], "/scope_expression");
        let detail = refused["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("at character {place}: ")), "{expression}: {detail}");
    }
    ask("scope_expression", json!("")).await.violates(422, &["/scope_expression"]);
    assert_eq!(user.usage(&key).await["total"], 0, "what is no question is not counted");
    app.finish().await;
}

#[tokio::test]
async fn a_machine_gives_no_more_than_it_was_given_to_give() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let more = json!({ "name": "a", "permissions": ["keys.write"], "scopes": ["orders.*"] });
    let made = user.post("/v1/service-keys", &more).await.json(201);
    app.secret("a service key", made["key"].as_str().unwrap());
    assert_eq!(made["scopes"], json!(["orders.*"]));
    let machine = made["key"].as_str().unwrap();
    let plain = user.service_key(&["keys.write"]).await;
    let create = async |machine: &str, scopes: Value| {
        let answer =
            app.post("/v1/keys").bearer(machine).json(&json!({ "name": "a", "scopes": scopes })).await;
        if answer.status == 201 {
            app.secret("a key", answer.json(201)["key"].as_str().unwrap());
        }
        (answer.status.as_u16(), answer)
    };
    assert_eq!(create(machine, json!(["orders.read", "orders.items.*"])).await.0, 201);
    for scopes in [json!(["orders"]), json!(["*"]), json!(["orders.read", "users.read"])] {
        create(machine, scopes).await.1.problem(403, "FORBIDDEN");
    }
    assert_eq!(create(&plain.key, json!([])).await.0, 201);
    create(&plain.key, json!(["orders.read"])).await.1.problem(403, "FORBIDDEN");

    // Neither by a change, nor by taking somebody else's key over.
    let strong = user.key().with("scopes", json!(["*"])).create().await;
    plain.patch(&strong.path(), &json!({ "scopes": ["a"] })).await.json(200);
    plain.patch(&strong.path(), &json!({ "scopes": ["b"] })).await.problem(403, "FORBIDDEN");
    plain.post(&format!("{}/rotate", strong.path()), &json!({})).await.problem(403, "FORBIDDEN");
    plain.patch(&strong.path(), &json!({ "name": "renamed" })).await.json(200);
    app.finish().await;
}
