//! What grows with time is kept for a time.

use chrono::TimeDelta;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tollgate_kernel::{Fault, Timestamp};

use crate::{
    KeysService,
    config::days,
    store::{Aged, Step},
};

/// The most pieces of one kind that one run deletes; the rest is for the next run.
const PIECES_PER_RUN: usize = 1000;
/// Days that an invitation is shown after it could be accepted last.
const ENDED_INVITATIONS: i64 = 30;

impl KeysService {
    /// Deletes what is older than it is kept, and says how many rows that were.
    pub(crate) async fn forget_old(&self) -> Result<u64, Fault> {
        let mut deleted = 0;
        for what in Aged::ALL {
            for _ in 0..PIECES_PER_RUN {
                let rows = self.store.forget(what, self.kept_since(what)).await? as u64;
                metrics::counter!("tollgate_keys_retention_deleted_total", "table" => what.as_str())
                    .increment(rows);
                deleted += rows;
                if rows == 0 {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    fn kept_since(&self, what: Aged) -> Timestamp {
        let now = self.clock.now();
        match what {
            Aged::Usage(Step::Minute) => now - days(self.config.usage_minute_retention_days),
            Aged::Usage(Step::Hour) => now - days(self.config.usage_hour_retention_days),
            Aged::Usage(Step::Day) => now - days(self.config.usage_day_retention_days),
            Aged::UsageBatches => now - days(self.config.batch_retention_days),
            Aged::Audit => now - days(self.config.audit_retention_days),
            Aged::CreditLedger => now - days(self.config.credit_ledger_retention_days),
            // Longer than anybody tries to deliver them, whatever the setting.
            Aged::Messages => now - days(self.config.delivery_retention_days).max(TimeDelta::days(4)),
            // What was due before is not announced any more.
            Aged::Notices => now - TimeDelta::days(31),
            // These say themselves until when they are kept.
            Aged::Idempotency => now,
            Aged::Invitations => now - TimeDelta::days(ENDED_INVITATIONS),
        }
    }

    /// Forgets at every interval until `stop`.
    pub(crate) async fn keep_forgetting(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(sleep(self.config.retention_interval())).await.is_some() {
            match self.forget_old().await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(rows, "deleted what was kept long enough"),
                Err(fault) => {
                    let code = fault.code().as_str();
                    tracing::warn!(code, cause = fault.cause(), "could not delete what is old: {fault}");
                }
            }
        }
    }
}
