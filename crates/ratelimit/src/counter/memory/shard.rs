//! The partitions that share a lock: their states, what they remember, and their tallies.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{Answer, REMEMBERED, SLACK, Undecided},
    expiry::{Due, Expiry, What},
};
use crate::{
    call::Call,
    engine::{Decision, Ring, Spec, decide},
    tally::{Cell, DENIED, MAX_ROWS, Row},
};

/// The partitions that share a lock.
#[derive(Default)]
pub(super) struct Shard {
    partitions: HashMap<Arc<str>, Partition>,
    expiry: Expiry,
    /// Partitions whose tally was empty and is no longer.
    tallied: Vec<Arc<str>>,
}

struct Partition {
    name: Arc<str>,
    states: HashMap<String, State>,
    requests: HashMap<String, Remembered>,
    tally: HashMap<Cell, Counted>,
}

#[derive(Default)]
struct State {
    ring: Ring,
    keep_until: i64,
}

/// What was answered to a request id.
struct Remembered {
    at: i64,
    /// The states that were charged, and how much.
    charged: Vec<(String, u32)>,
    answer: Answer,
}

#[derive(Default)]
struct Counted {
    count: u64,
    last_at: i64,
}

impl Shard {
    /// Decides one call and counts it.
    pub(super) fn check(&mut self, call: &Call, now: i64) -> Result<Answer, Undecided> {
        let (specs, keys) = (call.specs(), keys(call));
        let partition = partition(&mut self.partitions, &call.partition);
        if let Some(answer) = partition.remembered(call, &keys, now)? {
            return Ok(answer);
        }
        let decision = partition.decide(&specs, &keys, now);
        if decision.denial.is_none() {
            partition.take(&specs, &keys, decision.at, &mut self.expiry);
        }
        let answer = partition.answer(&specs, &keys, &decision, now);
        if partition.count(call, &answer, now) {
            self.tallied.push(partition.name.clone());
        }
        partition.remember(call, &keys, &answer, now, &mut self.expiry);
        if partition.is_empty() {
            self.partitions.remove(&*call.partition);
        }
        Ok(answer)
    }

    /// Decides one call and changes nothing.
    pub(super) fn peek(&self, call: &Call, now: i64) -> Answer {
        let (specs, keys) = (call.specs(), keys(call));
        let unknown = Partition::new(Arc::from(""));
        let partition = self.partitions.get(&*call.partition).unwrap_or(&unknown);
        let decision = partition.decide(&specs, &keys, now);
        partition.answer(&specs, &keys, &decision, now)
    }

    /// Forgets what expired by `now`: twice as many things as a call can add at most, so that what is forgotten keeps
    /// up with what comes.
    pub(super) fn forget_expired(&mut self, now: i64, adds: usize) {
        for _ in 0..2 * adds {
            let Some(due) = self.expiry.next(now) else { return };
            self.forget(due, now);
        }
    }

    /// The partitions that have a tally and were not named before.
    pub(super) fn tallied(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.tallied)
    }

    /// Takes the tally of a partition, or [`MAX_ROWS`] of it; and whether there is more.
    pub(super) fn take_tally(&mut self, name: &str) -> (Vec<Row>, bool) {
        let Some(partition) = self.partitions.get_mut(name) else { return (Vec::new(), false) };
        let taken = partition.tally.extract_if(|_, _| true).take(MAX_ROWS);
        let row =
            |(cell, counted): (_, Counted)| Row { cell, count: counted.count, last_at: counted.last_at };
        let rows = taken.map(row).collect();
        let more = !partition.tally.is_empty();
        if partition.is_empty() {
            self.partitions.remove(name);
        }
        (rows, more)
    }

    /// How many states and request ids are held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partitions.values().map(|partition| 1 + partition.states.len() + partition.requests.len()).sum()
    }

    fn forget(&mut self, due: Due, now: i64) {
        let Some(partition) = self.partitions.get_mut(&due.partition) else { return };
        if let Some(later) = partition.keep_until(&due.what).filter(|later| *later > now) {
            self.expiry.note(Due { at: later, ..due });
            return;
        }
        partition.forget(&due.what);
        if partition.is_empty() {
            self.partitions.remove(&due.partition);
        }
    }
}

impl Partition {
    fn new(name: Arc<str>) -> Self {
        Self { name, states: HashMap::new(), requests: HashMap::new(), tally: HashMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.states.is_empty() && self.requests.is_empty() && self.tally.is_empty()
    }

    fn ring(&self, key: &str) -> &Ring {
        self.states.get(key).map_or(Ring::EMPTY, |state| &state.ring)
    }

    fn decide(&self, specs: &[Spec], keys: &[String], now: i64) -> Decision {
        let rings: Vec<_> = keys.iter().map(|key| self.ring(key)).collect();
        decide(specs, &rings, now)
    }

    fn answer(&self, specs: &[Spec], keys: &[String], decision: &Decision, now: i64) -> Answer {
        let limits = specs.iter().zip(keys);
        let outlooks = limits.map(|(spec, key)| self.ring(key).outlook(spec, decision.at, now)).collect();
        Answer { denial: decision.denial, outlooks, degraded: false }
    }

    fn take(&mut self, specs: &[Spec], keys: &[String], at: i64, expiry: &mut Expiry) {
        for (spec, key) in specs.iter().zip(keys).filter(|(spec, _)| spec.cost > 0) {
            let keep_until = at + spec.window + SLACK;
            if !self.states.contains_key(key) {
                let (partition, what) = (self.name.clone(), What::State(key.clone()));
                expiry.note(Due { at: keep_until, partition, what });
            }
            let state = self.states.entry(key.clone()).or_default();
            state.ring.take(spec, at);
            state.keep_until = keep_until;
        }
    }

    /// Counts the call where it asks to be counted; and whether that is the first of the tally.
    fn count(&mut self, call: &Call, answer: &Answer, now: i64) -> bool {
        let Some(tally) = &call.tally else { return false };
        let first = self.tally.is_empty();
        let code = if answer.denial.is_some() { DENIED } else { &tally.code };
        let counted = self.tally.entry(Cell::at(now, &tally.subject, code)).or_default();
        counted.count += 1;
        counted.last_at = counted.last_at.max(now);
        first
    }

    fn remembered(&self, call: &Call, keys: &[String], now: i64) -> Result<Option<Answer>, Undecided> {
        let kept = call.request_id.as_ref().and_then(|id| self.requests.get(id));
        let Some(kept) = kept.filter(|kept| now < kept.at + REMEMBERED) else { return Ok(None) };
        let before = kept.charged.iter().map(|(key, cost)| (key, *cost));
        if before.eq(charged(call, keys)) { Ok(Some(kept.answer.clone())) } else { Err(Undecided::Reused) }
    }

    fn remember(&mut self, call: &Call, keys: &[String], answer: &Answer, now: i64, expiry: &mut Expiry) {
        let Some(id) = call.request_id.as_ref().filter(|_| answer.denial.is_none()) else { return };
        let charged = charged(call, keys).map(|(key, cost)| (key.clone(), cost)).collect();
        let kept = Remembered { at: now, charged, answer: answer.clone() };
        if self.requests.insert(id.clone(), kept).is_none() {
            let (partition, what) = (self.name.clone(), What::Request(id.clone()));
            expiry.note(Due { at: now + REMEMBERED + SLACK, partition, what });
        }
    }

    fn keep_until(&self, what: &What) -> Option<i64> {
        match what {
            What::State(key) => self.states.get(key).map(|state| state.keep_until),
            What::Request(id) => self.requests.get(id).map(|kept| kept.at + REMEMBERED + SLACK),
        }
    }

    fn forget(&mut self, what: &What) {
        match what {
            What::State(key) => drop(self.states.remove(key)),
            What::Request(id) => drop(self.requests.remove(id)),
        }
    }
}

/// The states of a call, in the order of its limits.
fn keys(call: &Call) -> Vec<String> {
    // A space is in neither of the two.
    call.charges.iter().map(|charge| format!("{} {}", charge.name, charge.subject)).collect()
}

fn charged<'a>(call: &'a Call, keys: &'a [String]) -> impl Iterator<Item = (&'a String, u32)> {
    keys.iter().zip(call.charges.iter().map(|charge| charge.spec.cost))
}

fn partition<'a>(partitions: &'a mut HashMap<Arc<str>, Partition>, name: &str) -> &'a mut Partition {
    if !partitions.contains_key(name) {
        let name: Arc<str> = Arc::from(name);
        partitions.insert(name.clone(), Partition::new(name));
    }
    partitions.get_mut(name).expect("it was there or is now")
}
