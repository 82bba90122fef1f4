//! One attempt to connect to a server, and whether it is one to count in.
//!
//! A server is fit if it is a primary, has its data in memory, and never evicts: a state that is thrown away is a limit that
//! begins again. What a server does not say is believed to be right.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use ::redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisError, aio::MultiplexedConnection, cmd};
use deadpool_redis::{Hook, HookError, Manager, Pool};
use tokio::time::timeout;

use super::{
    Pace,
    address::Sentinels,
    link::{Failure, Up},
    sentinel,
};

/// Calls that may wait to be written to a connection; more wait for their turn.
const PIPELINE: usize = 1024;
/// Connections of the pool: a drain, an acknowledgement, and whoever asks whether Redis answers.
const POOL: usize = 4;

const EVICTS: &str = "Redis evicts keys when its memory is full, and with them what was counted: \
     set its maxmemory-policy to noeviction";

/// Where a server is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Here.
    At(ConnectionInfo),
    /// Where these say, each time anew.
    AskedOf(Sentinels),
}

/// What all connections of a counter have in common.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) pace: Pace,
    /// Connections to one server that calls share: one per core, so that no single task reads all the answers.
    pub(super) shared: usize,
    /// Whether a server that evicts is refused.
    pub(super) refuse_eviction: bool,
    pub(super) generations: AtomicU64,
}

impl Setup {
    pub(super) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(info) => info.addr().fmt(f),
            Self::AskedOf(sentinels) => f.write_str(&sentinels.name),
        }
    }
}

/// Connects, within the time for it. A server that accepts connections and does not answer is not connected.
pub(super) async fn connect(place: &Place, setup: &Setup) -> Result<Up, Failure> {
    match timeout(setup.pace.connect_timeout, attempt(place, setup)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::Late),
    }
}

/// A single connection, with nothing known of who answers.
pub(super) async fn dial(info: ConnectionInfo) -> Result<MultiplexedConnection, Failure> {
    let client = Client::open(info)?;
    Ok(client.get_multiplexed_async_connection_with_config(&config()).await?)
}

async fn attempt(place: &Place, setup: &Setup) -> Result<Up, Failure> {
    let info = match place {
        Place::At(info) => info.clone(),
        Place::AskedOf(sentinels) => sentinel::primary(sentinels, setup.pace.connect_timeout / 2).await?,
    };
    let first = dial(info.clone()).await?;
    examine(first.clone(), setup.refuse_eviction).await?;
    let mut shared = vec![first];
    while shared.len() < setup.shared {
        shared.push(dial(info.clone()).await?);
    }
    let manager = Manager::new_with_config(info, config())?;
    // Without time limits of its own it needs no timer: whoever takes a connection has one.
    let pool = Pool::builder(manager).max_size(POOL).post_create(examined(setup.refuse_eviction));
    let pool = pool.build().map_err(|_| Failure::Down)?;
    Ok(Up { generation: setup.next_generation(), shared, pool })
}

fn config() -> AsyncConnectionConfig {
    // Whoever waits has a time limit.
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE)
}

/// Looks at the server behind each new connection of a pool: another one may have taken its place.
fn examined(refuse_eviction: bool) -> Hook {
    Hook::async_fn(move |connection: &mut MultiplexedConnection, _| {
        let connection = connection.clone();
        Box::pin(async move {
            examine(connection, refuse_eviction)
                .await
                .map_err(|failure| HookError::message(failure.to_string()))
        })
    })
}

async fn examine(mut connection: MultiplexedConnection, refuse_eviction: bool) -> Result<(), Failure> {
    // Refuses while the server reads its data.
    cmd("PING").exec_async(&mut connection).await?;
    let info: String = match cmd("INFO").query_async(&mut connection).await {
        Ok(info) => info,
        Err(error) if error.is_io_error() => return Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "Redis does not say whether it evicts keys; it must not");
            return Ok(());
        }
    };
    fit(&info, refuse_eviction)
}

/// What `INFO` says about it: lines of `name:value`.
fn fit(info: &str, refuse_eviction: bool) -> Result<(), Failure> {
    let value =
        |name| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    if value("role").is_some_and(|role| role != "master") {
        return Err(Failure::Replica);
    }
    match value("maxmemory_policy") {
        Some("noeviction") => {}
        Some(_) if refuse_eviction => return Err(Failure::Unfit(EVICTS)),
        Some(policy) => tracing::warn!(policy, "Redis may evict what was counted"),
        None => tracing::warn!("Redis does not say whether it evicts keys; it must not"),
    }
    Ok(())
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        if error.is_io_error() { Self::Broken(error) } else { Self::Refused(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_primary_that_never_evicts_is_fit() {
        let info = |role, policy| {
            format!("# Memory\r\nmaxmemory_policy:{policy}\r\n# Replication\r\nrole:{role}\r\n")
        };
        assert!(fit(&info("master", "noeviction"), true).is_ok());
        assert!(matches!(fit(&info("master", "allkeys-lru"), true), Err(Failure::Unfit(EVICTS))));
        assert!(fit(&info("master", "allkeys-lru"), false).is_ok());
        assert!(matches!(fit(&info("slave", "noeviction"), false), Err(Failure::Replica)));
        assert!(fit("", true).is_ok(), "what it does not say");
    }
}
