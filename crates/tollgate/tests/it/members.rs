//! `/v1/workspaces/{id}/members`, and workspaces that people share.

use serde_json::json;

use crate::{actors::User, app::TestApp};

impl User<'_> {
    /// Another workspace of this user.
    pub(crate) async fn workspace(&self, name: &str) -> String {
        let made = self.post("/v1/workspaces", &json!({ "name": name })).await.json(201);
        made["id"].as_str().unwrap().to_owned()
    }

    /// A service key of a workspace with these permissions.
    pub(crate) async fn machine(&self, workspace: &str, permissions: &[&str]) -> String {
        let body = json!({ "name": "a machine", "permissions": permissions, "workspace_id": workspace });
        let made = self.post("/v1/service-keys", &body).await.json(201);
        made["key"].as_str().expect("shown once").to_owned()
    }

    /// Makes somebody a member with this role.
    pub(crate) async fn takes_in(&self, workspace: &str, user: &User<'_>, role: &str) {
        let (_, token) = self.invites(workspace, &user.email, role).await;
        let joined = user.post("/v1/invitations/accept", &json!({ "token": token })).await.json(200);
        assert_eq!((&joined["user_id"], &joined["role"]), (&json!(user.id), &json!(role)));
    }
}

#[tokio::test]
async fn a_team_shares_a_workspace() {
    let app = TestApp::new().await;
    let (owner, ann, bob) = (app.user().await, app.user().await, app.user().await);
    let made = owner.post("/v1/workspaces", &json!({ "name": "Acme" })).await;
    let workspace = made.json(201);
    let id = workspace["id"].as_str().unwrap();
    assert_eq!(made.header("location"), Some(&*format!("/v1/workspaces/{id}")));
    assert_eq!((&workspace["role"], &workspace["enabled"]), (&json!("owner"), &json!(true)));
    assert_eq!(owner.get("/v1/workspaces").await.json(200)["data"].as_array().unwrap().len(), 2);

    let at = format!("/v1/workspaces/{id}/members");
    ann.get(&at).await.problem(404, "NOT_FOUND");
    owner.takes_in(id, &ann, "admin").await;
    ann.takes_in(id, &bob, "member").await;
    assert_eq!(bob.get(&at).await.json(200)["data"].as_array().unwrap().len(), 3);
    let key = bob.key().with("workspace_id", json!(id)).create().await;
    key.whoami().await.json(200);

    let bob_at = format!("{at}/{}", bob.id);
    ann.patch(&bob_at, &json!({ "role": "owner" })).await.problem(403, "FORBIDDEN");
    let changed = ann.patch(&bob_at, &json!({ "role": "admin" })).await.changed();
    assert_eq!((&changed["role"], &changed["user_id"]), (&json!("admin"), &json!(bob.id)));
    bob.patch(&bob_at, &json!({ "role": "member" })).await.changed();
    bob.patch(&bob_at, &json!({ "role": "admin" })).await.problem(403, "FORBIDDEN");
    assert_eq!(bob.verify(&key.key).await["code"], "VALID", "which the verifier remembers");
    ann.delete(&bob_at).await.held();
    assert_eq!(bob.verify(&key.key).await["code"], "NOT_FOUND");
    bob.get(&at).await.problem(404, "NOT_FOUND");
    // What bob has made is the workspace's.
    key.whoami().await.json(200);
    ann.delete(&key.path()).await.held();
    key.whoami().await.problem(401, "UNAUTHENTICATED");

    let owner_at = format!("{at}/{}", owner.id);
    owner.delete(&owner_at).await.problem(409, "CONFLICT");
    owner.patch(&owner_at, &json!({ "role": "member" })).await.problem(409, "CONFLICT");
    owner.patch(&format!("{at}/{}", ann.id), &json!({ "role": "owner" })).await.changed();
    owner.delete(&owner_at).await.held();
    assert_eq!(ann.get(&at).await.json(200)["data"].as_array().unwrap().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let at = format!("/v1/workspaces/{}/members", user.workspace_id);
    for (body, pointer) in [
        (json!({ "role": "king" }), "/role"),
        (json!({ "role": null }), "/role"),
        (json!({ "role": 1 }), "/role"),
        (json!({ "user_id": user.id }), "/user_id"),
    ] {
        user.patch(&format!("{at}/{}", user.id), &body).await.violates(422, &[pointer]);
    }
    for (body, pointer) in [(json!({ "name": " " }), "/name"), (json!({ "name": "a", "id": "b" }), "/id")] {
        user.post("/v1/workspaces", &body).await.violates(422, &[pointer]);
    }
    user.get(&format!("{at}?limit=0")).await.violates(422, &["/limit"]);
    user.get(&format!("{at}?cursor=x")).await.violates(422, &["/cursor"]);
    for nobody in ["nonsense", "usr_00000000000000000000000001", &user.workspace_id] {
        user.delete(&format!("{at}/{nobody}")).await.problem(404, "NOT_FOUND");
    }
    app.finish().await;
}

#[tokio::test]
async fn of_two_owners_who_leave_at_once_one_stays() {
    let app = TestApp::new().await;
    let (owner, second) = (app.user().await, app.user().await);
    let id = owner.workspace("Acme").await;
    owner.takes_in(&id, &second, "owner").await;
    let at = |user: &User<'_>| format!("/v1/workspaces/{id}/members/{}", user.id);
    let (one, other) = tokio::join!(owner.delete(&at(&owner)), second.delete(&at(&second)));
    let mut said = [one.status.as_u16(), other.status.as_u16()];
    said.sort_unstable();
    assert_eq!(said, [200, 409]);
    app.finish().await;
}

#[tokio::test]
async fn an_operator_locks_all_keys_of_a_workspace_out_at_once() {
    let app = TestApp::new().await;
    let (user, operator) = (app.user().await, app.operator().await);
    let keys = [user.key().create().await, user.key().create().await];
    for key in &keys {
        key.whoami().await.json(200);
    }
    let at = format!("/v1/workspaces/{}", user.workspace_id);
    user.patch(&at, &json!({ "enabled": false })).await.problem(403, "FORBIDDEN");
    operator.patch(&at, &json!({ "enabled": null })).await.violates(422, &["/enabled"]);
    let off = operator.patch(&at, &json!({ "enabled": false })).await.changed();
    assert_eq!(off["enabled"], json!(false));
    for key in &keys {
        key.whoami().await.problem(401, "UNAUTHENTICATED");
    }
    assert_eq!(user.get(&at).await.json(200)["enabled"], json!(false));
    assert_eq!(user.get("/v1/keys").await.json(200)["data"].as_array().unwrap().len(), 2);
    let refused = user.post("/v1/keys", &json!({ "name": "a" })).await.problem(403, "FORBIDDEN");
    assert!(refused["detail"].as_str().unwrap().contains("disabled"), "{refused}");
    user.delete(&keys[0].path()).await.held();
    operator.patch(&at, &json!({ "enabled": true })).await.changed();
    keys[1].whoami().await.json(200);
    keys[0].whoami().await.problem(401, "UNAUTHENTICATED");
    app.finish().await;
}
