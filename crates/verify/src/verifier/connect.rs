//! A verifier in a service of its own: it follows the roles in other processes by itself, for as long as somebody holds it.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle;
use tollgate_kernel::{Clock, Timestamp};
use tollgate_proto::remote::Remote;

use super::{Settings, Verifier};
use crate::{
    changes::Changes,
    token::TokenRules,
    watch::{Follower, Trust},
};

/// Where the roles are that a verifier asks and follows.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// The keys role.
    pub keys: Remote,
    /// The identity role.
    pub identity: Remote,
}

impl Verifier {
    /// A verifier that asks the roles at these addresses, caches what they say and follows their changes, so that a credential
    /// that was revoked is not accepted by a call that starts after the revoking has returned. Connects when it is first
    /// used, and again whenever a connection is lost; what follows the roles ends with the last clone.
    ///
    /// `lease` is for how long the cache is used without hearing from a role. It **must not be longer** than what the roles
    /// have (`changes.lease_ms`): they wait no longer than that for a verifier that is cut off. `capacity` is the most bytes
    /// of each cache.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, or if the lease is zero.
    pub fn connect(
        endpoints: &Endpoints,
        rules: TokenRules,
        lease: Duration,
        capacity: u64,
        clock: Arc<dyn Clock>,
    ) -> Self {
        assert!(!lease.is_zero(), "a lease takes time");
        let Endpoints { keys, identity } = endpoints;
        let changes = Changes::new();
        let settings = Settings {
            rules,
            keys: follow("keys", keys, &changes, lease),
            identity: follow("identity", identity, &changes, lease),
            patience: lease,
            capacity,
            absence: Settings::ABSENCE,
        };
        Self::new(settings, keys.keys(), identity.identity(), changes, clock)
    }

    /// Whether what is cached of both roles may be used now. Not so just after [`Verifier::connect`], and when a role was out
    /// of reach for a lease: then every call asks the role. Good for a readiness probe.
    pub fn trusts_its_cache(&self) -> bool {
        (self.0.trust_keys)() && (self.0.trust_identity)()
    }

    /// The time by the verifier's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

/// A follower that runs as long as this is held.
struct Following {
    follower: Follower,
    task: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The trust holds the follower: who may ask it keeps it running.
fn follow(role: &'static str, remote: &Remote, changes: &Changes, lease: Duration) -> Trust {
    let follower = Follower::new(role, remote.clone(), changes.clone(), lease);
    let runs = follower.clone();
    let task = tokio::spawn(async move { runs.run().await });
    let following = Following { follower, task };
    Arc::new(move || following.follower.trusts())
}

#[cfg(all(test, feature = "axum"))]
mod far;
#[cfg(all(test, feature = "axum"))]
mod tests;
