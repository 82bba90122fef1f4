//! `/openapi.json` and `/docs`

use std::collections::BTreeSet;

use serde_json::Value;

use crate::app::TestApp;

#[tokio::test]
async fn the_document_is_complete() {
    let app = TestApp::new().await;
    let document = app.get("/openapi.json").await.json(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in [
        "/v1/auth/signup",
        "/v1/auth/login",
        "/v1/auth/refresh",
        "/v1/auth/logout",
        "/v1/me",
        "/v1/keys",
        "/v1/keys/{id}",
        "/v1/keys/import",
        "/v1/keys/export",
        "/v1/keys/{id}/rotate",
        "/v1/keys/{id}/secrets",
        "/v1/keys/{id}/secrets/{secret_id}",
        "/v1/keys/{id}/usage",
        "/v1/usage",
        "/v1/consumers/{id}/usage",
        "/v1/workspaces/{id}/policy",
        "/v1/workspaces/{id}/members/{user_id}",
        "/v1/workspaces/{id}/invitations",
        "/v1/invitations/accept",
        "/v1/audit-events",
        "/v1/keys/verify",
        "/v1/whoami",
        "/v1/whoami/user",
        "/v1/whoami/key",
        "/v1/service-keys",
        "/v1/gate",
        "/.well-known/jwks.json",
        "/openapi.json",
        "/livez",
        "/readyz",
    ] {
        assert!(paths.contains(path), "{path} is not in the document");
    }
    for (path, method, operation) in operations(&document) {
        assert!(operation["operationId"].is_string() && operation["summary"].is_string(), "{method} {path}");
        let responses = operation["responses"].as_object().unwrap();
        let refusals = responses.iter().filter(|(status, _)| status.starts_with(['4', '5']));
        for (status, response) in refusals {
            assert!(response["content"]["application/problem+json"].is_object(), "{method} {path} {status}");
        }
    }
    let undescribed = undescribed_fields(&document);
    assert!(undescribed.is_empty(), "fields without a description: {undescribed:?}");
    app.finish().await;
}

/// Every operation: path, method, and what is said of it.
pub(crate) fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            if ["get", "put", "post", "delete", "patch", "head", "options"].contains(&method.as_str()) {
                all.push((path.as_str(), method.as_str(), operation));
            }
        }
    }
    all
}

fn undescribed_fields(document: &Value) -> Vec<String> {
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let mut found = Vec::new();
    for (name, schema) in schemas {
        let parts = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
        for (field, said) in parts.filter_map(|part| part["properties"].as_object()).flatten() {
            let refers = said["$ref"].is_string() || said["oneOf"].is_array() || said["allOf"].is_array();
            if !said["description"].is_string() && !refers {
                found.push(format!("{name}.{field}"));
            }
        }
    }
    found
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let app = TestApp::new().await;
    let mut page = app.get("/docs").await;
    if page.status.is_redirection() {
        page = app.get(page.header("location").unwrap()).await;
    }
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(!text.contains("src=\"http") && !text.contains("href=\"http"), "{text}");
    let links =
        text.split(['"', '\'']).filter(|word| matches!(word.rsplit_once('.'), Some((_, "js" | "css"))));
    let mut count = 0;
    for link in links {
        let path = format!("/docs/{}", link.trim_start_matches("./").trim_start_matches("/docs/"));
        let asset = app.get(&path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert!(!asset.body.is_empty());
        count += 1;
    }
    assert!(count >= 2, "{text}");
    app.finish().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let app = TestApp::new().await;
    for path in ["/", "/nothing", "/v1", "/v1/keys/verify/x", "/docs/../../etc/passwd", "/docs/nothing.js"] {
        app.get(path).await.problem(404, "NOT_FOUND");
    }
    let wrong = app.delete("/v1/auth/login").await;
    wrong.problem(405, "METHOD_NOT_ALLOWED");
    assert_eq!(wrong.header("allow"), Some("POST"));
    app.finish().await;
}
