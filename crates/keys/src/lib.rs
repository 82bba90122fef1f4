//! The keys role: workspaces, plans, consumers, roles, keys, service keys, usage, webhooks, and the audit of these.
//!
//! A call comes in through [`service`], which parses nothing and decides nothing; `input` parses, `access` decides who
//! may, the file that is named after the thing does it, and `store` keeps it.
//!
//! What does not live here: users and sessions (identity), counting (ratelimit), and whether a key is valid at this
//! moment (verify decides that from the grant that this role hands out).

mod access;
mod audit;
mod caller;
mod ceiling;
mod change_key;
mod config;
mod consumers;
mod credits;
mod cursor;
mod drain;
mod email;
mod exports;
mod imported;
mod imports;
mod input;
mod invitations;
mod key_lists;
mod keys;
mod leaks;
mod levels;
mod limits;
mod members;
mod notices;
mod once;
mod outbound;
mod overrides;
mod page;
mod patch;
mod plans;
mod policy;
mod quota;
mod resolve;
mod retention;
mod revoke_keys;
mod roles;
mod rotate;
mod rotations;
pub mod service;
mod service_keys;
mod store;
mod tend;
mod usage;
mod webhooks;
mod wire;
mod workspaces;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use service::KeysService;

/// The role's tables, for both databases.
pub static MIGRATIONS: tollgate_db::Migrations =
    tollgate_db::migrations!("../../migrations/keys/postgres", "../../migrations/keys/sqlite");
