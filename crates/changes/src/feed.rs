//! What a role holds of the log: where its mutations wait, and where its verifiers' trust comes from.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tollgate_db::{Db, Error};
use tollgate_kernel::{Clock, Entropy, Fault};
use tollgate_proto::{kernel as wire, verify::watch_server::WatchServer};
use tollgate_verify::{Changes, Subject, watch::Trust};
use tracing::Instrument;

use crate::{
    Settings, WatchService,
    hub::{Effective, Place},
    replica::Replica,
    retention::Retention,
};

/// A role's changes: published to this process, and to every other one that follows. Clones share it.
#[derive(Clone)]
pub struct Feed {
    changes: Changes,
    /// `None` on SQLite, where this process is the only one.
    replica: Option<Arc<Replica>>,
    retention: Retention,
}

/// What a mutation makes wrong in caches, and whether its caller wants to know that they have forgotten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Whose yes may now be a no; or [`Subject::Born`], whose no may now be a yes.
    pub subject: Subject,
    /// Return only when the change holds everywhere. Without it the change holds within a lease all the same.
    pub wait: bool,
}

/// How a change came to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// `None`: nobody waited for it.
    pub effective: Option<Effective>,
    /// How long that took after the commit.
    pub took: Duration,
}

/// The place of a change in the log. Only [`append!`](crate::append) makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended(pub(crate) Place);

impl Feed {
    /// The changes of `role`, whose log is in `db`. On PostgreSQL nothing is confirmed until [`Feed::run`] runs.
    pub fn new(
        db: &Db,
        role: &'static str,
        settings: &Settings,
        changes: Changes,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
    ) -> Self {
        let replica = match db {
            Db::Postgres(_) => {
                Some(Arc::new(Replica::new(db.clone(), role, settings, changes.clone(), entropy)))
            }
            Db::Sqlite { .. } => None,
        };
        Self { changes, replica, retention: Retention::new(db.clone(), role, clock) }
    }

    /// Follows the log, and prunes it, until `stop`. Without it no verifier trusts its cache on PostgreSQL, and the log grows.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let follow = async {
            match &self.replica {
                Some(replica) => replica.run(stop).await,
                None => stop.await,
            }
        };
        tokio::select! {
            () = follow => {}
            () = Box::pin(self.retention.run()) => {}
        }
    }

    /// Forgets the changes that were kept long enough (an hour), and says how many that were. [`Feed::run`] does it every minute.
    ///
    /// # Errors
    /// If the database does not do it. What was forgotten by then stays so.
    pub async fn prune(&self) -> Result<u64, Error> {
        self.retention.prune().await
    }

    /// Takes the replicas out of the table that died without a word, as far as this process has seen it by `now`, which only grows: those
    /// whose row has not changed for two leases and a little. Says how many that were. [`Feed::run`] does it four times a minute.
    ///
    /// # Errors
    /// If the database does not do it.
    pub async fn forget_the_dead(&self, now: impl FnOnce() -> Duration + Send) -> Result<usize, Error> {
        match &self.replica {
            Some(replica) => replica.forget_the_dead(now).await,
            None => Ok(0),
        }
    }

    /// Carries a mutation out: what it cuts off is gone from every cache when this returns.
    ///
    /// `work` is the whole mutation, which ends with a commit; with a `cut` it has appended to the log. It runs in a task of
    /// its own, because a client that hangs up must not stop it between the commit and the word. The word is given in this
    /// process also if the work failed: a commit whose answer was lost has happened all the same.
    ///
    /// # Errors
    /// What the work says; then nothing is known to hold. Internal if the work forgot to append.
    pub async fn carry_out<T: Send + 'static>(
        &self,
        cut: Option<Cut>,
        work: impl Future<Output = Result<(T, Option<Appended>), Error>> + Send + 'static,
    ) -> Result<(T, Option<Effect>), Fault> {
        let changes = self.changes.clone();
        let task = async move {
            let done = work.await;
            if let Some(cut) = cut {
                changes.publish(cut.subject);
            }
            done
        };
        let (value, appended) = tokio::spawn(task.in_current_span()).await.map_err(Fault::internal)??;
        match (cut, appended) {
            (Some(cut), Some(appended)) => Ok((value, Some(self.settle(appended, cut.wait).await))),
            (Some(_), None) => Err(Fault::internal("a change that cuts off is not in the log")),
            (None, _) => Ok((value, None)),
        }
    }

    async fn settle(&self, appended: Appended, wait: bool) -> Effect {
        let committed = Instant::now();
        let effective = match &self.replica {
            Some(replica) if wait => Some(replica.settle(appended.0).await),
            Some(replica) => {
                replica.wake();
                None
            }
            None => Some(Effective::Acknowledged),
        };
        let took = committed.elapsed();
        if effective.is_some() {
            metrics::histogram!("tollgate_changes_settle_seconds").record(took.as_secs_f64());
        }
        Effect { effective, took }
    }

    /// Waits until this process may answer for the database: to be called before what a verifier will believe is read.
    ///
    /// # Errors
    /// Unavailable if the database does not confirm, within a second, that nothing is missing.
    pub async fn confirm(&self) -> Result<(), Fault> {
        match &self.replica {
            Some(replica) => replica.confirm().await,
            None => Ok(()),
        }
    }

    /// Whether what this process caches of the role may be used now.
    pub fn trusts(&self) -> bool {
        self.replica.as_ref().is_none_or(|replica| replica.trusts())
    }

    /// [`Feed::trusts`], for a verifier in this process.
    pub fn trust(&self) -> Trust {
        let feed = self.clone();
        Arc::new(move || feed.trusts())
    }

    /// The service that verifiers in other processes watch; `None` on SQLite.
    pub fn watch_service(&self) -> Option<WatchServer<WatchService>> {
        self.replica.clone().map(|replica| WatchServer::new(WatchService(replica)))
    }
}

impl From<Effect> for wire::Effect {
    fn from(effect: Effect) -> Self {
        let mode = match effect.effective {
            Some(Effective::Acknowledged) => wire::effect::Mode::Acknowledged,
            Some(Effective::LeaseExpired) => wire::effect::Mode::LeaseExpired,
            None => wire::effect::Mode::Pending,
        };
        Self { mode: mode.into(), took_ms: u32::try_from(effect.took.as_millis()).unwrap_or(u32::MAX) }
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.replica.is_some() { "Feed::Replicated" } else { "Feed::Local" })
    }
}
