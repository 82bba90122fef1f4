//! What a Redis server does to its callers in its life: it forgets scripts, changes its role, runs full, stands still, reads
//! its data, and is set up wrongly. Nobody restarts the role.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tollgate_kernel::{Code, ExposeSecret as _};
use tollgate_proto::ratelimit::{CheckRequest, OnFailure};
use tollgate_ratelimit::{RateLimitService, Settings, Store};
use tollgate_testkit::{MockClock, PrivateRedis, redis_asked};

use crate::support::{PATIENCE, call, charge, check, open, store, until, until_up};

/// A role whose Redis answers, and that waits for its answers as long as it takes.
async fn role(redis: &PrivateRedis) -> Arc<RateLimitService> {
    let service = open(store(redis.url(), "tollgate:", PATIENCE), MockClock::new());
    until_up(&service, true).await;
    service
}

/// One unit of a limit of this many per minute.
pub(crate) fn limited(limit: u64, on_failure: OnFailure) -> CheckRequest {
    let mut charge = charge("minute", limit, 60);
    charge.limit.as_mut().expect("set").on_failure = on_failure.into();
    call(vec![charge])
}

/// What is left of a limit of this many, in Redis.
async fn left(service: &RateLimitService, limit: u64) -> u64 {
    let answer = check(service, CheckRequest { peek: true, ..limited(limit, OnFailure::Deny) }).await;
    answer.expect("Redis answers").limits[0].remaining
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn scripts_that_are_forgotten_in_mid_load_cost_no_answer() {
    let redis = PrivateRedis::start().await;
    let service = role(&redis).await;
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let service = service.clone();
        calls.spawn(async move {
            let mut passed = 0;
            for _ in 0..50 {
                let answer = check(&service, limited(100, OnFailure::Local)).await.expect("decided");
                assert!(!answer.degraded);
                passed += usize::from(answer.allowed);
            }
            passed
        });
    }
    for _ in 0..30 {
        redis.execute("SCRIPT FLUSH").await;
    }
    assert_eq!(calls.join_all().await.into_iter().sum::<usize>(), 100);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_primary_that_becomes_a_replica_is_gone_until_it_is_one_again() {
    let (redis, other) = (PrivateRedis::start().await, PrivateRedis::start().await);
    let service = role(&redis).await;
    assert!(!check(&service, limited(9, OnFailure::Deny)).await.expect("decided").degraded);
    redis.execute(&format!("REPLICAOF 127.0.0.1 {}", other.port())).await;
    let fault = check(&service, limited(9, OnFailure::Deny)).await.expect_err("a replica takes no writes");
    assert_eq!(fault.code(), Code::Unavailable);
    until_up(&service, false).await;
    assert!(check(&service, limited(9, OnFailure::Local)).await.expect("decided").degraded);
    redis.execute("REPLICAOF NO ONE").await;
    until_up(&service, true).await;
    assert!(!check(&service, limited(9, OnFailure::Deny)).await.expect("decided").degraded);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_redis_that_is_full_counts_nothing_by_halves() {
    let redis = PrivateRedis::start().await;
    let service = role(&redis).await;
    let both = |on_failure: OnFailure| {
        let mut request = limited(9, on_failure);
        let mut other = request.charges[0].clone();
        other.limit.as_mut().expect("set").name = "other".into();
        request.charges.push(other);
        request
    };
    check(&service, both(OnFailure::Deny)).await.expect("decided");
    redis.execute("CONFIG SET maxmemory 1").await;
    let fault = check(&service, both(OnFailure::Deny)).await.expect_err("nothing can be written");
    assert_eq!(fault.code(), Code::Unavailable);
    let here = check(&service, both(OnFailure::Local)).await.expect("decided");
    assert_eq!((here.allowed, here.degraded, here.limits[0].remaining), (true, true, 8));
    redis.execute("CONFIG SET maxmemory 0").await;
    let peek = CheckRequest { peek: true, ..both(OnFailure::Deny) };
    let left = check(&service, peek).await.expect("decided").limits;
    assert_eq!(left.iter().map(|limit| limit.remaining).collect::<Vec<_>>(), [8, 8]);
    assert!(!check(&service, both(OnFailure::Local)).await.expect("decided").degraded);
}

/// Holds the server still, in one way or the other, and lets it go on.
async fn stands_still(hold: impl AsyncFn(&PrivateRedis), release: impl AsyncFn(&PrivateRedis)) {
    let redis = PrivateRedis::start().await;
    let impatient = store(redis.url(), "tollgate:", Duration::from_millis(200));
    let service = open(impatient, MockClock::new());
    until_up(&service, true).await;
    let request = || limited(5, OnFailure::Local);
    for _ in 0..3 {
        check(&service, request()).await.expect("decided");
    }
    hold(&redis).await;
    let mut here = 0;
    for _ in 0..20 {
        let answer = check(&service, request()).await.expect("decided");
        assert!(answer.degraded);
        here += u32::from(answer.allowed);
    }
    assert_eq!(here, 2, "a local limit is kept in the process, which remembers what Redis let pass");
    release(&redis).await;
    until(async || !check(&service, request()).await.expect("decided").degraded).await;
    until(async || {
        let answer = check(&service, request()).await.expect("decided");
        !answer.degraded && !answer.allowed
    })
    .await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_process_that_is_stopped_is_gone_until_it_goes_on() {
    stands_still(async |redis| redis.pause(), async |redis| redis.resume()).await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_server_that_holds_writes_back_is_gone_until_it_takes_them() {
    stands_still(
        async |redis| redis.execute("CLIENT PAUSE 600000 WRITE").await,
        async |redis| redis.execute("CLIENT UNPAUSE").await,
    )
    .await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_server_that_reads_its_data_is_gone_until_it_has() {
    // Thirty milliseconds for each of three thousand keys, until the test says otherwise.
    let slowly = [
        "--appendonly",
        "no",
        "--key-load-delay",
        "30000",
        "--loading-process-events-interval-bytes",
        "1024",
        "--rdbcompression",
        "no",
        "--enable-debug-command",
        "yes",
    ];
    let mut redis = PrivateRedis::start_with(&slowly).await;
    let service = role(&redis).await;
    check(&service, limited(9, OnFailure::Deny)).await.expect("decided");
    redis.execute("DEBUG POPULATE 3000 key 1000").await;
    redis.execute("SAVE").await;
    redis.kill();
    let url = redis.url();
    let while_it_reads = async {
        let info = async || redis_asked::<String>(url.expose_secret(), "INFO persistence").await;
        until(async || info().await.is_some_and(|info| info.contains("loading:1"))).await;
        assert!(service.ping().await.is_err());
        assert!(check(&service, limited(9, OnFailure::Local)).await.expect("decided").degraded);
        redis_asked::<String>(url.expose_secret(), "CONFIG SET key-load-delay 0").await.expect("it listens");
    };
    tokio::join!(redis.restart(), while_it_reads);
    until_up(&service, true).await;
    assert_eq!(left(&service, 9).await, 8);
}

/// What a role at this store says about it when it starts.
async fn examined(store: Store) -> Result<(), String> {
    let entropy = Arc::new(tollgate_kernel::OsEntropy);
    let service = RateLimitService::open(Settings { store }, MockClock::new(), entropy).expect("an address");
    service.examine().await.map_err(|fault| fault.message().to_owned())
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_redis_that_evicts_is_refused() {
    let redis = PrivateRedis::start_with(&["--maxmemory-policy", "allkeys-lru"]).await;
    let checked = || store(redis.url(), "tollgate:", PATIENCE);
    let why = examined(checked()).await.expect_err("refused");
    assert!(why.contains("maxmemory-policy") && why.contains("noeviction"), "{why}");

    let mut trusting = checked();
    if let Store::Redis { check_eviction, .. } = &mut trusting {
        *check_eviction = false;
    }
    assert_eq!(examined(trusting).await, Ok(()));

    // One that turns up later with this policy is as if it were gone, until it is mended.
    let service = open(checked(), MockClock::new());
    until_up(&service, false).await;
    assert!(check(&service, limited(9, OnFailure::Local)).await.expect("decided").degraded);
    redis.execute("CONFIG SET maxmemory-policy noeviction").await;
    until_up(&service, true).await;
    assert!(!check(&service, limited(9, OnFailure::Local)).await.expect("decided").degraded);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn every_new_connection_is_examined() {
    let mut redis = PrivateRedis::start().await;
    let service = role(&redis).await;
    redis.execute("CONFIG SET maxmemory-policy allkeys-lru").await;
    assert!(!check(&service, limited(9, OnFailure::Deny)).await.expect("decided").degraded);
    redis_asked::<u64>(redis.url().expose_secret(), "CLIENT KILL TYPE normal SKIPME yes")
        .await
        .expect("done");
    until_up(&service, false).await;
    redis.restart().await;
    until_up(&service, true).await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_redis_that_does_not_say_whether_it_evicts_is_believed() {
    let redis = PrivateRedis::start().await;
    redis.execute("ACL SETUSER role on >secret ~* &* +@all -info -config").await;
    let url = format!("redis://role:secret@127.0.0.1:{}", redis.port());
    let service = open(store(url.into(), "tollgate:", PATIENCE), MockClock::new());
    service.examine().await.expect("nothing is known against it");
    assert!(!check(&service, limited(9, OnFailure::Deny)).await.expect("decided").degraded);
}

#[tokio::test]
async fn nobody_at_the_address_is_no_reason_not_to_start() {
    assert_eq!(examined(store("redis://127.0.0.1:1".into(), "tollgate:", PATIENCE)).await, Ok(()));
}
