//! The life of a signing key: next → active → retiring → gone, as pure functions of its times and now.
//!
//! Verifiers cache the key set. So a key is published before it signs, and stays published until the last token that it
//! signed has expired. What a key is made of is [`material`]; where keys are kept and used is [`ring`].

pub(crate) mod material;
pub(crate) mod ring;

use std::time::Duration;

use tollgate_kernel::Timestamp;

use crate::{config::Config, refresh::delta};

/// How much longer than its last token a retiring key stays published: more than clocks differ.
const MARGIN: Duration = Duration::from_hours(1);

/// The times of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// 1 for the first key, and one more for each that follows. Unique, so that of several replicas that make the same
    /// successor one succeeds.
    pub(crate) number: i32,
    /// From here on the key is in the key set.
    pub(crate) published_at: Timestamp,
    /// From here on it signs.
    pub(crate) active_at: Timestamp,
    /// From here on its successor signs. Absent until there is one: a key signs until it is relieved.
    pub(crate) retires_at: Option<Timestamp>,
    /// From here on it is not in the key set. Present with `retires_at`.
    pub(crate) gone_at: Option<Timestamp>,
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Published, does not sign yet.
    Next,
    /// Signs.
    Active,
    /// Published, does not sign any more.
    Retiring,
    /// Not published: its row may be deleted.
    Gone,
}

impl Times {
    /// What the key does now.
    pub(crate) fn state(&self, now: Timestamp) -> State {
        let past = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if past(self.gone_at) {
            State::Gone
        } else if past(self.retires_at) {
            State::Retiring
        } else if self.active_at <= now {
            State::Active
        } else {
            State::Next
        }
    }
}

/// How long the parts of a key's life are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rotation {
    /// How long a key signs.
    pub(crate) period: Duration,
    /// How long it is published before.
    pub(crate) lead: Duration,
    /// How long it stays published after: the lifetime of an access token, and a margin.
    pub(crate) tail: Duration,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing.
    Rest,
    /// Make the very first key, which signs at once: nobody has cached a key set yet.
    First(Times),
    /// Make a successor, and write into the row of its predecessor when it retires and is gone.
    Successor {
        /// The predecessor, with its end.
        relieved: Times,
        /// The new key.
        next: Times,
    },
}

impl Rotation {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            period: config.signing_key_days.days(),
            lead: config.signing_key_publish_hours.hours(),
            tail: config.access_token_seconds.seconds() + MARGIN,
        }
    }

    /// What is to be done now, if these are all the keys.
    pub(crate) fn plan(&self, keys: &[Times], now: Timestamp) -> Plan {
        let Some(newest) = keys.iter().max_by_key(|key| key.number) else {
            return Plan::First(Times::new(1, now, now));
        };
        let due = newest.active_at + delta(self.period);
        if newest.state(now) != State::Active || now + delta(self.lead) < due {
            return Plan::Rest;
        }
        // Late, if nobody was there to do it in time: then later by as much, and never published too short.
        let next = Times::new(newest.number + 1, now, due.max(now + delta(self.lead)));
        let retires_at = next.active_at;
        let gone_at = retires_at + delta(self.tail);
        let relieved = Times { retires_at: Some(retires_at), gone_at: Some(gone_at), ..*newest };
        Plan::Successor { relieved, next }
    }
}

impl Times {
    fn new(number: i32, published_at: Timestamp, active_at: Timestamp) -> Self {
        Self { number, published_at, active_at, retires_at: None, gone_at: None }
    }
}

#[cfg(test)]
mod tests;
