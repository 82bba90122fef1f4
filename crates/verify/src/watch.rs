//! Following a role in another process: its changes come over the `Watch` stream and are published to this process's
//! [`Changes`](crate::Changes), and a [`Lease`] says for how long what is cached may be used without hearing more.
//!
//! The promise: once a revoking has returned, this process does not accept the credential. The state machine is in `lease`, the
//! stream in `follower`. The other end is `tollgate_changes`; `docs/revocation.md` has the whole argument.

use std::sync::Arc;

mod follower;
mod lease;

pub use follower::Follower;
pub use lease::Lease;

/// Whether what is cached of a role may be used now: no change of it older than a lease can be missing.
pub type Trust = Arc<dyn Fn() -> bool + Send + Sync>;

/// The trust of a process that is its role's only one: whatever changes, it changes here.
pub fn always() -> Trust {
    Arc::new(|| true)
}
