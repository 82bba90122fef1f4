//! Where password hashes are computed: a bounded pool on blocking threads, so that a storm of logins slows logins and
//! nothing else.

#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use argon2::Block;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task,
};
use tollgate_kernel::{Entropy, Fault};

use crate::{
    config::PasswordConfig,
    password::{Password, Scheme, Stored},
};

/// What a refused caller is told to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The pool. A clone is the same pool.
#[derive(Clone)]
pub(crate) struct Hasher(Arc<Pool>);

struct Pool {
    scheme: Scheme,
    entropy: Arc<dyn Entropy>,
    /// One permit per request that is computed or waits; none left: the request is refused.
    admitted: Arc<Semaphore>,
    /// One permit per hash that is computed.
    running: Arc<Semaphore>,
    /// Memory of hashes that are done, for the next ones; never more pieces than `running` has permits.
    memory: Mutex<Vec<Vec<Block>>>,
    #[cfg(test)]
    computed: AtomicUsize,
}

/// What checking a password against a stored hash found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Another password.
    Wrong,
    /// The password, and the hash is as new ones are.
    Right,
    /// The password, and the hash is of an older scheme.
    RightButOutdated,
}

impl Hasher {
    pub(crate) fn new(config: &PasswordConfig, entropy: Arc<dyn Entropy>) -> Self {
        let parallel = match config.parallel.get() {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            parallel => parallel as usize,
        };
        Self(Arc::new(Pool {
            scheme: Scheme::new(config),
            entropy,
            admitted: Arc::new(Semaphore::new(parallel + config.queue.get() as usize)),
            running: Arc::new(Semaphore::new(parallel)),
            memory: Mutex::default(),
            #[cfg(test)]
            computed: AtomicUsize::default(),
        }))
    }

    /// The PHC string of a new password.
    ///
    /// # Errors
    /// [`tollgate_kernel::Code::Unavailable`] if the queue is full; also in the other methods.
    pub(crate) async fn hash(&self, password: Password) -> Result<String, Fault> {
        self.run(move |pool| {
            let salt = pool.entropy.bytes();
            pool.with_memory(pool.scheme.blocks(), |memory| pool.scheme.hash(&password, salt, memory))
        })
        .await
    }

    /// Whether `password` is the one that `stored` was made of. A stored hash that may not be computed matches nothing
    /// and costs as much as one that may.
    pub(crate) async fn check(&self, password: Password, stored: &str) -> Result<Check, Fault> {
        let Ok(stored) = Stored::parse(stored) else {
            tracing::error!("a stored password hash is unusable");
            self.burn(password).await?;
            return Ok(Check::Wrong);
        };
        self.run(move |pool| {
            let right = pool.with_memory(stored.blocks(), |memory| stored.matches(&password, memory));
            match (right, pool.scheme.is_outdated(&stored)) {
                (false, _) => Check::Wrong,
                (true, false) => Check::Right,
                (true, true) => Check::RightButOutdated,
            }
        })
        .await
    }

    /// Computes one hash for nothing: what an unknown user costs, so that the time of the answer does not tell it from a
    /// wrong password.
    pub(crate) async fn burn(&self, password: Password) -> Result<(), Fault> {
        self.run(move |pool| {
            pool.with_memory(pool.scheme.blocks(), |memory| pool.scheme.hash(&password, [0; 16], memory));
        })
        .await
    }

    /// Hashes computed so far.
    #[cfg(test)]
    pub(crate) fn computed(&self) -> usize {
        self.0.computed.load(Ordering::SeqCst)
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Pool) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let admitted = self.admit()?;
        let running = self.0.running.clone().acquire_owned().await.expect("never closed");
        let pool = self.0.clone();
        let job = task::spawn_blocking(move || {
            // Held in here, because a caller that goes away does not stop the computation.
            let _permits = (admitted, running);
            job(&pool)
        });
        job.await.map_err(Fault::internal)
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, Fault> {
        self.0.admitted.clone().try_acquire_owned().map_err(|_| {
            metrics::counter!("tollgate_identity_hash_refusals_total").increment(1);
            Fault::unavailable("the queue for password hashes is full").retry_after(RETRY_AFTER)
        })
    }
}

impl Pool {
    fn with_memory<T>(&self, blocks: usize, job: impl FnOnce(&mut [Block]) -> T) -> T {
        metrics::counter!("tollgate_identity_hashes_total").increment(1);
        #[cfg(test)]
        self.computed.fetch_add(1, Ordering::SeqCst);
        let mut memory = self.lock().pop().unwrap_or_default();
        memory.resize_with(blocks.max(memory.len()), Block::default);
        let done = job(&mut memory);
        // A stored hash may want more than new ones do; that much is not kept.
        memory.truncate(self.scheme.blocks());
        memory.shrink_to_fit();
        self.lock().push(memory);
        done
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hasher").field(&self.0.scheme).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tollgate_kernel::{Code, OsEntropy};

    use super::*;

    fn hasher(config: serde_json::Value) -> Hasher {
        Hasher::new(&serde_json::from_value(config).unwrap(), Arc::new(OsEntropy))
    }

    fn password(text: &str) -> Password {
        Password::chosen(text).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_checked_and_an_old_hash_is_seen() {
        let old = hasher(json!({"memory_kib": 7168, "passes": 1}));
        let new = hasher(json!({"memory_kib": 8192, "passes": 1}));
        let stored = old.hash(password("correct horse battery")).await.unwrap();
        assert_ne!(stored, old.hash(password("correct horse battery")).await.unwrap(), "the salt is random");
        for (hasher, given, expected) in [
            (&old, "correct horse battery", Check::Right),
            (&new, "correct horse battery", Check::RightButOutdated),
            (&old, "correct horse batterie", Check::Wrong),
        ] {
            assert_eq!(hasher.check(password(given), &stored).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn nothing_is_free() {
        let hasher = hasher(json!({"memory_kib": 7168, "passes": 1}));
        hasher.burn(password("correct horse battery")).await.unwrap();
        assert_eq!(hasher.computed(), 1);
        let unusable = "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAA";
        let checked = hasher.check(password("correct horse battery"), unusable).await.unwrap();
        assert_eq!((checked, hasher.computed()), (Check::Wrong, 2));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_empties_again() {
        let hasher = hasher(json!({"memory_kib": 7168, "passes": 1, "parallel": 1, "queue": 1}));
        // Both places are taken by hand, as two requests would.
        let taken = (hasher.admit().unwrap(), hasher.admit().unwrap());
        let fault = hasher.burn(password("correct horse battery")).await.unwrap_err();
        assert_eq!((fault.code(), fault.wait()), (Code::Unavailable, Some(RETRY_AFTER)));
        assert_eq!(hasher.computed(), 0);
        drop(taken);
        hasher.burn(password("correct horse battery")).await.unwrap();
    }

    #[tokio::test]
    async fn memory_is_reused_and_bounded() {
        let hasher = hasher(json!({"memory_kib": 7168, "passes": 1, "parallel": 2, "queue": 64}));
        let all = (0..8).map(|_| {
            tokio::spawn({
                let hasher = hasher.clone();
                async move { hasher.burn(password("correct horse battery")).await }
            })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.unwrap().unwrap();
        }
        let kept: Vec<_> = hasher.0.lock().iter().map(Vec::len).collect();
        assert!((1..=2).contains(&kept.len()) && kept.iter().all(|blocks| *blocks == 7168), "{kept:?}");
    }
}
