//! How a replica follows the log: one task does all reading, so that changes go out in order. It is woken by PostgreSQL's
//! notifications, by this process's own commits, and by a clock: a notification that is lost costs at most one round.

use tokio::time::{MissedTickBehavior, interval, sleep};
use tollgate_db::{Error, Listener};
use tollgate_verify::Subject;

use super::Replica;
use crate::{
    Place,
    hub::Round,
    store::{Change, Read, Renewal},
};

impl Replica {
    pub(super) async fn follow(&self) {
        self.begin().await;
        let mut clock = interval(self.lease / 4);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                _ = clock.tick() => self.round().await,
                () = self.wake_round.notified() => self.round().await,
                () = self.wake_read.notified() => self.read().await.map(drop),
                () = self.wake_acknowledge.notified() => self.store().await,
            };
            if let Err(error) = done {
                tracing::warn!(replica = self.id, %error, "cannot follow the log of changes");
                sleep(self.lease / 20).await;
            }
            self.measure();
            self.progress.send_modify(|count| *count += 1);
        }
    }

    /// Says how long ago the last complete round began, or, before there was one, the following.
    fn measure(&self) {
        let began = self.state().hub.last_round().unwrap_or_default();
        let age = self.now().saturating_sub(began);
        self.round_age.set(age.as_secs_f64());
    }

    /// Nobody watches yet and nothing is cached, so what is in the log by now does not matter.
    async fn begin(&self) {
        loop {
            match self.log.last().await {
                Ok(last) => return self.state().hub.read(last),
                Err(error) => tracing::warn!(replica = self.id, %error, "cannot read the log of changes"),
            }
            sleep(self.lease / 4).await;
        }
    }

    async fn round(&self) -> Result<(), Error> {
        let now = self.now();
        let (round, place, renewal) = {
            let mut state = self.state();
            let acknowledged = state.hub.acknowledged(now);
            // If the answer is lost, the row may hold this, or what it held.
            state.stored = state.stored.min(acknowledged);
            state.rounds += 1;
            let (replica, lease) = (&*self.id, self.lease);
            let renewal = Renewal { replica, round: state.rounds, lease, acknowledged };
            (state.hub.begin(now), state.hub.applied(), renewal)
        };
        let done = self.log.round(renewal, place).await?;
        let changes = match done.read {
            Read::Continued(changes) => changes,
            // The next round finds the place where this goes on.
            Read::Lost(last) => {
                self.start_anew(last);
                return Ok(());
            }
        };
        self.state().stored = renewal.acknowledged;
        let whole = changes.is_empty();
        self.tell(changes);
        if !done.registered {
            self.wake_round.notify_one();
            return Ok(());
        }
        // There may be more than was read at once; only a round that has read to the end of the same log answers.
        if whole || self.read().await? {
            self.complete(round);
        }
        self.store().await
    }

    fn complete(&self, round: Round) {
        let now = self.now();
        let mut state = self.state();
        for (watcher, nonce) in state.hub.complete(round, now) {
            state.pong(watcher, nonce);
        }
    }

    /// What was read here is not what the log holds: this process was away for longer than changes are kept, or the database has been
    /// replaced by one that has not all that could be read of the old one. Anything may have changed, for its own caches and for
    /// its watchers.
    fn start_anew(&self, last: Place) {
        tracing::warn!(
            replica = self.id,
            "the log does not go on where it was left: all caches start with nothing"
        );
        // First no stream, then no cache: after this there is none that was filled before `last` was read.
        let mut state = self.state();
        state.drop_streams();
        state.hub.start_anew(last);
        state.stored = 0;
        drop(state);
        self.changes.reset();
    }

    /// Reads the log to its end; says whether it went on from where it was left.
    async fn read(&self) -> Result<bool, Error> {
        loop {
            let place = self.state().hub.applied();
            let changes = match self.log.after(place).await? {
                Read::Continued(changes) => changes,
                Read::Lost(last) => {
                    self.start_anew(last);
                    return Ok(false);
                }
            };
            if changes.is_empty() {
                break;
            }
            self.tell(changes);
        }
        self.store().await?;
        Ok(true)
    }

    /// Changes go to this process's own caches, then to all watchers.
    fn tell(&self, changes: Vec<Change>) {
        for change in changes {
            match change.subject.parse::<Subject>() {
                Ok(subject) => self.changes.publish(subject),
                Err(_) => self.changes.reset(),
            }
            self.state().tell(&change);
        }
    }

    /// Says in the table what the watchers have acknowledged, if that is news.
    async fn store(&self) -> Result<(), Error> {
        let now = self.now();
        let (acknowledged, stored, read) = {
            let mut state = self.state();
            (state.hub.acknowledged(now), state.stored, state.hub.applied())
        };
        if acknowledged > stored && self.log.acknowledge(&self.id, acknowledged, read).await? {
            self.state().stored = acknowledged;
        }
        Ok(())
    }

    /// Listens for as long as the process lives; a connection that is lost is made anew.
    pub(super) async fn hear(&self) {
        loop {
            match self.db.listen(&self.channels).await {
                Ok(Some(listener)) => self.hear_on(listener).await,
                Ok(None) => return std::future::pending().await,
                Err(error) => tracing::debug!(%error, "cannot listen for changes"),
            }
            sleep(self.lease / 4).await;
        }
    }

    async fn hear_on(&self, mut listener: Listener) {
        // What was sent while nobody listened.
        self.wake_read.notify_one();
        loop {
            match listener.next().await {
                Ok(channel) if channel == self.channels[0] => self.wake_read.notify_one(),
                Ok(_) => self.progress.send_modify(|count| *count += 1),
                Err(error) => return tracing::debug!(%error, "no longer listening for changes"),
            }
        }
    }
}
