//! The tables of this role and every query on them. Noun first: `user_by_email`, `session_end`.
//!
//! What changes something takes the [`AuditEvent`] that says so, and writes both in one transaction. What does not live
//! here: any decision.

mod audit;
mod schema;
mod sessions;
mod signing_keys;
mod users;

use tollgate_db::Db;

pub(crate) use audit::{Action, AuditEvent};
pub(crate) use sessions::{EndReason, Rehash, SessionRow};
pub(crate) use signing_keys::SigningKeyRow;
pub(crate) use users::UserRow;

/// This role's schema, for each database.
pub static MIGRATIONS: tollgate_db::Migrations =
    tollgate_db::migrations!("../../migrations/identity/postgres", "../../migrations/identity/sqlite");

/// The most rows that one statement of the retention job deletes.
pub(crate) const BATCH: i64 = 500;

/// This role's tables. A clone shares the connections.
#[derive(Debug, Clone)]
pub(crate) struct Store(pub(crate) Db);

#[cfg(test)]
mod tests;
