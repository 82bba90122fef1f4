//! What was accepted elsewhere, counted here, too: so that a process that has to decide without its store begins with what
//! it let pass, and not with nothing.
//!
//! Only the limits that are decided here in such a case are copied, and what is needed to give back of them. A copy
//! decides nothing and is in no tally. It takes no more than half of the room, so that there is some when it is needed:
//! what finds none is left out. Less is in it than in the store, which counts for other processes as well; and more only
//! by what another process gave back or forgot.

use super::{
    Memory, Scope,
    partition::{Around, Partition},
    record::Record,
    room::Room,
    shard::{self, Shard},
};
use crate::{
    call::{Call, Charge, Settle},
    counter::Answer,
    engine::{Decision, Outlook, Spec},
};

impl Memory {
    /// Counts what the store accepted.
    pub(crate) fn copy(&self, call: &Call, answer: &Answer) {
        let copied = |(charge, outlook): (&Charge, &Outlook)| cost(charge, outlook) > 0;
        let accepted = answer.denial.is_none() && !answer.degraded && !call.peek;
        if !accepted || !call.charges.iter().zip(&answer.outlooks).any(copied) {
            return;
        }
        let mut shard = self.shard(&call.partition);
        let now = self.now();
        shard.forget_expired(now, 2 * (call.charges.len() + 1), &self.room);
        shard.copy(call, answer, now, &self.room);
    }

    /// Whether what is remembered of a call was accepted elsewhere, so that it is settled there.
    pub(crate) fn is_copy(&self, settle: &Settle) -> bool {
        let shard = self.shard(&settle.partition);
        shard
            .partitions
            .get(&*settle.partition)
            .is_some_and(|partition| partition.is_copy(&settle.request_id))
    }
}

impl Shard {
    fn copy(&mut self, call: &Call, answer: &Answer, now: i64, room: &Room) {
        let partition = shard::partition(&mut self.partitions, &call.partition);
        partition.copy(call, answer, &mut Around { now, room, expiry: &mut self.expiry });
        self.tidy(&call.partition);
    }
}

impl Partition {
    fn copy(&mut self, call: &Call, answer: &Answer, around: &mut Around<'_>) {
        let id = call.request_id.as_ref();
        let known = |record: &Record| around.now < record.known_until;
        if id.and_then(|id| self.requests.get(id)).is_some_and(known) {
            // A retry: it was copied before, or decided here while the store was gone.
            return;
        }
        let states = call.charges.iter().filter_map(|charge| self.states.get(&charge.key));
        let at = states.map(|held| held.state.newest).fold(around.now, i64::max);
        let spec = |(charge, outlook): (&Charge, &Outlook)| {
            // The number that was in force there says how finely to count.
            let limit = outlook.limit;
            Spec { limit, cost: cost(charge, outlook), ..charge.spec(at, None) }
        };
        let specs: Vec<_> = call.charges.iter().zip(&answer.outlooks).map(spec).collect();
        let decision = Decision::accepted(at);
        let grows = self.grows_by(call, &specs, &decision);
        if !around.room.take_of_half(grows) {
            return;
        }
        let marks = self.accept(call, &specs, &decision, around);
        around.room.leave(grows);
        self.remember(call, &decision, marks, answer, around);
    }

    fn is_copy(&self, id: &str) -> bool {
        let record = self.requests.get(id);
        // What is decided here in place of the store says so.
        record.is_some_and(|record| !record.answer.degraded && !record.charged.is_empty())
    }
}

/// The units of a limit that are copied.
fn cost(charge: &Charge, outlook: &Outlook) -> u64 {
    // A limit that is only watched was not charged if it stood in the way.
    let charged = Scope::Local.counts(charge) && !outlook.exceeded;
    if charged { charge.cost } else { 0 }
}

#[cfg(test)]
mod tests;
