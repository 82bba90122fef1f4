//! The log is kept for a time, on both databases.
//!
//! Nobody needs a change for longer than it takes to follow: a verifier that was away for longer starts with nothing, and so does
//! a replica. On SQLite nobody reads the log at all, since what changes is published in the process that changes it; there it
//! is kept as long, for people who ask what happened, and the mark says the same: up to here, all is forgotten.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tollgate_db::{Db, Error};
use tollgate_kernel::Clock;

use crate::store::Log;

/// How long changes are kept for followers that were away.
const KEPT: Duration = Duration::from_hours(1);
/// How often what is old is pruned. What comes within this and [`KEPT`] is the most that the log holds.
const EVERY: Duration = Duration::from_mins(1);

/// Prunes a role's log.
#[derive(Clone)]
pub(crate) struct Retention {
    role: &'static str,
    log: Log,
    clock: Arc<dyn Clock>,
}

impl Retention {
    pub(crate) fn new(db: Db, role: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self { role, log: Log::new(db), clock }
    }

    /// Prunes now, and then at every interval.
    pub(crate) async fn run(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.prune().await {
                tracing::warn!(role = self.role, %error, "cannot prune the log of changes");
            }
        }
    }

    /// Forgets what was kept long enough, and says how many changes that were.
    pub(crate) async fn prune(&self) -> Result<u64, Error> {
        let before = self.clock.now() - KEPT;
        let mut forgotten = 0;
        loop {
            let rows = self.log.prune(before).await? as u64;
            metrics::counter!("tollgate_changes_pruned_total", "role" => self.role).increment(rows);
            forgotten += rows;
            if rows == 0 {
                break;
            }
        }
        let length = self.log.length().await?;
        // A log of 2^52 changes would be counted wrong by one.
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("tollgate_changes_log_length", "role" => self.role).set(length as f64);
        Ok(forgotten)
    }
}
