//! The Gate service says the same as the HTTP doors.

use tollgate_kernel::{ExposeSecret, SecretString};
use tollgate_proto::{
    Keys,
    gate::{
        AuthorizeRequest, Code, VerifyKeyRequest, VerifyTokenRequest, authorize_response::Verdict,
        gate_server::Gate,
    },
    kernel::{
        Caller,
        caller::{Principal, User},
    },
    keys::{ResolveKeyRequest, RevokeKeyRequest},
};
use tollgate_verify::KeyKind;
use tonic::Request;

use super::{TestEdge, bearer, fakes::workspace, unknown};
use crate::{Config, GateService, PerIp, grpc};

fn service(edge: &TestEdge) -> GateService {
    grpc::service(edge.edge.app.clone())
}

fn by<T>(caller: &SecretString, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", bearer(caller).parse().expect("ASCII"));
    request
}

fn ask(key: &SecretString) -> VerifyKeyRequest {
    VerifyKeyRequest { key: key.expose_secret().into(), ..VerifyKeyRequest::default() }
}

#[tokio::test]
async fn a_key_is_verified_for_its_own_workspace_only() {
    let edge = TestEdge::new();
    let (ours, theirs) = (workspace(), workspace());
    let key = edge.keys.key(ours, |_| {});
    let gate = service(&edge);

    let ours = edge.keys.service_key(ours, &["keys.verify"]);
    let answer = gate.verify_key(by(&ours, ask(&key))).await.expect("a verdict").into_inner();
    let verdict = answer.verdict.expect("a verdict");
    assert_eq!((verdict.valid, verdict.code(), verdict.plan.as_deref()), (true, Code::Valid, Some("basic")));
    assert_eq!((verdict.limits[0].remaining, verdict.limits[0].reset_ms), (9, 59_001));
    assert_eq!(verdict.metadata_json.as_deref(), Some(r#"{"customer":"4711"}"#));

    let theirs = edge.keys.service_key(theirs, &["keys.verify"]);
    let answer = gate.verify_key(by(&theirs, ask(&key))).await.expect("a verdict").into_inner();
    let verdict = answer.verdict.expect("a verdict");
    assert_eq!((verdict.code(), verdict.key_id, verdict.metadata_json), (Code::NotFound, None, None));
}

#[tokio::test]
async fn either_credential_is_told_by_its_shape() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let caller = edge.keys.service_key(workspace, &["keys.verify"]);
    let gate = service(&edge);
    for (credential, key, code) in [
        (edge.keys.key(workspace, |_| {}).expose_secret(), true, Code::Valid),
        ("", true, Code::Malformed),
        ("eyJ.b.c", false, Code::Malformed),
        ("a.b.c", true, Code::Malformed),
    ] {
        let request = AuthorizeRequest { credential: credential.into(), ..AuthorizeRequest::default() };
        let answer = gate.authorize(by(&caller, request)).await.expect("a verdict").into_inner();
        let said = match answer.verdict.expect("a verdict") {
            Verdict::Key(it) => (true, it.code()),
            Verdict::Token(it) => (false, it.code()),
        };
        assert_eq!(said, (key, code), "{credential}");
    }
}

#[tokio::test]
async fn the_caller_needs_a_right_of_its_own() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let gate = service(&edge);
    let key = edge.keys.key(workspace, |_| {});
    let reader = edge.keys.service_key(workspace, &["keys.read"]);
    for (caller, code) in [
        (&key, tonic::Code::Unauthenticated),
        (&unknown(KeyKind::Service), tonic::Code::Unauthenticated),
        (&reader, tonic::Code::PermissionDenied),
    ] {
        let status = gate.verify_key(by(caller, ask(&key))).await.expect_err("refused");
        assert_eq!(status.code(), code);
        let status = gate.verify_token(by(caller, VerifyTokenRequest::default())).await.expect_err("refused");
        assert_eq!(status.code(), code);
    }
    let nobody = gate.verify_key(Request::new(ask(&key))).await.expect_err("refused");
    assert_eq!(nobody.code(), tonic::Code::Unauthenticated);
    assert!(edge.ratelimit.asked().is_empty());
}

#[tokio::test]
async fn management_says_who_calls_whatever_the_client_says() {
    let edge = TestEdge::new();
    let manage = grpc::manage::service(edge.edge.app.clone());
    let forged = Principal::User(User {
        user_id: "usr_x".into(),
        session_id: "ses_x".into(),
        operator: true,
        email: "a@example.com".into(),
    });
    let forged = Caller { principal: Some(forged), ip: "192.0.2.1".into() };
    let request = || RevokeKeyRequest { caller: Some(forged.clone()), ..RevokeKeyRequest::default() };

    let service = edge.keys.service_key(workspace(), &[]);
    manage.revoke_key(by(&service, request())).await.expect("it is handed on");
    let [Caller { principal: Some(Principal::ServiceKey(_)), ip }] = &edge.keys.callers()[..] else {
        panic!("not as the service key")
    };
    assert_eq!(ip, "", "there is no connection here");

    let key = edge.keys.key(workspace(), |_| {});
    for credential in [&key, &unknown(KeyKind::Service), &SecretString::from("nonsense")] {
        let refused = manage.revoke_key(by(credential, request())).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    }
    let refused = manage.revoke_key(Request::new(request())).await.expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert!(edge.keys.callers().is_empty());
}

#[tokio::test]
async fn what_roles_ask_one_another_is_not_for_callers() {
    let edge = TestEdge::new();
    let manage = grpc::manage::service(edge.edge.app.clone());
    let service = edge.keys.service_key(workspace(), &["keys.verify", "keys.read", "keys.write"]);
    let refused = manage.resolve_key(by(&service, ResolveKeyRequest::default())).await.expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    assert_eq!(edge.keys.looked_up(), 0);
}

#[tokio::test]
async fn who_guesses_is_turned_away_before_anything_is_looked_up() {
    let config = Config { per_ip: PerIp { protected: 3, ..PerIp::default() }, ..Config::default() };
    let edge = TestEdge::with(config, Vec::new());
    let manage = grpc::manage::service(edge.edge.app.clone());
    let guess = async || {
        let request = by(&unknown(KeyKind::Service), RevokeKeyRequest::default());
        manage.revoke_key(request).await.expect_err("refused").code()
    };
    for _ in 0..3 {
        assert_eq!(guess().await, tonic::Code::Unauthenticated);
    }
    let looked_up = edge.keys.looked_up();
    assert_eq!(guess().await, tonic::Code::ResourceExhausted);
    assert_eq!(edge.keys.looked_up(), looked_up);
}
