//! The admin port, and the health of the public one.

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn the_process_is_alive_and_ready() {
    let app = TestApp::new().await;
    assert_eq!(app.admin("/livez").await.json(200), json!({ "status": "alive" }));
    let ready = app.admin("/readyz").await.json(200);
    assert_eq!(ready["status"], "ready");
    for part in ["identity", "keys", "ratelimit"] {
        assert_eq!(ready["checks"][part], "ready", "{ready}");
    }
    app.get("/livez").await.json(200);
    app.get("/readyz").await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn metrics_are_on_the_admin_port_only() {
    let app = TestApp::new().await;
    let user = app.user().await;
    user.key().create().await.whoami().await.json(200);
    let metrics = app.admin("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    let text = metrics.text();
    for name in ["tollgate_verdicts_total", "tollgate_verify_cache_hits_total"] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    assert!(!text.contains("tg_live_") && !text.contains(&user.email));
    app.get("/metrics").await.problem(404, "NOT_FOUND");
    app.finish().await;
}
