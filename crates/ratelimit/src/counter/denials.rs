//! Denials that need no question: whoever hammers costs no call to Redis.
//!
//! What a limit denied it goes on denying until the wait is over that was said, however much else is counted meanwhile. So
//! the same call is denied from here until then: counted from the moment of asking, which is no later than that of the
//! decision. The wait that is reported is counted from the moment of the answer, which is no earlier, so that whoever tries
//! again exactly then passes.
//!
//! Only a change can free units sooner: a refund, a settle, a reset, an override. One that is made through this process is
//! heeded at once. One made through another is noticed after [`Denials`]' `longest` at most, beyond which nothing is denied
//! from here. What stands beside the denial is as old: units that others took or that came free since are not seen in it.
//!
//! Never denied from here: a peek, which asks how things are; a call with a request id, which may have been accepted
//! before; what a limit of leases denied, since a lease can end at any moment; and what lacked credits, of which a block can be
//! deposited at any moment.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Answer;
use crate::{
    call::{Call, Charge, Rule},
    engine::{Denial, Outlook},
};

/// Most denials that are remembered; beyond it none is.
const MOST: usize = 10_000;
/// How many counters of changes the partitions share. Partitions that share one forget together.
const CHANGES: usize = 1024;

/// Denials that still hold.
pub(super) struct Denials {
    /// Microseconds from asking for which a denial is believed at most; 0: none is.
    longest: i64,
    hasher: RandomState,
    /// By partition: how many changes were made.
    changes: Vec<AtomicU64>,
    held: RwLock<Held>,
}

/// A question that is about to be asked, and whose answer may be worth remembering.
pub(super) struct Asked {
    at: i64,
    place: u64,
    change: u64,
}

#[derive(Default)]
struct Held {
    denials: HashMap<u64, Denied>,
    /// In the order in which they were learnt: when they were asked, and where they are. Some were replaced since.
    order: VecDeque<(i64, u64)>,
}

struct Denied {
    partition: String,
    charges: Vec<Charge>,
    /// What the partition's counter of changes said when it was asked.
    change: u64,
    asked: i64,
    /// It holds before this time.
    until: i64,
    answered: i64,
    /// As it was answered.
    denial: Denial,
    outlooks: Vec<Outlook>,
}

impl Denials {
    /// Believes a denial for this long at most.
    pub(super) fn new(longest: Duration) -> Self {
        Self {
            longest: i64::try_from(longest.as_micros()).unwrap_or(i64::MAX),
            hasher: RandomState::new(),
            changes: (0..CHANGES).map(|_| AtomicU64::new(0)).collect(),
            held: RwLock::default(),
        }
    }

    /// The answer to a call that is surely denied at this time.
    pub(super) fn find(&self, call: &Call, now: i64) -> Option<Answer> {
        if !self.remembers(call) {
            return None;
        }
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let denied = held.denials.get(&self.place(call))?;
        let same = denied.partition == call.partition && denied.charges == call.charges;
        // A clock that was turned back says nothing about what comes.
        let holds = (denied.asked..denied.until).contains(&now);
        let unchanged = denied.change == self.changes(&call.partition).load(Ordering::Acquire);
        (same && holds && unchanged).then(|| denied.answer(now))
    }

    /// To be called before the store is asked at this time; none: the answer is not worth remembering.
    pub(super) fn ask(&self, call: &Call, now: i64) -> Option<Asked> {
        let change = || self.changes(&call.partition).load(Ordering::Acquire);
        self.remembers(call).then(|| Asked { at: now, place: self.place(call), change: change() })
    }

    /// Remembers what the store answered, at this time, if it is a denial that lasts.
    pub(super) fn learn(&self, asked: Option<Asked>, call: &Call, answer: &Answer, now: i64) {
        let (Some(asked), Some(denial)) = (asked, answer.denial) else { return };
        if matches!(call.charges[denial.by].rule, Rule::Concurrency { .. } | Rule::Credit) {
            return;
        }
        let denied = Denied {
            partition: call.partition.clone(),
            charges: call.charges.clone(),
            change: asked.change,
            asked: asked.at,
            until: asked.at.saturating_add(denial.wait.min(self.longest)),
            answered: now,
            denial,
            outlooks: answer.outlooks.clone(),
        };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.forget_old(now, self.longest);
        if held.order.len() < MOST {
            held.order.push_back((asked.at, asked.place));
            held.denials.insert(asked.place, denied);
        }
    }

    /// To be held while something is changed that may free units of the partition. At its end nothing that was asked before
    /// is believed any more: nobody knows what came of a change that failed or was abandoned, either.
    pub(super) fn changing<'a>(&'a self, partition: &str) -> Changing<'a> {
        Changing(self.changes(partition))
    }

    fn remembers(&self, call: &Call) -> bool {
        self.longest > 0 && !call.peek && call.request_id.is_none() && !call.charges.is_empty()
    }

    /// By what it is counted on, so that a limit whose number changes does not fill the memory.
    fn place(&self, call: &Call) -> u64 {
        let keys = call.charges.iter().map(|charge| (&charge.key, charge.cost));
        self.hasher.hash_one((&call.partition, keys.collect::<Vec<_>>()))
    }

    fn changes(&self, partition: &str) -> &AtomicU64 {
        let place = self.hasher.hash_one(partition) % CHANGES as u64;
        &self.changes[usize::try_from(place).expect("it is less than the number of counters")]
    }
}

/// Something is being changed.
pub(super) struct Changing<'a>(&'a AtomicU64);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Held {
    /// Forgets what is not believed any more, or was asked in a future from which the clock was turned back.
    fn forget_old(&mut self, now: i64, longest: i64) {
        while let Some((asked, place)) =
            self.order.pop_front_if(|(asked, _)| !(*asked..asked.saturating_add(longest)).contains(&now))
        {
            if self.denials.get(&place).is_some_and(|denied| denied.asked == asked) {
                self.denials.remove(&place);
            }
        }
    }
}

impl Denied {
    /// As it was answered, so much later.
    fn answer(&self, now: i64) -> Answer {
        let passed = now - self.answered;
        // Of a credit that is no time.
        let later = |(charge, outlook): (&Charge, &Outlook)| match charge.rule {
            Rule::Credit => *outlook,
            _ => Outlook { reset: (outlook.reset - passed).max(0), ..*outlook },
        };
        Answer {
            denial: Some(Denial { wait: self.denial.wait - passed, ..self.denial }),
            outlooks: self.charges.iter().zip(&self.outlooks).map(later).collect(),
            degraded: false,
        }
    }
}

#[cfg(test)]
mod tests;
