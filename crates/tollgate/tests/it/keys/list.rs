//! `GET /v1/keys` and `GET /v1/keys/{id}`

use serde_json::{Value, json};

use crate::app::TestApp;

fn names(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_show_every_key_once_newest_first() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for number in 0..7 {
        app.advance(1);
        user.key().with("name", json!(format!("key {number}"))).create().await;
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/keys?limit=3".to_owned());
    loop {
        let page = user.get(&path).await.json(200);
        seen.extend(names(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/keys?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, ["key 6", "key 5", "key 4", "key 3", "key 2", "key 1", "key 0"]);
    app.finish().await;
}

#[tokio::test]
async fn filters_choose() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let revoked = user.key().with("name", json!("gone")).create().await;
    user.delete(&format!("/v1/keys/{}", revoked.id)).await.held();
    user.key().with("name", json!("Shop_100%")).create().await;
    user.key().with("name", json!("short")).with("expires_in_days", json!(1)).create().await;
    user.key().with("name", json!("tests")).with("environment", json!("test")).create().await;
    app.advance(86_400);
    let user = user.again().await;
    for (query, expected) in [
        ("status=revoked", vec!["gone"]),
        ("status=expired", vec!["short"]),
        ("status=active&environment=live", vec!["Shop_100%"]),
        ("environment=test", vec!["tests"]),
        ("q=sh", vec!["short", "Shop_100%"]),
        ("q=100%25", vec!["Shop_100%"]),
        ("q=_", vec!["Shop_100%"]),
        ("q=nothing", vec![]),
    ] {
        let mut found = names(&user.get(&format!("/v1/keys?{query}")).await.json(200));
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{query}");
    }
    app.finish().await;
}

#[tokio::test]
async fn nonsense_in_the_query_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let long = format!("q={}", "x".repeat(101));
    for (query, pointer) in [
        ("limit=0", "/limit"),
        ("limit=101", "/limit"),
        ("limit=many", "/limit"),
        ("cursor=nonsense", "/cursor"),
        ("status=sleeping", "/status"),
        ("color=red", "/color"),
        (long.as_str(), "/q"),
    ] {
        user.get(&format!("/v1/keys?{query}")).await.violates(422, &[pointer]);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_stranger_sees_nothing() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let key = user.key().create().await;
    stranger.get(&format!("/v1/keys/{}", key.id)).await.problem(404, "NOT_FOUND");
    stranger.get(&format!("/v1/keys/{}/usage", key.id)).await.problem(404, "NOT_FOUND");
    stranger.get(&format!("/v1/keys?workspace_id={}", user.workspace_id)).await.problem(404, "NOT_FOUND");
    assert_eq!(stranger.get("/v1/keys").await.json(200)["data"], json!([]));
    for id in ["nonsense", "usr_00000000000000000000000001", "key_00000000000000000000000001", "%00"] {
        user.get(&format!("/v1/keys/{id}")).await.problem(404, "NOT_FOUND");
    }
    app.finish().await;
}
