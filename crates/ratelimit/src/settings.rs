//! How the role is set up: [`Config`] is its section of the configuration, [`Settings`] is what the service needs.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tollgate_kernel::SecretString;

/// The section `[ratelimit]`. What is absent has its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Begins the name of every key in Redis, so that several installations can share one: 1 to 64 visible ASCII
    /// characters without braces. Default `tollgate:`.
    #[serde(deserialize_with = "prefix")]
    pub redis_prefix: String,
    /// Milliseconds, 1 to 10 000: a check that takes Redis longer is decided by the failure policy of its limits.
    /// Default 25.
    #[serde(deserialize_with = "millis::<_, 1, 10_000>")]
    pub redis_timeout_ms: u64,
    /// Milliseconds, 1 to 60 000: an attempt to connect to Redis that takes longer has failed. Default 250.
    #[serde(deserialize_with = "millis::<_, 1, 60_000>")]
    pub redis_connect_timeout_ms: u64,
    /// Milliseconds, 10 to 60 000: the pause between attempts to reach a Redis that is gone. Default 250.
    #[serde(deserialize_with = "millis::<_, 10, 60_000>")]
    pub redis_retry_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            redis_prefix: "tollgate:".to_owned(),
            redis_timeout_ms: 25,
            redis_connect_timeout_ms: 250,
            redis_retry_interval_ms: 250,
        }
    }
}

impl Config {
    /// The settings of a role that counts in this Redis, or in its own process if there is none.
    pub fn settings(&self, redis: Option<SecretString>) -> Settings {
        let store = redis.map_or(Store::Memory, |url| Store::Redis {
            url,
            prefix: self.redis_prefix.clone(),
            timeout: Duration::from_millis(self.redis_timeout_ms),
            connect_timeout: Duration::from_millis(self.redis_connect_timeout_ms),
            retry_interval: Duration::from_millis(self.redis_retry_interval_ms),
        });
        Settings { store }
    }
}

/// What the service needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the counters are.
    pub store: Store,
}

/// Where the counters are.
#[derive(Debug, Clone)]
pub enum Store {
    /// In this process: for one process, and gone when it ends.
    Memory,
    /// In Redis 6 or later, or what speaks like it.
    Redis {
        /// `redis://[user:password@]host:port[/database]`
        url: SecretString,
        /// Begins the name of every key. No braces.
        prefix: String,
        /// A check that takes longer is decided by the failure policy of its limits.
        timeout: Duration,
        /// An attempt to connect that takes longer has failed.
        connect_timeout: Duration,
        /// The pause between attempts to reach a Redis that is gone.
        retry_interval: Duration,
    },
}

fn millis<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(from: D) -> Result<u64, D::Error> {
    let millis = u64::deserialize(from)?;
    if (MIN..=MAX).contains(&millis) {
        return Ok(millis);
    }
    Err(D::Error::custom(format_args!("must be {MIN} to {MAX} milliseconds")))
}

/// A brace would end or begin the hash tag that keeps a partition in one slot of a Redis Cluster.
fn prefix<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let prefix = String::deserialize(from)?;
    let plain = prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte));
    if plain && (1..=64).contains(&prefix.len()) {
        return Ok(prefix);
    }
    Err(D::Error::custom("must be 1 to 64 visible ASCII characters without braces"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_absent_has_its_default() {
        assert_eq!(read("{}"), Ok(Config::default()));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for (text, why) in [
            (r#"{"redis_timeout_ms": 0}"#, "must be 1 to 10000 milliseconds"),
            (r#"{"redis_retry_interval_ms": 9}"#, "must be 10 to 60000 milliseconds"),
            (r#"{"redis_prefix": "a{b}"}"#, "without braces"),
            (r#"{"redis_prefix": ""}"#, "must be 1 to 64"),
            (r#"{"redis_pool": 3}"#, "unknown field"),
        ] {
            let refusal = read(text).expect_err("refused");
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
    }
}
