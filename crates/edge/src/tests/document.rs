//! The OpenAPI document is complete, and true of the router.

use std::collections::BTreeSet;

use axum::{body::Body, http::Method};
use serde_json::{Value, json};

use super::{TestEdge, request};
use crate::{Config, PerIp, docs::openapi, problem::MEDIA_TYPE};

const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

pub(super) fn document() -> Value {
    serde_json::to_value(openapi()).expect("JSON")
}

/// Path, method and operation of everything that is documented.
pub(super) fn operations(document: &Value) -> Vec<(&str, Method, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| {
            let operation = item.get(method)?;
            Some((path.as_str(), method.to_uppercase().parse().expect("a method"), operation))
        })
    });
    operations.collect()
}

fn is_public(operation: &Value) -> bool {
    operation["security"] == json!([{}])
}

pub(super) fn with_id(path: &str) -> String {
    let path = path.replace("{secret_id}", "sec_00000000000000000000000001").replace("{name}", "minute");
    let path = path.replace("{user_id}", "usr_00000000000000000000000001");
    let path = path.replace("{invitation_id}", "inv_00000000000000000000000001");
    let path = path.replace("{delivery_id}", "dlv_00000000000000000000000001");
    let path = path.replace("/webhooks/{id}", "/webhooks/whk_00000000000000000000000001");
    path.replace("{id}", "key_00000000000000000000000001")
}

#[test]
#[expect(clippy::too_many_lines, reason = "there are as many routes")]
fn the_routes_are_those_of_the_design() {
    let document = document();
    let all: Vec<_> =
        operations(&document).into_iter().map(|(path, method, _)| format!("{method} {path}")).collect();
    insta::assert_snapshot!(all.join("\n"), @r"
    GET /.well-known/jwks.json
    GET /docs
    GET /livez
    GET /openapi.json
    GET /readyz
    GET /v1/audit-events
    POST /v1/auth/login
    POST /v1/auth/logout
    POST /v1/auth/logout-all
    POST /v1/auth/refresh
    POST /v1/auth/signup
    GET /v1/consumers
    POST /v1/consumers
    GET /v1/consumers/{id}
    PATCH /v1/consumers/{id}
    DELETE /v1/consumers/{id}
    GET /v1/consumers/{id}/credits
    PUT /v1/consumers/{id}/credits
    DELETE /v1/consumers/{id}/credits
    POST /v1/consumers/{id}/credits/grants
    GET /v1/consumers/{id}/credits/ledger
    GET /v1/consumers/{id}/usage
    POST /v1/credits/refund
    POST /v1/credits/settle
    GET /v1/gate
    HEAD /v1/gate
    POST /v1/gate
    PUT /v1/gate
    PATCH /v1/gate
    DELETE /v1/gate
    OPTIONS /v1/gate
    POST /v1/invitations/accept
    GET /v1/keys
    POST /v1/keys
    GET /v1/keys/export
    POST /v1/keys/import
    POST /v1/keys/revoke
    POST /v1/keys/verify
    GET /v1/keys/{id}
    PATCH /v1/keys/{id}
    DELETE /v1/keys/{id}
    GET /v1/keys/{id}/credits
    PUT /v1/keys/{id}/credits
    DELETE /v1/keys/{id}/credits
    POST /v1/keys/{id}/credits/grants
    GET /v1/keys/{id}/credits/ledger
    GET /v1/keys/{id}/overrides
    POST /v1/keys/{id}/overrides
    DELETE /v1/keys/{id}/overrides/{name}
    POST /v1/keys/{id}/rotate
    GET /v1/keys/{id}/rotation
    PUT /v1/keys/{id}/rotation
    DELETE /v1/keys/{id}/rotation
    GET /v1/keys/{id}/secrets
    DELETE /v1/keys/{id}/secrets/{secret_id}
    GET /v1/keys/{id}/usage
    GET /v1/me
    GET /v1/plans
    POST /v1/plans
    GET /v1/plans/{id}
    PATCH /v1/plans/{id}
    DELETE /v1/plans/{id}
    GET /v1/roles
    POST /v1/roles
    GET /v1/roles/{id}
    PATCH /v1/roles/{id}
    DELETE /v1/roles/{id}
    POST /v1/secret-scanning/github
    GET /v1/service-keys
    POST /v1/service-keys
    DELETE /v1/service-keys/{id}
    GET /v1/usage
    GET /v1/webhooks
    POST /v1/webhooks
    GET /v1/webhooks/{id}
    PATCH /v1/webhooks/{id}
    DELETE /v1/webhooks/{id}
    GET /v1/webhooks/{id}/deliveries
    POST /v1/webhooks/{id}/deliveries/{delivery_id}/replay
    POST /v1/webhooks/{id}/rotate-secret
    POST /v1/webhooks/{id}/test
    GET /v1/whoami
    GET /v1/whoami/key
    GET /v1/whoami/user
    GET /v1/workspaces
    POST /v1/workspaces
    GET /v1/workspaces/{id}
    PATCH /v1/workspaces/{id}
    GET /v1/workspaces/{id}/invitations
    POST /v1/workspaces/{id}/invitations
    DELETE /v1/workspaces/{id}/invitations/{invitation_id}
    GET /v1/workspaces/{id}/members
    PATCH /v1/workspaces/{id}/members/{user_id}
    DELETE /v1/workspaces/{id}/members/{user_id}
    GET /v1/workspaces/{id}/policy
    PATCH /v1/workspaces/{id}/policy
    ");
}

#[test]
fn every_operation_is_described() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Tollgate");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["info"]["license"]["identifier"], "MIT OR Apache-2.0");
    let tags: BTreeSet<_> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .map(|it| &it["name"])
        .map(Value::to_string)
        .collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{at}: no operationId"));
        assert!(ids.insert(id.to_owned()), "{at}: {id} is there twice");
        assert!(operation["summary"].is_string(), "{at}: no summary");
        assert!(operation["security"].is_array(), "{at}: does not say who may call");
        let tag = operation["tags"][0].to_string();
        assert!(tags.contains(&tag), "{at}: the tag {tag} is not described");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{at}: {parameter}");
        }
        let responses = operation["responses"].as_object().unwrap_or_else(|| panic!("{at}: no responses"));
        assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{at}: never succeeds");
        for (status, response) in responses {
            assert!(response["description"].is_string(), "{at} {status}: no description");
            if status.starts_with(['4', '5']) {
                let schema = &response["content"][MEDIA_TYPE]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{at} {status}");
            }
        }
        let refusals: &[&str] = if is_public(operation) { &[] } else { &["400", "401", "500", "503", "504"] };
        for status in refusals {
            assert!(responses.contains_key(*status), "{at}: does not say {status}");
        }
    }
}

#[test]
fn every_field_is_described() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas {
        assert!(schema["description"].is_string(), "{name}");
        described(name, schema);
    }
}

/// Every property that is written here; a reference is described where it points.
fn described(name: &str, schema: &Value) {
    for (property, inner) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{name}.{property}");
        let variants = inner["oneOf"].as_array().into_iter().flatten();
        let said = variants.chain([inner]).any(|it| it["description"].is_string());
        let constant = inner["enum"].as_array().is_some_and(|it| it.len() == 1);
        assert!(said || constant, "{at}: {inner}");
        described(&at, inner);
    }
    for combined in ["allOf", "oneOf", "anyOf"] {
        for part in schema[combined].as_array().into_iter().flatten() {
            described(name, part);
        }
    }
}

#[test]
fn every_reference_points_at_something() {
    let document = document();
    let text = document.to_string();
    for part in text.split(r##""$ref":"#"##).skip(1) {
        let pointer = part.split('"').next().expect("a pointer");
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn nobody_is_refused_everywhere_but_at_the_public_doors() {
    let per_ip = PerIp { protected: 0, management: 0, ..PerIp::default() };
    let edge = TestEdge::with(Config { per_ip, ..Config::default() }, Vec::new());
    let document = document();
    let mut refused = 0;
    for (path, method, operation) in operations(&document) {
        if is_public(operation) {
            continue;
        }
        let at = format!("{method} {path}");
        let answer = edge.send(request(method.clone(), &with_id(path), &[], Body::empty())).await;
        assert_eq!(answer.status, 401, "{at}");
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="tollgate""#, "{at}");
        assert_eq!(answer.header("content-type"), MEDIA_TYPE, "{at}");
        assert_eq!(answer.header("cache-control"), "no-store", "{at}");
        assert!(method == Method::HEAD || answer.body["code"] == "UNAUTHENTICATED", "{at}");
        refused += 1;
    }
    assert!(refused > 15, "{refused} routes are not the whole API");
    assert!(edge.ratelimit.asked().is_empty(), "nobody's calls are not counted");
}

#[tokio::test]
async fn every_documented_operation_is_there_and_no_other_method_is() {
    let edge = TestEdge::new();
    let document = document();
    for (path, _, _) in operations(&document) {
        let made_up = Method::from_bytes(b"MADEUP").expect("a method");
        let answer = edge.send(request(made_up, &with_id(path), &[], Body::empty())).await;
        if path == "/v1/gate" {
            assert_eq!(answer.status, 401, "a gateway asks with its client's method");
            continue;
        }
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.header("content-type"), MEDIA_TYPE, "{path}");
        let mut allowed: Vec<_> = answer.header("allow").split(',').filter(|it| *it != "HEAD").collect();
        allowed.sort_unstable();
        let mut documented: Vec<_> = operations(&document)
            .into_iter()
            .filter_map(|(other, method, _)| (other == path).then(|| method.to_string()))
            .collect();
        documented.sort_unstable();
        assert_eq!(allowed, documented, "{path}");
    }
}
