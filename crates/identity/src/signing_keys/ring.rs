//! The signing keys of this instance: which one signs, what is published, and how they rotate.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use chrono::TimeDelta;
use serde_json::json;
use tollgate_db::Error;
use tollgate_kernel::{Clock, Entropy, Fault, SigningKeyId, Timestamp};

use super::{
    Plan, Rotation, State, Times,
    material::{Seal, SigningKey},
};
use crate::store::{Action, AuditEvent, SigningKeyRow, Store};

/// How long the keys are believed to be as they were read. Far below the time that a key is published before it signs, so
/// that no replica misses its turn.
const FRESH: TimeDelta = TimeDelta::minutes(1);

/// The keys, in the database and in memory.
pub(crate) struct Ring {
    store: Store,
    seal: Seal,
    rotation: Rotation,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    read: RwLock<Option<Read>>,
}

/// What was read, and when.
#[derive(Clone)]
struct Read {
    at: Timestamp,
    keys: Arc<[Held]>,
}

/// A key that is not gone, opened.
struct Held {
    times: Times,
    key: Arc<SigningKey>,
}

impl Ring {
    /// The keys of this store, of which there is at least one afterwards.
    pub(crate) async fn open(
        store: Store,
        seal: Seal,
        rotation: Rotation,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Fault> {
        let ring = Self { store, seal, rotation, clock, entropy, read: RwLock::default() };
        ring.rotate().await?;
        // Now rather than at the first login: a wrong master key is found out before a port opens.
        ring.signer().await?;
        Ok(ring)
    }

    /// The key that signs now.
    pub(crate) async fn signer(&self) -> Result<Arc<SigningKey>, Fault> {
        let now = self.clock.now();
        let keys = self.current(now).await?;
        let active = keys.iter().find(|held| held.times.state(now) == State::Active);
        active.map(|held| held.key.clone()).ok_or_else(|| Fault::internal("no signing key is active"))
    }

    /// The public keys as a JWK Set (RFC 7517 §5): next, active and retiring ones. Costs no query, or one a minute: anybody
    /// may ask for it.
    pub(crate) async fn key_set(&self) -> Result<String, Fault> {
        let now = self.clock.now();
        let keys = self.current(now).await?;
        let published = keys.iter().filter(|held| held.times.state(now) != State::Gone);
        let published: Vec<_> = published.map(|held| held.key.jwk()).collect();
        Ok(json!({ "keys": published }).to_string())
    }

    /// Makes the key that is due, if one is, and deletes those that are gone.
    pub(crate) async fn rotate(&self) -> Result<(), Fault> {
        let now = self.clock.now();
        let rows = self.store.signing_keys().await?;
        let times: Vec<_> = rows.iter().map(SigningKeyRow::times).collect();
        match self.rotation.plan(&times, now) {
            Plan::Rest => {}
            Plan::First(first) => self.make(&first, None).await?,
            Plan::Successor { relieved, next } => self.make(&next, Some(&relieved)).await?,
        }
        let deleted = self.store.signing_keys_delete(now).await?;
        if deleted > 0 {
            tracing::info!(deleted, "signing keys are gone");
        }
        Ok(())
    }

    async fn make(&self, times: &Times, relieved: Option<&Times>) -> Result<(), Error> {
        let id = SigningKeyId::new(&*self.clock, &*self.entropy);
        let row = SigningKeyRow::new(id, SigningKey::generate(id, &self.seal, &*self.entropy), times);
        let event = AuditEvent::new(Action::SigningKeyCreated, &*self.clock, &*self.entropy);
        if self.store.signing_key_insert(&row, relieved, &event).await? {
            tracing::info!(key = %id, number = times.number, signs_from = %times.active_at, "signing key made");
        }
        self.lock_and(|read| *read = None);
        Ok(())
    }

    async fn current(&self, now: Timestamp) -> Result<Arc<[Held]>, Fault> {
        match self.fresh(now) {
            Some(keys) => Ok(keys),
            None => self.load(now).await,
        }
    }

    fn fresh(&self, now: Timestamp) -> Option<Arc<[Held]>> {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        // A clock that went back makes them old, too.
        (TimeDelta::zero()..FRESH).contains(&(now - read.at)).then_some(read.keys)
    }

    async fn load(&self, now: Timestamp) -> Result<Arc<[Held]>, Fault> {
        let rows = self.store.signing_keys().await?;
        let published = rows.iter().filter(|row| row.times().state(now) != State::Gone);
        let keys: Result<Arc<[Held]>, Fault> = published.map(|row| self.held(row)).collect();
        let keys = keys?;
        self.lock_and(|read| *read = Some(Read { at: now, keys: keys.clone() }));
        Ok(keys)
    }

    fn held(&self, row: &SigningKeyRow) -> Result<Held, Fault> {
        let key = SigningKey::open(row.id(), &row.sealed, &self.seal)?;
        Ok(Held { times: row.times(), key: Arc::new(key) })
    }

    fn lock_and(&self, work: impl FnOnce(&mut Option<Read>)) {
        work(&mut self.read.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("rotation", &self.rotation).finish_non_exhaustive()
    }
}
