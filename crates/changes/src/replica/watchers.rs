//! A replica's watchers: how they join, what they say, and what they are sent.

use tokio::sync::mpsc;
use tollgate_db::Error;
use tollgate_kernel::Fault;
use tollgate_proto::verify::{self, watch_response::Message};

use super::{Replica, State};
use crate::{
    Place, Sequence,
    hub::WatcherId,
    store::{Change, Read},
};

/// Messages that may wait for one watcher. One that lets more pile up is dropped.
const BACKLOG: usize = 1_024;

/// A watcher that has joined: what to tell it first, and then the stream of all that follows.
pub(crate) struct Joined {
    pub(crate) id: WatcherId,
    pub(crate) first: Vec<verify::WatchResponse>,
    pub(crate) rest: mpsc::Receiver<verify::WatchResponse>,
}

impl Replica {
    /// A watcher joins that has applied everything up to `applied`; `None`: it knows nothing.
    pub(crate) async fn join(&self, applied: Option<Place>) -> Result<Joined, Fault> {
        self.confirm().await?;
        let (sender, rest) = mpsc::channel(BACKLOG);
        let (id, here) = {
            let mut state = self.state();
            let (id, here) = (state.next, state.hub.applied());
            state.next += 1;
            state.hub.join(id);
            state.streams.insert(id, sender);
            (id, here)
        };
        metrics::gauge!("tollgate_changes_watchers").increment(1.0);
        // What comes after `here` is on the stream already; what came before is in the log, unless that is pruned.
        let missed = self.missed(applied, here).await?;
        // A reset comes before the first pong, so who trusts because of a pong holds nothing from before `here`.
        let known = missed.as_ref().map_or(here, |(known, _)| *known);
        self.state().hub.acknowledge(id, known.sequence);
        let first = match missed {
            Some((known, missed)) => {
                let welcome = [self.welcome(known, false)];
                welcome.into_iter().chain(missed.into_iter().map(change)).collect()
            }
            None => vec![self.welcome(here, true)],
        };
        Ok(Joined { id, first, rest })
    }

    /// Where the watcher stands, and what it has missed since up to `here`; `None`: that cannot be told any more.
    async fn missed(
        &self,
        applied: Option<Place>,
        here: Place,
    ) -> Result<Option<(Place, Vec<Change>)>, Error> {
        let Some(known) = applied.filter(|it| it.sequence <= here.sequence) else { return Ok(None) };
        let (mut place, mut missed) = (known, Vec::new());
        while place.sequence < here.sequence {
            let Read::Continued(mut changes) = self.log.after(place).await? else { return Ok(None) };
            changes.retain(|change| change.place.sequence <= here.sequence);
            let Some(last) = changes.last() else { return Ok(None) };
            place = last.place;
            missed.append(&mut changes);
        }
        // Both are places of one log, or nothing that the watcher holds is known to be right.
        Ok((place == here).then_some((known, missed)))
    }

    fn welcome(&self, at: Place, reset: bool) -> verify::WatchResponse {
        let lease_ms = u32::try_from(self.lease.as_millis()).unwrap_or(u32::MAX);
        response(Message::Welcome(verify::watch_response::Welcome {
            applied: at.sequence,
            tag: at.tag.0,
            reset,
            lease_ms,
        }))
    }

    pub(crate) fn ping(&self, watcher: WatcherId, nonce: u64) {
        self.state().hub.ping(watcher, nonce);
        if nonce == 1 {
            // A watcher that is new should not wait for the clock.
            self.wake_round.notify_one();
        }
    }

    pub(crate) fn acknowledge(&self, watcher: WatcherId, sequence: Sequence) {
        self.state().hub.acknowledge(watcher, sequence);
        self.wake_acknowledge.notify_one();
    }

    pub(crate) fn part(&self, watcher: WatcherId) {
        self.state().drop_stream(watcher);
    }
}

impl State {
    /// A change goes to all watchers, and is read.
    pub(super) fn tell(&mut self, told: &Change) {
        for watcher in self.watchers() {
            self.send(watcher, change(told.clone()));
        }
        self.hub.read(told.place);
    }

    pub(super) fn pong(&mut self, watcher: WatcherId, nonce: u64) {
        self.send(watcher, response(Message::Pong(verify::watch_response::Pong { nonce })));
    }

    /// All streams end. Who comes back is told what it has missed, or to start with nothing.
    pub(super) fn drop_streams(&mut self) {
        for watcher in self.watchers() {
            self.drop_stream(watcher);
        }
    }

    fn watchers(&self) -> Vec<WatcherId> {
        self.streams.keys().copied().collect()
    }

    /// A watcher that cannot take the message is dropped: its stream ends, and it starts anew.
    fn send(&mut self, watcher: WatcherId, message: verify::WatchResponse) {
        let Some(stream) = self.streams.get(&watcher) else { return };
        if stream.try_send(message).is_err() {
            tracing::warn!(watcher, "a watcher does not keep up and is dropped");
            self.drop_stream(watcher);
        }
    }

    fn drop_stream(&mut self, watcher: WatcherId) {
        if self.streams.remove(&watcher).is_some() {
            metrics::gauge!("tollgate_changes_watchers").decrement(1.0);
        }
        self.hub.leave(watcher);
    }
}

fn response(message: Message) -> verify::WatchResponse {
    verify::WatchResponse { message: Some(message) }
}

fn change(Change { place, subject }: Change) -> verify::WatchResponse {
    let (sequence, tag) = (place.sequence, place.tag.0);
    response(Message::Change(verify::watch_response::Change { sequence, subject, tag }))
}
