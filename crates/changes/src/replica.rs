//! A replica at work: follows the log, tells its watchers, and says in the table of replicas what they have acknowledged.
//!
//! One task does all reading of the log, so that changes go out in order. It is woken by PostgreSQL's notifications, by this
//! process's own commits, and by a clock: a notification that is lost costs at most one round.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tollgate_db::{Db, Error, Listener};
use tollgate_kernel::{Clock, Code, Entropy, Fault};
use tollgate_proto::verify::{self, watch_response::Message};
use tollgate_verify::{Changes, Subject};

use crate::{
    hub::{Effective, Hub, Sequence, WatcherId, effective},
    store::{Change, Log},
};

/// Messages that may wait for one watcher. One that lets more pile up is dropped.
const BACKLOG: usize = 1_024;
/// How long a caller waits for a round if this replica cannot answer for the database at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a waiting mutation looks at the table without having been told to.
const LOOK: Duration = Duration::from_millis(100);
/// How long changes are kept for followers that were away.
const KEPT: Duration = Duration::from_hours(1);
/// How often what is old is pruned.
const PRUNE_EVERY: Duration = Duration::from_mins(1);
/// Clocks of different machines count a second alike to within one part in this many.
const DRIFT: u32 = 64;

/// How the log is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long a verifier that is cut off goes on trusting its cache, and the longest that a mutation waits for it. The same
    /// in all processes.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lease: Duration::from_secs(2) }
    }
}

pub(crate) struct Replica {
    id: String,
    log: Log,
    db: Db,
    channels: [String; 2],
    lease: Duration,
    changes: Changes,
    clock: Arc<dyn Clock>,
    start: Instant,
    state: Mutex<State>,
    wake_read: Notify,
    wake_round: Notify,
    wake_acknowledge: Notify,
    /// Counts what a waiting mutation or caller may be waiting for.
    progress: watch::Sender<u64>,
}

struct State {
    hub: Hub,
    streams: HashMap<WatcherId, mpsc::Sender<verify::WatchResponse>>,
    next: WatcherId,
    /// What the table says of us.
    stored: Sequence,
}

/// A watcher that has joined: what to tell it first, and then the stream of all that follows.
pub(crate) struct Joined {
    pub(crate) id: WatcherId,
    pub(crate) first: Vec<verify::WatchResponse>,
    pub(crate) rest: mpsc::Receiver<verify::WatchResponse>,
}

impl Replica {
    pub(crate) fn new(
        db: Db,
        role: &'static str,
        settings: &Settings,
        changes: Changes,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Self {
        let id = u64::from_le_bytes(entropy.bytes());
        let state = State { hub: Hub::new(settings.lease, 0), streams: HashMap::new(), next: 1, stored: 0 };
        Self {
            id: format!("{role}-{id:016x}"),
            log: Log::new(db.clone()),
            db,
            channels: [format!("{role}_changes"), format!("{role}_acknowledged")],
            lease: settings.lease,
            changes,
            clock,
            start: Instant::now(),
            state: Mutex::new(state),
            wake_read: Notify::new(),
            wake_round: Notify::new(),
            wake_acknowledge: Notify::new(),
            progress: watch::Sender::new(0),
        }
    }

    /// Follows the log until `stop`.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()> + Send) {
        tokio::select! {
            () = stop => {}
            () = self.follow() => {}
            () = self.hear() => {}
            () = self.prune() => {}
        }
        self.leave().await;
    }

    /// Whether what this process caches of the role may be used: nothing older than a lease can be missing.
    pub(crate) fn trusts(&self) -> bool {
        let now = self.now();
        self.state().hub.fresh(now)
    }

    /// Waits until this replica may answer for the database.
    pub(crate) async fn confirm(&self) -> Result<(), Fault> {
        let mut progress = self.progress.subscribe();
        let fresh = async {
            while !self.trusts() {
                self.wake_round.notify_one();
                progress.changed().await.expect("we hold the sender");
            }
        };
        timeout(PATIENCE, fresh).await.map_err(|_| {
            Fault::new(
                Code::Unavailable,
                "The database does not confirm that nothing is missing; try again shortly.",
            )
            .retry_after(PATIENCE)
        })
    }

    /// There is something new in the log.
    pub(crate) fn wake(&self) {
        self.wake_read.notify_one();
    }

    /// Waits until a change that is committed holds everywhere.
    pub(crate) async fn settle(&self, sequence: Sequence) -> Effective {
        let committed = Instant::now();
        let lease = self.lease + self.lease / DRIFT;
        let mut progress = self.progress.subscribe();
        self.wake();
        loop {
            progress.borrow_and_update();
            // Not being able to look is as good as seeing nobody's acknowledgement.
            let rows = timeout(lease, self.log.acknowledged()).await;
            let rows = rows.unwrap_or_else(|_| Ok(vec![0])).unwrap_or_else(|_| vec![0]);
            if let Some(how) = effective(sequence, rows, committed.elapsed(), lease) {
                return how;
            }
            let left = lease.saturating_sub(committed.elapsed()).min(LOOK);
            let _ = timeout(left, progress.changed()).await;
        }
    }

    // Watchers.

    /// A watcher joins that has applied everything up to `applied`; `None`: it knows nothing.
    pub(crate) async fn join(&self, applied: Option<Sequence>) -> Result<Joined, Fault> {
        self.confirm().await?;
        let (_, pruned) = self.log.head().await?;
        let (sender, rest) = mpsc::channel(BACKLOG);
        let (id, here) = {
            let mut state = self.state();
            let (id, here) = (state.next, state.hub.applied());
            state.next += 1;
            state.hub.join(id, applied.unwrap_or(here).min(here));
            state.streams.insert(id, sender);
            (id, here)
        };
        metrics::gauge!("tollgate_changes_watchers").increment(1.0);
        // What comes after `here` is on the stream already; what came before is in the log, unless that is pruned.
        let known = applied.filter(|applied| (pruned..=here).contains(applied));
        let mut first = vec![self.welcome(known.unwrap_or(here), known.is_none())];
        if let Some(mut place) = known {
            while place < here {
                let missed = self.log.after(place).await?;
                let Some((last, _)) = missed.last() else { break };
                place = *last;
                first.extend(missed.into_iter().filter(|(sequence, _)| *sequence <= here).map(change));
            }
        }
        Ok(Joined { id, first, rest })
    }

    fn welcome(&self, applied: Sequence, reset: bool) -> verify::WatchResponse {
        let lease_ms = u32::try_from(self.lease.as_millis()).unwrap_or(u32::MAX);
        response(Message::Welcome(verify::watch_response::Welcome { applied, reset, lease_ms }))
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
        let mut state = self.state();
        if state.streams.remove(&watcher).is_some() {
            metrics::gauge!("tollgate_changes_watchers").decrement(1.0);
        }
        state.hub.leave(watcher);
    }

    // The log.

    async fn follow(&self) {
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
            self.progress.send_modify(|count| *count += 1);
        }
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
            (state.hub.begin(now), state.hub.applied(), acknowledged)
        };
        let read = self.log.round(&self.id, acknowledged, place).await?;
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

    fn complete(&self, round: crate::hub::Round) {
        let now = self.now();
        let mut state = self.state();
        for (watcher, nonce) in state.hub.complete(round, now) {
            state.send(watcher, pong(nonce));
        }
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
        for (sequence, subject) in changes {
            match subject.parse::<Subject>() {
                Ok(subject) => self.changes.publish(subject),
                Err(_) => self.changes.reset(),
            }
            let mut state = self.state();
            let watchers: Vec<_> = state.streams.keys().copied().collect();
            for watcher in watchers {
                state.send(watcher, change((sequence, subject.clone())));
            }
            state.hub.read(sequence);
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
    async fn hear(&self) {
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

    async fn prune(&self) {
        loop {
            sleep(PRUNE_EVERY).await;
            let dead = self.log.forget_the_dead().await;
            let pruned = self.log.prune(self.clock.now() - KEPT).await;
            match dead.and(pruned) {
                Ok(pruned) => metrics::counter!("tollgate_changes_pruned_total").increment(pruned as u64),
                Err(error) => tracing::warn!(%error, "cannot prune the log of changes"),
            }
        }
    }

    /// Leaves the table, unless a watcher may still trust what it knows: then the row must stay until it is forgotten.
    async fn leave(&self) {
        let now = self.now();
        if !self.state().hub.is_watched(now) {
            let _ = self.log.leave(&self.id).await;
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl State {
    /// A watcher that cannot take the message is dropped: its stream ends, and it starts anew.
    fn send(&mut self, watcher: WatcherId, message: verify::WatchResponse) {
        let Some(stream) = self.streams.get(&watcher) else { return };
        if stream.try_send(message).is_err() {
            tracing::warn!(watcher, "a watcher does not keep up and is dropped");
            self.streams.remove(&watcher);
            self.hub.leave(watcher);
            metrics::gauge!("tollgate_changes_watchers").decrement(1.0);
        }
    }
}

fn response(message: Message) -> verify::WatchResponse {
    verify::WatchResponse { message: Some(message) }
}

fn change((sequence, subject): Change) -> verify::WatchResponse {
    response(Message::Change(verify::watch_response::Change { sequence, subject }))
}

fn pong(nonce: u64) -> verify::WatchResponse {
    response(Message::Pong(verify::watch_response::Pong { nonce }))
}
