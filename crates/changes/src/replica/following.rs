//! How a replica follows the log: one task does all reading, so that changes go out in order. It is woken by PostgreSQL's
//! notifications, by this process's own commits, and by a clock: a notification that is lost costs at most one round.

use tokio::time::{MissedTickBehavior, interval, sleep};
use tollgate_db::{Error, Listener};
use tollgate_verify::Subject;

use super::Replica;
use crate::{
    hub::{Round, Sequence},
    store::Change,
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
                () = self.wake_read.notified() => self.read().await,
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
            match self.log.head().await {
                Ok((head, _)) => return self.state().hub.read(head),
                Err(error) => tracing::warn!(replica = self.id, %error, "cannot read the log of changes"),
            }
            sleep(self.lease / 4).await;
        }
    }

    async fn round(&self) -> Result<(), Error> {
        let now = self.now();
        let (round, place, acknowledged) = {
            let mut state = self.state();
            let acknowledged = state.hub.acknowledged(now);
            // If the answer is lost, the row may hold this, or what it held.
            state.stored = state.stored.min(acknowledged);
            (state.hub.begin(now), state.hub.applied(), acknowledged)
        };
        let read = self.log.round(&self.id, acknowledged, place).await?;
        self.state().stored = acknowledged;
        if read.pruned > place {
            self.start_anew(read.pruned);
        }
        let whole = read.changes.is_empty();
        self.tell(read.changes);
        if !read.registered {
            self.wake_round.notify_one();
            return Ok(());
        }
        if !whole {
            // There may be more than was read at once; only a round that has read to the end answers.
            self.read().await?;
        }
        self.complete(round);
        self.store().await
    }

    fn complete(&self, round: Round) {
        let now = self.now();
        let mut state = self.state();
        for (watcher, nonce) in state.hub.complete(round, now) {
            state.pong(watcher, nonce);
        }
    }

    /// Changes were pruned before they were read here: this process was away for longer than they are kept. Anything may have
    /// changed, for its own caches and for its watchers.
    fn start_anew(&self, place: Sequence) {
        tracing::warn!(
            replica = self.id,
            "away for longer than changes are kept: all caches start with nothing"
        );
        self.changes.reset();
        let mut state = self.state();
        state.drop_streams();
        state.hub.read(place);
    }

    /// Reads the log to its end.
    async fn read(&self) -> Result<(), Error> {
        loop {
            let place = self.state().hub.applied();
            let changes = self.log.after(place).await?;
            if changes.is_empty() {
                break;
            }
            self.tell(changes);
        }
        self.store().await
    }

    /// Changes go to this process's own caches, then to all watchers.
    fn tell(&self, changes: Vec<Change>) {
        for change in changes {
            if change.0 > self.state().hub.applied() + 1 {
                self.start_anew(change.0 - 1);
            }
            match change.1.parse::<Subject>() {
                Ok(subject) => self.changes.publish(subject),
                Err(_) => self.changes.reset(),
            }
            self.state().tell(&change);
        }
    }

    /// Says in the table what the watchers have acknowledged, if that is news.
    async fn store(&self) -> Result<(), Error> {
        let now = self.now();
        let (acknowledged, stored) = {
            let mut state = self.state();
            (state.hub.acknowledged(now), state.stored)
        };
        if acknowledged > stored {
            self.log.acknowledge(&self.id, acknowledged).await?;
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
