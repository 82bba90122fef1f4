//! What a decision costs: in this process, over gRPC and over Redis, beside Limitador's library and beside a plain counter
//! per limit in Redis, which decides nothing. Every round asks all of them once, one after the other.

mod cpu;
mod door;

use std::{path::Path, time::Duration};

use redis::aio::MultiplexedConnection;
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};
use tollgate_kernel::ExposeSecret;
use tollgate_ratelimit::Config;
use tollgate_testkit::{TestRedis, env};

use crate::{
    Measure, Problem,
    load::Counts,
    plan::{connections, found, logging},
    report::median,
    shape::Alone,
};

use self::door::Door;

/// So patient with Redis that a busy machine does not look like an outage.
const PATIENCE: (&str, &str) = ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "10000");
/// How many limits a call has.
const LIMITS: [usize; 3] = [1, 3, 5];

/// One who decides, and what it came to.
struct Target {
    name: &'static str,
    limits: usize,
    door: Door,
    /// About how many subjects they ask.
    subjects: usize,
    /// How many ask at once: one per core where nothing waits, else as many as there are connections.
    callers: usize,
    /// The process whose time counts.
    process: u32,
    /// Redis is asked.
    redis: bool,
    rounds: Vec<Sample>,
}

/// One measurement of a target.
#[derive(Debug, Clone, Copy)]
struct Sample {
    per_second: f64,
    /// Microseconds per decision of the process, and of Redis.
    cpu: f64,
    redis_cpu: f64,
    counts: Counts,
}

/// What is said of one target: medians of its rounds.
#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    limits: usize,
    per_second: f64,
    per_second_of_rounds: Vec<f64>,
    /// The median of each round's decisions per second as a multiple of Limitador's, and of the plain counters'.
    of_limitador: f64,
    of_counters: f64,
    cpu_us: f64,
    redis_cpu_us: Option<f64>,
    counts: Counts,
}

/// Measures all of them.
pub(crate) async fn run(tollgate: &Path, log: &str, measure: Measure) -> Result<(), Problem> {
    if env::get(env::REDIS).is_none() {
        return Err(format!("{} is not set: run this by scripts/bench", env::REDIS).into());
    }
    let alone = Alone::start(&found(tollgate)?, &[logging(log), PATIENCE]).await?;
    let redis = TestRedis::shared();
    let client = redis::Client::open(redis.url().expose_secret())?;
    let mut direct = client.get_multiplexed_async_connection().await?;
    let mut targets = targets(&alone, &redis, &direct, measure).await?;
    let length = Duration::from_secs(measure.seconds.into());
    for round in 0..=measure.rounds {
        for target in &mut targets {
            // The first round fills what is to be filled, and does not count.
            let length = if round == 0 { length / 4 } else { length };
            let sample = target.sample(&mut direct, length).await?;
            if round > 0 {
                target.rounds.push(sample);
            }
            eprintln!(
                "round {round}: {} limits, {:<32} {:>9.0}/s",
                target.limits, target.name, sample.per_second
            );
        }
    }
    print(&targets)
}

async fn targets(
    alone: &Alone,
    redis: &TestRedis,
    direct: &MultiplexedConnection,
    measure: Measure,
) -> Result<Vec<Target>, Problem> {
    let here = std::process::id();
    let cores = std::thread::available_parallelism()?.get();
    let many = connections(measure);
    let mut targets = Vec::new();
    for limits in LIMITS {
        let mut add = |name, subjects, door, callers, process, redis| {
            targets.push(Target {
                name,
                limits,
                subjects,
                door,
                callers,
                process,
                redis,
                rounds: Vec::new(),
            });
        };
        let keys = measure.keys as usize;
        let counters = Door::Counters {
            connection: direct.clone(),
            prefix: format!("{}plain:{limits}:", redis.prefix()),
        };
        add("limitador, in process", keys, Door::limitador(limits)?, cores, here, false);
        add("Tollgate, in process", keys, Door::memory()?, cores, here, false);
        add(
            "Tollgate, over gRPC and Redis",
            keys,
            Door::grpc(alone.address, many).await?,
            many,
            alone.id,
            true,
        );
        add("INCR + EXPIRE", keys, counters, many, here, true);
        add("Tollgate, over Redis", keys, Door::redis(redis, "many:", 0)?, many, here, true);
        add("Tollgate, over Redis, one subject", 1, Door::redis(redis, "one:", 0)?, many, here, true);
        let ahead = Door::redis(redis, "ahead:", Config::default().charge_ahead_ms)?;
        add("the same, charged ahead", 1, ahead, many, here, true);
    }
    Ok(targets)
}

impl Target {
    async fn sample(&self, redis: &mut MultiplexedConnection, length: Duration) -> Result<Sample, Problem> {
        let requests = door::requests(self.limits, self.subjects);
        let before = (cpu::of_process(self.process)?, cpu::of_redis(redis).await?);
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for mut caller in self.door.callers(self.callers, &requests) {
            tasks.spawn(async move {
                let mut counts = Counts::default();
                while start.elapsed() < length {
                    counts.add(caller.call().await);
                }
                counts
            });
        }
        let counts = tasks.join_all().await.into_iter().fold(Counts::default(), Counts::with);
        let took = start.elapsed().as_secs_f64();
        let after = (cpu::of_process(self.process)?, cpu::of_redis(redis).await?);
        if counts.allowed == 0 || counts.refused + counts.failed + counts.degraded > 0 {
            return Err(
                format!("{}, {} limits: not all were allowed: {counts:?}", self.name, self.limits).into()
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of calls is far below 2^52")]
        let decisions = counts.allowed as f64;
        Ok(Sample {
            per_second: decisions / took,
            cpu: (after.0 - before.0) / decisions,
            redis_cpu: (after.1 - before.1) / decisions,
            counts,
        })
    }

    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }
}

impl Line {
    fn of(target: &Target, all: &[Target]) -> Self {
        let of = |name: &str| {
            let same = |other: &&Target| other.name.starts_with(name) && other.limits == target.limits;
            let other = all.iter().find(same).expect("each number of limits is measured with all");
            let rounds = target.rounds.iter().zip(&other.rounds);
            median(rounds.map(|(ours, theirs)| ours.per_second / theirs.per_second).collect())
        };
        Self {
            name: target.name,
            limits: target.limits,
            per_second: target.median(|round| round.per_second),
            per_second_of_rounds: target.rounds.iter().map(|round| round.per_second).collect(),
            of_limitador: of("limitador"),
            of_counters: of("INCR"),
            cpu_us: target.median(|round| round.cpu),
            redis_cpu_us: target.redis.then(|| target.median(|round| round.redis_cpu)),
            counts: target.rounds.iter().map(|round| round.counts).fold(Counts::default(), Counts::with),
        }
    }

    fn row(&self) -> String {
        let Self { name, limits, per_second, of_limitador, of_counters, cpu_us, redis_cpu_us, .. } = self;
        let redis = redis_cpu_us.map_or_else(|| "—".to_owned(), |micros| format!("{micros:.2}"));
        format!(
            "| {limits} | {name} | {per_second:.0} | {of_limitador:.3} | {of_counters:.2} | {cpu_us:.2} | {redis} |"
        )
    }
}

fn print(targets: &[Target]) -> Result<(), Problem> {
    let lines: Vec<_> = targets.iter().map(|target| Line::of(target, targets)).collect();
    eprintln!(
        "\n| limits | who decides | decisions/s | of limitador | of INCR + EXPIRE | its CPU µs | Redis CPU µs |"
    );
    eprintln!("|--:|---|--:|--:|--:|--:|--:|");
    for line in &lines {
        eprintln!("{}", line.row());
    }
    println!("{}", serde_json::to_string_pretty(&lines)?);
    Ok(())
}
