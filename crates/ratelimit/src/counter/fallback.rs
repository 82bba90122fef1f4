//! Redis, and what takes its place while it is gone: each limit's own failure policy.
//!
//! `local` limits are then decided exactly, by a counter of this process, which has also counted what Redis accepted for this
//! process; `allow` limits pass; one `deny` limit, or a credit, refuses the call. What was counted here stays here: it is drained from
//! here, and a later outage finds it. A call whose answer from Redis was lost may be counted twice: too much rather than too
//! little.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tollgate_kernel::{Clock, Fault};

use super::{
    Answer, Undecided,
    ahead::{Ahead, Turn, Wanted},
    denials::Denials,
    memory::{Memory, Scope},
    redis::Redis,
};
use crate::{
    call::{Call, Key, Move, OnFailure, PutOverride, Reset, Settle},
    engine::{Credit, Override},
    tally::{Batch, BatchId},
};

/// The least time between two log lines about calls that were decided without Redis.
const QUIET: Duration = Duration::from_secs(10);

/// How long a block that could not be released waits for another attempt.
const PAUSE: Duration = Duration::from_millis(250);

/// Redis, and the counter that takes its place.
pub(crate) struct Fallback {
    redis: Redis,
    local: Memory,
    denials: Denials,
    ahead: Ahead,
    /// There is a block to follow.
    opened: Arc<Notify>,
    /// Held while blocks are released, so that who ends all waits for those that another releases.
    releasing: tokio::sync::Mutex<()>,
    clock: Arc<dyn Clock>,
    reported: Mutex<Option<Instant>>,
}

impl Fallback {
    /// `redis` while it answers, `local` while it does not. To be made within a Tokio runtime.
    pub(super) fn new(
        redis: Redis,
        local: Memory,
        denials: Denials,
        ahead: Ahead,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (reported, opened, releasing) = (Mutex::default(), Arc::default(), tokio::sync::Mutex::default());
        let is_by_hand = clock.by_hand().is_some();
        let fallback = Arc::new(Self { redis, local, denials, ahead, opened, releasing, clock, reported });
        // No timer follows a hand.
        if !is_by_hand {
            tokio::spawn(follow(Arc::downgrade(&fallback), fallback.opened.clone()));
        }
        fallback
    }

    /// Decides and counts one call.
    pub(super) async fn check(&self, call: &Call) -> Result<Answer, Fault> {
        let now = || self.clock.now().timestamp_micros();
        if self.clock.by_hand().is_some() {
            self.release().await;
        }
        let wanted = match self.ahead.turn(call) {
            Turn::Accepted(answer) => {
                metrics::counter!("tollgate_ratelimit_charged_ahead_total").increment(1);
                self.local.copy(call, &answer);
                return Ok(answer);
            }
            Turn::Ask(wanted) => Some(wanted),
            Turn::Exact => None,
        };
        if let Some(answer) = self.denials.find(call, now()) {
            self.local.count(call, &answer);
            denied("cache");
            return Ok(answer);
        }
        let asked = self.denials.ask(call, now());
        let answered = match wanted {
            None => self.redis.check(call).await,
            Some(wanted) => self.check_ahead(call, wanted).await,
        };
        match answered {
            Ok(answer) => {
                if answer.denial.is_some() && !call.peek {
                    denied("store");
                }
                self.denials.learn(asked, call, &answer, now());
                self.local.copy(call, &answer);
                Ok(answer)
            }
            Err(Undecided::Gone(cause)) => self.check_without(call, cause),
            Err(undecided) => Err(undecided.into()),
        }
    }

    /// Gives back all that was charged ahead and is not used. Nothing is to be decided after it.
    pub(super) async fn close(&self) {
        self.ahead.close();
        if !self.release().await {
            tracing::warn!("calls that were charged ahead could not be given back, nor tallied");
        }
    }

    /// Gives back what a remembered call did not cost, wherever it was counted: a call that was retried as Redis went
    /// away, or came back, is remembered in both. What is only a copy here is given back, too, and Redis' word counts.
    pub(super) async fn settle(&self, settle: &Settle) -> Result<Vec<u64>, Fault> {
        let _changing = self.denials.changing(&settle.partition);
        let there = self.redis.settle(settle).await;
        match there {
            Ok(_) | Err(Undecided::Unknown | Undecided::Gone(_)) => {}
            Err(undecided) => return Err(undecided.into()),
        }
        let here = self.local.settle(settle);
        if self.local.is_copy(settle) {
            return Ok(there?);
        }
        Ok(match (there, here) {
            (Ok(returned), _) | (Err(_), Ok(returned)) => returned,
            // Here it is unknown, too, and whether it is known there nobody can say now.
            (Err(gone @ Undecided::Gone(_)), Err(Undecided::Unknown)) => return Err(gone.into()),
            (Err(_), Err(undecided)) => return Err(undecided.into()),
        })
    }

    /// Makes a step of an account of credits; and how that stands after it. In Redis or not at all: what is deposited here
    /// would be out of reach when Redis is back.
    pub(super) async fn make(&self, step: &Move) -> Result<Option<Credit>, Fault> {
        Ok(self.redis.make(step).await?)
    }

    /// Forgets what limits have counted, in both.
    pub(super) async fn reset(&self, reset: &Reset) -> Result<(), Fault> {
        let _changing = self.denials.changing(&reset.partition);
        self.redis.reset(reset).await?;
        self.local.reset(reset);
        Ok(())
    }

    /// Puts a number in place of a limit's own. It is in Redis only: in its absence the limit's own number counts.
    pub(super) async fn put_override(&self, put: &PutOverride) -> Result<(), Fault> {
        let _changing = self.denials.changing(&put.partition);
        Ok(self.redis.put_override(put).await?)
    }

    /// Ends an override, if it is there.
    pub(super) async fn delete_override(&self, partition: &str, key: &Key) -> Result<(), Fault> {
        let _changing = self.denials.changing(partition);
        Ok(self.redis.delete_override(partition, key).await?)
    }

    /// The overrides of a partition that are in force, in no order.
    pub(super) async fn overrides(&self, partition: &str) -> Result<Vec<(Key, Override)>, Fault> {
        Ok(self.redis.overrides(partition).await?)
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

    /// Whether Redis may be counted in, if it answers.
    pub(super) async fn examine(&self) -> Result<(), Fault> {
        self.redis.examine().await
    }

    /// Whether Redis answers.
    pub(super) async fn ping(&self) -> Result<(), Fault> {
        Ok(self.redis.ping().await?)
    }

    async fn check_ahead(&self, call: &Call, wanted: Wanted) -> Result<Answer, Undecided> {
        let mut asking = Asking { fallback: self, call, wanted: Some(wanted) };
        let Some(wanted) = &asking.wanted else { return self.redis.check(call).await };
        let (answer, charged) = self.redis.check_ahead(call, wanted).await?;
        let Some(wanted) = asking.wanted.take() else { return Ok(answer) };
        let answer = self.ahead.open(wanted, call, answer, charged);
        self.opened.notify_one();
        Ok(answer)
    }

    /// Releases the blocks that have ended; and whether all could be.
    async fn release(&self) -> bool {
        let _releasing = self.releasing.lock().await;
        while let Some(block) = self.ahead.ended() {
            // What comes free may be what a denied call waits for.
            let _changing = self.denials.changing(block.partition());
            if self.redis.release(&block).await.is_err() {
                self.ahead.keep(block);
                return false;
            }
        }
        true
    }

    fn check_without(&self, call: &Call, cause: Box<dyn Error + Send + Sync>) -> Result<Answer, Fault> {
        metrics::counter!("tollgate_ratelimit_degraded_total").increment(1);
        self.report(&*cause);
        if call.charges.iter().any(|charge| charge.without_store() == OnFailure::Deny) {
            return Err(Undecided::Gone(cause).into());
        }
        Ok(self.local.check(call, Scope::Local)?)
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

impl Drop for Fallback {
    fn drop(&mut self) {
        // The task that follows the blocks waits for one, and finds that nobody needs it.
        self.opened.notify_one();
    }
}

/// A question whose answer may charge calls ahead. If nobody learns the answer, they are given back.
struct Asking<'a> {
    fallback: &'a Fallback,
    call: &'a Call,
    wanted: Option<Wanted>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(wanted) = self.wanted.take() {
            self.fallback.ahead.lose(wanted, self.call);
            self.fallback.opened.notify_one();
        }
    }
}

/// Releases blocks as they end, for as long as somebody needs it.
async fn follow(fallback: Weak<Fallback>, opened: Arc<Notify>) {
    while let Some(this) = fallback.upgrade() {
        let (released, next) = (this.release().await, this.ahead.next_end());
        drop(this);
        match next {
            _ if !released => tokio::time::sleep(PAUSE).await,
            Some(next) => tokio::time::sleep(next).await,
            None => opened.notified().await,
        }
    }
}

/// Counts a denial by who knew of it.
fn denied(from: &'static str) {
    metrics::counter!("tollgate_ratelimit_denials_total", "from" => from).increment(1);
}

#[cfg(test)]
mod tests;
