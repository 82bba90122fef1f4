//! A bounded cache that follows [`Changes`].
//!
//! An entry is a record, the sequence of changes at which reading it began, and its subjects. It is served only while
//! none of its subjects has changed since, and while its [`Belief`] says so. Faults are not kept. One reader per key at a time;
//! the others share what it reads, but never something older than they may see: absence and faults are shared only by those
//! who came before the reading began.
//!
//! **Absence** is kept for a moment if the cache is told for how long, so that a key that does not exist costs one question and
//! not one per call. The same rules hold for it, with [`Subject::Born`] as its subject: who makes a record publishes that.
//! Absences have a room of their own, so that made-up keys cannot push out records that exist.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram};
use quick_cache::Weighter;
use tollgate_kernel::{Clock, Fault, Timestamp};

use crate::{
    changes::{Changes, Subject},
    flight::Flights,
    watch::Trust,
};

/// How often one call reads again because a change raced its reading. More in a row is a fault: never a guess.
const ATTEMPTS: usize = 8;

/// What an entry takes beside its record, in bytes: the maps, the counters, the subjects.
const OVERHEAD: u64 = 256;

/// One part in so many of a cache's bytes is for absences: enough for all that is asked for again within a moment, and garbage
/// costs the records that exist no more than this.
const ABSENT_PART: u64 = 16;

/// A record that knows which changes end it.
pub(crate) trait Follows {
    /// What the record depends on.
    fn subjects(&self) -> Vec<Subject>;

    /// Its size, about, in bytes.
    fn bytes(&self) -> u64;
}

/// When a record that is held, and that no known change contradicts, may be used.
#[derive(Clone, Copy)]
pub(crate) enum Belief<'a> {
    /// While no change can be missing.
    Complete(&'a Trust),
    /// While it is younger than this.
    Younger(Duration),
    /// Both.
    CompleteAndYounger(&'a Trust, Duration),
}

/// A cache of `V` by `K`.
pub(crate) struct Cache<K, V> {
    entries: Entries<K, V>,
    /// What is known not to be.
    absences: Entries<K, V>,
    /// For how long that is believed at most.
    absence: Duration,
    flights: Flights<K, Answer<V>>,
    changes: Changes,
    clock: Arc<dyn Clock>,
    counted: Counted,
}

type Entries<K, V> = quick_cache::sync::Cache<K, Arc<Entry<V>>, Bytes>;

#[derive(Clone)]
struct Bytes;

struct Entry<V> {
    /// `None`: there was no such record.
    value: Option<Arc<V>>,
    bytes: u64,
    subjects: Vec<Subject>,
    /// The sequence of changes when reading began.
    since: u64,
    /// The sequence up to which no change of the subjects is known: spares the look at the table.
    until: AtomicU64,
    /// The time when reading began.
    at: Timestamp,
}

enum Answer<V> {
    Read(Arc<Entry<V>>),
    Failed(Arc<Fault>),
}

struct Counted {
    hits: Counter,
    absent_hits: Counter,
    misses: Counter,
    fenced: Counter,
    age: Histogram,
    bytes: Gauge,
}

impl<K, V> Cache<K, V>
where
    K: Clone + Eq + Hash,
    V: Follows,
{
    /// An empty cache of at most `capacity` bytes, which holds an absence for less than `absence`; zero: it holds none, as it must
    /// if not all who make a record publish [`Subject::Born`]. `name` is the label of its metrics.
    pub(crate) fn new(
        name: &'static str,
        capacity: u64,
        absence: Duration,
        changes: Changes,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let for_absences = if absence.is_zero() { 0 } else { capacity / ABSENT_PART };
        Self {
            entries: room(capacity - for_absences, 2 * OVERHEAD),
            absences: room(for_absences, OVERHEAD),
            absence,
            flights: Flights::new(),
            changes,
            clock,
            counted: Counted::named(name),
        }
    }

    /// The record of `key`: the one that is held if it is good and believed, else what `read` says.
    pub(crate) async fn get<F>(
        &self,
        key: &K,
        belief: Belief<'_>,
        read: impl Fn() -> F,
    ) -> Result<Option<Arc<V>>, Fault>
    where
        F: Future<Output = Result<Option<V>, Fault>>,
    {
        let arrived = self.flights.begun();
        if let Some(entry) = self.held(key, belief) {
            self.counted.hit(&entry, self.age(&entry));
            return Ok(entry.value.clone());
        }
        self.counted.misses.increment(1);
        for _ in 0..ATTEMPTS {
            let landed = self.flights.join(key, || self.read(key, &read)).await;
            // Read after this call came: as good as if there were no cache.
            let fresh = landed.number > arrived;
            match landed.answer {
                // However the world goes on, it was so after this call came.
                Answer::Read(entry) if fresh && entry.value.is_none() => return Ok(None),
                Answer::Read(entry) if !self.holds(&entry) => {}
                Answer::Read(entry) if fresh || (entry.value.is_some() && self.believes(&entry, belief)) => {
                    return Ok(entry.value.clone());
                }
                Answer::Failed(fault) if fresh => return Err(same(&fault)),
                Answer::Read(_) | Answer::Failed(_) => {}
            }
        }
        Err(Fault::unavailable("the record changes faster than it can be read"))
    }

    /// The record of `key` that is held, if it is good and believed. Reads nothing, and counts as no use of it.
    pub(crate) fn peek(&self, key: &K, belief: Belief<'_>) -> Option<Arc<V>> {
        let entry = self.entries.peek(key).filter(|it| self.believes(it, belief) && self.holds(it))?;
        entry.value.clone()
    }

    async fn read<F>(&self, key: &K, read: impl Fn() -> F) -> Answer<V>
    where
        F: Future<Output = Result<Option<V>, Fault>>,
    {
        // Both before the reading begins: a change that comes meanwhile counts as later.
        let (since, at) = (self.changes.sequence(), self.clock.now());
        let value = match read().await {
            Ok(value) => value,
            Err(fault) => return Answer::Failed(Arc::new(fault)),
        };
        let subjects = value.as_ref().map_or_else(|| vec![Subject::Born], V::subjects);
        let bytes = OVERHEAD + value.as_ref().map_or(0, V::bytes);
        let value = value.map(Arc::new);
        let entry = Arc::new(Entry { value, bytes, subjects, since, until: AtomicU64::new(since), at });
        self.keep(key, &entry);
        Answer::Read(entry)
    }

    /// Holds what was read, unless a change came meanwhile: then it is thrown away.
    fn keep(&self, key: &K, entry: &Arc<Entry<V>>) {
        if !self.holds(entry) {
            return self.counted.fenced.increment(1);
        }
        // What was read last is all that is held of the key.
        if entry.value.is_some() {
            self.absences.remove(key);
            self.entries.insert(key.clone(), entry.clone());
        } else {
            self.entries.remove(key);
            if !self.absence.is_zero() {
                self.absences.insert(key.clone(), entry.clone());
            }
        }
        // A gauge: 2^52 bytes do not fit into a machine.
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        self.counted.bytes.set((self.entries.weight() + self.absences.weight()) as f64);
    }

    /// The record, or its absence, if it is held, good and believed.
    fn held(&self, key: &K, belief: Belief<'_>) -> Option<Arc<Entry<V>>> {
        let good = |entry: &Arc<Entry<V>>| self.believes(entry, belief) && self.holds(entry);
        self.entries.get(key).filter(good).or_else(|| self.absences.get(key).filter(good))
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

    fn believes(&self, entry: &Entry<V>, belief: Belief<'_>) -> bool {
        let believed = match belief {
            Belief::Complete(trust) => trust(),
            Belief::Younger(limit) => self.is_younger(entry, limit),
            Belief::CompleteAndYounger(trust, limit) => self.is_younger(entry, limit) && trust(),
        };
        believed && (entry.value.is_some() || self.is_younger(entry, self.absence))
    }

    fn is_younger(&self, entry: &Entry<V>, limit: Duration) -> bool {
        self.age(entry).is_some_and(|age| age < limit)
    }

    /// `None`: the clock was turned back, which says nothing about the age.
    fn age(&self, entry: &Entry<V>) -> Option<Duration> {
        (self.clock.now() - entry.at).to_std().ok()
    }
}

/// Room for so many bytes, for entries of about `each`.
fn room<K: Eq + Hash, V>(bytes: u64, each: u64) -> Entries<K, V> {
    let items = usize::try_from(bytes / each).unwrap_or(usize::MAX).max(1);
    Entries::with_weighter(items, bytes, Bytes)
}

impl<K, V> Weighter<K, Arc<Entry<V>>> for Bytes {
    fn weight(&self, _: &K, entry: &Arc<Entry<V>>) -> u64 {
        entry.bytes
    }
}

impl<V> Clone for Answer<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Read(entry) => Self::Read(entry.clone()),
            Self::Failed(fault) => Self::Failed(fault.clone()),
        }
    }
}

impl Counted {
    fn named(cache: &'static str) -> Self {
        let counter = |name: &'static str| metrics::counter!(name, "cache" => cache);
        Self {
            hits: counter("tollgate_verify_cache_hits_total"),
            absent_hits: counter("tollgate_verify_cache_absent_hits_total"),
            misses: counter("tollgate_verify_cache_misses_total"),
            fenced: counter("tollgate_verify_cache_fenced_total"),
            age: metrics::histogram!("tollgate_verify_cache_age_seconds", "cache" => cache),
            bytes: metrics::gauge!("tollgate_verify_cache_bytes", "cache" => cache),
        }
    }

    /// A record, or its absence, was served that is so old.
    fn hit<V>(&self, entry: &Entry<V>, age: Option<Duration>) {
        let hits = if entry.value.is_some() { &self.hits } else { &self.absent_hits };
        hits.increment(1);
        if let Some(age) = age {
            self.age.record(age.as_secs_f64());
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
mod race;
#[cfg(test)]
mod tests;
