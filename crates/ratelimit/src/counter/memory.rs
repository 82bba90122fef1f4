//! Counting in this process: shards by partition, each under one lock, so that all limits of a call and its tally are
//! decided and counted in one step.
//!
//! Memory is bounded by what is live: a state is forgotten once it cannot matter any more, what is remembered of a call
//! after its time, an override after its end, all by the calls that follow ([`expiry`]). Nothing live is ever evicted, since
//! that would let more pass than a limit says: when there is no room ([`room`]), calls that need some are not decided. A
//! tally stays until it is drained.

mod codec;
mod copy;
mod credits;
mod expiry;
mod partition;
mod record;
mod room;
mod shard;
mod snapshot;

use std::{
    collections::VecDeque,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tollgate_kernel::{Clock, Entropy};

use super::{Answer, Undecided};
use crate::{
    call::{Call, Key, OnFailure, PutOverride, Reset, Settle},
    engine::Override,
    tally::{Batch, BatchId},
};

pub(crate) use self::snapshot::SnapshotFile;
use self::{room::Room, shard::Shard};

/// Enough that threads seldom meet on one lock.
const SHARDS: usize = 64;

/// The counter of one process.
pub(crate) struct Memory {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    room: Room,
    drain: Mutex<Drain>,
}

/// Which limits of a call are counted here. The others let everything pass, and are reported as unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All: this is the store.
    All,
    /// Those that are counted in the process while their store is gone.
    Local,
    /// None.
    Nothing,
}

/// Where the draining of the tallies stands.
#[derive(Default)]
struct Drain {
    /// Taken, and not yet acknowledged.
    pending: Option<Batch>,
    /// Partitions that may have a tally, in turn.
    turn: VecDeque<Arc<str>>,
}

impl Memory {
    /// A counter that has counted nothing, with room for so many states, remembered calls and overrides.
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, max_states: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        let room = Room::new(max_states);
        Self { clock, entropy, hasher: RandomState::new(), shards, room, drain: Mutex::default() }
    }

    /// Decides and counts one call.
    pub(crate) fn check(&self, call: &Call, scope: Scope) -> Result<Answer, Undecided> {
        match self.attempt(call, scope) {
            Err(Undecided::Full) => {}
            decided => return decided,
        }
        // Some of what takes the room may have expired in shards that no call came to since.
        self.forget_expired();
        match self.attempt(call, scope) {
            Err(Undecided::Full) => self.without_room(call),
            decided => decided,
        }
    }

    /// Counts a call that was decided elsewhere in the tally.
    pub(crate) fn count(&self, call: &Call, answer: &Answer) {
        let mut shard = self.shard(&call.partition);
        shard.count(call, answer, self.now());
    }

    /// Gives back what a remembered call did not cost; and how much of each limit.
    pub(crate) fn settle(&self, settle: &Settle) -> Result<Vec<u64>, Undecided> {
        let mut shard = self.shard(&settle.partition);
        shard.settle(settle, self.now(), &self.room)
    }

    /// Forgets what limits have counted.
    pub(crate) fn reset(&self, reset: &Reset) {
        let mut shard = self.shard(&reset.partition);
        shard.reset(reset, self.now(), &self.room);
    }

    /// Puts a number in place of a limit's own.
    pub(crate) fn put_override(&self, put: &PutOverride) -> Result<(), Undecided> {
        let mut shard = self.shard(&put.partition);
        shard.put_override(put, self.now(), &self.room)
    }

    /// Ends an override, if it is there.
    pub(crate) fn delete_override(&self, partition: &str, key: &Key) {
        let mut shard = self.shard(partition);
        shard.delete_override(partition, key, self.now(), &self.room);
    }

    /// The overrides of a partition that are in force, in no order.
    pub(crate) fn overrides(&self, partition: &str) -> Vec<(Key, Override)> {
        let shard = self.shard(partition);
        shard.overrides(partition, self.now())
    }

    /// The next batch of tallies: the same until it is acknowledged.
    pub(crate) fn drain(&self) -> Option<Batch> {
        let mut drain = lock(&self.drain);
        if drain.pending.is_none() {
            drain.pending = self.next_batch(&mut drain.turn);
        }
        drain.pending.clone()
    }

    /// Forgets a batch.
    pub(crate) fn acknowledge(&self, id: &BatchId) {
        lock(&self.drain).pending.take_if(|batch| batch.id == *id);
    }

    fn attempt(&self, call: &Call, scope: Scope) -> Result<Answer, Undecided> {
        let mut shard = self.shard(&call.partition);
        // Read under the lock, so that calls are decided in the order of their times.
        let now = self.now();
        // Twice as many as a call can add at most, so that what is forgotten keeps up with what comes.
        shard.forget_expired(now, 2 * (call.charges.len() + 1), &self.room);
        if call.peek { shard.peek(call, scope, now) } else { shard.check(call, scope, now, &self.room) }
    }

    fn forget_expired(&self) {
        let now = self.now();
        for shard in &self.shards {
            lock(shard).forget_expired(now, usize::MAX, &self.room);
        }
    }

    /// Without room it is as if the store were gone, and nothing can be counted in its place.
    fn without_room(&self, call: &Call) -> Result<Answer, Undecided> {
        metrics::counter!("tollgate_ratelimit_full_total").increment(1);
        let passes = |charge: &crate::call::Charge| charge.shadow || charge.on_failure == OnFailure::Allow;
        if !call.charges.iter().all(passes) {
            return Err(Undecided::Full);
        }
        let mut shard = self.shard(&call.partition);
        let now = self.now();
        let answer = shard.peek(call, Scope::Nothing, now)?;
        shard.count(call, &answer, now);
        Ok(answer)
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp_micros()
    }

    fn next_batch(&self, turn: &mut VecDeque<Arc<str>>) -> Option<Batch> {
        if turn.is_empty() {
            turn.extend(self.shards.iter().flat_map(|shard| lock(shard).tallied()));
        }
        let partition = turn.pop_front()?;
        let (rows, more) = self.shard(&partition).take_tally(&partition);
        if more {
            turn.push_back(partition.clone());
        }
        let id = BatchId::memory(&*self.entropy);
        Some(Batch { id, partition: partition.to_string(), rows })
    }

    fn shard(&self, partition: &str) -> MutexGuard<'_, Shard> {
        let place = self.hasher.hash_one(partition) % SHARDS as u64;
        lock(&self.shards[usize::try_from(place).expect("the number of shards is small")])
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// No holder of a lock panics half-way through a change, so what a panic left behind is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
