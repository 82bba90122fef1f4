//! Counting in this process: shards by partition, each under one lock, so that all limits of a call and its tally are
//! decided and counted in one step.
//!
//! Memory is bounded by what is live: a state is forgotten once all its units have left their window, a request id after
//! its ten minutes, both by the calls that follow ([`expiry`]). Nothing live is ever evicted. A tally stays until it is
//! drained.

mod expiry;
mod shard;

use std::{
    collections::VecDeque,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tollgate_kernel::{Clock, Entropy};

use super::{Answer, Undecided};
use crate::{
    call::Call,
    tally::{Batch, BatchId},
};

use self::shard::Shard;

/// Enough that threads seldom meet on one lock.
const SHARDS: usize = 64;

/// The counter of one process.
pub(crate) struct Memory {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    drain: Mutex<Drain>,
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
    /// A counter that has counted nothing.
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { clock, entropy, hasher: RandomState::new(), shards, drain: Mutex::default() }
    }

    /// Decides and counts one call.
    pub(crate) fn check(&self, call: &Call) -> Result<Answer, Undecided> {
        let mut shard = self.shard(&call.partition);
        // Read under the lock, so that calls are decided in the order of their times.
        let now = self.clock.now().timestamp_micros();
        shard.forget_expired(now, call.charges.len() + 1);
        if call.peek { Ok(shard.peek(call, now)) } else { shard.check(call, now) }
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
