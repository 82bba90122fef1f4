//! Who tries at every moment gets what the limit says, and not one unit more.

use std::time::Duration;

use tollgate_kernel::{Clock, SystemClock};
use tollgate_proto::ratelimit::{Algorithm, CheckRequest, CheckResponse};

use crate::reservations::{ALGORITHMS, ten};
use crate::support::{Role, call, charge, on_every_counter, tally};

const LIMIT: u64 = 10;
const WINDOW: i64 = 60_000_000;

/// The most units in any window that begins with an accepted one; no other holds more.
fn most_in_any_window(accepted: &[i64]) -> usize {
    let within = |start: i64| accepted.iter().filter(|at| (start..start + WINDOW).contains(*at)).count();
    accepted.iter().map(|at| within(*at)).max().unwrap_or(0)
}

/// Tries `LIMIT` times at one instant after a rest, then once per step for three windows and a little.
async fn attack(role: &Role, rest: Duration, step: Duration) -> Vec<i64> {
    let mut accepted = Vec::new();
    role.clock.advance(rest);
    let start = role.clock.now().timestamp_micros();
    let attempt = async || {
        let answer = role.check(call(vec![charge("minute", LIMIT, 60)])).await;
        (answer.allowed, role.clock.now().timestamp_micros())
    };
    for _ in 0..LIMIT {
        let (allowed, now) = attempt().await;
        assert!(allowed);
        accepted.push(now);
    }
    let end = start + 3 * WINDOW + i64::try_from(u128::from(LIMIT) * step.as_micros()).expect("short");
    loop {
        role.clock.advance(step);
        let (allowed, now) = attempt().await;
        if now >= end {
            return accepted;
        }
        if allowed {
            accepted.push(now);
        }
    }
}

/// Four phases against the clock's seconds and minutes, one try per so many milliseconds.
async fn gets_no_more(role: Role, steps: [u64; 4]) {
    for (rest, step) in [90_000_000, 75_250_000, 60_500_001, 119_999_999].into_iter().zip(steps) {
        let accepted = attack(&role, Duration::from_micros(rest), Duration::from_millis(step)).await;
        assert_eq!(accepted.len() as u64, LIMIT + 3 * LIMIT, "after a rest of {rest} µs");
        assert_eq!(most_in_any_window(&accepted) as u64, LIMIT);
        role.clock.advance(Duration::from_mins(1));
    }
}

#[tokio::test]
async fn the_adversary_of_a_process_gets_no_more() {
    gets_no_more(Role::memory(), [1; 4]).await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn the_adversary_of_redis_gets_no_more() {
    // Each try is a round trip.
    gets_no_more(Role::redis(), [50, 100, 100, 100]).await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn the_adversary_of_a_cluster_gets_no_more() {
    let cluster = tollgate_testkit::PrivateCluster::start(0).await;
    gets_no_more(Role::at(cluster.url(), "tollgate:"), [100, 200, 200, 200]).await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn the_adversary_of_believed_denials_gets_no_more() {
    gets_no_more(Role::redis_behind(Duration::from_millis(250)), [10, 20, 20, 20]).await;
}

async fn denied(role: &Role, cost: u64) -> CheckResponse {
    let mut charge = charge("minute", LIMIT, 60);
    charge.cost = cost;
    role.check(call(vec![charge])).await
}

/// One way to ask for more: the same limit of ten, whatever its algorithm.
async fn asked(role: &Role, algorithm: Algorithm, cost: u64, id: &str) -> CheckResponse {
    role.check(CheckRequest { request_id: id.to_owned(), ..call(vec![ten(algorithm, cost)]) }).await
}

on_every_counter! {
    async fn retrying_passes_exactly_when_it_was_promised(role: Role) {
        for pause in [0, 1, 250_000, 1, 0, 7_000_003] {
            role.clock.advance(Duration::from_micros(pause));
            assert!(denied(&role, 1).await.allowed);
        }
        for cost in [5, 7, 10] {
            let wait = denied(&role, cost).await.retry_after_us;
            role.clock.advance(Duration::from_micros(wait - 1));
            let early = denied(&role, cost).await;
            assert_eq!((early.allowed, early.retry_after_us), (false, 1), "cost {cost}");
            role.clock.advance(Duration::from_micros(1));
            assert!(denied(&role, cost).await.allowed, "cost {cost}");
        }
    }

    async fn every_algorithm_keeps_its_promises(role: Role) {
        for algorithm in ALGORITHMS {
            // Whatever was counted before has gone.
            role.clock.advance(Duration::from_hours(48));
            for (number, pause) in [0, 1, 250_000, 1, 0, 7_000_003].into_iter().enumerate() {
                role.clock.advance(Duration::from_micros(pause));
                assert!(asked(&role, algorithm, 1, &format!("{algorithm:?} {number}")).await.allowed);
            }
            for cost in [6, 7, 10] {
                let id = format!("{algorithm:?} later {cost}");
                let wait = asked(&role, algorithm, cost, &id).await.retry_after_us;
                assert!(wait > 1000, "{algorithm:?}, cost {cost}: {wait}");
                role.clock.advance(Duration::from_micros(wait - 1000));
                assert!(!asked(&role, algorithm, cost, &id).await.allowed, "a millisecond early: {algorithm:?}");
                role.clock.advance(Duration::from_micros(999));
                let early = asked(&role, algorithm, cost, &id).await;
                assert_eq!((early.allowed, early.retry_after_us), (false, 1), "{algorithm:?}, cost {cost}");
                role.clock.advance(Duration::from_micros(1));
                assert!(asked(&role, algorithm, cost, &id).await.allowed, "{algorithm:?}, cost {cost}");
            }
        }
    }

    async fn all_limits_are_charged_or_none(role: Role) {
        let both = || call(vec![charge("wide", 5, 60), charge("narrow", 1, 30)]);
        let first = role.check(both()).await;
        assert!(first.allowed);
        assert_eq!(first.limits.iter().map(|limit| limit.remaining).collect::<Vec<_>>(), [4, 0]);
        for _ in 0..3 {
            let refused = role.check(both()).await;
            assert_eq!(refused.denied_by.as_deref(), Some("narrow"));
            assert_eq!(refused.retry_after_us, 30_000_000);
            assert_eq!(refused.limits[0].remaining, 4, "a denied call takes nothing");
            assert_eq!(refused.limits[0].reset_us, 60_000_000);
        }
    }

    async fn of_limits_that_wait_equally_long_the_first_is_named(role: Role) {
        let both = || call(vec![charge("one", 1, 60), charge("other", 1, 60)]);
        assert!(role.check(both()).await.allowed);
        assert_eq!(role.check(both()).await.denied_by.as_deref(), Some("one"));
    }

    async fn a_peek_changes_nothing(role: Role) {
        let mut peek = call(vec![charge("minute", 1, 60)]);
        peek.peek = true;
        peek.tally = Some(tally("key"));
        for _ in 0..3 {
            let answer = role.check(peek.clone()).await;
            assert!(answer.allowed);
            assert_eq!(answer.limits[0].remaining, 1);
        }
        assert_eq!(role.drain().await, None);
        assert!(role.check(call(vec![charge("minute", 1, 60)])).await.allowed);
        assert!(!role.check(peek).await.allowed);
    }

    async fn partitions_subjects_and_names_are_apart(role: Role) {
        let of = |partition: &str, subject: &str, name: &str| {
            let mut request = call(vec![charge(name, 1, 60)]);
            request.partition = partition.into();
            request.charges[0].subject = subject.into();
            request
        };
        let all = [("p", "s", "n"), ("p2", "s", "n"), ("p", "s2", "n"), ("p", "s", "n2"), ("p", "n:s", "n"), ("p", "s", "n-n")];
        for (partition, subject, name) in all {
            assert!(role.check(of(partition, subject, name)).await.allowed, "{partition} {subject} {name}");
            assert!(!role.check(of(partition, subject, name)).await.allowed, "{partition} {subject} {name}");
        }
    }

    async fn a_coarse_limit_is_never_too_generous_and_late_by_a_grain_at_most(role: Role) {
        const MANY: u64 = 6000;
        let grain = WINDOW / 60;
        let mut accepted: Vec<(i64, u64)> = Vec::new();
        let mut denied = 0;
        for step in 0..2000_u64 {
            // About a twentieth of a second each, and never in step with the grains.
            role.clock.advance(Duration::from_micros(40_000 + step * 7919 % 30_000));
            let now = role.clock.now().timestamp_micros();
            let cost = 1 + step * 31 % 17;
            let mut charge = charge("coarse", MANY, 60);
            charge.cost = cost;
            let passes = role.check(call(vec![charge])).await.allowed;
            let since = |start: i64| accepted.iter().filter(|(at, _)| *at > start).map(|(_, units)| units).sum::<u64>();
            if passes {
                assert!(since(now - WINDOW) + cost <= MANY, "step {step}");
                accepted.push((now, cost));
            } else {
                denied += 1;
                assert!(since(now - WINDOW - grain) + cost > MANY, "step {step}: denied too long");
            }
        }
        assert!((100..1900).contains(&denied), "{denied}");
    }

    async fn the_largest_limit_is_exact(role: Role) {
        let mut large = charge("large", 1024, 34_560_000);
        large.cost = 1023;
        assert_eq!(role.check(call(vec![large.clone()])).await.limits[0].remaining, 1);
        large.cost = 1;
        role.clock.advance(Duration::from_micros(1));
        assert!(role.check(call(vec![large.clone()])).await.allowed);
        let refused = role.check(call(vec![large.clone()])).await;
        assert_eq!(refused.retry_after_us, 34_560_000_000_000 - 1);
        assert_eq!(refused.limits[0].reset_us, 34_560_000_000_000);
    }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn without_a_hand_on_it_time_is_the_server_s() {
    let redis = tollgate_testkit::TestRedis::shared();
    let store = tollgate_ratelimit::Store::Redis {
        url: redis.url(),
        tls: tollgate_ratelimit::Tls::default(),
        prefix: redis.prefix().to_owned(),
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(30),
        retry_interval: Duration::from_millis(100),
        check_eviction: true,
        max_states: 1_000_000,
        denial_cache: Duration::ZERO,
        charge_ahead: Duration::ZERO,
    };
    let settings = tollgate_ratelimit::Settings { store };
    let entropy = std::sync::Arc::new(tollgate_kernel::OsEntropy);
    let service =
        tollgate_ratelimit::RateLimitService::open(settings, std::sync::Arc::new(SystemClock), entropy);
    let service = service.expect("the settings are right");
    for left in (0..LIMIT).rev() {
        let answer = crate::support::check(&service, call(vec![charge("day", LIMIT, 86_400)])).await;
        assert_eq!(answer.expect("decided").limits[0].remaining, left);
    }
    let refused =
        crate::support::check(&service, call(vec![charge("day", LIMIT, 86_400)])).await.expect("decided");
    assert!((86_000_000_000..=86_400_000_000).contains(&refused.retry_after_us), "{refused:?}");
}
