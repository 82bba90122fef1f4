//! Connection pools, transactions and migrations on PostgreSQL and SQLite.
//!
//! What does not live here: any table. A role's tables, rows and queries are in its own `store`.
//!
//! A query is written once, in the macros [`read_db!`], [`write_db!`] and [`tx_db!`], and the compiler checks it for each
//! database. `tests/db/worked_example.rs` shows the whole shape: schema, row, insert, select, update, upsert, transaction.

mod db;
mod error;
mod insert_many;
mod listen;
mod macros;
mod migrate;
mod pool;
mod postgres;
mod sqlite;
mod types;

pub use db::{Db, Either, Settings};
pub use error::Error;
pub use insert_many::{InsertMany, MAX_VALUES, insert_many};
pub use listen::Listener;
pub use migrate::Migrations;
pub use postgres::PgConnection;
pub use sqlite::LiteConnection;
pub use types::{DbId, DbJson, DbList, DbTime, sql_types};

// What the macros expand to.
#[doc(hidden)]
pub mod __private {
    pub use diesel_migrations;

    pub use crate::pool::{bounded, query};
}
