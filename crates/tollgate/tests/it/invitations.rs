//! `/v1/workspaces/{id}/invitations` and `/v1/invitations/accept`

use serde_json::json;

use crate::{actors::User, app::TestApp};

impl User<'_> {
    /// An invitation: its id and its token.
    pub(crate) async fn invites(&self, workspace: &str, email: &str, role: &str) -> (String, String) {
        let body = json!({ "email": email, "role": role });
        let made = self.post(&format!("/v1/workspaces/{workspace}/invitations"), &body).await.json(201);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        self.app.secret("the token of an invitation", &text("token"));
        (text("id"), text("token"))
    }

    async fn accepts(&self, token: &str) -> u16 {
        self.post("/v1/invitations/accept", &json!({ "token": token })).await.status.as_u16()
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_brings_in_the_one_who_is_meant() {
    let app = TestApp::new().await;
    let (owner, ann, thief) = (app.user().await, app.user().await, app.user().await);
    let at = format!("/v1/workspaces/{}/invitations", owner.workspace_id);
    let body = json!({ "email": ann.email.to_uppercase(), "role": "member", "expires_in_days": 1 });
    let made = owner.post(&at, &body).await;
    let invitation = made.json(201);
    let (id, token) = (invitation["id"].as_str().unwrap(), invitation["token"].as_str().unwrap());
    app.secret("the token of an invitation", token);
    assert!(id.starts_with("inv_") && token.starts_with("tg_inv_"), "{id}");
    assert_eq!(made.header("location"), Some(&*format!("{at}/{id}")));
    assert_eq!(invitation["expires_at"], json!("2026-01-02T00:00:00Z"));
    let listed = owner.get(&at).await;
    assert!(!listed.text().contains(token));
    assert_eq!(listed.json(200)["data"][0]["status"], json!("pending"));

    let accept = json!({ "token": token });
    app.post("/v1/invitations/accept").json(&accept).await.problem(401, "UNAUTHENTICATED");
    let refused = thief.post("/v1/invitations/accept", &accept).await.problem(403, "FORBIDDEN");
    assert!(!refused.to_string().contains(&ann.email), "{refused}");
    let machine = owner.service_key(&["keys.write"]).await;
    machine.post("/v1/invitations/accept", &accept).await.problem(403, "FORBIDDEN");
    assert_eq!(ann.accepts(token).await, 200);
    assert_eq!(ann.accepts(token).await, 200, "once more, for an answer that was lost");
    let listed = owner.get(&at).await.json(200);
    assert_eq!(
        (&listed["data"][0]["status"], &listed["data"][0]["accepted_by"]),
        (&json!("accepted"), &json!(ann.id))
    );
    owner.delete(&format!("{at}/{id}")).await.problem(409, "CONFLICT");
    app.finish().await;
}

#[tokio::test]
async fn of_sixteen_who_use_it_at_once_all_are_one() {
    let app = TestApp::new().await;
    let (owner, ann) = (app.user().await, app.user().await);
    let (_, token) = owner.invites(&owner.workspace_id, &ann.email, "member").await;
    let accept = || ann.post("/v1/invitations/accept", &json!({ "token": token }));
    let answers = futures_util::future::join_all((0..16).map(|_| accept().into_future())).await;
    for answer in answers {
        assert_eq!(answer.json(200)["user_id"], json!(ann.id));
    }
    let accepted = format!("/v1/audit-events?workspace_id={}&action=invitation.accept", owner.workspace_id);
    assert_eq!(owner.get(&accepted).await.json(200)["data"].as_array().unwrap().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn one_that_has_ended_brings_nobody_in() {
    let app = TestApp::new().await;
    let (owner, ann) = (app.user().await, app.user().await);
    let at = format!("/v1/workspaces/{}/invitations", owner.workspace_id);
    let (id, revoked) = owner.invites(&owner.workspace_id, &ann.email, "member").await;
    assert_eq!(owner.delete(&format!("{at}/{id}")).await.json(200)["status"], json!("revoked"));
    assert_eq!(ann.accepts(&revoked).await, 404);
    let (_, late) = owner.invites(&owner.workspace_id, &ann.email, "member").await;
    app.advance(7 * 86_400);
    let ann = ann.again().await;
    assert_eq!(ann.accepts(&late).await, 404);
    assert_eq!(ann.accepts("tg_inv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").await, 404);
    app.finish().await;
}

#[tokio::test]
async fn guesses_are_counted_as_logins_are() {
    let app = TestApp::with(&[("TOLLGATE__EDGE__PER_IP__AUTH", "6")]).await;
    let user = app.user().await;
    let mut said = Vec::new();
    // Signing up and logging in were two.
    for _ in 0..6 {
        said.push(user.accepts("tg_inv_guess").await);
    }
    assert_eq!(said, [404, 404, 404, 404, 429, 429]);
    app.finish().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let at = format!("/v1/workspaces/{}/invitations", user.workspace_id);
    let with = |field: &str, value: serde_json::Value| {
        let mut body = json!({ "email": "ann@example.com", "role": "member" });
        body[field] = value;
        body
    };
    for (body, pointer) in [
        (with("email", json!("nobody")), "/email"),
        (with("email", json!(format!("a@{}", "b".repeat(253)))), "/email"),
        (with("role", json!("king")), "/role"),
        (with("expires_in_days", json!(0)), "/expires_in_days"),
        (with("expires_in_days", json!(31)), "/expires_in_days"),
        (with("token", json!("tg_inv_x")), "/token"),
        (json!({ "role": "member" }), "/email"),
    ] {
        user.post(&at, &body).await.violates(422, &[pointer]);
    }
    user.post("/v1/invitations/accept", &json!({})).await.violates(422, &["/token"]);
    app.finish().await;
}
