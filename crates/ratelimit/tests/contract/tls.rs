//! Redis over TLS: a server, the nodes of a Cluster, and what Sentinels watch; and who is not believed to be one.

use std::sync::Arc;

use tokio::task::JoinSet;
use tollgate_kernel::{Code, OsEntropy, SecretString};
use tollgate_proto::ratelimit::{CheckRequest, OnFailure};
use tollgate_ratelimit::{RateLimitService, Settings, Store, Tls};
use tollgate_testkit::{Authority, MockClock, PrivateCluster, PrivateRedis, PrivateSentinels};

use crate::{
    faults::limited,
    support::{PATIENCE, check, open, store, until, until_up},
};

/// A store at this address, whose servers this authority vouches for.
fn vouched(url: SecretString, authority: &Authority) -> Store {
    with(url, Tls { ca_file: authority.file(), ..Tls::default() })
}

fn with(url: SecretString, files: Tls) -> Store {
    let mut store = store(url, "tollgate:", PATIENCE);
    if let Store::Redis { tls, .. } = &mut store {
        *tls = files;
    }
    store
}

/// How many of so many calls pass, all in flight at once and dealt out to the services.
async fn passed(services: &[Arc<RateLimitService>], calls: usize, request: &CheckRequest) -> usize {
    let mut tasks = JoinSet::new();
    for number in 0..calls {
        let (service, request) = (services[number % services.len()].clone(), request.clone());
        tasks.spawn(async move {
            let answer = check(&service, request).await.expect("decided");
            assert!(!answer.degraded);
            answer.allowed
        });
    }
    tasks.join_all().await.into_iter().filter(|allowed| *allowed).count()
}

/// What is not believed to be our Redis counts nothing, and each limit's failure policy holds.
async fn is_refused(store: Store) {
    let service = open(store, MockClock::new());
    assert!(service.ping().await.is_err());
    let refused = check(&service, limited(9, OnFailure::Deny)).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unavailable);
    let here = check(&service, limited(9, OnFailure::Local)).await.expect("decided");
    assert_eq!((here.allowed, here.degraded), (true, true));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn over_tls_two_processes_count_exactly() {
    let authority = Authority::new();
    let mut redis = PrivateRedis::start_tls(&authority, &[]).await;
    let clock = MockClock::new();
    let services = [(); 2].map(|()| open(vouched(redis.tls_url(), &authority), clock.clone()));
    assert_eq!(passed(&services, 500, &limited(100, OnFailure::Deny)).await, 100);
    redis.restart().await;
    until_up(&services[0], true).await;
    let after = check(&services[0], limited(100, OnFailure::Deny)).await.expect("decided");
    assert!(!after.allowed, "it is connected to again, and knows what it has counted");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn whom_nobody_vouches_for_is_as_if_he_were_gone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = PrivateRedis::start_tls(&authority, &[]).await;
    is_refused(vouched(redis.tls_url(), &other)).await;
    // It is vouched for, and not by this name.
    let by_name = format!("rediss://localhost:{}", redis.port());
    is_refused(vouched(by_name.into(), &authority)).await;
    // A connection without TLS, where it is spoken, and one with it, where it is not.
    is_refused(store(redis.url(), "tollgate:", PATIENCE)).await;
    let plain = PrivateRedis::start().await;
    let over_tls = format!("rediss://{}", plain.address());
    is_refused(vouched(over_tls.into(), &authority)).await;
    let commands: String = redis.ask("INFO commandstats").await.expect("it answers");
    assert!(!commands.contains("cmdstat_eval"), "nothing was counted there: {commands}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_server_may_ask_who_calls() {
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = PrivateRedis::start_tls(&authority, &["--tls-auth-clients", "yes"]).await;
    is_refused(vouched(redis.tls_url(), &authority)).await;
    let as_one_of = |of: &Authority| {
        let own = of.certify(&["tollgate"]);
        let (client_cert_file, client_key_file) = (own.certificate, own.key);
        with(redis.tls_url(), Tls { ca_file: authority.file(), client_cert_file, client_key_file })
    };
    is_refused(as_one_of(&other)).await;
    let service = open(as_one_of(&authority), MockClock::new());
    assert!(!check(&service, limited(9, OnFailure::Deny)).await.expect("decided").degraded);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn every_node_of_a_cluster_is_spoken_to_over_tls() {
    let authority = Authority::new();
    let cluster = PrivateCluster::start_tls(&authority).await;
    let clock = MockClock::new();
    let services = [(); 2].map(|()| open(vouched(cluster.url(), &authority), clock.clone()));
    for number in 0..30 {
        let partition = format!("workspace-{number}");
        let request = CheckRequest { partition, ..limited(10, OnFailure::Deny) };
        assert_eq!(passed(&services, 50, &request).await, 10);
    }
    for node in &cluster.nodes {
        let commands: String = node.ask("INFO commandstats").await.expect("it answers");
        assert!(commands.contains("cmdstat_eval"), "each has some of them: {commands}");
    }
    is_refused(vouched(cluster.url(), &Authority::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_failover_is_followed_over_tls() {
    let authority = Authority::new();
    let mut servers = PrivateSentinels::start_tls(&authority).await;
    let service = open(vouched(servers.url(), &authority), MockClock::new());
    until_up(&service, true).await;
    assert!(check(&service, limited(1, OnFailure::Deny)).await.expect("decided").allowed);
    servers.caught_up().await;
    servers.primary.kill();
    servers.failed_over().await;
    until_up(&service, true).await;
    until(async || check(&service, limited(1, OnFailure::Deny)).await.is_ok()).await;
    assert!(!check(&service, limited(1, OnFailure::Deny)).await.expect("decided").allowed);
    is_refused(vouched(servers.url(), &Authority::new())).await;
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named_at_the_start() {
    let authority = Authority::new();
    let own = authority.certify(&["tollgate"]);
    let missing = authority.file().with_extension("gone");
    let opened = |tls: Tls| {
        let store = with("rediss://user:hunter2@127.0.0.1:1".into(), tls);
        let opened = RateLimitService::open(Settings { store }, MockClock::new(), Arc::new(OsEntropy));
        opened.map(drop).map_err(|fault| fault.message().to_owned())
    };
    let trusting = || Tls { ca_file: authority.file(), ..Tls::default() };
    assert_eq!(opened(trusting()), Ok(()));
    for (tls, wrong) in [
        (Tls { ca_file: missing.clone(), ..Tls::default() }, &missing),
        (Tls { ca_file: own.key.clone(), ..Tls::default() }, &own.key),
        (Tls { client_cert_file: own.key.clone(), client_key_file: own.key.clone(), ..trusting() }, &own.key),
        (
            Tls {
                client_cert_file: own.certificate.clone(),
                client_key_file: own.certificate.clone(),
                ..trusting()
            },
            &own.certificate,
        ),
    ] {
        let why = opened(tls).expect_err("refused");
        assert!(why.contains(&*wrong.to_string_lossy()) && !why.contains("hunter2"), "{why}");
    }
    let half = Tls { client_cert_file: own.certificate, ..trusting() };
    assert!(opened(half).expect_err("refused").contains("both"));
}
