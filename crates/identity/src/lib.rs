//! The identity role: users, passwords, sessions, tokens and signing keys.
//!
//! - [`service`](IdentityService) speaks the contract of `proto/tollgate/identity`.
//! - `signup`, `login`, `sessions`: what users do; `jobs`: what is done every hour.
//! - Pure: `email`, `password`, `refresh` (the state machine of refresh tokens), `signing_keys` (the life of a key).
//! - `store`: the tables and every query on them.
//!
//! What does not live here: verifying access tokens (`tollgate-verify`), workspaces (keys), counting (ratelimit), and HTTP.

mod client;
mod config;
mod email;
mod hasher;
mod jobs;
mod login;
mod password;
mod refresh;
mod service;
mod sessions;
mod signing_keys;
mod signup;
mod store;
mod throttle;
mod tokens;

use std::{fmt, sync::Arc};

use tollgate_changes::Feed;
use tollgate_db::Db;
use tollgate_kernel::{Clock, Entropy, Fault, MasterKey};
use tollgate_proto::RateLimitHandle;
use tollgate_verify::TokenRules;

use crate::{
    hasher::Hasher,
    refresh::RefreshTokens,
    signing_keys::{Rotation, material::Seal, ring::Ring},
    store::Store,
    throttle::Throttle,
    tokens::AccessTokens,
};

pub use crate::{
    config::{Bounded, Config, PasswordConfig, Rate, ThrottleConfig},
    store::MIGRATIONS,
};

/// What the role needs of others.
pub struct Parts {
    /// Its tables, migrated by [`MIGRATIONS`].
    pub db: Db,
    /// What access tokens say about themselves; what verifies them has the same.
    pub rules: TokenRules,
    /// Counts attempts.
    pub ratelimit: RateLimitHandle,
    /// Where the end of a session is made known to all caches.
    pub feed: Feed,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The identity role.
pub struct IdentityService {
    config: Config,
    store: Store,
    hasher: Hasher,
    throttle: Throttle,
    refresh: RefreshTokens,
    access: AccessTokens,
    keys: Ring,
    feed: Feed,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl IdentityService {
    /// Opens the role over its tables, and makes the first signing key if there is none.
    ///
    /// # Errors
    /// [`tollgate_kernel::Code::Unavailable`] if the database is down; [`tollgate_kernel::Code::Internal`] if it is not
    /// migrated, or its signing keys were sealed under another master key.
    pub async fn open(config: Config, master: &MasterKey, parts: Parts) -> Result<Arc<Self>, Fault> {
        let Parts { db, rules, ratelimit, feed, clock, entropy } = parts;
        let store = Store(db);
        let (seal, rotation) = (Seal::new(master), Rotation::new(&config));
        let keys = Ring::open(store.clone(), seal, rotation, clock.clone(), entropy.clone()).await?;
        Ok(Arc::new(Self {
            store,
            hasher: Hasher::new(&config.password, entropy.clone()),
            throttle: Throttle::new(config.throttle.clone(), ratelimit, master),
            refresh: RefreshTokens::new(master),
            access: AccessTokens { rules, lifetime: config.access_token_seconds.seconds() },
            keys,
            feed,
            clock,
            entropy,
            config,
        }))
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.store.0.ping().await
    }
}

impl fmt::Debug for IdentityService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityService").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
