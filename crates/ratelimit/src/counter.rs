//! What keeps the state and decides and counts a call in one atomic step: in this process ([`memory`]), or in Redis
//! ([`redis`]) with the failure policies of its limits when that is gone ([`fallback`]).

mod fallback;
mod memory;
mod redis;

use std::{error::Error, sync::Arc};

use tollgate_kernel::{Clock, Entropy, Fault};

use crate::{
    call::Call,
    engine::{Denial, Outlook},
    settings::Store,
    tally::{Batch, BatchId},
};

use self::{fallback::Fallback, memory::Memory, redis::Redis};

/// How long an accepted call is remembered by its request id, in microseconds.
const REMEMBERED: i64 = 600_000_000;
/// How much longer than it counts a state is kept, in microseconds, so that a clock that is turned back by less finds
/// what it counted.
const SLACK: i64 = 60_000_000;

/// How a call was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) denial: Option<Denial>,
    /// How the limits stand after the call, in its order.
    pub(crate) outlooks: Vec<Outlook>,
    /// A limit was decided without its store.
    pub(crate) degraded: bool,
}

/// Why a call was not decided.
#[derive(Debug)]
pub(crate) enum Undecided {
    /// Its request id was accepted with other charges.
    Reused,
    /// The store does not answer, or not as a store should.
    Gone(Box<dyn Error + Send + Sync>),
}

/// Where the role counts.
pub(crate) enum Counter {
    /// In this process.
    Memory(Memory),
    /// In Redis, and in this process while that is gone.
    Redis(Box<Fallback>),
}

impl Counter {
    /// Opens the store. One that is gone now is found when it is back.
    pub(crate) fn open(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Fault> {
        let memory = Memory::new(clock.clone(), entropy.clone());
        Ok(match store {
            Store::Memory => Self::Memory(memory),
            Store::Redis { url, prefix, timeout, connect_timeout, retry_interval } => {
                let pace = redis::Pace { timeout, connect_timeout, retry_interval };
                let redis = Redis::open(&url, prefix, pace, clock, entropy)?;
                Self::Redis(Box::new(Fallback::new(redis, memory)))
            }
        })
    }

    /// Decides and counts one call.
    pub(crate) async fn check(&self, call: &Call) -> Result<Answer, Fault> {
        match self {
            Self::Memory(memory) => Ok(memory.check(call)?),
            Self::Redis(fallback) => fallback.check(call).await,
        }
    }

    /// The next batch of tallies.
    pub(crate) async fn drain(&self) -> Result<Option<Batch>, Fault> {
        match self {
            Self::Memory(memory) => Ok(memory.drain()),
            Self::Redis(fallback) => fallback.drain().await,
        }
    }

    /// Forgets a batch. One that is not here, or no longer, is forgotten already.
    pub(crate) async fn acknowledge(&self, id: &BatchId) -> Result<(), Fault> {
        match self {
            Self::Memory(memory) => memory.acknowledge(id),
            Self::Redis(fallback) => return fallback.acknowledge(id).await,
        }
        Ok(())
    }

    /// Whether the store answers.
    pub(crate) async fn ping(&self) -> Result<(), Fault> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(fallback) => fallback.ping().await,
        }
    }
}

impl From<Undecided> for Fault {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Reused => {
                Self::invalid("/request_id", "was used for a call with other charges within ten minutes")
            }
            Undecided::Gone(cause) => Self::unavailable(cause),
        }
    }
}
