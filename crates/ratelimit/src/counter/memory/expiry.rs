//! What is to be forgotten, and when: one entry per state or request id, a little of it looked at by every call.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

/// Something that expires, with when it may have done so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// Microseconds. The thing itself may have been renewed since.
    pub(super) at: i64,
    pub(super) partition: Arc<str>,
    pub(super) what: What,
}

/// What expires in a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// The state of a limit.
    State(String),
    /// What is remembered by a request id.
    Request(String),
}

/// All that expires in one shard, the soonest first.
#[derive(Debug, Default)]
pub(super) struct Expiry(BinaryHeap<Reverse<Due>>);

impl Expiry {
    /// Notes a new thing, or when to look at it again.
    pub(super) fn note(&mut self, due: Due) {
        self.0.push(Reverse(due));
    }

    /// A thing that was to expire by `now`.
    pub(super) fn next(&mut self, now: i64) -> Option<Due> {
        let due = self.0.peek().is_some_and(|Reverse(due)| due.at <= now);
        due.then(|| self.0.pop()).flatten().map(|Reverse(due)| due)
    }
}
