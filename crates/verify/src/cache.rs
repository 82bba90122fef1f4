//! A bounded cache that follows [`Changes`].
//!
//! An entry is a record, the sequence of changes at which reading it began, and its subjects. It is served only while
//! none of its subjects has changed since, and while it is younger than the maximum age, if there is one. Absence and
//! faults are not kept. One reader per key at a time; the others share what it reads, but never something older than
//! they may see: absence and faults are shared only by those who came before the reading began.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::Counter;
use tollgate_kernel::{Clock, Fault, Timestamp};

use crate::{
    changes::{Changes, Subject},
    flight::Flights,
};

/// How often one call reads again because a change raced its reading. More in a row is a fault: never a guess.
const ATTEMPTS: usize = 8;

/// A record that knows which changes end it.
pub(crate) trait Follows {
    /// What the record depends on.
    fn subjects(&self) -> Vec<Subject>;
}

/// A cache of `V` by `K`.
pub(crate) struct Cache<K, V> {
    entries: quick_cache::sync::Cache<K, Arc<Entry<V>>>,
    flights: Flights<K, Answer<V>>,
    changes: Changes,
    clock: Arc<dyn Clock>,
    counted: Counted,
}

struct Entry<V> {
    value: Arc<V>,
    subjects: Vec<Subject>,
    /// The sequence of changes when reading began.
    since: u64,
    /// The sequence up to which no change of the subjects is known: spares the look at the table.
    until: AtomicU64,
    /// The time when reading began.
    at: Timestamp,
}

enum Answer<V> {
    Found(Arc<Entry<V>>),
    Absent,
    Failed(Arc<Fault>),
}

struct Counted {
    hits: Counter,
    misses: Counter,
    fenced: Counter,
}

impl<K, V> Cache<K, V>
where
    K: Clone + Eq + Hash,
    V: Follows,
{
    /// An empty cache of at most `capacity` entries. `name` is the label of its metrics.
    pub(crate) fn new(name: &'static str, capacity: usize, changes: Changes, clock: Arc<dyn Clock>) -> Self {
        Self {
            entries: quick_cache::sync::Cache::new(capacity),
            flights: Flights::new(),
            changes,
            clock,
            counted: Counted::named(name),
        }
    }

    /// The record of `key`: the one that is held if it is good and younger than `max_age`, else what `read` says.
    pub(crate) async fn get<F>(
        &self,
        key: &K,
        max_age: Option<Duration>,
        read: impl Fn() -> F,
    ) -> Result<Option<Arc<V>>, Fault>
    where
        F: Future<Output = Result<Option<V>, Fault>>,
    {
        let arrived = self.flights.begun();
        if let Some(entry) = self.entries.get(key).filter(|it| self.is_young(it, max_age) && self.holds(it)) {
            self.counted.hits.increment(1);
            return Ok(Some(entry.value.clone()));
        }
        self.counted.misses.increment(1);
        for _ in 0..ATTEMPTS {
            let landed = self.flights.join(key, || self.read(key, &read)).await;
            // Read after this call came: as good as if there were no cache.
            let fresh = landed.number > arrived;
            match landed.answer {
                Answer::Found(entry) if !self.holds(&entry) => self.counted.fenced.increment(1),
                Answer::Found(entry) if fresh || self.is_young(&entry, max_age) => {
                    return Ok(Some(entry.value.clone()));
                }
                Answer::Absent if fresh => return Ok(None),
                Answer::Failed(fault) if fresh => return Err(same(&fault)),
                Answer::Found(_) | Answer::Absent | Answer::Failed(_) => {}
            }
        }
        Err(Fault::unavailable("the record changes faster than it can be read"))
    }

    async fn read<F>(&self, key: &K, read: impl Fn() -> F) -> Answer<V>
    where
        F: Future<Output = Result<Option<V>, Fault>>,
    {
        // Both before the reading begins: a change that comes meanwhile counts as later.
        let (since, at) = (self.changes.sequence(), self.clock.now());
        match read().await {
            Ok(Some(value)) => {
                let subjects = value.subjects();
                let value = Arc::new(value);
                let entry = Arc::new(Entry { value, subjects, since, until: AtomicU64::new(since), at });
                self.entries.insert(key.clone(), entry.clone());
                Answer::Found(entry)
            }
            Ok(None) => Answer::Absent,
            Err(fault) => Answer::Failed(Arc::new(fault)),
        }
    }

    /// Whether no change of the subjects is known since reading began.
    fn holds(&self, entry: &Entry<V>) -> bool {
        if entry.until.load(Ordering::Relaxed) == self.changes.sequence() {
            return true;
        }
        let until = self.changes.holds_until(entry.since, &entry.subjects);
        if let Some(until) = until {
            entry.until.fetch_max(until, Ordering::Relaxed);
        }
        until.is_some()
    }

    /// A clock that was turned back says nothing about the age, so the entry is not young.
    fn is_young(&self, entry: &Entry<V>, max_age: Option<Duration>) -> bool {
        let age = || (self.clock.now() - entry.at).to_std();
        max_age.is_none_or(|max_age| age().is_ok_and(|age| age < max_age))
    }
}

impl<V> Clone for Answer<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Found(entry) => Self::Found(entry.clone()),
            Self::Absent => Self::Absent,
            Self::Failed(fault) => Self::Failed(fault.clone()),
        }
    }
}

impl Counted {
    fn named(cache: &'static str) -> Self {
        let counter = |name: &'static str| metrics::counter!(name, "cache" => cache);
        Self {
            hits: counter("tollgate_verify_cache_hits_total"),
            misses: counter("tollgate_verify_cache_misses_total"),
            fenced: counter("tollgate_verify_cache_fenced_total"),
        }
    }
}

/// The fault again, for another caller: its cause as text.
fn same(fault: &Fault) -> Fault {
    let mut again = Fault::new(fault.code(), fault.message().to_owned());
    if !fault.violated().is_empty() {
        again = Fault::violations(fault.violated().to_vec());
    }
    if let Some(wait) = fault.wait() {
        again = again.retry_after(wait);
    }
    match fault.cause() {
        Some(cause) => again.caused_by(cause),
        None => again,
    }
}

#[cfg(test)]
mod tests;
