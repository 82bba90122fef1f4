//! How the role is set up: [`Config`] is its section of the configuration, [`Settings`] is what the service needs.

use std::{path::PathBuf, time::Duration};

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
    /// Whether a Redis whose `maxmemory-policy` is not `noeviction` is refused at the start, and counts as gone later. One
    /// that does not say is believed. Default true.
    pub redis_check_eviction: bool,
    /// Milliseconds, 0 to 1000: for how long at most a call that Redis denied is denied again without asking it, and so how
    /// much later than at once units count that another process gives back. 0: Redis is always asked. Default 250.
    #[serde(deserialize_with = "millis::<_, 0, 1000>")]
    pub denial_cache_ms: u64,
    /// Milliseconds, 0 to 100: for how long at most calls of large limits that come often are charged ahead, so that Redis is
    /// asked once for many; and how long a reset or a change of an override waits for them at most. 0: each is asked for.
    /// Default 25.
    #[serde(deserialize_with = "millis::<_, 0, 100>")]
    pub charge_ahead_ms: u64,
    /// How many states, remembered calls and overrides this process holds, 1000 to 100 000 000; a state with many entries
    /// counts once more for every 64 of them. Beyond it, calls that need one more are not decided. Default 1 000 000.
    #[serde(deserialize_with = "max_states")]
    pub memory_max_states: usize,
    /// A file with the limits that Envoy may ask for, see [`Domains`](crate::envoy::Domains). Empty, the default: Envoy is
    /// not answered.
    pub envoy_config: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            redis_prefix: "tollgate:".to_owned(),
            redis_timeout_ms: 25,
            redis_connect_timeout_ms: 250,
            redis_retry_interval_ms: 250,
            redis_check_eviction: true,
            denial_cache_ms: 250,
            charge_ahead_ms: 25,
            memory_max_states: 1_000_000,
            envoy_config: PathBuf::new(),
        }
    }
}

impl Config {
    /// The settings of a role that counts in this Redis, or in its own process if there is none; of that, what was counted
    /// is kept in this file while no process runs.
    pub fn settings(&self, redis: Option<(SecretString, Tls)>, snapshot: Option<PathBuf>) -> Settings {
        let max_states = self.memory_max_states;
        let store = redis.map_or(Store::Memory { max_states, snapshot }, |(url, tls)| Store::Redis {
            url,
            tls,
            prefix: self.redis_prefix.clone(),
            timeout: Duration::from_millis(self.redis_timeout_ms),
            connect_timeout: Duration::from_millis(self.redis_connect_timeout_ms),
            retry_interval: Duration::from_millis(self.redis_retry_interval_ms),
            check_eviction: self.redis_check_eviction,
            max_states,
            denial_cache: Duration::from_millis(self.denial_cache_ms),
            charge_ahead: Duration::from_millis(self.charge_ahead_ms),
        });
        Settings { store }
    }
}

/// How TLS is spoken to a Redis whose address asks for it. The files are read at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The certificates, in PEM, of those who may say who is Redis, and nobody else may. Empty, the default: those that the
    /// machine trusts.
    pub ca_file: PathBuf,
    /// The certificate, in PEM, that this process shows, and those between it and one that Redis trusts. Empty, the default:
    /// it shows none.
    pub client_cert_file: PathBuf,
    /// The key of that certificate, in PEM. Empty if there is none.
    pub client_key_file: PathBuf,
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
    /// In this process.
    Memory {
        /// How many states, remembered calls and overrides are held at most.
        max_states: usize,
        /// Where what was counted is kept from the end of one process to the start of the next, which takes it away.
        /// None: every process begins anew. Two processes never share it.
        snapshot: Option<PathBuf>,
    },
    /// In Redis 6 or later, or what speaks like it.
    Redis {
        /// `redis://[user:password@]host[:port][/database]`, `redis+cluster://[user:password@]host[:port],…` or
        /// `redis+sentinel://[user:password@]host[:port],…/name[/database][?sentinel_password=…]`; with `rediss` for `redis`
        /// if TLS is spoken there
        url: SecretString,
        /// How TLS is spoken, if it is.
        tls: Tls,
        /// Begins the name of every key. No braces.
        prefix: String,
        /// A check that takes longer is decided by the failure policy of its limits.
        timeout: Duration,
        /// An attempt to connect that takes longer has failed.
        connect_timeout: Duration,
        /// The pause between attempts to reach a Redis that is gone.
        retry_interval: Duration,
        /// Refuse a server that may evict what was counted.
        check_eviction: bool,
        /// How many states and remembered calls this process holds at most while Redis is gone.
        max_states: usize,
        /// For how long at most a denied call is denied again without asking Redis.
        denial_cache: Duration,
        /// For how long at most calls of large limits are charged ahead: 100 ms at most.
        charge_ahead: Duration,
    },
}

fn millis<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(from: D) -> Result<u64, D::Error> {
    let millis = u64::deserialize(from)?;
    if (MIN..=MAX).contains(&millis) {
        return Ok(millis);
    }
    Err(D::Error::custom(format_args!("must be {MIN} to {MAX} milliseconds")))
}

fn max_states<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    let max_states = usize::deserialize(from)?;
    if (1000..=100_000_000).contains(&max_states) {
        return Ok(max_states);
    }
    Err(D::Error::custom("must be 1000 to 100000000"))
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
            (r#"{"denial_cache_ms": 1001}"#, "must be 0 to 1000 milliseconds"),
            (r#"{"charge_ahead_ms": 101}"#, "must be 0 to 100 milliseconds"),
            (r#"{"memory_max_states": 999}"#, "must be 1000 to 100000000"),
            (r#"{"redis_prefix": "a{b}"}"#, "without braces"),
            (r#"{"redis_prefix": ""}"#, "must be 1 to 64"),
            (r#"{"redis_pool": 3}"#, "unknown field"),
        ] {
            let refusal = read(text).expect_err("refused");
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
    }
}
