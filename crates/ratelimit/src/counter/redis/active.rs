//! Which partitions may have a tally, so that the drain finds them without asking for every key there is.
//!
//! A partition is announced before its first call is counted, and again when that was [`FRESH`] ago. The drain retires one
//! only if it was empty and its announcement is older than [`LATELY`] seconds: a call counted under an announcement is never
//! overlooked, unless a process sleeps for a minute between the two.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::redis::RedisResult;
use tokio::time::Instant;

use super::{keys::Keys, link::Connection, script::Script};

/// How long an announcement is relied on.
const FRESH: Duration = Duration::from_secs(5);
/// How old, in seconds, an announcement must be for its partition to be retired.
pub(super) const LATELY: u64 = 60;
/// How many announcements are remembered before those that are not fresh are forgotten.
const SWEEP_AT: usize = 1024;

/// What this process announced.
pub(super) struct Active {
    keys: Keys,
    script: Script,
    announced: Mutex<Announced>,
}

#[derive(Default)]
struct Announced {
    /// When, and on which connection: another server may not know of it.
    partitions: HashMap<String, (Instant, u64)>,
    sweep_at: usize,
}

impl Active {
    /// Nothing is announced.
    pub(super) fn new(keys: Keys) -> Self {
        let script = Script::new(include_str!("announce.lua"));
        Self { keys, script, announced: Mutex::default() }
    }

    /// Announces a partition, unless this was done just now.
    pub(super) async fn announce(&self, connection: &Connection, partition: &str) -> RedisResult<()> {
        let now = Instant::now();
        if self.is_fresh(partition, connection.generation, now) {
            return Ok(());
        }
        let mut script = self.script.prepare();
        script.key(self.keys.corner(partition).key.clone()).arg(partition);
        let _: u64 = script.run(connection).await?;
        self.remember(partition, connection.generation, now);
        Ok(())
    }

    fn is_fresh(&self, partition: &str, generation: u64, now: Instant) -> bool {
        let announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let found = announced.partitions.get(partition);
        found.is_some_and(|(at, on)| now.duration_since(*at) < FRESH && *on == generation)
    }

    /// Forgetting what is not fresh when there are twice as many as were fresh the last time keeps the cost per call
    /// constant and the table as small as it can be.
    fn remember(&self, partition: &str, generation: u64, now: Instant) {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if announced.partitions.len() >= announced.sweep_at.max(SWEEP_AT) {
            announced.partitions.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
            announced.sweep_at = 2 * announced.partitions.len();
        }
        announced.partitions.insert(partition.to_owned(), (now, generation));
    }
}
