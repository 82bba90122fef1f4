//! A replica: what a process of a role is while it runs on PostgreSQL, and what it answers to its own mutations and readers.
//!
//! [`following`] follows the log; [`watchers`] serves the verifiers in other processes.

mod following;
mod watchers;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use metrics::Gauge;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tollgate_db::{Db, Error};
use tollgate_kernel::{Code, Entropy, Fault};
use tollgate_proto::verify;
use tollgate_verify::Changes;

use crate::{
    hub::{Effective, Hub, Place, Sequence, WatcherId, effective},
    silence::Silences,
    store::Log,
};

/// How long a caller waits for a round if this replica cannot answer for the database at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a waiting mutation looks at the table without having been told to.
const LOOK: Duration = Duration::from_millis(100);
/// How often the replicas that died are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(15);
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
    start: Instant,
    state: Mutex<State>,
    silences: Mutex<Silences<String>>,
    wake_read: Notify,
    wake_round: Notify,
    wake_acknowledge: Notify,
    /// Counts what a waiting mutation or caller may be waiting for.
    progress: watch::Sender<u64>,
    round_age: Gauge,
}

struct State {
    hub: Hub,
    streams: HashMap<WatcherId, mpsc::Sender<verify::WatchResponse>>,
    next: WatcherId,
    /// What the table says of us, at most.
    stored: Sequence,
    /// The number of the last round that began.
    rounds: u64,
}

impl Replica {
    pub(crate) fn new(
        db: Db,
        role: &'static str,
        settings: &Settings,
        changes: Changes,
        entropy: &dyn Entropy,
    ) -> Self {
        let id = u64::from_le_bytes(entropy.bytes());
        let hub = Hub::new(settings.lease, Place::default());
        let state = State { hub, streams: HashMap::new(), next: 1, stored: 0, rounds: 0 };
        Self {
            id: format!("{role}-{id:016x}"),
            log: Log::new(db.clone()),
            db,
            channels: [format!("{role}_changes"), format!("{role}_acknowledged")],
            lease: settings.lease,
            changes,
            start: Instant::now(),
            state: Mutex::new(state),
            silences: Mutex::default(),
            wake_read: Notify::new(),
            wake_round: Notify::new(),
            wake_acknowledge: Notify::new(),
            progress: watch::Sender::new(0),
            round_age: metrics::gauge!("tollgate_changes_round_age_seconds", "role" => role),
        }
    }

    /// Follows the log until `stop`.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()> + Send) {
        tokio::select! {
            () = stop => {}
            () = self.follow() => {}
            () = self.hear() => {}
            () = self.bury() => {}
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
    pub(crate) async fn settle(&self, place: Place) -> Effective {
        let committed = Instant::now();
        let lease = self.lease + self.lease / DRIFT;
        let mut progress = self.progress.subscribe();
        self.wake();
        loop {
            progress.borrow_and_update();
            // Not being able to look is as good as seeing nobody's acknowledgement; so is looking at a log without the change.
            let looked = timeout(lease, self.log.acknowledged(place)).await;
            let acknowledged = looked.ok().and_then(Result::ok).flatten().unwrap_or(0);
            if let Some(how) = effective(place.sequence, [acknowledged], committed.elapsed(), lease) {
                return how;
            }
            let left = lease.saturating_sub(committed.elapsed()).min(LOOK);
            let _ = timeout(left, progress.changed()).await;
        }
    }

    /// Takes replicas out of the table that died without a word.
    async fn bury(&self) {
        loop {
            sleep(FORGET_EVERY).await;
            if let Err(error) = self.forget_the_dead(|| self.now()).await {
                tracing::warn!(%error, "cannot forget the replicas that died");
            }
        }
    }

    /// The same once. `now` is asked after the rows were read.
    pub(crate) async fn forget_the_dead(&self, now: impl FnOnce() -> Duration) -> Result<usize, Error> {
        let rows = self.log.replicas().await?;
        let dead = self.silences.lock().expect("nothing panics under this lock").dead(rows, now());
        let mut forgotten = 0;
        for replica in dead {
            forgotten += self.log.forget(&replica).await?;
        }
        Ok(forgotten)
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
