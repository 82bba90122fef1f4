//! What keeps the state and decides and counts a call in one atomic step: in this process ([`memory`]), or in Redis
//! ([`redis`]) with the failure policies of its limits when that is gone ([`fallback`]), and not asked what it surely denies
//! ([`denials`]) or was charged before ([`ahead`]).

mod ahead;
mod denials;
mod fallback;
mod memory;
mod redis;

use std::{error::Error, sync::Arc};

use tollgate_kernel::{Clock, Code, Entropy, Fault};

use crate::{
    call::{Call, Key, Move, PutOverride, Reset, Settle, Wrong},
    engine::{Credit, Denial, Outlook, Override},
    settings::Store,
    tally::{Batch, BatchId},
};

use self::{
    ahead::Ahead,
    denials::Denials,
    fallback::Fallback,
    memory::{Memory, Scope, SnapshotFile},
    redis::Redis,
};

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

/// Why a call was not decided, or a change not made.
#[derive(Debug)]
pub(crate) enum Undecided {
    /// Its request id was accepted with other charges.
    Reused,
    /// No call is remembered by that request id.
    Unknown,
    /// The call was settled otherwise.
    Settled,
    /// It wants more than the limit at this position lets pass at any time.
    TooMuch(usize),
    /// These are not costs of the call.
    Wrong(Wrong),
    /// The partition has as many overrides as it may have.
    Crowded,
    /// The process holds as much as it may.
    Full,
    /// The store does not answer, or not as a store should.
    Gone(Box<dyn Error + Send + Sync>),
}

/// Where the role counts.
pub(crate) enum Counter {
    /// In this process.
    Memory { memory: Arc<Memory>, snapshot: Option<SnapshotFile> },
    /// In Redis, and in this process while that is gone.
    Redis(Arc<Fallback>),
}

impl Counter {
    /// Opens the store. One that is gone now is found when it is back.
    pub(crate) fn open(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Fault> {
        let memory = |max_states| Memory::new(clock.clone(), entropy.clone(), max_states);
        Ok(match store {
            Store::Memory { max_states, snapshot } => {
                let (memory, snapshot) = (memory(max_states), snapshot.map(SnapshotFile::new));
                if let Some(file) = &snapshot {
                    file.take_into(&memory).map_err(unusable)?;
                }
                Self::Memory { memory: Arc::new(memory), snapshot }
            }
            Store::Redis {
                url,
                tls,
                prefix,
                timeout,
                connect_timeout,
                retry_interval,
                check_eviction,
                max_states,
                denial_cache,
                charge_ahead,
            } => {
                let memory = memory(max_states);
                let pace = redis::Pace { timeout, connect_timeout, retry_interval };
                let ahead = Ahead::new(charge_ahead, clock.clone(), entropy.clone());
                let redis = Redis::open(&url, &tls, prefix, pace, check_eviction, clock.clone(), entropy)?;
                Self::Redis(Fallback::new(redis, memory, Denials::new(denial_cache), ahead, clock))
            }
        })
    }

    /// Decides and counts one call.
    pub(crate) async fn check(&self, call: &Call) -> Result<Answer, Fault> {
        match self {
            Self::Memory { memory, .. } => Ok(memory.check(call, Scope::All)?),
            Self::Redis(fallback) => fallback.check(call).await,
        }
    }

    /// Gives back what a remembered call did not cost; and how much of each limit.
    pub(crate) async fn settle(&self, settle: &Settle) -> Result<Vec<u64>, Fault> {
        match self {
            Self::Memory { memory, .. } => Ok(memory.settle(settle)?),
            Self::Redis(fallback) => fallback.settle(settle).await,
        }
    }

    /// Makes a step of an account of credits; and how that stands after it, if it is there.
    pub(crate) async fn make(&self, step: &Move) -> Result<Option<Credit>, Fault> {
        match self {
            Self::Memory { memory, .. } => Ok(memory.make(step)?),
            Self::Redis(fallback) => fallback.make(step).await,
        }
    }

    /// Forgets what limits have counted.
    pub(crate) async fn reset(&self, reset: &Reset) -> Result<(), Fault> {
        match self {
            Self::Memory { memory, .. } => memory.reset(reset),
            Self::Redis(fallback) => return fallback.reset(reset).await,
        }
        Ok(())
    }

    /// Puts a number in place of a limit's own.
    pub(crate) async fn put_override(&self, put: &PutOverride) -> Result<(), Fault> {
        match self {
            Self::Memory { memory, .. } => Ok(memory.put_override(put)?),
            Self::Redis(fallback) => fallback.put_override(put).await,
        }
    }

    /// Ends an override, if it is there.
    pub(crate) async fn delete_override(&self, partition: &str, key: &Key) -> Result<(), Fault> {
        match self {
            Self::Memory { memory, .. } => memory.delete_override(partition, key),
            Self::Redis(fallback) => return fallback.delete_override(partition, key).await,
        }
        Ok(())
    }

    /// The overrides of a partition that are in force, by name and subject.
    pub(crate) async fn overrides(&self, partition: &str) -> Result<Vec<(Key, Override)>, Fault> {
        let mut overrides = match self {
            Self::Memory { memory, .. } => memory.overrides(partition),
            Self::Redis(fallback) => fallback.overrides(partition).await?,
        };
        overrides.sort_unstable_by(|(a, _), (b, _)| (a.name(), a.subject()).cmp(&(b.name(), b.subject())));
        Ok(overrides)
    }

    /// The next batch of tallies.
    pub(crate) async fn drain(&self) -> Result<Option<Batch>, Fault> {
        match self {
            Self::Memory { memory, .. } => Ok(memory.drain()),
            Self::Redis(fallback) => fallback.drain().await,
        }
    }

    /// Forgets a batch. One that is not here, or no longer, is forgotten already.
    pub(crate) async fn acknowledge(&self, id: &BatchId) -> Result<(), Fault> {
        match self {
            Self::Memory { memory, .. } => memory.acknowledge(id),
            Self::Redis(fallback) => return fallback.acknowledge(id).await,
        }
        Ok(())
    }

    /// Whether the store may be counted in, if it answers.
    pub(crate) async fn examine(&self) -> Result<(), Fault> {
        match self {
            Self::Memory { .. } => Ok(()),
            Self::Redis(fallback) => fallback.examine().await,
        }
    }

    /// Keeps what was counted in this process for the next, if there is a place for it, and gives back what it charged ahead.
    /// Nothing is to be counted after it.
    pub(crate) async fn close(&self) -> Result<(), Fault> {
        let (memory, file) = match self {
            Self::Memory { memory, snapshot: Some(file) } => (memory.clone(), file.clone()),
            Self::Memory { .. } => return Ok(()),
            Self::Redis(fallback) => {
                fallback.close().await;
                return Ok(());
            }
        };
        let written = tokio::task::spawn_blocking(move || file.write(&memory.snapshot())).await;
        written.map_err(Fault::internal)?.map_err(unusable)
    }

    /// Whether the store answers.
    pub(crate) async fn ping(&self) -> Result<(), Fault> {
        match self {
            Self::Memory { .. } => Ok(()),
            Self::Redis(fallback) => fallback.ping().await,
        }
    }
}

fn unusable(error: std::io::Error) -> Fault {
    Fault::new(Code::Unavailable, "What was counted cannot be kept; is the data directory writable?")
        .caused_by(error)
}

impl From<Wrong> for Undecided {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<Undecided> for Fault {
    fn from(undecided: Undecided) -> Self {
        match undecided {
            Undecided::Reused => Self::invalid(
                "/request_id",
                "was used for a call with other charges, which is still remembered",
            ),
            Undecided::TooMuch(by) => Self::invalid(
                format!("/charges/{by}/cost"),
                "is more than the limit ever allows: such a call could never pass",
            ),
            Undecided::Unknown => Self::not_found("remembered call"),
            Undecided::Settled => Self::new(Code::Conflict, "The call was settled otherwise."),
            Undecided::Wrong(wrong) => wrong.into(),
            Undecided::Crowded => {
                Self::new(Code::Conflict, "The partition has as many overrides as it may have.")
            }
            Undecided::Full => Self::unavailable("as much is counted as ratelimit.memory_max_states allows"),
            Undecided::Gone(cause) => Self::unavailable(cause),
        }
    }
}
