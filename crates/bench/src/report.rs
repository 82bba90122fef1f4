//! What came out: a table for people on standard error, JSON for machines on standard output.

use serde::Serialize;

use crate::{
    Measure, Problem,
    load::{Counts, Measured},
};

/// One thing that is called, and what it came to.
pub(crate) struct Target {
    shape: String,
    call: &'static str,
    /// The place of the target that it is compared with.
    baseline: Option<usize>,
    pub rounds: Vec<Round>,
}

/// One measurement of a target.
pub(crate) struct Round {
    /// As fast as it can.
    pub closed: Measured,
    /// Calls per second of `open`.
    pub rate: f64,
    /// By a timetable.
    pub open: Measured,
}

impl Target {
    pub(crate) fn new(shape: &str, call: &'static str, baseline: Option<usize>) -> Self {
        Self { shape: shape.to_owned(), call, baseline, rounds: Vec::new() }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}: {}", self.shape, self.call)
    }
}

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    cores: usize,
    rounds: u32,
    seconds: u32,
    connections: u32,
    keys: u32,
    results: Vec<Line>,
}

/// What is said of one target.
#[derive(Debug, Serialize)]
struct Line {
    shape: String,
    call: &'static str,
    /// Allowed calls per second, back to back: the median of the rounds, and all of them.
    per_second: f64,
    per_second_of_rounds: Vec<f64>,
    /// The median of each round's share of its baseline's calls per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    /// Latencies at half of that rate, by a timetable, over all rounds.
    at_half: Latencies,
    /// Latencies back to back: of a server that is as busy as it can be.
    back_to_back: Latencies,
    /// Of all calls of both kinds.
    counts: Counts,
}

/// In microseconds.
#[derive(Debug, Serialize)]
struct Latencies {
    per_second: f64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Report {
    pub(crate) fn of(targets: &[Target], measure: Measure) -> Self {
        let Measure { rounds, seconds, connections, keys } = measure;
        let results = targets.iter().map(|target| Line::of(target, targets)).collect();
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        Self { cores, rounds, seconds, connections, keys, results }
    }

    pub(crate) fn print(&self) -> Result<(), Problem> {
        eprint!("{}", self.table());
        println!("{}", serde_json::to_string_pretty(self)?);
        Ok(())
    }

    fn table(&self) -> String {
        let Self { cores, rounds, seconds, connections, keys, .. } = self;
        let mut lines = vec![
            String::new(),
            format!(
                "{cores} cores for server and client; {rounds} rounds of {seconds} s, {connections} connections, {keys} keys."
            ),
            "Calls per second: allowed, back to back, median of the rounds. Latency: at half of that, by a timetable."
                .to_owned(),
            String::new(),
            "| shape | call | calls/s | of baseline | p50 ms | p99 ms | refused | failed | degraded |".to_owned(),
            "|---|---|--:|--:|--:|--:|--:|--:|--:|".to_owned(),
        ];
        lines.extend(self.results.iter().map(Line::row));
        lines.push(String::new());
        lines.join("\n")
    }
}

impl Line {
    fn of(target: &Target, all: &[Target]) -> Self {
        let per_second: Vec<f64> = target.rounds.iter().map(|round| round.closed.per_second()).collect();
        let baseline = target.baseline.map(|place| &all[place]);
        let ratio = baseline.map(|baseline| {
            let theirs = baseline.rounds.iter().map(|round| round.closed.per_second());
            median(per_second.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect())
        });
        let closed = merged(target.rounds.iter().map(|round| &round.closed));
        let open = merged(target.rounds.iter().map(|round| &round.open));
        let rate = median(target.rounds.iter().map(|round| round.rate).collect());
        let mut both = closed.clone();
        both.add(&open);
        Self {
            shape: target.shape.clone(),
            call: target.call,
            per_second: median(per_second.clone()),
            at_half: Latencies::of(&open, rate),
            back_to_back: Latencies::of(&closed, median(per_second.clone())),
            per_second_of_rounds: per_second,
            ratio,
            counts: both.counts,
        }
    }

    fn row(&self) -> String {
        let Self { shape, call, per_second, at_half, counts, .. } = self;
        let ratio = self.ratio.map_or_else(|| "1".to_owned(), |ratio| format!("{ratio:.2}"));
        let (p50, p99) = (millis(at_half.p50), millis(at_half.p99));
        let Counts { refused, failed, degraded, .. } = counts;
        format!(
            "| {shape} | {call} | {per_second:.0} | {ratio} | {p50} | {p99} | {refused} | {failed} | {degraded} |"
        )
    }
}

impl Latencies {
    fn of(measured: &Measured, per_second: f64) -> Self {
        let at = |quantile| measured.latencies.value_at_quantile(quantile);
        let max = measured.latencies.max();
        Self { per_second, p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max }
    }
}

fn merged<'a>(rounds: impl Iterator<Item = &'a Measured>) -> Measured {
    let mut all = rounds.cloned();
    let first = all.next().expect("there is at least one round");
    all.fold(first, |mut sum, round| {
        sum.add(&round);
        sum
    })
}

/// Of at least one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

/// Microseconds as milliseconds.
pub(crate) fn millis(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let cases: [(&[f64], f64); 3] =
            [(&[3.0, 1.0, 2.0], 2.0), (&[4.0, 1.0, 2.0, 3.0], 2.5), (&[7.0], 7.0)];
        for (values, middle) in cases {
            assert!((median(values.to_vec()) - middle).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn milliseconds_have_two_places() {
        assert_eq!(["0.00", "0.99", "12.34"], [9, 999, 12_345].map(millis));
    }
}
