//! What the coherent cache is worth: the same calls to two servers that differ in nothing but its size, in turn.

use std::{net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header::HOST};
use serde::Serialize;

use crate::{
    Measure, Problem,
    calls::Calls,
    http::Connection,
    load::{self, Counts, Measured},
    plan::{connections, found, logging, warm_up},
    report::median,
    set_up::Prepared,
    shape::{Running, Shape},
};

/// A cache of no bytes holds nothing.
const NONE: (&str, &str) = ("TOLLGATE__CHANGES__CACHE_BYTES", "0");

/// What is said of one call in one shape: with the cache, and without.
#[derive(Debug, Serialize)]
struct Line {
    shape: &'static str,
    call: &'static str,
    /// The median of each round's calls per second with the cache, as a multiple of those without.
    ratio: f64,
    per_second: [f64; 2],
    per_second_of_rounds: [Vec<f64>; 2],
    counts: [Counts; 2],
}

/// The cache of the issuer's public keys, whose size is not a setting: no call that is measured asks it.
const PUBLIC_KEYS: &str = "cache=\"signing_keys\"";

/// How many look-ups the caches of a server answered, and how many they did not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Lookups {
    hits: f64,
    misses: f64,
}

/// Measures each shape with the cache and without.
pub(crate) async fn run(
    tollgate: &Path,
    shapes: &[Shape],
    log: &str,
    measure: Measure,
) -> Result<(), Problem> {
    let tollgate = found(tollgate)?;
    let mut lines = Vec::new();
    for shape in shapes {
        eprintln!("starting twice: {}", shape.title());
        let with = Running::start(*shape, &tollgate, &[logging(log)]).await?;
        let without = Running::start(*shape, &tollgate, &[logging(log), NONE]).await?;
        lines.extend(compared(*shape, [&with, &without], measure).await?);
        let [cached, bare] = [lookups(&with).await?, lookups(&without).await?];
        eprintln!("{}: {:.1} % of look-ups were hits", shape.title(), 100.0 * cached.share());
        if bare.hits > 0.0 || bare.misses == 0.0 || cached.hits == 0.0 {
            return Err(format!("with a cache {cached:?}, and without {bare:?}: nothing was compared").into());
        }
    }
    print(&lines)
}

async fn compared(shape: Shape, servers: [&Running; 2], measure: Measure) -> Result<Vec<Line>, Problem> {
    let mut prepared = Vec::new();
    for server in servers {
        prepared.push(Prepared::new(server.http, server.gate, measure.keys).await?);
    }
    let each =
        |calls: fn(&Prepared) -> Result<Calls, Problem>| Ok([calls(&prepared[0])?, calls(&prepared[1])?]);
    let targets: [(_, Result<[Calls; 2], Problem>); 3] = [
        ("POST /v1/keys/verify", each(Prepared::verify_over_http)),
        ("Gate/VerifyKey", each(Prepared::verify_over_grpc)),
        ("GET /v1/whoami/key", each(Prepared::whoami)),
    ];
    let mut lines = Vec::new();
    for (call, calls) in targets {
        let calls = calls?;
        for one in &calls {
            warm_up(&format!("{}: {call}", shape.title()), one, measure).await?;
        }
        let mut rounds = [Vec::new(), Vec::new()];
        for round in 0..measure.rounds {
            // Whoever comes first may find the machine cooler, or warmer.
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for which in order {
                let callers = calls[which].callers(connections(measure)).await?;
                let length = Duration::from_secs(measure.seconds.into());
                rounds[which].push(load::closed(callers, length).await?);
            }
        }
        lines.push(Line::of(shape.title(), call, &rounds));
        eprintln!("{}", lines.last().map(Line::row).unwrap_or_default());
    }
    Ok(lines)
}

/// What the caches of a server say of themselves.
async fn lookups(server: &Running) -> Result<Lookups, Problem> {
    let admin: SocketAddr = server.admin.ok_or("the server has no metrics")?;
    let request = Request::get("/metrics").header(HOST, admin.to_string()).body(Full::new(Bytes::new()))?;
    let answer = Connection::new(admin).send(request).await?;
    Ok(Lookups::read(&String::from_utf8_lossy(&answer.body)))
}

impl Lookups {
    /// Out of Prometheus' text format.
    fn read(metrics: &str) -> Self {
        let sum = |name: &str| {
            let lines = metrics.lines().filter(|line| line.starts_with(name) && !line.contains(PUBLIC_KEYS));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Self {
            hits: sum("tollgate_verify_cache_hits_total"),
            misses: sum("tollgate_verify_cache_misses_total"),
        }
    }

    fn share(self) -> f64 {
        self.hits / (self.hits + self.misses)
    }
}

impl Line {
    fn of(shape: &'static str, call: &'static str, rounds: &[Vec<Measured>; 2]) -> Self {
        let per_second =
            [0, 1].map(|which: usize| rounds[which].iter().map(Measured::per_second).collect::<Vec<_>>());
        let ratios = per_second[0].iter().zip(&per_second[1]).map(|(with, without)| with / without);
        let counts = [0, 1].map(|which: usize| {
            let mut rounds = rounds[which].iter().cloned();
            let first = rounds.next().expect("there is at least one round");
            rounds
                .fold(first, |mut all, one| {
                    all.add(&one);
                    all
                })
                .counts
        });
        Self {
            shape,
            call,
            ratio: median(ratios.collect()),
            per_second: [median(per_second[0].clone()), median(per_second[1].clone())],
            per_second_of_rounds: per_second,
            counts,
        }
    }

    fn row(&self) -> String {
        let Self { shape, call, ratio, per_second: [with, without], counts, .. } = self;
        let spoilt: u64 = counts.iter().map(|counts| counts.refused + counts.failed + counts.degraded).sum();
        format!("| {shape} | {call} | {with:.0} | {without:.0} | {ratio:.2} | {spoilt} |")
    }
}

fn print(lines: &[Line]) -> Result<(), Problem> {
    eprintln!("\n| shape | call | calls/s with the cache | without | ratio | refused, failed, degraded |");
    eprintln!("|---|---|--:|--:|--:|--:|");
    for line in lines {
        eprintln!("{}", line.row());
    }
    println!("{}", serde_json::to_string_pretty(lines)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_misses_are_summed_over_all_caches() {
        let metrics = "# TYPE tollgate_verify_cache_hits_total counter\n\
                       tollgate_verify_cache_hits_total{cache=\"keys\"} 30\n\
                       tollgate_verify_cache_hits_total{cache=\"service_keys\"} 60\n\
                       tollgate_verify_cache_hits_total{cache=\"signing_keys\"} 700\n\
                       tollgate_verify_cache_misses_total{cache=\"keys\"} 10\n\
                       something_else 5\n";
        let lookups = Lookups::read(metrics);
        assert_eq!(lookups, Lookups { hits: 90.0, misses: 10.0 });
        assert!((lookups.share() - 0.9).abs() < 1e-9);
    }
}
