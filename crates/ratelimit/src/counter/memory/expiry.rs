//! What is to be forgotten, and when: one entry per thing that is held, a few of them looked at by every call.

use std::{collections::BTreeSet, sync::Arc};

use crate::call::Key;

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
    State(Key),
    /// What is remembered by a request id.
    Request(Arc<str>),
    /// The number in place of a limit's own.
    Override(Key),
}

/// All that expires in one shard, the soonest first.
#[derive(Debug, Default)]
pub(super) struct Expiry(BTreeSet<Due>);

impl Expiry {
    /// Notes a new thing, or when to look at it again.
    pub(super) fn note(&mut self, due: Due) {
        self.0.insert(due);
    }

    /// A thing that was noted is gone.
    pub(super) fn cancel(&mut self, due: &Due) {
        self.0.remove(due);
    }

    /// A thing that was to expire by `now`.
    pub(super) fn next(&mut self, now: i64) -> Option<Due> {
        let due = self.0.first().is_some_and(|due| due.at <= now);
        due.then(|| self.0.pop_first()).flatten()
    }
}
