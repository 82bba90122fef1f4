//! The roles' side of the coherent caches: the log of changes, and the watchers that follow it.
//!
//! A mutation that can turn a yes into a no is carried out by [`Feed::carry_out`]: it appends to the log in its own transaction
//! ([`append!`]), and returns when the change holds everywhere. On PostgreSQL every process of a role is a *replica*:
//! it follows the log, tells its watchers (the verifiers in other processes) over the `Watch` service, and says in a table what
//! they have acknowledged. On SQLite there is one process, and what it publishes holds at once.
//!
//! The rules of the protocol are pure and in [`hub`]; `tests/changes/model.rs` plays an adversary against them. The verifier's half is
//! in `tollgate_verify::watch`. What does not live here: which changes there are. That is the roles' to say.

mod feed;
pub mod hub;
mod place;
mod replica;
mod retention;
mod service;
pub mod silence;
mod store;

pub use feed::{Appended, Cut, Effect, Feed};
pub use hub::Effective;
pub use place::{Entry, Place, Sequence, Tag};
pub use replica::Settings;
pub use service::WatchService;

// What the macro expands to.
#[doc(hidden)]
pub mod __private {
    pub use crate::store::{
        Row, appended,
        schema::{change_head, changes},
        tag,
    };
}
