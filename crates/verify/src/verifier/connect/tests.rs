//! The example service, verifying in process against roles behind a socket.

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::{task::yield_now, time::timeout};
use tollgate_kernel::{ExposeSecret as _, OsEntropy};
use tollgate_proto::{identity, mesh::MeshToken};
use tower::ServiceExt as _;

use super::{far::Far, *};
use crate::{
    Admission, KeyKind, Subject, mint,
    protected_api::routes,
    recorded::Recorded,
    verifier::fixture::{Fixture, KEY, SESSION, USER, revoked},
};

const LEASE: Duration = Duration::from_secs(1);

struct Service {
    it: Fixture,
    far: Far,
    verifier: Verifier,
    router: Router,
    key: String,
    token: String,
}

impl Service {
    async fn start() -> Self {
        let it = Fixture::new();
        let far = Far::start(it.roles.clone());
        let address = format!("http://{}", far.address).parse().expect("an address");
        let remote = Remote { address, mesh: MeshToken::default(), timeout: Duration::from_secs(5) };
        let endpoints = Endpoints { keys: remote.clone(), identity: remote };
        let rules = TokenRules { issuer: "us".into(), audience: "you".into() };
        let verifier = Verifier::connect(&endpoints, rules, LEASE, 100_000, it.clock.clone());
        let router = routes(&Admission::new(verifier.clone()));
        let key = mint(KeyKind::Live, &OsEntropy).key.expose_secret().to_owned();
        let token = it.sign("one");
        let service = Self { it, far, verifier, router, key, token };
        eventually(async || service.verifier.trusts_its_cache()).await;
        service
    }

    async fn get(&self, path: &str, credential: &str) -> (StatusCode, String) {
        get(&self.router, path, credential).await
    }
}

async fn get(router: &Router, path: &str, credential: &str) -> (StatusCode, String) {
    let request = Request::get(path).header("authorization", format!("Bearer {credential}"));
    let Ok(response) = router.clone().oneshot(request.body(Body::empty()).expect("a request")).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// Asks again until it is so.
async fn eventually(mut so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !so().await {
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), asking).await.expect("it comes true in time");
}

#[tokio::test]
async fn each_route_lets_its_own_kind_in() {
    let service = Service::start().await;
    let (by_user, by_key) = (format!(r#"{{"user":"{USER}"}}"#), format!(r#"{{"key":"{KEY}","scopes":[]}}"#));
    for (path, user, key) in [("/user", 200, 401), ("/key", 401, 200), ("/either", 200, 200)] {
        let (status, body) = service.get(path, &service.token).await;
        assert_eq!((status.as_u16(), status != 200 || body == by_user), (user, true), "{path}: {body}");
        let (status, body) = service.get(path, &service.key).await;
        assert_eq!((status.as_u16(), status != 200 || body == by_key), (key, true), "{path}: {body}");
    }
}

#[tokio::test]
async fn once_a_revoking_has_returned_the_next_call_is_refused() {
    let service = Service::start().await;
    for credential in [&service.key, &service.token] {
        assert_eq!(service.get("/either", credential).await.0, 200);
    }
    service.it.roles.key.answers(revoked(&service.it.clock));
    service.far.log.publish(Subject::Key(KEY)).await;
    assert_eq!(service.get("/either", &service.key).await.0, 401);
    service.it.roles.session.answers(identity::ResolveSessionResponse { session: None });
    service.far.log.publish(Subject::Session(SESSION)).await;
    assert_eq!(service.get("/either", &service.token).await.0, 401);
}

#[tokio::test]
async fn cut_off_it_refuses_with_503_after_the_lease() {
    let service = Service::start().await;
    for credential in [&service.key, &service.token] {
        assert_eq!(service.get("/either", credential).await.0, 200);
    }
    drop(service.far);
    // The leases of the two roles do not end at the same moment.
    let inner = &service.verifier.0;
    eventually(async || !(inner.trust_keys)() && !(inner.trust_identity)()).await;
    for credential in [&service.key, &service.token] {
        assert_eq!(get(&service.router, "/either", credential).await.0, 503);
    }
}

#[tokio::test]
async fn following_ends_with_the_last_clone() {
    let Service { far, verifier, router, .. } = Service::start().await;
    assert_eq!(far.log.watchers(), 2);
    drop(verifier);
    assert_eq!(far.log.watchers(), 2, "the routes hold it too");
    drop(router);
    eventually(async || far.log.watchers() == 0).await;
}

#[tokio::test]
async fn how_old_the_last_heartbeat_is_can_be_seen() {
    let recorded = Recorded::default();
    let _here = metrics::set_default_local_recorder(&recorded);
    let service = Service::start().await;
    let age = |role| recorded.gauge(&format!("tollgate_verify_heartbeat_age_seconds {role}"));
    drop(service.far);
    eventually(async || ["keys", "identity"].into_iter().all(|role| age(role) > LEASE.as_secs_f64())).await;
    assert!(!service.verifier.trusts_its_cache());
}
