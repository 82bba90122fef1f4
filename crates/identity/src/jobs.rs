//! What is done every hour: signing keys rotate, and what is old is deleted.

use std::{future::Future, pin::pin, time::Duration};

use tollgate_kernel::{Fault, Timestamp};

use crate::{IdentityService, refresh::delta, store::BATCH};

const EVERY: Duration = Duration::from_hours(1);

impl IdentityService {
    /// Works now and every hour, until `stop` comes. What fails is logged and tried again an hour later; any number of
    /// replicas may do this at once.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        loop {
            let round = async {
                self.maintain().await;
                tokio::time::sleep(EVERY).await;
            };
            // A round that is dropped half-way leaves whole batches behind, and no half one.
            tokio::select! {
                () = &mut stop => return,
                () = round => {}
            }
        }
    }

    /// One round.
    pub(crate) async fn maintain(&self) {
        report("rotate signing keys", self.keys.rotate().await);
        report("delete old sessions", self.delete_sessions().await);
        report("delete old audit events", self.delete_audit_events().await);
    }

    async fn delete_sessions(&self) -> Result<(), Fault> {
        let limit = self.before(self.config.ended_session_days.days());
        while deleted("sessions", self.store.sessions_delete(limit).await?) {}
        Ok(())
    }

    async fn delete_audit_events(&self) -> Result<(), Fault> {
        let limit = self.before(self.config.audit_days.days());
        while deleted("audit_events", self.store.audit_delete(limit).await?) {}
        Ok(())
    }

    fn before(&self, age: Duration) -> Timestamp {
        self.clock.now() - delta(age)
    }
}

/// Counts a batch, and says whether there may be another.
fn deleted(table: &'static str, rows: usize) -> bool {
    metrics::counter!("tollgate_identity_retention_deleted_total", "table" => table).increment(rows as u64);
    i64::try_from(rows).is_ok_and(|rows| rows == BATCH)
}

fn report(what: &'static str, result: Result<(), Fault>) {
    if let Err(fault) = result {
        tracing::warn!(what, cause = fault.cause(), "a periodic job failed");
    }
}
