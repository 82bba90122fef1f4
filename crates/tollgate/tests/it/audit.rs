//! `/v1/audit-events`

use serde_json::{Value, json};

use crate::{actors::User, app::TestApp};

impl User<'_> {
    async fn events(&self, query: &str) -> Vec<Value> {
        let list = self.get(&format!("/v1/audit-events?{query}")).await.json(200);
        list["data"].as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn what_was_done_is_listed() {
    let app = TestApp::new().await;
    let (user, operator) = (app.user().await, app.operator().await);
    app.advance(60);
    let key = user.key().create().await;
    let service = user.service_key(&["keys.write"]).await;
    app.advance(60);
    user.delete(&key.path()).await.held();
    let all = user.events("").await;
    let newest = &all[0];
    assert_eq!((&newest["action"], &newest["target"]), (&json!("key.revoke"), &json!(key.id)));
    assert_eq!((&newest["actor"], &newest["session"]), (&json!(user.id), &json!(user.tokens.session_id)));
    assert_eq!((&newest["at"], &newest["ip"]), (&json!("2026-01-01T00:02:00Z"), &json!("127.0.0.1")));
    let actions: Vec<_> = all.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!((actions.len(), actions[3]), (4, "workspace.create"));

    assert_eq!(user.events(&format!("target={}", key.id)).await.len(), 2);
    assert_eq!(user.events(&format!("target={}&action=key.create", key.id)).await.len(), 1);
    assert_eq!(user.events(&format!("actor={}", service.id)).await.len(), 0);
    assert_eq!(user.events(&format!("actor={}", user.id)).await.len(), 4);
    assert_eq!(user.events("from=2026-01-01T00:01:00Z&to=2026-01-01T00:02:00Z").await.len(), 2);
    let first = user.get("/v1/audit-events?limit=3").await.json(200);
    let cursor = first["next_cursor"].as_str().expect("there are more");
    assert_eq!(user.events(&format!("limit=3&cursor={cursor}")).await.len(), 1);

    let theirs = format!("workspace_id={}", user.workspace_id);
    assert_eq!(operator.events(&theirs).await, all);
    app.user().await.get(&format!("/v1/audit-events?{theirs}")).await.problem(404, "NOT_FOUND");
    service.get("/v1/audit-events").await.problem(403, "FORBIDDEN");
    for (query, pointer) in [
        ("limit=101", "/limit"),
        ("cursor=x", "/cursor"),
        ("from=yesterday", "/from"),
        ("workspace_id=x", "/workspace_id"),
        ("ip=127.0.0.1", "/ip"),
        ("actor=%0a", "/actor"),
    ] {
        user.get(&format!("/v1/audit-events?{query}")).await.violates(422, &[pointer]);
    }
    app.finish().await;
}
