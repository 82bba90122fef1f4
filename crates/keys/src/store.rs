//! The tables of the role: rows and queries, written once for PostgreSQL and SQLite. No decision is made here.
//!
//! Reads are [`Store`]'s methods, noun first; absence is `Option`. Whatever people own is changed through
//! [`change`](change::change) only.

mod audit;
pub(crate) mod change;
mod consumers;
mod contains;
mod credits;
mod imports;
mod invitations;
mod keys;
mod later;
mod lists;
mod lives;
mod members;
mod notices;
pub(crate) mod once;
pub(crate) mod outbox;
mod plans;
mod policies;
mod retention;
mod revocation;
mod roles;
mod rotations;
mod rows;
pub(crate) mod schema;
mod service_keys;
mod usage;
mod webhooks;
mod workspaces;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tollgate_changes::Feed;
use tollgate_db::Db;
use tollgate_kernel::{Clock, Entropy, Fault};

pub(crate) use audit::EventFilter;
pub(crate) use change::{AuditEvent, Change, Deed, Outcome, Removal};
pub(crate) use consumers::ConsumerFilter;
pub(crate) use credits::{AccountRow, Granted, LedgerRow, Movement, Owner, cursor_of};
pub(crate) use imports::{Batch, ExportedSecret, Fit, ImportedRow, NewSecret, Newcomer};
pub(crate) use invitations::{Accepted, Invited};
pub(crate) use lists::{KeyFilter, KeyList, KeyStatus, Order, Position, Sort, Value};
pub(crate) use lives::{Changed, Rotated, Rotation};
pub(crate) use members::{MemberStep, Stepped};
pub(crate) use notices::Place;
pub(crate) use once::Created;
pub(crate) use outbox::Attempted;
pub(crate) use retention::Aged;
pub(crate) use rows::*;
pub(crate) use usage::{Calls, Grouping, LastUse, LastUsed, Step, UsageFilter, UsageRow};
pub(crate) use webhooks::DeliveryRecord;

/// The role's tables.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    db: Db,
    feed: Feed,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Store {
    pub(crate) fn new(db: Db, feed: Feed, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { db, feed, clock, entropy }
    }

    /// Waits until what is read here is what the database holds, and not what it held before it was replaced.
    pub(crate) async fn confirm(&self) -> Result<(), Fault> {
        self.feed.confirm().await
    }

    pub(crate) async fn ping(&self) -> Result<(), Fault> {
        self.db.ping().await
    }
}
