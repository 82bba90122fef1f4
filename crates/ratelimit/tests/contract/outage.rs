//! Redis is killed, hangs, and comes back: each failure policy does what it says, and nobody restarts anything.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tollgate_kernel::Code;
use tollgate_proto::{
    RateLimit as _,
    ratelimit::{CheckRequest, CheckResponse, OnFailure, ReserveRequest, ResetRequest, SettleRequest},
};
use tollgate_ratelimit::{RateLimitService, Store, Tls};
use tollgate_testkit::{MockClock, PrivateRedis};
use tonic::Request;

use crate::support::{acknowledge, call, charge, check, drain, open, tally};

const PATIENCE: Duration = Duration::from_secs(30);

struct Outage {
    redis: PrivateRedis,
    service: Arc<RateLimitService>,
}

impl Outage {
    /// A role whose Redis answers.
    async fn prepared(answer_within: Duration) -> Self {
        let redis = PrivateRedis::start().await;
        let store = Store::Redis {
            url: redis.url(),
            tls: Tls::default(),
            prefix: "tollgate:".to_owned(),
            timeout: answer_within,
            connect_timeout: Duration::from_secs(5),
            retry_interval: Duration::from_millis(50),
            check_eviction: true,
            max_states: 1_000_000,
            denial_cache: Duration::ZERO,
            charge_ahead: Duration::ZERO,
        };
        let outage = Self { redis, service: open(store, MockClock::new()) };
        outage.until_up(true).await;
        outage
    }

    /// A role whose Redis was killed.
    async fn killed() -> Self {
        let mut outage = Self::prepared(PATIENCE).await;
        outage.redis.kill();
        outage
    }

    /// Asks until the store answers, or until it does not.
    async fn until_up(&self, up: bool) {
        let reached = async {
            while self.service.ping().await.is_ok() != up {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("in time");
    }

    async fn check(&self, request: CheckRequest) -> CheckResponse {
        check(&self.service, request).await.expect("decided")
    }

    /// How many calls are in the tallies, which are forgotten.
    async fn tallied(&self) -> u64 {
        let mut calls = 0;
        while let Some(batch) = drain(&self.service).await.expect("drained") {
            calls += batch.rows.iter().map(|row| row.count).sum::<u64>();
            acknowledge(&self.service, &batch.id).await.expect("acknowledged");
        }
        calls
    }
}

/// One unit of each of these limits: a name, how many per minute, and what happens without a store.
fn charged(limits: &[(&str, u64, OnFailure)]) -> CheckRequest {
    let charges = limits.iter().map(|(name, limit, on_failure)| {
        let mut charge = charge(name, *limit, 60);
        charge.limit.as_mut().expect("set").on_failure = (*on_failure).into();
        charge
    });
    CheckRequest { tally: Some(tally("key")), ..call(charges.collect()) }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_local_limit_is_kept_in_the_process() {
    let mut outage = Outage::prepared(PATIENCE).await;
    let request = || charged(&[("minute", 2, OnFailure::Local)]);
    assert!(!outage.check(request()).await.degraded);
    outage.redis.kill();
    // The process knows of what it let pass before: of two, one is left.
    let answers = [outage.check(request()).await, outage.check(request()).await];
    assert!(answers.iter().all(|answer| answer.degraded));
    assert_eq!(answers.map(|answer| answer.allowed), [true, false]);

    outage.redis.restart().await;
    outage.until_up(true).await;
    let after = outage.check(request()).await;
    assert_eq!((after.allowed, after.degraded), (true, false), "Redis knows of one unit");
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn an_outage_begins_with_what_this_process_let_pass() {
    let mut outage = Outage::prepared(PATIENCE).await;
    let request = || charged(&[("minute", 10, OnFailure::Local), ("open", 10, OnFailure::Allow)]);
    let peek = || CheckRequest { peek: true, ..request() };
    let retried = || CheckRequest { request_id: "once".to_owned(), ..request() };
    for _ in 0..6 {
        assert!(outage.check(request()).await.allowed);
        assert!(outage.check(peek()).await.allowed);
    }
    let first = outage.check(retried()).await;
    assert_eq!(outage.check(retried()).await, first, "a retry, which takes nothing");
    assert_eq!(outage.tallied().await, 7, "nothing was tallied twice");
    outage.redis.kill();
    assert_eq!(outage.check(retried()).await, first, "it is remembered here, too");
    let remaining = |answer: &CheckResponse| answer.limits.iter().map(|it| it.remaining).collect::<Vec<_>>();
    assert_eq!(
        remaining(&outage.check(peek()).await),
        [3, 10],
        "nothing is known of what lets everything pass"
    );
    for _ in 0..3 {
        assert!(outage.check(request()).await.allowed);
    }
    assert!(!outage.check(request()).await.allowed);

    let settle = SettleRequest {
        partition: "workspace".to_owned(),
        request_id: "once".to_owned(),
        costs: [("minute".to_owned(), 0)].into(),
    };
    let status = outage.service.settle(Request::new(settle)).await.expect_err("it was accepted there");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(outage.check(request()).await.allowed, "yet what it did not cost is given back here");
    assert!(!outage.check(request()).await.allowed);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_deny_limit_refuses_the_call() {
    let mut outage = Outage::killed().await;
    let limits =
        [("open", 9, OnFailure::Allow), ("strict", 9, OnFailure::Deny), ("here", 9, OnFailure::Local)];
    let fault = check(&outage.service, charged(&limits)).await.expect_err("refused");
    assert_eq!(fault.code(), Code::Unavailable);
    assert!(!fault.message().contains("Redis"), "what is behind the role is not for the public: {fault}");

    outage.redis.restart().await;
    outage.until_up(true).await;
    assert!(outage.check(charged(&limits)).await.allowed);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn an_allow_limit_lets_pass() {
    let mut outage = Outage::killed().await;
    let request = || charged(&[("minute", 1, OnFailure::Allow)]);
    for _ in 0..3 {
        let answer = outage.check(request()).await;
        assert_eq!((answer.allowed, answer.degraded, answer.limits[0].remaining), (true, true, 1));
    }
    outage.redis.restart().await;
    outage.until_up(true).await;
    assert!(outage.check(request()).await.allowed);
    assert!(!outage.check(request()).await.allowed);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn what_is_reserved_in_an_outage_is_settled_in_the_process() {
    let outage = Outage::killed().await;
    let limits = [("open", 9, OnFailure::Allow), ("here", 9, OnFailure::Local)];
    let call = CheckRequest { request_id: "id".to_owned(), ..charged(&limits) };
    let reserve = ReserveRequest { call: Some(call), hold_seconds: 0 };
    outage.service.reserve(Request::new(reserve)).await.expect("decided");
    let settle = |id: &str| {
        let costs = [("open", 0), ("here", 0)].map(|(name, cost)| (name.to_owned(), cost));
        SettleRequest { partition: "workspace".to_owned(), request_id: id.to_owned(), costs: costs.into() }
    };
    for _ in 0..2 {
        let settled = outage.service.settle(Request::new(settle("id"))).await.expect("settled");
        assert_eq!(settled.into_inner().returned, [0, 1], "nothing was taken of what let everything pass");
    }
    let status = outage.service.settle(Request::new(settle("other"))).await.expect_err("it may be in Redis");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let names = vec!["here".to_owned()];
    let reset = ResetRequest { partition: "workspace".to_owned(), subject: "key".to_owned(), names };
    let status = outage.service.reset(Request::new(reset)).await.expect_err("it is in Redis, too");
    assert_eq!(status.code(), tonic::Code::Unavailable);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_limit_that_is_only_watched_refuses_nobody() {
    let outage = Outage::killed().await;
    let mut request = charged(&[("watched", 1, OnFailure::Deny), ("here", 3, OnFailure::Local)]);
    request.charges[0].limit.as_mut().expect("set").shadow = true;
    for left in (0..3).rev() {
        let answer = outage.check(request.clone()).await;
        assert!(answer.allowed && answer.degraded);
        assert_eq!(answer.limits[1].remaining, left);
    }
    assert!(!outage.check(request).await.allowed);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn policies_mix_in_one_call() {
    let outage = Outage::killed().await;
    let request = || {
        charged(&[
            ("open", 1, OnFailure::Allow),
            ("first", 3, OnFailure::Local),
            ("second", 2, OnFailure::Local),
        ])
    };
    outage.check(request()).await;
    let last = outage.check(request()).await;
    assert_eq!(last.limits.iter().map(|limit| limit.remaining).collect::<Vec<_>>(), [1, 1, 0]);
    let refused = outage.check(request()).await;
    assert_eq!(refused.denied_by.as_deref(), Some("second"));
    assert_eq!(refused.limits.iter().map(|limit| limit.remaining).collect::<Vec<_>>(), [1, 1, 0]);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn what_is_counted_in_an_outage_is_drained() {
    let mut outage = Outage::prepared(PATIENCE).await;
    let request = || charged(&[("minute", 9, OnFailure::Local)]);
    outage.check(request()).await;
    outage.redis.kill();
    outage.check(request()).await;
    let only_counted = outage.check(charged(&[])).await;
    assert!(only_counted.allowed && !only_counted.degraded, "no limit was decided without its store");

    let local = drain(&outage.service).await.expect("no Redis is needed").expect("a batch");
    assert_eq!(local.rows.iter().map(|row| row.count).sum::<u64>(), 2);
    acknowledge(&outage.service, &local.id).await.expect("no Redis is needed");
    let fault = drain(&outage.service).await.expect_err("the rest is in Redis");
    assert_eq!(fault.code(), Code::Unavailable);

    outage.redis.restart().await;
    outage.until_up(true).await;
    let kept = timeout(PATIENCE, async {
        loop {
            // The drain has a connection of its own, which comes back at its own time.
            if let Ok(batch) = drain(&outage.service).await {
                return batch;
            }
            tokio::task::yield_now().await;
        }
    });
    let kept = kept.await.expect("in time").expect("a batch");
    assert_eq!(kept.rows.iter().map(|row| row.count).sum::<u64>(), 1);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_redis_that_hangs_costs_few_calls_their_time() {
    let outage = Outage::prepared(Duration::from_secs(1)).await;
    let request = || charged(&[("minute", 1000, OnFailure::Local)]);
    outage.redis.pause();
    // Each of these waits for its second only as long as nobody has found out.
    let many = async {
        for _ in 0..500 {
            assert!(outage.check(request()).await.degraded);
        }
    };
    timeout(PATIENCE, many).await.expect("only the first calls wait");
    outage.redis.resume();
    outage.until_up(true).await;
    assert!(!outage.check(request()).await.degraded);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_role_starts_without_its_redis() {
    let mut redis = PrivateRedis::start().await;
    redis.kill();
    let store = Store::Redis {
        url: redis.url(),
        tls: Tls::default(),
        prefix: "tollgate:".to_owned(),
        timeout: PATIENCE,
        connect_timeout: Duration::from_secs(5),
        retry_interval: Duration::from_millis(50),
        check_eviction: true,
        max_states: 1_000_000,
        denial_cache: Duration::ZERO,
        charge_ahead: Duration::ZERO,
    };
    let outage = Outage { redis, service: open(store, MockClock::new()) };
    assert!(outage.service.ping().await.is_err());
    assert!(outage.check(charged(&[("minute", 1, OnFailure::Local)])).await.degraded);
    let mut outage = outage;
    outage.redis.restart().await;
    outage.until_up(true).await;
    assert!(!outage.check(charged(&[("minute", 1, OnFailure::Local)])).await.degraded);
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_repeating_it() {
    let store = Store::Redis {
        url: "postgres://user:hunter2@host/db".into(),
        tls: Tls::default(),
        prefix: "tollgate:".to_owned(),
        timeout: PATIENCE,
        connect_timeout: PATIENCE,
        retry_interval: PATIENCE,
        check_eviction: true,
        max_states: 1_000_000,
        denial_cache: Duration::ZERO,
        charge_ahead: Duration::ZERO,
    };
    let settings = tollgate_ratelimit::Settings { store };
    let opened = RateLimitService::open(settings, MockClock::new(), Arc::new(tollgate_kernel::OsEntropy));
    let fault = opened.expect_err("refused");
    assert_eq!(fault.code(), Code::InvalidArgument);
    assert!(!format!("{fault:?}").contains("hunter2"));
}
