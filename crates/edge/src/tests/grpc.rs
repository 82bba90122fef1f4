//! The Gate service says the same as the HTTP doors.

use tollgate_kernel::{ExposeSecret, SecretString};
use tollgate_proto::gate::{
    AuthorizeRequest, Code, VerifyKeyRequest, VerifyTokenRequest, authorize_response::Verdict,
    gate_server::Gate,
};
use tollgate_verify::KeyKind;
use tonic::Request;

use super::{TestEdge, bearer, fakes::workspace, unknown};
use crate::{GateService, grpc};

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
        ("a.b.c", false, Code::Malformed),
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
