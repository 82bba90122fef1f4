//! `tollgate.gate.v1.Gate`: the same verdicts over gRPC.

use serde_json::json;
use tollgate_proto::gate::{
    AuthorizeRequest, Code, Environment, Verdict, VerifyKeyRequest, VerifyTokenRequest, authorize_response,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{actors::ServiceKey, app::TestApp};

fn about(key: &str) -> VerifyKeyRequest {
    VerifyKeyRequest { key: key.to_owned(), ..VerifyKeyRequest::default() }
}

async fn verdict(app: &TestApp, service: &ServiceKey<'_>, request: VerifyKeyRequest) -> Verdict {
    let answer = app.gate().await.verify_key(service.asks(request)).await.expect("a verdict");
    answer.into_inner().verdict.expect("a verdict")
}

#[tokio::test]
async fn a_verdict_says_everything() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let limits = json!([
        { "name": "minute", "limit": 10, "window_seconds": 60 }, { "name": "day", "limit": 20, "window_seconds": 86400 },
    ]);
    let key =
        user.key().with("limits", limits).with("scopes", json!(["a"])).with("metadata", json!({ "b": 1 }));
    let key = key.with("expires_in_days", json!(2)).create().await;
    let said = verdict(&app, &service, about(&key.key)).await;
    assert!(said.valid && !said.degraded);
    assert_eq!(said.code(), Code::Valid);
    assert_eq!(said.environment(), Environment::Live);
    assert_eq!((said.key_id.as_ref(), said.workspace_id.as_ref()), (Some(&key.id), Some(&user.workspace_id)));
    assert_eq!((said.scopes, said.plan.as_deref()), (vec!["a".to_owned()], Some("basic")));
    assert_eq!(said.metadata_json.as_deref(), Some(r#"{"b":1}"#));
    assert_eq!(said.expires_at.map(|at| at.seconds), Some(app.now().timestamp() + 2 * 86_400));
    let mut left: Vec<_> =
        said.limits.iter().map(|it| (it.name.as_str(), it.limit, it.remaining, it.reset_ms)).collect();
    left.sort_unstable();
    assert_eq!(left, [("day", 20, 19, 86_400_000), ("minute", 10, 9, 60_000)]);
    app.finish().await;
}

#[tokio::test]
async fn http_and_grpc_count_and_refuse_alike() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let key = user.key().limit(2, 60).create().await;
    assert_eq!(user.verify(&key.key).await["code"], "VALID");
    assert_eq!(verdict(&app, &service, about(&key.key)).await.code(), Code::Valid);
    let denied = verdict(&app, &service, about(&key.key)).await;
    assert_eq!((denied.code(), denied.denied_by.as_deref()), (Code::RateLimited, Some("per-60")));
    assert_eq!((denied.valid, denied.retry_after_ms), (false, Some(60_000)));
    let codes = user.usage(&key).await;
    assert_eq!(codes["total"], 3);

    let wants = |request| verdict(&app, &service, request);
    let scoped = VerifyKeyRequest { scopes: vec!["b".into()], ..about(&key.key) };
    assert_eq!(wants(scoped).await.code(), Code::InsufficientScope);
    let test = VerifyKeyRequest { environment: Environment::Test.into(), ..about(&key.key) };
    assert_eq!(wants(test).await.code(), Code::WrongEnvironment);
    for malformed in ["", "nonsense", &"k".repeat(9000)] {
        let said = wants(about(malformed)).await;
        assert_eq!((said.code(), said.key_id), (Code::Malformed, None));
    }
    let foreign = app.user().await.key().create().await;
    assert_eq!(wants(about(&foreign.key)).await.code(), Code::NotFound);
    user.delete(&format!("/v1/keys/{}", key.id)).await.held();
    assert_eq!(wants(about(&key.key)).await.code(), Code::Revoked);
    app.finish().await;
}

#[tokio::test]
async fn tokens_are_verified_and_counted_nowhere() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let ask = async |token: &str| {
        let request = VerifyTokenRequest { token: token.to_owned() };
        let answer = app.gate().await.verify_token(service.asks(request)).await.expect("a verdict");
        answer.into_inner().verdict.expect("a verdict")
    };
    let said = ask(&user.tokens.access).await;
    assert_eq!((said.valid, said.code(), said.operator), (true, Code::Valid, false));
    assert_eq!(
        (said.user_id.as_ref(), said.session_id.as_ref()),
        (Some(&user.id), Some(&user.tokens.session_id))
    );
    assert_eq!(ask("a.b.c").await.code(), Code::Malformed);
    assert_eq!(ask(&user.tokens.refresh).await.code(), Code::Malformed);
    let refresh = json!({ "refresh_token": user.tokens.refresh });
    app.post("/v1/auth/logout").json(&refresh).await.held();
    assert_eq!(ask(&user.tokens.access).await.code(), Code::Revoked);
    app.advance(900);
    assert_eq!(ask(&user.tokens.access).await.code(), Code::Expired);
    app.finish().await;
}

#[tokio::test]
async fn authorize_takes_either() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let key = user.key().create().await;
    for (credential, is_key) in [(&key.key, true), (&user.tokens.access, false)] {
        let request = AuthorizeRequest { credential: credential.clone(), ..AuthorizeRequest::default() };
        let answer = app.gate().await.authorize(service.asks(request)).await.expect("a verdict");
        match answer.into_inner().verdict.expect("a verdict") {
            authorize_response::Verdict::Key(said) => assert!(is_key && said.valid),
            authorize_response::Verdict::Token(said) => assert!(!is_key && said.valid),
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn the_caller_needs_a_service_key_with_the_permission() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    let mut gate = app.gate().await;
    let nobody = gate.verify_key(about(&key.key)).await.expect_err("refused");
    assert_eq!(nobody.code(), tonic::Code::Unauthenticated);

    let reader = user.service_key(&["keys.read"]).await;
    let refused = gate.verify_key(reader.asks(about(&key.key))).await.expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);

    for wrong in ["Bearer tg_svc_nonsense", "Basic abc", "Bearer ", &format!("Bearer {}", key.key)] {
        let mut request = tonic::Request::new(about(&key.key));
        request.metadata_mut().insert("authorization", wrong.parse().expect("ASCII"));
        let refused = gate.verify_key(request).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{wrong}");
    }
    let mut twice = reader.asks(about(&key.key));
    twice.metadata_mut().append("authorization", format!("Bearer {}", reader.key).parse().expect("ASCII"));
    let refused = gate.verify_key(twice).await.expect_err("refused");
    assert!(
        [tonic::Code::Unauthenticated, tonic::Code::InvalidArgument].contains(&refused.code()),
        "{refused:?}"
    );
    assert_eq!(user.usage(&key).await["total"], 0);
    app.finish().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.verify"]).await;
    let huge = about(&"k".repeat(5 * 1024 * 1024));
    let refused = app.gate().await.verify_key(service.asks(huge)).await.expect_err("refused");
    assert_ne!(refused.code(), tonic::Code::Internal, "{refused:?}");
    assert_eq!(user.service_key(&["keys.verify"]).await.verify("x").await["code"], "MALFORMED");
    app.finish().await;
}

#[tokio::test]
async fn the_port_says_that_it_serves_and_what() {
    let app = TestApp::new().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", app.gate_address()));
    let channel = channel.expect("an address").connect().await.expect("it listens");
    let mut health = HealthClient::new(channel);
    for service in
        ["", "tollgate.gate.v1.Gate", "tollgate.keys.v1.Keys", "envoy.service.auth.v3.Authorization"]
    {
        // The first look at the parts happens at the start, and is waited for by watching.
        let request = HealthCheckRequest { service: service.into() };
        let mut states = health.watch(request).await.expect("a service").into_inner();
        loop {
            let state = states.message().await.expect("a state").expect("a state");
            if state.status() == ServingStatus::Serving {
                break;
            }
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn the_port_describes_itself() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let app = TestApp::new().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", app.gate_address()));
    let channel = channel.expect("an address").connect().await.expect("it listens");
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = ServerReflectionClient::new(channel).server_reflection_info(tokio_stream::once(ask)).await;
    let answer =
        answers.expect("it speaks").into_inner().message().await.expect("an answer").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["tollgate.gate.v1.Gate", "tollgate.keys.v1.Keys", "envoy.service.auth.v3.Authorization"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(
        !names.iter().any(|name| name.contains("ratelimit.v1") || name.contains("identity")),
        "{names:?}"
    );
    app.finish().await;
}
