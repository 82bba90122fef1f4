//! Redis, and what takes its place while it is gone: each limit's own failure policy.
//!
//! `local` limits are then decided exactly, by a counter of this process; `allow` limits pass; one `deny` limit refuses the
//! call. What was counted here stays here: it is drained from here, and a later outage finds it. A call whose answer from
//! Redis was lost may be counted in both: too much rather than too little.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tollgate_kernel::Fault;

use super::{Answer, Undecided, memory::Memory, redis::Redis};
use crate::{
    call::{Call, OnFailure},
    engine::Outlook,
    tally::{Batch, BatchId},
};

/// The least time between two log lines about calls that were decided without Redis.
const QUIET: Duration = Duration::from_secs(10);

/// Redis, and the counter that takes its place.
pub(crate) struct Fallback {
    redis: Redis,
    local: Memory,
    reported: Mutex<Option<Instant>>,
}

impl Fallback {
    /// `redis` while it answers, `local` while it does not.
    pub(super) fn new(redis: Redis, local: Memory) -> Self {
        Self { redis, local, reported: Mutex::default() }
    }

    /// Decides and counts one call.
    pub(super) async fn check(&self, call: &Call) -> Result<Answer, Fault> {
        match self.redis.check(call).await {
            Ok(answer) => Ok(answer),
            Err(Undecided::Gone(cause)) => self.check_without(call, cause),
            Err(reused @ Undecided::Reused) => Err(reused.into()),
        }
    }

    /// The next batch of tallies: first of what was counted here, which needs no Redis.
    pub(super) async fn drain(&self) -> Result<Option<Batch>, Fault> {
        match self.local.drain() {
            Some(batch) => Ok(Some(batch)),
            None => Ok(self.redis.drain().await?),
        }
    }

    /// Forgets a batch, where it is.
    pub(super) async fn acknowledge(&self, id: &BatchId) -> Result<(), Fault> {
        match id {
            BatchId::Memory(_) => self.local.acknowledge(id),
            BatchId::Redis { token: _, partition } => self.redis.acknowledge(id, partition).await?,
        }
        Ok(())
    }

    /// Whether Redis answers.
    pub(super) async fn ping(&self) -> Result<(), Fault> {
        Ok(self.redis.ping().await?)
    }

    fn check_without(&self, call: &Call, cause: Box<dyn Error + Send + Sync>) -> Result<Answer, Fault> {
        metrics::counter!("tollgate_ratelimit_degraded_total").increment(1);
        self.report(&*cause);
        if call.charges.iter().any(|charge| charge.on_failure == OnFailure::Deny) {
            return Err(Undecided::Gone(cause).into());
        }
        let decided = self.local.check(&only_local(call))?;
        Ok(with_the_others(decided, call))
    }

    /// One line for many calls, with the cause of the first.
    fn report(&self, cause: &(dyn Error + Send + Sync)) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.is_none_or(|at| at.elapsed() >= QUIET) {
            *reported = Some(Instant::now());
            let source = cause.source().map(ToString::to_string);
            tracing::warn!(%cause, source, "calls are decided without Redis, each limit by its failure policy");
        }
    }
}

/// The call, of its limits only those that are decided here.
fn only_local(call: &Call) -> Call {
    let mut call = call.clone();
    call.charges.retain(|charge| charge.on_failure == OnFailure::Local);
    call
}

/// The answer of the local limits, put back into the order of the whole call. A limit that lets everything pass is
/// reported as unused.
fn with_the_others(decided: Answer, call: &Call) -> Answer {
    let is_local = |position: &usize| call.charges[*position].on_failure == OnFailure::Local;
    let locals: Vec<_> = (0..call.charges.len()).filter(is_local).collect();
    let mut outlooks: Vec<_> =
        call.charges.iter().map(|charge| Outlook { remaining: charge.spec.limit, reset: 0 }).collect();
    for (position, outlook) in locals.iter().zip(decided.outlooks) {
        outlooks[*position] = outlook;
    }
    let denial = decided.denial.map(|denial| crate::engine::Denial { by: locals[denial.by], ..denial });
    Answer { denial, outlooks, degraded: !call.charges.is_empty() }
}
