//! `tollgate.keys.v1.Keys` on the Gate's port: the cabinet over gRPC, with the rights of who calls.

use tollgate_proto::{
    kernel::{Caller, caller},
    keys::{
        AcceptInvitationRequest, CreateKeyRequest, EnsurePersonalWorkspaceRequest, GetKeyRequest,
        ListKeysRequest, ResolveKeyRequest, RevokeKeyRequest,
    },
};
use tonic::{Code, Request};

use crate::{actors::User, app::TestApp};

fn new(name: &str) -> CreateKeyRequest {
    CreateKeyRequest { name: name.to_owned(), ..CreateKeyRequest::default() }
}

/// A message by a person, with the access token.
fn by<M>(user: &User<'_>, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", user.tokens.access);
    request.metadata_mut().insert("authorization", bearer.parse().expect("ASCII"));
    request
}

#[tokio::test]
async fn a_service_key_makes_lists_and_revokes_keys() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.read", "keys.write"]).await;
    let mut keys = app.manage().await;
    let made = keys.create_key(service.asks(new("over gRPC"))).await.expect("it is made").into_inner();
    app.secret("a key", &made.secret);
    let key = made.key.expect("a key");
    assert_eq!((&key.workspace_id, &key.created_by), (&user.workspace_id, &service.id));
    assert_eq!(user.verify(&made.secret).await["code"], "VALID");

    let all = ListKeysRequest { workspace_id: user.workspace_id.clone(), ..ListKeysRequest::default() };
    let listed = keys.list_keys(service.asks(all)).await.expect("a list").into_inner().keys;
    assert_eq!(listed.iter().map(|it| &it.id).collect::<Vec<_>>(), [&key.id]);

    let revoke = RevokeKeyRequest { key_id: key.id.clone(), ..RevokeKeyRequest::default() };
    keys.revoke_key(service.asks(revoke)).await.expect("it is revoked");
    assert_eq!(user.verify(&made.secret).await["code"], "REVOKED");
    app.finish().await;
}

#[tokio::test]
async fn each_has_its_own_rights_and_nobody_another_s() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let key = user.key().create().await;
    let reader = user.service_key(&["keys.read"]).await;
    let theirs = stranger.service_key(&["keys.read", "keys.write"]).await;
    let mut keys = app.manage().await;
    let get = || GetKeyRequest { key_id: key.id.clone(), ..GetKeyRequest::default() };
    assert_eq!(keys.get_key(reader.asks(get())).await.expect("a key").into_inner().key.unwrap().id, key.id);
    let refused = keys.create_key(reader.asks(new("a"))).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let hidden = keys.get_key(theirs.asks(get())).await.expect_err("refused");
    assert_eq!(hidden.code(), Code::NotFound);

    // Whom the client says that it is, is nobody's business.
    let owner = caller::User {
        user_id: user.id.clone(),
        session_id: user.tokens.session_id.clone(),
        operator: true,
        email: user.email.clone(),
    };
    let forged = Caller { principal: Some(caller::Principal::User(owner)), ip: String::new() };
    let request = GetKeyRequest { caller: Some(forged), ..get() };
    let hidden = keys.get_key(theirs.asks(request.clone())).await.expect_err("refused");
    assert_eq!(hidden.code(), Code::NotFound);
    let nobody = keys.get_key(request).await.expect_err("refused");
    assert_eq!(nobody.code(), Code::Unauthenticated);

    // A person, by access token.
    keys.get_key(by(&user, get())).await.expect("a key");
    let machine =
        keys.ensure_personal_workspace(reader.asks(EnsurePersonalWorkspaceRequest::default())).await;
    assert_eq!(machine.expect_err("refused").code(), Code::PermissionDenied);
    app.finish().await;
}

#[tokio::test]
async fn an_e_mail_address_is_not_the_client_s_word() {
    let app = TestApp::new().await;
    let (user, thief) = (app.user().await, app.user().await);
    let body = serde_json::json!({ "email": "ann@example.com", "role": "admin" });
    let path = format!("/v1/workspaces/{}/invitations", user.workspace_id);
    let token = user.post(&path, &body).await.json(201)["token"].as_str().expect("a token").to_owned();
    app.secret("an invitation", &token);
    let claimed = caller::User {
        user_id: thief.id.clone(),
        session_id: thief.tokens.session_id.clone(),
        operator: false,
        email: "ann@example.com".to_owned(),
    };
    let caller = Some(Caller { principal: Some(caller::Principal::User(claimed)), ip: String::new() });
    let request = by(&thief, AcceptInvitationRequest { caller, token });
    let refused = app.manage().await.accept_invitation(request).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let members = user.get(&format!("/v1/workspaces/{}/members", user.workspace_id)).await.json(200);
    assert_eq!(members["data"].as_array().expect("a list").len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn who_is_invited_accepts_as_over_http() {
    let app = TestApp::new().await;
    let (user, ann) = (app.user().await, app.user().await);
    let (id, token) = user.invites(&user.workspace_id, &ann.email.to_uppercase(), "member").await;
    let mut keys = app.manage().await;
    let acceptance =
        || AcceptInvitationRequest { token: token.clone(), ..AcceptInvitationRequest::default() };
    let machine = user.service_key(&["keys.write"]).await;
    let refused = keys.accept_invitation(machine.asks(acceptance())).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let nobody = keys.accept_invitation(acceptance()).await.expect_err("refused");
    assert_eq!(nobody.code(), Code::Unauthenticated);
    let guess = AcceptInvitationRequest { token: format!("tg_inv_{}", "A".repeat(43)), ..acceptance() };
    let guessed = keys.accept_invitation(by(&ann, guess)).await.expect_err("refused");
    assert_eq!(guessed.code(), Code::NotFound);

    for attempt in ["at first", "once more, for an answer that was lost"] {
        let joined = keys.accept_invitation(by(&ann, acceptance())).await.expect(attempt).into_inner();
        let member = joined.member.expect("a member");
        assert_eq!((&member.user_id, &*member.role), (&ann.id, "member"), "{attempt}");
    }
    let listed = user.get(&format!("/v1/workspaces/{}/invitations", user.workspace_id)).await.json(200);
    assert_eq!(
        (&listed["data"][0]["id"], &listed["data"][0]["accepted_by"]),
        (&serde_json::json!(id), &serde_json::json!(ann.id))
    );
    app.finish().await;
}

#[tokio::test]
async fn verifiers_questions_are_not_answered_here() {
    let app = TestApp::new().await;
    let service = app.user().await.service_key(&["keys.read", "keys.write", "keys.verify"]).await;
    let question = service.asks(ResolveKeyRequest::default());
    let refused = app.manage().await.resolve_key(question).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unimplemented);
    app.finish().await;
}
