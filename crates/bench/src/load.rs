//! Two ways to call, and what each is good for.
//!
//! [`closed`]: every caller sends its next call when the answer to the last one is there. That finds the most that the
//! server can do; its latencies say little, because a slow server is asked less.
//!
//! [`open`]: calls are sent by a timetable, whatever the server does, and each is measured from the moment at which it
//! was due. So a stall counts for all calls that it delayed (no coordinated omission).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::{
    Problem,
    calls::{Caller, Outcome},
};

/// Longest latency that is told apart from longer ones, in microseconds: a minute.
const LONGEST: u64 = 60_000_000;

/// What a run of calls came to.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Latencies of the calls that were allowed, in microseconds.
    pub latencies: Histogram<u64>,
    pub counts: Counts,
    pub took: Duration,
}

/// How many calls came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// May pass; `degraded` is among them.
    pub allowed: u64,
    /// Decided without the store of a limit.
    pub degraded: u64,
    /// Denied by a limit.
    pub refused: u64,
    /// No answer, or an error.
    pub failed: u64,
}

impl Measured {
    fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order");
        Self { latencies, counts: Counts::default(), took: Duration::ZERO }
    }

    fn record(&mut self, outcome: Outcome, latency: Duration) {
        self.counts.add(outcome);
        if matches!(outcome, Outcome::Allowed | Outcome::Degraded) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST);
            self.latencies.saturating_record(micros.max(1));
        }
    }

    /// Together with what another caller, or another round, measured.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all histograms have the same bounds");
        self.counts = self.counts.with(other.counts);
        self.took += other.took;
    }

    /// Allowed calls per second.
    #[expect(clippy::cast_precision_loss, reason = "a count of calls is far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.counts.allowed as f64 / self.took.as_secs_f64()
    }
}

impl Counts {
    /// Together with those of others.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            allowed: self.allowed + other.allowed,
            degraded: self.degraded + other.degraded,
            refused: self.refused + other.refused,
            failed: self.failed + other.failed,
        }
    }

    /// Counts one call more.
    pub(crate) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Allowed => self.allowed += 1,
            Outcome::Degraded => {
                self.allowed += 1;
                self.degraded += 1;
            }
            Outcome::Refused => self.refused += 1,
            Outcome::Failed => self.failed += 1,
        }
    }
}

/// Calls back to back for this long.
pub(crate) async fn closed(callers: Vec<Caller>, length: Duration) -> Result<Measured, Problem> {
    let start = Instant::now();
    let end = start + length;
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        tasks.spawn(async move {
            let mut measured = Measured::new();
            while Instant::now() < end {
                let sent = Instant::now();
                let outcome = caller.call().await;
                measured.record(outcome, sent.elapsed());
            }
            measured
        });
    }
    gathered(tasks, start).await
}

/// Calls at this many per second for this long.
pub(crate) async fn open(callers: Vec<Caller>, rate: f64, length: Duration) -> Result<Measured, Problem> {
    let timetable = Timetable::starting_now(rate, length);
    let start = timetable.start;
    let mut tasks = JoinSet::new();
    let callers_count = callers.len();
    for mut caller in callers {
        let timetable = timetable.clone();
        tasks.spawn(async move {
            let mut measured = Measured::new();
            while let Some(due) = timetable.next().await {
                let outcome = caller.call().await;
                measured.record(outcome, due.elapsed());
            }
            measured
        });
    }
    // A thread of its own: the runtime's timer counts whole milliseconds.
    let pacer = thread::spawn(move || timetable.pace(callers_count));
    let measured = gathered(tasks, start).await;
    pacer.join().map_err(|_| "the pacer panicked")?;
    measured
}

async fn gathered(mut tasks: JoinSet<Measured>, start: Instant) -> Result<Measured, Problem> {
    let mut all = Measured::new();
    while let Some(one) = tasks.join_next().await {
        all.add(&one?);
    }
    all.took = start.elapsed();
    Ok(all)
}

/// When each call is due.
#[derive(Clone)]
struct Timetable {
    start: Instant,
    rate: f64,
    total: u64,
    taken: Arc<AtomicU64>,
    due: Arc<Semaphore>,
}

impl Timetable {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of calls")]
    fn starting_now(rate: f64, length: Duration) -> Self {
        Self {
            start: Instant::now(),
            rate,
            total: (rate * length.as_secs_f64()) as u64,
            taken: Arc::new(AtomicU64::new(0)),
            due: Arc::new(Semaphore::new(0)),
        }
    }

    /// Waits until a call is due, and says when it was; `None` after the last.
    async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.total).then(|| self.at(number))
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of calls is far below 2^52")]
    fn at(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Announces each call when it is due, and the end to each of the callers.
    fn pace(&self, callers: usize) {
        for number in 0..self.total {
            let wait = self.at(number).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            self.due.add_permits(1);
        }
        self.due.add_permits(callers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_calls_have_a_latency() {
        let mut measured = Measured::new();
        for outcome in [Outcome::Allowed, Outcome::Degraded, Outcome::Refused, Outcome::Failed] {
            measured.record(outcome, Duration::from_micros(250));
        }
        measured.record(Outcome::Allowed, Duration::from_hours(1));
        let counts = Counts { allowed: 3, degraded: 1, refused: 1, failed: 1 };
        assert_eq!(measured.counts, counts);
        assert_eq!(measured.latencies.len(), 3);
        assert_eq!(measured.latencies.value_at_quantile(0.5), 250);
        assert!(measured.latencies.max() >= LONGEST);
    }

    #[test]
    fn what_is_added_counts_together() {
        let mut one = Measured::new();
        one.record(Outcome::Allowed, Duration::from_micros(100));
        one.took = Duration::from_secs(1);
        let mut both = one.clone();
        both.add(&one);
        assert_eq!((both.counts.allowed, both.latencies.len()), (2, 2));
        assert!((both.per_second() - 1.0).abs() < 1e-9);
    }

    #[tokio::test]
    async fn every_call_of_the_timetable_is_due_once() {
        let timetable = Timetable::starting_now(1_000_000.0, Duration::from_millis(1));
        timetable.pace(2);
        let mut due = Vec::new();
        while let Some(at) = timetable.next().await {
            due.push(at - timetable.start);
        }
        assert_eq!(due.len(), 1_000);
        assert_eq!(due[0], Duration::ZERO);
        assert_eq!(due[999], Duration::from_micros(999));
        assert_eq!(timetable.next().await, None, "the other caller hears of the end, too");
    }
}
