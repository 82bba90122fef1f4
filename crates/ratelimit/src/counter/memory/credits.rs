//! Steps of accounts of credits, in this process. What is here of an account goes with the process, unless it ends in good
//! order ([`super::snapshot`]): it is lost then, and the next process begins another epoch.

use super::{
    super::{SLACK, Undecided},
    Memory,
    expiry::{Due, What},
    partition::{Around, Held, Partition},
    shard::{self, Shard},
};
use crate::{
    call::Move,
    engine::{Counted, Credit, State},
};

impl Memory {
    /// Makes a step; and how the account stands after it, if it is there.
    pub(crate) fn make(&self, step: &Move) -> Result<Option<Credit>, Undecided> {
        match self.attempt_to_make(step) {
            Err(Undecided::Full) => {
                self.forget_expired();
                self.attempt_to_make(step)
            }
            made => made,
        }
    }

    fn attempt_to_make(&self, step: &Move) -> Result<Option<Credit>, Undecided> {
        let mut shard = self.shard(&step.partition);
        let now = self.now();
        shard.make(step, now, &self.room)
    }
}

impl Shard {
    fn make(&mut self, step: &Move, now: i64, room: &super::room::Room) -> Result<Option<Credit>, Undecided> {
        let partition = shard::partition(&mut self.partitions, &step.partition);
        let made = partition.make(step, &mut Around { now, room, expiry: &mut self.expiry });
        self.tidy(&step.partition);
        made
    }
}

impl Partition {
    fn make(&mut self, step: &Move, around: &mut Around<'_>) -> Result<Option<Credit>, Undecided> {
        if !self.states.contains_key(&step.key) {
            let Some(credit) = step.step.begins() else { return Ok(None) };
            if !around.room.take(1) {
                return Err(Undecided::Full);
            }
            let state = State { born: around.now, newest: around.now, counted: Counted::Credit(credit) };
            let at = state.credit_matters_until() + SLACK;
            let (partition, what) = (self.name.clone(), What::State(step.key.clone()));
            around.expiry.note(Due { at, partition, what });
            self.states.insert(step.key.clone(), Held { state, keep_until: at, weight: 1 });
        }
        let Some(Held { state, keep_until, .. }) = self.states.get_mut(&step.key) else { return Ok(None) };
        let Counted::Credit(credit) = &mut state.counted else { return Ok(None) };
        credit.make(step.step);
        let credit = *credit;
        state.newest = state.newest.max(around.now);
        *keep_until = state.credit_matters_until() + SLACK;
        Ok(Some(credit))
    }
}
