//! One attempt to connect to a server, and whether it is one to count in.
//!
//! A server is fit if it is a primary, has its data in memory, and never evicts: a state that is thrown away is a limit that
//! begins again. What a server does not say is believed to be right.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ::redis::{ConnectionInfo, RedisError, cmd};
use deadpool::managed::{Manager, Metrics, Pool, RecycleResult};
use rustls::ClientConfig;
use tokio::time::timeout;

use super::{
    Pace,
    address::Sentinels,
    link::{Failure, Up},
    sentinel,
    wire::{Wire, dial},
};

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
    /// How TLS is spoken; none: it is not.
    pub(super) tls: Option<Arc<ClientConfig>>,
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

/// Makes connections of their own. Another server may have taken the place of the one that the first of them led to.
#[derive(Debug)]
pub(super) struct Own {
    info: ConnectionInfo,
    setup: Arc<Setup>,
}

impl Manager for Own {
    type Type = Wire;
    type Error = Failure;

    async fn create(&self) -> Result<Wire, Failure> {
        let wire = dial(&self.info, &self.setup).await?;
        examine(&wire, self.setup.refuse_eviction).await?;
        Ok(wire)
    }

    async fn recycle(&self, wire: &mut Wire, _: &Metrics) -> RecycleResult<Failure> {
        Ok(wire.query::<()>(&cmd("PING")).await.map_err(Failure::from)?)
    }
}

/// Connects, within the time for it. A server that accepts connections and does not answer is not connected.
pub(super) async fn connect(place: &Place, setup: &Arc<Setup>) -> Result<Up, Failure> {
    match timeout(setup.pace.connect_timeout, attempt(place, setup)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::Late),
    }
}

async fn attempt(place: &Place, setup: &Arc<Setup>) -> Result<Up, Failure> {
    let info = match place {
        Place::At(info) => info.clone(),
        Place::AskedOf(sentinels) => sentinel::primary(sentinels, setup).await?,
    };
    let first = dial(&info, setup).await?;
    examine(&first, setup.refuse_eviction).await?;
    let mut shared = vec![first];
    while shared.len() < setup.shared {
        shared.push(dial(&info, setup).await?);
    }
    // Without time limits of its own it needs no timer: whoever takes a connection has one.
    let pool = Pool::builder(Own { info, setup: setup.clone() }).max_size(POOL).build();
    let pool = pool.map_err(|_| Failure::Down)?;
    Ok(Up { generation: setup.next_generation(), shared, pool })
}

async fn examine(wire: &Wire, refuse_eviction: bool) -> Result<(), Failure> {
    // Refuses while the server reads its data.
    wire.query::<()>(&cmd("PING")).await?;
    let info: String = match wire.query(&cmd("INFO")).await {
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
