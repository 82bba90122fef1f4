//! A primary that its Sentinels fail over to a replica, whose clock is behind.

use std::{sync::Arc, time::Duration};

use tollgate_kernel::{OsEntropy, SystemClock};
use tollgate_proto::{
    RateLimit as _,
    ratelimit::{
        Algorithm, Calendar, Charge, CheckRequest, CheckResponse, Limit, OnFailure, Period, ReserveRequest,
    },
};
use tollgate_ratelimit::{RateLimitService, Settings};
use tollgate_testkit::{MockClock, PrivateRedis, PrivateSentinels};
use tonic::Request;

use crate::{
    faults::limited,
    support::{PATIENCE, call, check, open, store, until, until_up},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_failover_to_a_slower_clock_lets_nothing_pass_too_early() {
    let mut servers = PrivateSentinels::start().await;
    let clock = MockClock::new();
    let service = open(store(servers.url(), "tollgate:", PATIENCE), clock.clone());
    until_up(&service, true).await;
    for _ in 0..2 {
        assert!(check(&service, limited(2, OnFailure::Deny)).await.expect("decided").allowed);
    }
    servers.caught_up().await;
    servers.primary.kill();
    assert!(check(&service, limited(2, OnFailure::Local)).await.expect("decided").degraded);
    // What the clock of the other server says, and goes into its scripts in place of its own.
    clock.turn_back(Duration::from_secs(30));
    servers.failed_over().await;
    until_up(&service, true).await;

    let refused = check(&service, limited(2, OnFailure::Deny)).await.expect("decided");
    assert_eq!((refused.allowed, refused.degraded), (false, false));
    assert_eq!(refused.retry_after_us, 90_000_000, "its window, and as much as the clock is behind");
    clock.advance(Duration::from_micros(refused.retry_after_us - 1));
    assert!(!check(&service, limited(2, OnFailure::Deny)).await.expect("decided").allowed);
    clock.advance(Duration::from_micros(1));
    assert!(check(&service, limited(2, OnFailure::Deny)).await.expect("decided").allowed);

    // The old primary comes back, and is a replica as soon as the Sentinels have seen it.
    servers.primary.restart().await;
    assert!(!check(&service, limited(2, OnFailure::Deny)).await.expect("decided").degraded);
}

/// How far the clock of the replica is behind: more than any of these windows, and than any test takes.
const BEHIND: i64 = 7200;
/// The length of a window, in seconds.
const WINDOW: u32 = 3600;
/// Units of each limit, and what a call costs: three calls pass.
const UNITS: u64 = 3000;
const COST: u64 = 1000;

/// A call with a limit of each kind, each of which lets three of it pass. Its lease ends when that of a window does.
fn of_every_kind() -> CheckRequest {
    let limit = |name: &str, limit: u64, algorithm: Algorithm| Limit {
        name: name.to_owned(),
        limit,
        window_seconds: WINDOW,
        algorithm: algorithm.into(),
        on_failure: OnFailure::Deny.into(),
        ..Limit::default()
    };
    let calendar = Some(Calendar { period: Period::Year.into(), ..Calendar::default() });
    let limits = [
        (limit("fine", 3, Algorithm::SlidingWindow), 1),
        (limit("coarse", UNITS, Algorithm::SlidingWindow), COST),
        (Limit { burst: 3, ..limit("bucket", 1, Algorithm::TokenBucket) }, 1),
        (Limit { calendar, window_seconds: 0, ..limit("year", UNITS, Algorithm::Calendar) }, COST),
        (limit("leases", 3, Algorithm::Concurrency), 1),
    ];
    let charge = |(limit, cost)| Charge { limit: Some(limit), subject: "key".to_owned(), cost };
    call(limits.into_iter().map(charge).collect())
}

/// A process with the clock of the machine, which leaves the time to Redis.
fn process(servers: &PrivateSentinels) -> RateLimitService {
    let settings = Settings { store: store(servers.url(), "tollgate:", PATIENCE) };
    let opened = RateLimitService::open(settings, Arc::new(SystemClock), Arc::new(OsEntropy));
    opened.expect("the settings are right")
}

async fn reserve(service: &RateLimitService, id: &str) -> CheckResponse {
    let call = CheckRequest { request_id: id.to_owned(), ..of_every_kind() };
    let request = ReserveRequest { call: Some(call), hold_seconds: 0 };
    service.reserve(Request::new(request)).await.expect("decided").into_inner()
}

/// The clock of a server, in seconds.
async fn clock(server: &PrivateRedis) -> i64 {
    let time: (i64, i64) = server.ask("TIME").await.expect("it answers");
    time.0
}

/// The latest time that each limit has seen, as its state says it.
async fn newest(server: &PrivateRedis) -> Vec<u64> {
    let mut newest = Vec::new();
    for name in ["fine", "coarse", "bucket", "year", "leases"] {
        let state: Vec<u8> =
            server.ask(&format!("GET tollgate:{{workspace}}:l:{name}:key")).await.expect("it is there");
        newest.push(u64::from_be_bytes(state[9..17].try_into().expect("eight bytes")));
    }
    newest
}

/// The clocks of both servers go on by themselves, and no hand moves any.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_failover_to_a_server_whose_clock_is_hours_behind_admits_nothing_more() {
    let mut servers = PrivateSentinels::start_behind(BEHIND).await;
    let services = [process(&servers), process(&servers)];
    for (service, id) in services.iter().zip(["one", "two"]) {
        until_up(service, true).await;
        assert!(reserve(service, id).await.allowed);
    }
    servers.caught_up().await;
    assert!(clock(&servers.replica).await < clock(&servers.primary).await - i64::from(WINDOW));
    let before = newest(&servers.primary).await;
    servers.primary.kill();
    servers.failed_over().await;
    for service in &services {
        until_up(service, true).await;
        let peek = || CheckRequest { peek: true, ..limited(1, OnFailure::Deny) };
        until(async || check(service, peek()).await.is_ok()).await;
    }
    assert!(reserve(&services[0], "three").await.allowed, "of three");
    let after = newest(&servers.replica).await;
    assert!(before.iter().zip(&after).all(|(before, after)| before <= after), "{before:?}, {after:?}");
    // What was taken comes back when its hour is over by the clock by which it was accepted.
    let hour = u64::from(WINDOW) * 1_000_000;
    for (service, id) in services.iter().zip(["four", "five"]) {
        let refused = reserve(service, id).await;
        assert!(!refused.allowed && !refused.degraded, "{refused:?}");
        for limit in &refused.limits {
            assert!(limit.exceeded && limit.remaining == 0 && limit.reset_us > hour, "{limit:?}");
        }
    }
}
