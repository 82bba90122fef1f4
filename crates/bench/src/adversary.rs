//! Whoever rests, takes all of a limit at one instant and then tries at every step of the clock for three windows gets what
//! the limit says, and not one unit more: in four phases against the clock's seconds and minutes, on a Redis server and on a
//! Redis Cluster of three nodes. The clock is moved by hand, so that no try is late.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};
use tollgate_kernel::{Clock, OsEntropy, SecretString};
use tollgate_proto::{
    RateLimit,
    ratelimit::{Charge, CheckRequest, Limit},
};
use tollgate_ratelimit::{Config, RateLimitService, Settings, Store, Tls};
use tollgate_testkit::{MockClock, PrivateCluster, TestRedis, env};
use tonic::Request;

use crate::Problem;

const LIMIT: usize = 10;
const WINDOW: i64 = 60_000_000;
/// Microseconds of rest before each phase.
const RESTS: [u64; 4] = [90_000_000, 75_250_000, 60_500_001, 119_999_999];
/// So patient that a busy machine does not look like an outage.
const PATIENCE: Duration = Duration::from_secs(10);

/// A state is kept for its window and a minute more by the server's own time: a machine on which a minute of the clock moved
/// by hand takes longer than that shows nothing.
const TOO_SLOW: Duration = Duration::from_secs(110);

/// What one phase came to.
#[derive(Debug, Serialize)]
struct Phase {
    store: &'static str,
    rest_us: u64,
    tries: u64,
    accepted: usize,
    most_in_any_window: usize,
    seconds: f64,
}

/// All phases on both, each with its own clock and subject, all at once on one store.
pub(crate) async fn run(step: Duration) -> Result<(), Problem> {
    if env::get(env::REDIS).is_none() {
        return Err(format!("{} is not set: run this by scripts/bench", env::REDIS).into());
    }
    let redis = TestRedis::shared();
    let mut phases = on("redis", &redis.url(), redis.prefix(), step).await?;
    let cluster = PrivateCluster::start(0).await;
    phases.extend(on("cluster", &cluster.url(), "tollgate:", step).await?);
    println!("{}", serde_json::to_string_pretty(&phases)?);
    let right = |phase: &Phase| phase.accepted == 4 * LIMIT && phase.most_in_any_window == LIMIT;
    match phases.iter().find(|phase| !right(phase)) {
        None => Ok(()),
        Some(wrong) => Err(format!("not what the limit says: {wrong:?}").into()),
    }
}

async fn on(
    store: &'static str,
    url: &SecretString,
    prefix: &str,
    step: Duration,
) -> Result<Vec<Phase>, Problem> {
    let mut tasks = JoinSet::new();
    for rest_us in RESTS {
        let clock = MockClock::new();
        let service = service(url.clone(), prefix, clock.clone())?;
        tasks.spawn(async move {
            let start = Instant::now();
            let (tries, accepted) = attack(&service, &clock, rest_us, step).await?;
            let (accepted, most) = (accepted.len(), most_in_any_window(&accepted));
            let seconds = start.elapsed().as_secs_f64();
            eprintln!(
                "{store}, after {rest_us} µs: {accepted} of {tries}, {most} in any window, {seconds:.0} s"
            );
            Ok(Phase { store, rest_us, tries, accepted, most_in_any_window: most, seconds })
        });
    }
    tasks.join_all().await.into_iter().collect()
}

fn service(url: SecretString, prefix: &str, clock: Arc<MockClock>) -> Result<RateLimitService, Problem> {
    // Every try is to be decided by Redis.
    let config = Config { redis_prefix: prefix.to_owned(), denial_cache_ms: 0, ..Config::default() };
    let mut store = config.settings(Some((url, Tls::default())), None).store;
    if let Store::Redis { timeout, connect_timeout, .. } = &mut store {
        (*timeout, *connect_timeout) = (PATIENCE, PATIENCE);
    }
    let service = RateLimitService::open(Settings { store }, clock, Arc::new(OsEntropy));
    service.map_err(|fault| fault.to_string().into())
}

/// How many tries there were, and when those were accepted that were.
async fn attack(
    service: &RateLimitService,
    clock: &MockClock,
    rest_us: u64,
    step: Duration,
) -> Result<(u64, Vec<i64>), Problem> {
    clock.advance(Duration::from_micros(rest_us));
    let start = clock.now().timestamp_micros();
    let burst = i64::try_from(LIMIT as u128 * step.as_micros())?;
    let (mut tries, mut accepted) = (0, Vec::new());
    let mut last = Instant::now();
    loop {
        if last.elapsed() > TOO_SLOW {
            return Err("this machine is too slow: Redis forgets by its own time; try a larger --step".into());
        }
        let now = clock.now().timestamp_micros();
        if now >= start + 3 * WINDOW + burst {
            return Ok((tries, accepted));
        }
        let answer = service.check(Request::new(request(rest_us))).await?.into_inner();
        if answer.degraded {
            return Err("Redis did not decide".into());
        }
        tries += 1;
        if answer.allowed {
            last = Instant::now();
            accepted.push(now);
        }
        // The first are at one instant.
        if tries >= LIMIT as u64 {
            clock.advance(step);
        }
    }
}

fn request(rest_us: u64) -> CheckRequest {
    let limit = Limit {
        name: "minute".to_owned(),
        limit: LIMIT as u64,
        window_seconds: u32::try_from(WINDOW / 1_000_000).expect("a minute"),
        ..Limit::default()
    };
    let charge = Charge { limit: Some(limit), subject: format!("phase-{rest_us}"), cost: 1 };
    CheckRequest {
        partition: format!("partition-{rest_us}"),
        charges: vec![charge],
        ..CheckRequest::default()
    }
}

/// The most units in any window that begins with an accepted one; no other holds more.
fn most_in_any_window(accepted: &[i64]) -> usize {
    let within = |start: i64| accepted.iter().filter(|at| (start..start + WINDOW).contains(*at)).count();
    accepted.iter().map(|at| within(*at)).max().unwrap_or(0)
}
