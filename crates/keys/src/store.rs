//! The tables of the role: rows and queries, written once for PostgreSQL and SQLite. No decision is made here.
//!
//! Reads are [`Store`]'s methods, noun first; absence is `Option`. Whatever people own is changed through
//! [`change`](change::change) only.

pub(crate) mod change;
mod keys;
mod retention;
mod rows;
pub(crate) mod schema;
mod service_keys;
mod usage;
mod workspaces;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tollgate_db::Db;
use tollgate_kernel::{Clock, Entropy, Fault};
use tollgate_verify::Changes;

pub(crate) use change::{Change, Deed, Outcome};
pub(crate) use keys::{Created, KeyFilter, KeyStatus};
pub(crate) use retention::Aged;
pub(crate) use rows::*;
pub(crate) use usage::{Calls, Step, UsageRow};

/// The role's tables.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    db: Db,
    changes: Changes,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Store {
    pub(crate) fn new(db: Db, changes: Changes, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { db, changes, clock, entropy }
    }

    pub(crate) async fn ping(&self) -> Result<(), Fault> {
        self.db.ping().await
    }
}
