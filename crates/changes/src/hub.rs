//! The role's half of the protocol, as a pure state machine: what does a replica tell its watchers, and when may a change be
//! said to hold everywhere?
//!
//! A replica works in *rounds*: one transaction that reads the log and then renews the replica's row in the table of replicas.
//! A round answers the pings that came before it began, and no others; a round that finds no row to renew (the replica is new,
//! or was away so long that its row is gone) makes one and answers nothing. Hence
//! - a replica that answers was in the table while it read, so whoever committed a change after that reading finds it there;
//! - a replica that answers could write, so what it read was no longer-lived copy of a database that has been replaced.
//!
//! A sequence is counted in one history of the log. When the log that is read is found to be another one (see [`Tag`](crate::Tag)),
//! [`Hub::start_anew`] forgets what was known in the old one, and no acknowledgement is carried over.
//!
//! A change holds once every replica's watchers have acknowledged it, or a lease has run out since it was committed, whichever
//! comes first.

use std::{collections::BTreeMap, time::Duration};

pub use crate::place::{Place, Sequence, Tag};

/// Names a watcher on one replica; never used twice.
pub type WatcherId = u64;

/// What a replica knows about its watchers and about the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hub {
    lease: Duration,
    applied: Place,
    fresh_until: Duration,
    watchers: BTreeMap<WatcherId, Watcher>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Watcher {
    acknowledged: Sequence,
    /// The highest ping that waits for a round to begin.
    asked: Option<u64>,
    /// It may trust its cache until then at the latest. `None`: it has never been given a pong.
    trusts_until: Option<Duration>,
    connected: bool,
}

/// A round that has begun: the pings that it will answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Round {
    began: Duration,
    pings: BTreeMap<WatcherId, u64>,
}

impl Hub {
    /// A replica that has read the log up to `applied`, with nobody watching.
    pub fn new(lease: Duration, applied: Place) -> Self {
        Self { lease, applied, fresh_until: Duration::ZERO, watchers: BTreeMap::new() }
    }

    /// The last change that this replica has read.
    pub fn applied(&self) -> Place {
        self.applied
    }

    /// Whether this replica may answer for the database at `now`: its last complete round began less than a lease ago.
    pub fn fresh(&self, now: Duration) -> bool {
        now < self.fresh_until
    }

    /// When the last complete round began.
    pub fn last_round(&self) -> Option<Duration> {
        self.fresh_until.checked_sub(self.lease)
    }

    /// A watcher joins. What it has applied is said by [`Hub::acknowledge`], once it is known to be of this history.
    pub fn join(&mut self, id: WatcherId) {
        self.watchers
            .insert(id, Watcher { acknowledged: 0, asked: None, trusts_until: None, connected: true });
    }

    /// A watcher's stream has ended. It goes on trusting what it knows until its lease is over, so it still counts until then.
    pub fn leave(&mut self, id: WatcherId) {
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.connected = false;
            watcher.asked = None;
        }
    }

    /// A watcher asks for a pong.
    pub fn ping(&mut self, id: WatcherId, nonce: u64) {
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.asked = watcher.asked.max(Some(nonce));
        }
    }

    /// A watcher has applied everything up to `sequence`. Nothing if its stream has ended: it may have been of another history.
    pub fn acknowledge(&mut self, id: WatcherId, sequence: Sequence) {
        if let Some(watcher) = self.watchers.get_mut(&id).filter(|watcher| watcher.connected) {
            watcher.acknowledged = watcher.acknowledged.max(sequence);
        }
    }

    /// A round begins at `now`, before its transaction does.
    pub fn begin(&mut self, now: Duration) -> Round {
        let asked = self.watchers.iter_mut().filter_map(|(id, watcher)| Some((*id, watcher.asked.take()?)));
        Round { began: now, pings: asked.collect() }
    }

    /// The log was read up to `applied` (by a round, or because a notification came): watchers are to be sent what is new.
    pub fn read(&mut self, applied: Place) {
        if applied.sequence > self.applied.sequence {
            self.applied = applied;
        }
    }

    /// What was applied is not in the log that is read: the log is of another history, or pruned to beyond it. All streams are to
    /// end; the replica goes on from `place`, with caches that were emptied after that was read.
    ///
    /// The watchers count until their leases are over, and as if they had acknowledged nothing: a sequence that they acknowledged may be
    /// another change's now. This replica answers for nothing until a round is complete.
    pub fn start_anew(&mut self, place: Place) {
        self.applied = place;
        self.fresh_until = Duration::ZERO;
        for watcher in self.watchers.values_mut() {
            watcher.acknowledged = 0;
            watcher.asked = None;
            watcher.connected = false;
        }
    }

    /// A round's transaction has committed and everything that it read is on the watchers' streams, at `now`. Answers with the
    /// pongs to send. Each watcher may trust its cache for at most a lease from now, because its ping was sent before now.
    pub fn complete(&mut self, round: Round, now: Duration) -> Vec<(WatcherId, u64)> {
        self.fresh_until = self.fresh_until.max(round.began + self.lease);
        let mut pongs = Vec::with_capacity(round.pings.len());
        for (id, nonce) in round.pings {
            if let Some(watcher) = self.watchers.get_mut(&id).filter(|watcher| watcher.connected) {
                watcher.trusts_until = watcher.trusts_until.max(Some(now + self.lease));
                pongs.push((id, nonce));
            }
        }
        pongs
    }

    /// Whether some watcher may still trust its cache.
    pub fn is_watched(&self, now: Duration) -> bool {
        self.watchers.values().any(|watcher| watcher.trusts(now))
    }

    /// Everything up to here is acknowledged by every watcher that may still trust its cache. Forgets those that may not.
    pub fn acknowledged(&mut self, now: Duration) -> Sequence {
        self.watchers.retain(|_, watcher| watcher.connected || watcher.trusts(now));
        let trusting = self.watchers.values().filter(|watcher| watcher.trusts(now));
        trusting.map(|watcher| watcher.acknowledged).fold(self.applied.sequence, Sequence::min)
    }
}

impl Watcher {
    fn trusts(&self, now: Duration) -> bool {
        self.trusts_until.is_some_and(|until| now < until)
    }
}

/// How a change came to hold everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effective {
    /// Every live watcher of every replica has acknowledged it.
    Acknowledged,
    /// Some did not; the lease has run out for them.
    LeaseExpired,
}

/// Whether a change that was committed `waited` ago holds everywhere, given what each replica says that its watchers have
/// acknowledged. Replicas that register after the commit need no mention: they begin by reading it.
pub fn effective(
    sequence: Sequence,
    acknowledged: impl IntoIterator<Item = Sequence>,
    waited: Duration,
    lease: Duration,
) -> Option<Effective> {
    if acknowledged.into_iter().all(|it| it >= sequence) {
        return Some(Effective::Acknowledged);
    }
    (waited >= lease).then_some(Effective::LeaseExpired)
}
