//! Envoy, with its filters `ext_authz` and `ratelimit`.

use std::fs;

use http::Method;
use tempfile::TempDir;
use tollgate_proto::envoy::{
    descriptors::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    ratelimit::{
        RateLimitRequest, rate_limit_response::Code, rate_limit_service_client::RateLimitServiceClient,
    },
};
use tollgate_testkit::{Gateway, GatewayKind};
use tonic::{Request, transport::Endpoint};

use super::bed::{Api, Bed, TRUST, Traits, configuration};
use crate::app::{MESH_TOKEN, TestApp};

/// Tollgate with the limits of `ratelimit.toml` but for what is replaced in it, and with a mesh token in every shape.
async fn limited(replaced: &[(&str, String)]) -> (TestApp, TempDir) {
    let folder = crate::process::empty();
    let limits = folder.path().join("ratelimit.toml");
    fs::write(&limits, configuration("envoy/ratelimit.toml", replaced)).unwrap();
    let limits = ("TOLLGATE__RATELIMIT__ENVOY_CONFIG", limits.to_str().unwrap());
    (TestApp::with(&[TRUST, limits, ("TOLLGATE__MESH__TOKEN", MESH_TOKEN)]).await, folder)
}

/// Envoy in front of an API.
async fn bed(replaced: &[(&str, String)]) -> (Bed, TempDir) {
    let ((app, folder), api) = (limited(replaced).await, Api::start().await);
    let ratelimit = app.ratelimit_address().expect("it listens for Envoy in every shape");
    let gateway = Gateway::start(GatewayKind::Envoy, |folder, port, command| {
        let place = |theirs, ours: u16| (theirs, format!("port_value: {ours}"));
        let places = [
            place("port_value: 8000", port),
            place("port_value: 3000", api.address.port()),
            place("port_value: 9100", app.gate_address().port()),
            place("port_value: 9103", ratelimit.port()),
        ];
        let file = folder.join("envoy.yaml");
        fs::write(&file, configuration("envoy/envoy.yaml", &places)).unwrap();
        // Hot restart would have it share memory with every other Envoy of this machine.
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"]);
        command.arg(file).env("TOLLGATE_MESH_TOKEN", MESH_TOKEN);
    });
    let gateway = gateway.await;
    (Bed { app, api, gateway }, folder)
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn envoy_lets_through_whom_tollgate_lets_through() {
    let (bed, _folder) = bed(&[]).await;
    bed.drive(&Traits { limits_of_passed: true, without_tollgate: 503 }).await;
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn envoy_counts_what_its_descriptors_say() {
    let (bed, _folder) = bed(&[("limit = 600", "limit = 2".to_owned())]).await;
    let (one, other) = (bed.app.user().await, bed.app.user().await);
    let (first, second) = (one.key().create().await, one.key().create().await);
    let call = |key: &str| bed.client().call(Method::GET, "/orders").api_key(key);
    assert_eq!(call(&first.key).await.status, 200);
    assert_eq!(call(&second.key).await.status, 200);
    let denied = call(&first.key).await;
    assert_eq!(denied.status, 429, "{}", denied.text());
    assert_eq!(denied.header("x-envoy-ratelimited"), Some("true"), "{:?}", denied.headers);
    assert_eq!(denied.header("retry-after"), Some("60"));
    assert_eq!(bed.api.calls(), 2);
    // Another workspace has its own two; and after its window so has this one.
    let elsewhere = other.key().create().await;
    assert_eq!(call(&elsewhere.key).await.status, 200);
    bed.app.advance(61);
    assert_eq!(call(&second.key).await.status, 200);
    bed.app.finish().await;
}

#[tokio::test]
async fn its_limits_are_for_the_mesh_and_for_all_of_it() {
    let (app, _folder) = limited(&[("limit = 600", "limit = 2".to_owned())]).await;
    let at = app.ratelimit_address().expect("it listens for Envoy in every shape");
    let channel = Endpoint::from_shared(format!("http://{at}")).unwrap().connect().await.unwrap();
    let mut client = RateLimitServiceClient::new(channel);
    let entries = vec![Entry { key: "workspace".into(), value: "ws_1".into() }];
    let descriptors = vec![RateLimitDescriptor { entries, ..RateLimitDescriptor::default() }];
    let question = RateLimitRequest { domain: "api".into(), descriptors, hits_addend: 1 };

    let stranger = client.should_rate_limit(question.clone()).await.expect_err("refused");
    assert_eq!(stranger.code(), tonic::Code::Unauthenticated);
    let mut codes = Vec::new();
    for _ in 0..3 {
        let mut request = Request::new(question.clone());
        request.metadata_mut().insert("x-tollgate-mesh", MESH_TOKEN.parse().unwrap());
        let answer = client.should_rate_limit(request).await.expect("an answer").into_inner();
        codes.push((answer.overall_code(), answer.statuses[0].limit_remaining));
    }
    assert_eq!(codes, [(Code::Ok, 1), (Code::Ok, 0), (Code::OverLimit, 0)]);
    app.finish().await;
}
