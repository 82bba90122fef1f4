//! Very many keys: how long they take to be made and how much room, whether verifying one is as fast as among a few, and how long
//! each list of them takes, and to bring others in, and to revoke many at once.
//!
//! Two servers run: one has a thousand keys that pass, one has very many. They are asked in turn, so that the machine's moods are both's. **Warm**:
//! a thousand keys, over and over, out of the cache. **Cold**: after a role of the workspace was changed, which makes caches forget its keys, a thousand
//! keys once each; in the second server other ones in each round, which the database has to find among the many.

mod imports;
mod lists;
mod make;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};

use self::{
    imports::Imported,
    lists::{Listed, Revoked},
    make::{Made, Tables},
};
use crate::{
    Problem,
    calls::{Calls, HttpRequest},
    load::{self, Counts},
    plan::{found, logging},
    report::median,
    set_up::{Api, whoami},
    shape::{Running, Shape},
};

/// How many a few are, and how many are asked for in one measurement.
const FEW: usize = 1_000;
/// So many have to be made that a few pass.
const FEW_MADE: usize = 2_223;
/// Calls under way at once.
const CONNECTIONS: usize = 32;
/// Of one warm measurement.
const LENGTH: Duration = Duration::from_secs(2);

/// What is said of one shape.
#[derive(Debug, Serialize)]
struct Line {
    shape: &'static str,
    keys: u32,
    made: Made,
    warm: Compared,
    cold: Compared,
    lists: Vec<Listed>,
    imported: Imported,
    revoked: Revoked,
}

/// Verifying among a few, and among many.
#[derive(Debug, Default, Serialize)]
struct Compared {
    /// The median of each round's calls per second among many, as a multiple of those among a few.
    ratio: f64,
    per_second: [f64; 2],
    per_second_of_rounds: [Vec<f64>; 2],
    /// The median of the rounds' own, in milliseconds.
    p99_ms: [f64; 2],
    /// Calls that were not allowed.
    spoilt: u64,
}

/// One server with its keys.
struct Server {
    running: Running,
    api: Api,
    tables: Tables,
    keys: Vec<String>,
    made: Made,
}

/// What one measurement came to.
struct Round {
    per_second: f64,
    p99_ms: f64,
    spoilt: u64,
}

pub(crate) async fn run(
    tollgate: &Path,
    shapes: &[Shape],
    many: u32,
    log: &str,
    rounds: u32,
) -> Result<(), Problem> {
    let tollgate = found(tollgate)?;
    let mut lines = Vec::new();
    for shape in shapes {
        let mut few = Server::start(*shape, &tollgate, log, FEW_MADE).await?;
        let mut all = Server::start(*shape, &tollgate, log, many as usize).await?;
        let (mut warm, mut cold) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for round in 0..rounds as usize {
            // Whoever comes first may find the machine cooler, or warmer.
            for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let server = if which == 0 { &mut few } else { &mut all };
                let chosen = server.chosen(round);
                cold[which].push(server.cold(&chosen).await?);
                warm[which].push(warm_round(server.running.http, &chosen).await?);
            }
        }
        let (warm, cold) = (Compared::of(&warm), Compared::of(&cold));
        eprintln!("{}: warm {:.3}, cold {:.3} of a thousand keys'", shape.title(), warm.ratio, cold.ratio);
        let lists = lists::measure(&mut all.api, &all.tables).await?;
        let imported = imports::import(&tollgate, &all.running, &mut all.api).await?;
        let revoked = lists::revoke(&mut all.api).await?;
        let (shape, made) = (shape.title(), all.made);
        lines.push(Line { shape, keys: many, made, warm, cold, lists, imported, revoked });
    }
    print(&lines)
}

impl Server {
    async fn start(shape: Shape, tollgate: &Path, log: &str, count: usize) -> Result<Self, Problem> {
        eprintln!("starting with {count} keys: {}", shape.title());
        let running = Running::start(shape, tollgate, &[logging(log)]).await?;
        let mut api = Api::of_a_new_user(running.http).await?;
        let tables = Tables::new(&mut api).await?;
        let (keys, made) = make::keys(&running.database()?, &tables, count).await?;
        eprintln!("made {count} keys in {:.1} s, {:.0} MB", made.seconds, made.megabytes);
        Ok(Self { running, api, tables, keys, made })
    }

    /// A thousand of the keys, spread over all of them; other ones in each round.
    fn chosen(&self, round: usize) -> Vec<String> {
        let step = self.keys.len() / FEW;
        (0..FEW).map(|number| self.keys[(number * step + round % step) % self.keys.len()].clone()).collect()
    }

    /// Each key once, after the caches have forgotten all of them.
    #[expect(clippy::cast_precision_loss, reason = "a count of calls is far below 2^52")]
    async fn cold(&mut self, keys: &[String]) -> Result<Round, Problem> {
        self.tables.forget(&mut self.api).await?;
        let requests: Arc<[HttpRequest]> = keys.iter().map(|key| whoami(key)).collect::<Result<_, _>>()?;
        let calls = Calls::Http { to: self.running.http, requests };
        let started = Instant::now();
        let mut callers = JoinSet::new();
        // They start at different keys, as far apart as they go.
        for mut caller in calls.callers(CONNECTIONS).await? {
            callers.spawn(async move {
                let mut latencies = Vec::new();
                let mut counts = Counts::default();
                for _ in 0..FEW / CONNECTIONS {
                    let sent = Instant::now();
                    counts.add(caller.call().await);
                    latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                (latencies, counts)
            });
        }
        let (mut latencies, mut counts) = (Vec::new(), Counts::default());
        while let Some(done) = callers.join_next().await {
            let (some, its) = done?;
            latencies.extend(some);
            counts = counts.with(its);
        }
        let per_second = counts.allowed as f64 / started.elapsed().as_secs_f64();
        Ok(Round {
            per_second,
            p99_ms: p99(latencies),
            spoilt: counts.refused + counts.failed + counts.degraded,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency is far below 2^52 microseconds")]
async fn warm_round(http: SocketAddr, keys: &[String]) -> Result<Round, Problem> {
    let requests: Arc<[HttpRequest]> = keys.iter().map(|key| whoami(key)).collect::<Result<_, _>>()?;
    let calls = Calls::Http { to: http, requests };
    let measured = load::closed(calls.callers(CONNECTIONS).await?, LENGTH).await?;
    let counts = measured.counts;
    Ok(Round {
        per_second: measured.per_second(),
        p99_ms: measured.latencies.value_at_quantile(0.99) as f64 / 1e3,
        spoilt: counts.refused + counts.failed + counts.degraded,
    })
}

/// The 99th percentile.
fn p99(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * 99 / 100).or(values.last()).copied().unwrap_or_default()
}

impl Compared {
    fn of(rounds: &[Vec<Round>; 2]) -> Self {
        let per_second =
            [0, 1].map(|which: usize| rounds[which].iter().map(|it| it.per_second).collect::<Vec<_>>());
        let ratios = per_second[1].iter().zip(&per_second[0]).map(|(many, few)| many / few);
        Self {
            ratio: median(ratios.collect()),
            per_second: [0, 1].map(|which: usize| median(per_second[which].clone())),
            p99_ms: [0, 1].map(|which: usize| median(rounds[which].iter().map(|it| it.p99_ms).collect())),
            spoilt: rounds.iter().flatten().map(|it| it.spoilt).sum(),
            per_second_of_rounds: per_second,
        }
    }

    fn row(&self, shape: &str, what: &str) -> String {
        let Self { ratio, per_second: [few, many], p99_ms: [few_ms, many_ms], spoilt, .. } = self;
        format!(
            "| {shape} | {what} | {few:.0} | {many:.0} | {ratio:.2} | {few_ms:.2} | {many_ms:.2} | {spoilt} |"
        )
    }
}

fn print(lines: &[Line]) -> Result<(), Problem> {
    eprintln!("\n| shape | keys | made in s | keys/s | database MB |\n|---|--:|--:|--:|--:|");
    for Line { shape, keys, made, .. } in lines {
        eprintln!(
            "| {shape} | {keys} | {:.1} | {:.0} | {:.0} |",
            made.seconds,
            f64::from(*keys) / made.seconds,
            made.megabytes
        );
    }
    eprintln!(
        "\n| shape | verifying | calls/s, {FEW} keys | many | ratio | p99 ms, {FEW} keys | many | spoilt |"
    );
    eprintln!("|---|---|--:|--:|--:|--:|--:|--:|");
    for Line { shape, warm, cold, .. } in lines {
        eprintln!("{}\n{}", warm.row(shape, "warm"), cold.row(shape, "cold"));
    }
    eprintln!("\n| shape | list | pages | keys | p50 ms | p99 ms | max ms |\n|---|---|--:|--:|--:|--:|--:|");
    for line in lines {
        line.lists.iter().for_each(|it| eprintln!("| {} | {} |", line.shape, it.row()));
    }
    eprintln!("\n| shape | keys imported by the command line | s | keys/s |\n|---|--:|--:|--:|");
    for Line { shape, imported: Imported { keys, seconds }, .. } in lines {
        eprintln!("| {shape} | {keys} | {seconds:.1} | {:.0} |", f64::from(*keys) / seconds);
    }
    eprintln!("\n| shape | keys revoked at once | s | of which until it held, ms |\n|---|--:|--:|--:|");
    for Line { shape, revoked, .. } in lines {
        eprintln!("| {shape} | {} | {:.2} | {} |", revoked.keys, revoked.seconds, revoked.took_ms);
    }
    println!("{}", serde_json::to_string_pretty(lines)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred_is_the_last() {
        assert!((p99((1..=100).map(f64::from).collect()) - 100.0).abs() < 1e-9);
        assert!((p99((1..=1000).rev().map(f64::from).collect()) - 991.0).abs() < 1e-9);
        assert!((p99(vec![7.0]) - 7.0).abs() < 1e-9);
        assert!(p99(Vec::new()).abs() < 1e-9);
    }

    #[test]
    fn rounds_are_compared_each_with_its_own() {
        let round = |per_second| Round { per_second, p99_ms: 1.0, spoilt: 1 };
        let compared = Compared::of(&[vec![round(10.0), round(20.0)], vec![round(5.0), round(20.0)]]);
        assert!((compared.ratio - 0.75).abs() < 1e-9, "{compared:?}");
        assert_eq!(compared.spoilt, 4);
    }
}
