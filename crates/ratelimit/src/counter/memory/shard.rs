//! The partitions that share a lock.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{Answer, Undecided},
    Scope,
    expiry::{Due, Expiry},
    partition::{Around, Counted, Partition},
    room::Room,
};
use crate::{
    call::{Call, Key, PutOverride, Reset, Settle},
    engine::Override,
    tally::{MAX_ROWS, Row},
};

/// The partitions that share a lock.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) partitions: HashMap<Arc<str>, Partition>,
    pub(super) expiry: Expiry,
    /// Partitions whose tally was empty and is no longer.
    tallied: Vec<Arc<str>>,
}

impl Shard {
    /// Decides one call and counts it.
    pub(super) fn check(
        &mut self,
        call: &Call,
        scope: Scope,
        now: i64,
        room: &Room,
    ) -> Result<Answer, Undecided> {
        let partition = partition(&mut self.partitions, &call.partition);
        let mut around = Around { now, room, expiry: &mut self.expiry };
        let decided = partition.check(call, scope, &mut around);
        if let Ok((_, true)) = &decided {
            self.tallied.push(partition.name.clone());
        }
        self.tidy(&call.partition);
        decided.map(|(answer, _)| answer)
    }

    /// Decides one call and changes nothing.
    pub(super) fn peek(&self, call: &Call, scope: Scope, now: i64) -> Result<Answer, Undecided> {
        match self.partitions.get(&*call.partition) {
            Some(partition) => partition.peek(call, scope, now),
            None => Partition::new(Arc::from("")).peek(call, scope, now),
        }
    }

    /// Counts a call that was decided without its states.
    pub(super) fn count(&mut self, call: &Call, answer: &Answer, now: i64) {
        let partition = partition(&mut self.partitions, &call.partition);
        if partition.count(call, answer, now) {
            self.tallied.push(partition.name.clone());
        }
        self.tidy(&call.partition);
    }

    /// Gives back what a remembered call did not cost.
    pub(super) fn settle(&mut self, settle: &Settle, now: i64, room: &Room) -> Result<Vec<u64>, Undecided> {
        let partition = self.partitions.get_mut(&*settle.partition).ok_or(Undecided::Unknown)?;
        partition.settle(settle, now, room)
    }

    /// Forgets what was counted.
    pub(super) fn reset(&mut self, reset: &Reset, now: i64, room: &Room) {
        if let Some(partition) = self.partitions.get_mut(&*reset.partition) {
            reset.keys.iter().for_each(|key| partition.reset(key, now, room));
        }
    }

    /// Puts a number in place of a limit's own.
    pub(super) fn put_override(&mut self, put: &PutOverride, now: i64, room: &Room) -> Result<(), Undecided> {
        let partition = partition(&mut self.partitions, &put.partition);
        let done = partition.put_override(put, &mut Around { now, room, expiry: &mut self.expiry });
        self.tidy(&put.partition);
        done
    }

    /// Ends an override, if it is there.
    pub(super) fn delete_override(&mut self, partition: &str, key: &Key, now: i64, room: &Room) {
        if let Some(it) = self.partitions.get_mut(partition) {
            it.delete_override(key, &mut Around { now, room, expiry: &mut self.expiry });
            self.tidy(partition);
        }
    }

    /// The overrides of a partition that are in force.
    pub(super) fn overrides(&self, partition: &str, now: i64) -> Vec<(Key, Override)> {
        let Some(partition) = self.partitions.get(partition) else { return Vec::new() };
        let live = partition.overrides.iter().filter(|(_, it)| now < it.until);
        live.map(|(key, it)| (key.clone(), *it)).collect()
    }

    /// Forgets what expired by `now`: of so many things at most.
    pub(super) fn forget_expired(&mut self, now: i64, most: usize, room: &Room) {
        for _ in 0..most {
            let Some(due) = self.expiry.next(now) else { return };
            self.forget(due, now, room);
        }
    }

    /// The partitions that have a tally and were not named before.
    pub(super) fn tallied(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.tallied)
    }

    /// Takes the tally of a partition, or [`MAX_ROWS`] of it; and whether there is more.
    pub(super) fn take_tally(&mut self, name: &str) -> (Vec<Row>, bool) {
        let Some(partition) = self.partitions.get_mut(name) else { return (Vec::new(), false) };
        let taken = partition.tally.extract_if(|_, _| true).take(MAX_ROWS);
        let row = |(cell, Counted { count, last_at, client })| Row { cell, count, last_at, client };
        let rows = taken.map(row).collect();
        let more = !partition.tally.is_empty();
        self.tidy(name);
        (rows, more)
    }

    /// Adds a partition that was counted before.
    pub(super) fn add(&mut self, partition: Partition) {
        if !partition.tally.is_empty() {
            self.tallied.push(partition.name.clone());
        }
        self.partitions.insert(partition.name.clone(), partition);
    }

    fn forget(&mut self, due: Due, now: i64, room: &Room) {
        let Some(partition) = self.partitions.get_mut(&due.partition) else { return };
        if let Some(later) = partition.keep_until(&due.what).filter(|later| *later > now) {
            self.expiry.note(Due { at: later, ..due });
            return;
        }
        partition.forget(&due.what, room);
        self.tidy(&due.partition);
    }

    /// Forgets a partition in which nothing is left.
    pub(super) fn tidy(&mut self, name: &str) {
        if self.partitions.get(name).is_some_and(Partition::is_empty) {
            self.partitions.remove(name);
        }
    }
}

pub(super) fn partition<'a>(
    partitions: &'a mut HashMap<Arc<str>, Partition>,
    name: &str,
) -> &'a mut Partition {
    if !partitions.contains_key(name) {
        let name: Arc<str> = Arc::from(name);
        partitions.insert(name.clone(), Partition::new(name));
    }
    partitions.get_mut(name).expect("it was there or is now")
}
