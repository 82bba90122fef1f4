//! What is charged ahead lets nothing more pass, keeps nothing back, and is heard by every change.

use std::{collections::VecDeque, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use tollgate_kernel::Clock;
use tollgate_proto::{
    RateLimit,
    ratelimit::{
        Algorithm, Calendar, Charge, CheckRequest, Limit, OnFailure, Override, Period, PutOverrideRequest,
        ResetRequest,
    },
    time::to_wire,
};
use tollgate_ratelimit::RateLimitService;
use tollgate_testkit::{PrivateCluster, PrivateRedis};
use tonic::Request;

use crate::support::{Role, acknowledge, call, charge, check, drain, tally, until, until_up};

/// How long a block lasts.
const BLOCK: Duration = Duration::from_millis(100);
/// Six seconds, of which a grain is a tenth.
const WINDOW: i64 = 6_000_000;
const GRAIN: i64 = WINDOW / 60;
const DAY: i64 = 86_400_000_000;
/// A block is a sixteenth of what is left at most.
const PART: u64 = 16;

/// The clock is moved, then a process does something.
#[derive(Debug, Clone)]
struct Step {
    moved: i64,
    process: usize,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    /// So many calls of this cost.
    Calls(u32, u64),
    /// It ends, and another takes its place.
    Restart,
    /// It is gone with all that it had charged ahead, and another takes its place.
    Kill,
}

fn steps(kills: bool) -> impl Strategy<Value = Vec<Step>> {
    let moves = vec![0, 0, 1, 3_000, 20_000, 49_999, 99_999, 100_000, 100_001, 250_000, 5_900_000, 6_000_000];
    let calls =
        (1..60_u32, select(vec![1_u64, 1, 1, 2, 7])).prop_map(|(calls, cost)| Action::Calls(calls, cost));
    let ends = select(if kills { vec![Action::Kill, Action::Restart] } else { vec![Action::Restart] });
    let action = prop_oneof![20 => calls, 1 => ends];
    let step = (select(moves), 0..3_usize, action);
    vec(step.prop_map(|(moved, process, action)| Step { moved, process, action }), 20..60)
}

/// Several processes on one store, and what they accepted of each limit.
struct Processes {
    role: Role,
    services: Vec<Arc<RateLimitService>>,
    /// So many in any window, and so many a day.
    limits: (u64, u64),
    accepted: VecDeque<(i64, u64)>,
    calls: (u64, u64),
    /// The most that is lost with processes that were killed.
    lost: u64,
}

impl Processes {
    fn new(role: Role, limits: (u64, u64)) -> Self {
        let services = (0..3).map(|_| role.another()).collect();
        Self { role, services, limits, accepted: VecDeque::new(), calls: (0, 0), lost: 0 }
    }

    fn now(&self) -> i64 {
        self.role.clock.now().timestamp_micros()
    }

    fn request(&self, cost: u64) -> CheckRequest {
        let day = Limit {
            name: "day".to_owned(),
            limit: self.limits.1,
            algorithm: Algorithm::Calendar.into(),
            calendar: Some(Calendar { period: Period::Day.into(), ..Calendar::default() }),
            ..Limit::default()
        };
        let of = |limit| Charge { limit: Some(limit), subject: "key".to_owned(), cost };
        let window = charge("window", self.limits.0, 6).limit.expect("set");
        CheckRequest { tally: Some(tally("key")), ..call(vec![of(window), of(day)]) }
    }

    /// Units that were accepted after this time.
    fn since(&self, start: i64) -> u64 {
        self.accepted.iter().filter(|(at, _)| *at > start).map(|(_, units)| units).sum()
    }

    async fn calls(&mut self, process: usize, calls: u32, cost: u64) {
        for _ in 0..calls {
            let answer = check(&self.services[process], self.request(cost)).await.expect("decided");
            assert!(!answer.degraded);
            let now = self.now();
            if answer.allowed {
                self.calls.0 += 1;
                self.accepted.push_back((now, cost));
                assert!(self.since(now - WINDOW) <= self.limits.0, "too many in a window");
                assert!(self.since(now - now.rem_euclid(DAY) - 1) <= self.limits.1, "too many in a day");
            } else {
                self.calls.1 += 1;
                // What is in the blocks of others is a part of what was left before each of them.
                let (window, day) = self.limits;
                let ahead = |limit: u64| 3 * limit / PART + self.lost;
                let is_full = self.since(now - WINDOW - GRAIN) + cost + ahead(window) > window
                    || self.since(now - now.rem_euclid(DAY) - 1) + cost + ahead(day) > day;
                assert!(is_full, "denied too early: {answer:?}");
            }
        }
    }

    /// What is left of each limit when all blocks have ended.
    async fn left(&self) -> (u64, u64) {
        self.role.clock.advance(BLOCK);
        let peek = CheckRequest { peek: true, ..self.request(1) };
        for service in &self.services {
            check(service, peek.clone()).await.expect("decided");
        }
        let limits = check(&self.services[0], peek).await.expect("decided").limits;
        (limits[0].remaining, limits[1].remaining)
    }

    async fn follow(&mut self, steps: Vec<Step>) {
        for Step { moved, process, action } in steps {
            self.role.clock.advance(Duration::from_micros(moved.unsigned_abs()));
            match action {
                Action::Calls(calls, cost) => self.calls(process, calls, cost).await,
                Action::Restart => {
                    self.services[process].close().await.expect("closed");
                    self.services[process] = self.role.another();
                }
                Action::Kill => {
                    self.lost += self.limits.0.max(self.limits.1) / PART;
                    self.services[process] = self.role.another();
                }
            }
        }
        self.settled().await;
    }

    /// Nothing more counts than was accepted, but for a grain of the window; and all calls are tallied.
    async fn settled(&mut self) {
        let (window, day) = self.left().await;
        let now = self.now();
        let today = self.since(now - now.rem_euclid(DAY) - 1);
        assert!(window <= self.limits.0 - self.since(now - WINDOW));
        assert!(day <= self.limits.1 - today);
        assert!(
            window + self.since(now - WINDOW - GRAIN) + self.lost >= self.limits.0,
            "kept back: {window}"
        );
        assert!(day + today + self.lost >= self.limits.1, "kept back: {day}");
        for service in &self.services {
            service.close().await.expect("closed");
        }
        let (passed, denied) = tallied(&self.services[0]).await;
        assert_eq!(denied, self.calls.1);
        assert!(passed <= self.calls.0);
        assert!(self.lost > 0 || passed == self.calls.0, "{passed} of {}", self.calls.0);
    }
}

/// How many calls were tallied that passed, and that a limit denied.
async fn tallied(service: &RateLimitService) -> (u64, u64) {
    let mut calls = (0, 0);
    while let Some(batch) = drain(service).await.expect("drained") {
        for row in &batch.rows {
            let counted = if row.code == "VALID" { &mut calls.0 } else { &mut calls.1 };
            *counted += row.count;
        }
        acknowledge(service, &batch.id).await.expect("acknowledged");
    }
    calls
}

fn never_too_many(open: impl Fn() -> Role, cases: u32, kills: bool) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let limits = (select(vec![1025_u64, 1300, 3000]), select(vec![600_u64, 2000, 1_000_000]));
    let outcome = runner.run(&(limits, steps(kills)), |(limits, steps)| {
        let followed = AssertUnwindSafe(|| {
            runtime.block_on(async { Processes::new(open(), limits).follow(steps).await });
        });
        followed();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
#[ignore = "needs Redis"]
fn three_processes_never_let_too_many_pass_and_keep_nothing_back() {
    never_too_many(|| Role::redis_ahead(BLOCK), 24, false);
}

#[test]
#[ignore = "needs Redis"]
fn a_process_that_is_killed_takes_no_more_than_its_blocks() {
    never_too_many(|| Role::redis_ahead(BLOCK), 16, true);
}

#[test]
#[ignore = "needs Redis"]
fn three_processes_on_a_cluster_never_let_too_many_pass() {
    let starting = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = starting.block_on(PrivateCluster::start(0));
    let cases = std::cell::Cell::new(0);
    let open = || {
        cases.set(cases.get() + 1);
        Role::at_ahead(cluster.url(), &format!("case-{}:", cases.get()), BLOCK)
    };
    never_too_many(open, 8, false);
}

const MANY: u64 = 16_000;

/// One call of a limit of many per minute.
fn many() -> CheckRequest {
    CheckRequest { tally: Some(tally("key")), ..call(vec![charge("many", MANY, 60)]) }
}

async fn ask(service: &RateLimitService) -> u64 {
    let answer = check(service, many()).await.expect("decided");
    assert!(answer.allowed && !answer.degraded);
    answer.limits[0].remaining
}

/// What is left as Redis has it.
async fn left(service: &RateLimitService) -> u64 {
    let answer = check(service, CheckRequest { peek: true, ..many() }).await;
    answer.expect("decided").limits[0].remaining
}

/// A process that has a block of 16 calls, for which it asked with the last of eight.
async fn with_block(role: &Role) -> Arc<RateLimitService> {
    let service = role.another();
    for asked in 1..=8 {
        assert_eq!(ask(&service).await, MANY - asked);
    }
    assert_eq!(left(&role.service).await, MANY - 8 - 16);
    service
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_hot_limit_is_asked_for_once() {
    let role = Role::redis_ahead(BLOCK);
    let service = with_block(&role).await;
    for used in 9..=24 {
        assert_eq!(ask(&service).await, MANY - used, "as if each had been asked for");
        assert_eq!(left(&role.service).await, MANY - 24, "none was");
    }
    assert_eq!(ask(&service).await, MANY - 25);
    assert_eq!(left(&role.service).await, MANY - 25 - 32, "the next block is larger");
    role.clock.advance(BLOCK);
    assert_eq!(ask(&service).await, MANY - 26, "what was left of it was given back");
    assert_eq!(left(&role.service).await, MANY - 26);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn what_is_accepted_late_leaves_the_window_no_earlier() {
    let role = Role::redis_ahead(BLOCK);
    let take = async |cost: u64| {
        let mut request = many();
        request.charges[0].cost = cost;
        assert!(role.check(request).await.allowed);
    };
    take(MANY - 600).await;
    role.clock.advance(Duration::from_secs(1));
    let start = role.clock.now();
    let service = role.another();
    for asked in 1..=8 {
        assert_eq!(ask(&service).await, 600 - asked);
    }
    assert_eq!(left(&role.service).await, 600 - 24);
    role.clock.advance(Duration::from_millis(40));
    for asked in 9..=24 {
        assert_eq!(ask(&service).await, 600 - asked);
    }
    role.clock.set(start + Duration::from_secs(30));
    take(600 - 24).await;
    // What was taken first has left. What was accepted 40 ms after it was charged has not.
    for micros in [60_000_000, 60_039_999] {
        role.clock.set(start + Duration::from_micros(micros));
        assert_eq!(left(&role.service).await, MANY - 600);
    }
    role.clock.set(start + Duration::from_mins(1) + BLOCK);
    assert_eq!(left(&role.service).await, MANY - 600 + 24);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn an_orderly_end_gives_back_and_a_death_does_not() {
    let role = Role::redis_ahead(BLOCK);
    let service = with_block(&role).await;
    for _ in 0..5 {
        ask(&service).await;
    }
    service.close().await.expect("closed");
    assert_eq!(left(&role.service).await, MANY - 13);
    assert_eq!(tallied(&role.service).await, (13, 0));

    role.clock.advance(Duration::from_mins(2));
    drop(with_block(&role).await);
    role.clock.advance(BLOCK);
    assert_eq!(left(&role.service).await, MANY - 24);
    role.clock.advance(Duration::from_secs(61));
    assert_eq!(left(&role.service).await, MANY, "it ages out");
    assert_eq!(tallied(&role.service).await, (8, 0));
}

/// Does something to the limits through one process while another has a block.
async fn waits_for_blocks<F>(
    change: impl FnOnce(Arc<RateLimitService>) -> F,
    until_then: impl Fn(u64) -> bool,
) -> Role
where
    F: Future<Output = ()> + Send + 'static,
{
    let role = Role::redis_ahead(BLOCK);
    let service = with_block(&role).await;
    let changing = tokio::spawn(change(role.another()));
    // It is in Redis already.
    until(async || until_then(left(&role.service).await)).await;
    ask(&service).await;
    assert!(!changing.is_finished(), "a call may still be accepted by what was before");
    role.clock.advance(BLOCK);
    changing.await.expect("changed");
    // The block is given back with the next call, and nothing of what others were charged since.
    let mut others = many();
    others.charges[0].cost = 20;
    check(&role.service, others).await.expect("decided");
    let before = left(&role.service).await;
    check(&service, many()).await.expect("decided");
    assert_eq!(left(&role.service).await, before.saturating_sub(1), "each call is asked for");
    role
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_reset_waits_for_blocks_and_frees_nothing_twice() {
    let reset = |service: Arc<RateLimitService>| async move {
        let names = vec!["many".to_owned()];
        let request = ResetRequest { partition: "workspace".to_owned(), subject: "key".to_owned(), names };
        service.reset(Request::new(request)).await.expect("reset");
    };
    let role = waits_for_blocks(reset, |left| left == MANY).await;
    assert_eq!(left(&role.service).await, MANY - 21, "what was forgotten is not given back, too");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn an_override_waits_for_blocks() {
    let put = async |limit: u64, service: Arc<RateLimitService>, until: i64| {
        let expires_at = chrono::DateTime::from_timestamp_micros(until).map(to_wire);
        let r#override =
            Some(Override { subject: "key".to_owned(), name: "many".to_owned(), limit, expires_at });
        let request = PutOverrideRequest { partition: "workspace".to_owned(), r#override };
        service.put_override(Request::new(request)).await.expect("put");
    };
    let end = tollgate_testkit::MockClock::new().now().timestamp_micros() + 3_600_000_000;
    let role = waits_for_blocks(move |service| put(9, service, end), |left| left == 0).await;
    assert!(!role.check(many()).await.allowed);
    role.delete_override("workspace", "key", "many").await.expect("deleted");
    assert!(role.check(many()).await.allowed);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn what_is_special_is_asked_for() {
    let role = Role::redis_ahead(BLOCK);
    let service = with_block(&role).await;
    let before = left(&role.service).await;
    let named = CheckRequest { request_id: "one".to_owned(), ..many() };
    let mut watched = many();
    watched.charges[0].limit.as_mut().expect("set").shadow = true;
    let mut dearer = many();
    dearer.charges[0].cost = 2;
    let mut smaller = many();
    smaller.charges[0].limit.as_mut().expect("set").limit = MANY - 1;
    let mut narrow = many();
    narrow.charges.push(charge("narrow", 1024, 60));
    for (number, other) in [named, watched, dearer, smaller, narrow].into_iter().enumerate() {
        check(&service, other).await.expect("decided");
        let asked = [1, 2, 4, 5, 6][number];
        assert_eq!(left(&role.service).await, before - asked);
    }
    for _ in 0..40 {
        let mut narrow = many();
        narrow.charges = vec![charge("narrow", 1024, 60)];
        assert!(check(&service, narrow.clone()).await.expect("decided").allowed);
        narrow.peek = true;
    }
    let mut narrow = CheckRequest { peek: true, ..many() };
    narrow.charges = vec![charge("narrow", 1024, 60)];
    assert_eq!(role.check(narrow).await.limits[0].remaining, 1024 - 41, "none was charged ahead");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn near_its_end_and_at_the_edges_of_grains_each_call_is_asked_for() {
    let role = Role::redis_ahead(BLOCK);
    let mut large = many();
    large.charges[0].cost = MANY - 100;
    assert!(role.check(large).await.allowed);
    let service = role.another();
    for asked in 1..=50 {
        assert_eq!(ask(&service).await, 100 - asked);
        assert_eq!(left(&role.service).await, 100 - asked);
    }
    // Half a millisecond before the end of a grain.
    role.clock.advance(Duration::from_micros(120_999_500));
    for asked in 1..=20 {
        assert_eq!(ask(&service).await, MANY - asked);
        assert_eq!(left(&role.service).await, MANY - asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_block_ends_with_its_day() {
    let role = Role::redis_ahead(BLOCK);
    role.clock.advance(Duration::from_micros(DAY.unsigned_abs() - 50_000));
    let mut request = many();
    let limit = request.charges[0].limit.as_mut().expect("set");
    (limit.algorithm, limit.window_seconds) = (Algorithm::Calendar.into(), 0);
    limit.calendar = Some(Calendar { period: Period::Day.into(), ..Calendar::default() });
    let left = async |service: &RateLimitService, peek| {
        let answer = check(service, CheckRequest { peek, ..request.clone() }).await.expect("decided");
        answer.limits[0].remaining
    };
    let service = role.another();
    for asked in 1..=8 {
        assert_eq!(left(&service, false).await, MANY - asked);
    }
    assert_eq!(left(&role.service, true).await, MANY - 8 - 16, "there is a block");
    role.clock.advance(Duration::from_millis(50));
    assert_eq!(left(&service, false).await, MANY - 1);
    assert_eq!(left(&role.service, true).await, MANY - 1, "it counts in the day in which it was accepted");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_block_ends_with_an_override() {
    const OWN: u64 = 1100;
    let role = Role::redis_ahead(BLOCK);
    let request = |cost| {
        let mut request = many();
        request.charges[0].cost = cost;
        request.charges[0].limit.as_mut().expect("set").limit = OWN;
        request
    };
    let end = role.clock.now().timestamp_micros() + 50_000;
    role.put_override("workspace", "key", "many", MANY, end).await.expect("put");
    assert!(role.check(request(2 * OWN)).await.allowed);
    let service = role.another();
    for _ in 1..=8 {
        assert!(check(&service, request(1)).await.expect("decided").allowed);
    }
    let peek = CheckRequest { peek: true, ..request(1) };
    let left = role.check(peek).await.limits[0].remaining;
    assert_eq!(left, MANY - 2 * OWN - 8 - 16, "there is a block");
    role.clock.advance(Duration::from_micros(49_999));
    assert!(check(&service, request(1)).await.expect("decided").allowed);
    role.clock.advance(Duration::from_micros(1));
    let after = check(&service, request(1)).await.expect("decided");
    assert!(!after.allowed && after.limits[0].limit == OWN, "its own number counts: {after:?}");
}

/// How many of the callers of this server it holds back.
async fn held_back(redis: &PrivateRedis) -> usize {
    let clients: String = redis.ask("CLIENT LIST").await.expect("it answers");
    clients.lines().filter(|client| client.contains(" flags=b ")).count()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_block_that_nobody_learns_of_is_given_back() {
    let redis = PrivateRedis::start().await;
    let role = Role::at_ahead(redis.url(), "tollgate:", BLOCK);
    let service = role.another();
    // So that the server knows the script.
    for _ in 1..=8 {
        let elsewhere = CheckRequest { partition: "elsewhere".to_owned(), ..many() };
        check(&service, elsewhere).await.expect("decided");
    }
    for asked in 1..=7 {
        assert_eq!(ask(&service).await, MANY - asked);
    }
    redis.execute("CLIENT PAUSE 600000 WRITE").await;
    let asks = service.clone();
    let asking = tokio::spawn(async move { ask(&asks).await });
    until(async || held_back(&redis).await == 1).await;
    asking.abort();
    assert!(asking.await.expect_err("it was ended").is_cancelled());
    redis.execute("CLIENT UNPAUSE").await;
    until(async || left(&role.service).await == MANY - 8 - 16).await;
    check(&service, CheckRequest { peek: true, ..many() }).await.expect("decided");
    assert_eq!(left(&role.service).await, MANY - 8);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_block_outlives_redis_and_is_released_when_it_is_back() {
    let mut redis = PrivateRedis::start().await;
    let role = Role::at_ahead(redis.url(), "tollgate:", BLOCK);
    let service = with_block(&role).await;
    redis.kill();
    let deny = || {
        let mut request = many();
        request.charges[0].limit.as_mut().expect("set").on_failure = OnFailure::Local.into();
        request
    };
    for _ in 0..16 {
        assert!(!check(&service, deny()).await.expect("decided").degraded, "it was charged before");
    }
    until(async || check(&service, deny()).await.expect("decided").degraded).await;
    redis.restart().await;
    until_up(&service, true).await;
    until(async || !check(&service, deny()).await.expect("decided").degraded).await;
}
