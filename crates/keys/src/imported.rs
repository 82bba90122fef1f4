//! For verifiers: what a credential entitles to that was made elsewhere. Found by its SHA-256; else, before its first use, by its
//! SHA-512, or by its first characters and a hash that takes long to compute.
//!
//! After the first use its SHA-256 takes the place of the other hash. That is the one write on the path of a call: once in the
//! life of a key, and if it fails, the call goes on and the next one writes.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA512, digest};
use tokio::{sync::Semaphore, task};
use tollgate_db::DbId;
use tollgate_kernel::{Fault, SecretId};
use tollgate_proto::{
    fault::from_status,
    keys as wire,
    ratelimit::{Algorithm, Charge, CheckRequest, Limit, OnFailure},
};
use tollgate_verify::{ImportedKey, same_digest};
use tonic::Request;

use crate::{
    KeysService,
    caller::Caller,
    imports::hash::Slow,
    store::{Change, Deed, ImportedRow},
    wire as messages,
};

/// Beginnings of these lengths are looked for: as an import takes them.
const BEGINNINGS: std::ops::RangeInclusive<usize> = 6..=24;
/// How many credentials may wait until they are compared with hashes that take long.
const QUEUE: usize = 64;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Comparisons with one such hash, in a minute: whoever holds the key needs one, once.
const PER_MINUTE: u64 = 30;

/// Where hashes are compared that take long: on a few blocking threads, so that a flood of strangers slows strangers only. A
/// clone is the same pool.
#[derive(Clone)]
pub(crate) struct SlowHashes {
    /// One permit per credential that is compared or waits; none left: it is refused.
    admitted: Arc<Semaphore>,
    /// One permit per thread.
    running: Arc<Semaphore>,
}

impl SlowHashes {
    pub(crate) fn new() -> Self {
        // Half of the machine, so that those who are known do not wait for those who are not.
        let parallel = std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { admitted: semaphore(parallel + QUEUE), running: semaphore(parallel) }
    }

    /// The place of the first that is a hash of the credential.
    async fn find(&self, credential: ImportedKey, hashes: Vec<Slow>) -> Result<Option<usize>, Fault> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| {
            Fault::unavailable("the queue for hashes that take long is full").retry_after(RETRY_AFTER)
        })?;
        let running = self.running.clone().acquire_owned().await.expect("never closed");
        let job = task::spawn_blocking(move || {
            // Held in here, because a caller that goes away does not stop the computation.
            let _permits = (admitted, running);
            hashes.iter().position(|hash| hash.matches(credential.text()))
        });
        job.await.map_err(Fault::internal)
    }
}

impl KeysService {
    pub(crate) async fn get_imports(
        &self,
        wire::GetImportsRequest {}: wire::GetImportsRequest,
    ) -> Result<wire::GetImportsResponse, Fault> {
        self.store.confirm().await?;
        Ok(wire::GetImportsResponse { any: self.store.has_imports().await? })
    }

    pub(crate) async fn resolve_imported_key(
        &self,
        message: wire::ResolveImportedKeyRequest,
    ) -> Result<wire::ResolveImportedKeyResponse, Fault> {
        let key = ImportedKey::parse(&message.credential).ok_or_else(|| {
            Fault::invalid(
                "/credential",
                "must have 16 to 256 visible ASCII characters, and be no key of ours",
            )
        })?;
        self.store.confirm().await?;
        let public_id = match self.used_before(&key).await? {
            Some(public_id) => Some(public_id),
            None => match self.used_first(&key).await? {
                Some(public_id) => Some(public_id),
                // Its first use may have come between the two.
                None => self.used_before(&key).await?,
            },
        };
        let Some(public_id) = public_id else { return Ok(wire::ResolveImportedKeyResponse::default()) };
        let found = self.store.key_by_public_id(&public_id).await?;
        Ok(wire::ResolveImportedKeyResponse { grant: found.map(messages::grant).transpose()? })
    }

    /// The public id of a key that is known by its SHA-256.
    async fn used_before(&self, key: &ImportedKey) -> Result<Option<String>, Fault> {
        let found = self.store.imported_by_hash(key.sha256()).await?;
        let same = |row: &ImportedRow| row.sha256.as_ref().is_some_and(|it| same_digest(it, key.sha256()));
        Ok(found.filter(|(row, _)| same(row)).map(|(_, public_id)| public_id))
    }

    /// The public id of a key that was not used here before.
    async fn used_first(&self, key: &ImportedKey) -> Result<Option<String>, Fault> {
        let sha512 = digest(&SHA512, key.text().as_bytes());
        let found = self.store.imported_by_hash(sha512.as_ref()).await?;
        let same = |row: &ImportedRow| row.sha512.as_ref().is_some_and(|it| same_digest(it, sha512.as_ref()));
        let found = match found.filter(|(row, _)| same(row)) {
            Some(found) => Some(found),
            None => self.compared(key).await?,
        };
        let Some((row, public_id)) = found else { return Ok(None) };
        if let Err(fault) = self.rehash(&row, key).await {
            tracing::warn!(?fault, "the hash of an imported key was not replaced at its first use");
        }
        Ok(Some(public_id))
    }

    /// The one whose hash, which takes long, is of this key.
    async fn compared(&self, key: &ImportedKey) -> Result<Option<(ImportedRow, String)>, Fault> {
        let beginnings: Vec<&str> = BEGINNINGS.filter_map(|length| key.text().get(..length)).collect();
        let candidates = self.store.imported_by_prefix(&beginnings).await?;
        let Some((first, _)) = candidates.first() else { return Ok(None) };
        self.throttle(first.secret_id).await?;
        let slow = |row: &ImportedRow| Slow::parse(row.slow.as_deref().unwrap_or_default());
        let hashes: Result<Vec<_>, _> = candidates.iter().map(|(row, _)| slow(row)).collect();
        let place = self.slow_hashes.find(key.clone(), hashes.map_err(Fault::internal)?).await?;
        Ok(place.and_then(|place| candidates.into_iter().nth(place)))
    }

    /// Who guesses at the rest of a key whose beginning it knows is stopped here, whatever its address.
    async fn throttle(&self, secret: DbId) -> Result<(), Fault> {
        let limit = Limit {
            name: "imported".to_owned(),
            limit: PER_MINUTE,
            window_seconds: 60,
            algorithm: Algorithm::SlidingWindow.into(),
            on_failure: OnFailure::Local.into(),
            ..Limit::default()
        };
        let charge = Charge { limit: Some(limit), subject: SecretId::from(secret).to_string(), cost: 1 };
        let request = CheckRequest {
            partition: "imported".to_owned(),
            charges: vec![charge],
            ..CheckRequest::default()
        };
        let answer = self.ratelimit.check(Request::new(request)).await.map_err(from_status)?.into_inner();
        if answer.allowed {
            return Ok(());
        }
        let wait = Duration::from_micros(answer.retry_after_us);
        Err(Fault::unavailable("too many credentials begin like an imported key").retry_after(wait))
    }

    async fn rehash(&self, row: &ImportedRow, key: &ImportedKey) -> Result<(), Fault> {
        let target = SecretId::from(row.secret_id).to_string();
        let workspace = row.workspace_id.typed();
        let at = self.clock.now();
        let deed = Deed { caller: &Caller::SYSTEM, workspace, action: "key.rehash", target, at };
        let change = Change::grants(&self.store, deed);
        self.store.imported_rehash(change, row.secret_id, key.sha256().to_vec()).await
    }
}
