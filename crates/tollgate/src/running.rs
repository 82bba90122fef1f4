//! Roles that run: where they listen, and how they end.

use std::{fs::File, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_kernel::{Code, Fault};
use tollgate_keys::KeysService;

use crate::{lifecycle::Stage, roles::Role};

/// Where a process listens. None: not in this process.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// HTTP.
    pub http: Option<SocketAddr>,
    /// The Gate.
    pub gate: Option<SocketAddr>,
    /// Metrics and health.
    pub admin: Option<SocketAddr>,
    /// The identity role.
    pub identity: Option<SocketAddr>,
    /// The keys role.
    pub keys: Option<SocketAddr>,
    /// The ratelimit role.
    pub ratelimit: Option<SocketAddr>,
}

/// Roles that run in this process. Dropped without [`Running::stop`], they end at once.
#[derive(Debug)]
pub struct Running {
    pub(crate) addresses: Addresses,
    pub(crate) keys: Option<Arc<KeysService>>,
    pub(crate) draining: CancellationToken,
    pub(crate) stages: Vec<Stage>,
    pub(crate) deaths: mpsc::Receiver<Fault>,
    // Held as long as the process serves from the data directory.
    pub(crate) _lock: Option<File>,
}

impl Addresses {
    /// Keeps where a role is called from other processes.
    pub(crate) fn set(&mut self, role: Role, address: SocketAddr) {
        match role {
            Role::Identity => self.identity = Some(address),
            Role::Keys => self.keys = Some(address),
            Role::Ratelimit => self.ratelimit = Some(address),
            // Called by clients, at the addresses of HTTP and the Gate.
            Role::Edge => {}
        }
    }
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Stores every tally that was counted before this call, if the keys role is in this process.
    pub async fn drain_usage(&self) -> Result<(), Fault> {
        match &self.keys {
            Some(keys) => keys.drain().await.map(drop),
            None => Ok(()),
        }
    }

    /// Waits for a task to die. While all is well it never returns.
    pub async fn died(&mut self) -> Fault {
        self.deaths.recv().await.unwrap_or_else(|| Fault::internal("every task is gone"))
    }

    /// Finishes what has begun and flushes what was counted, in the reverse of the order of starting.
    ///
    /// Each stage may take half of what is left of `patience` before it is cut off, so that a client that never ends does
    /// not keep the tallies from being flushed. A fault if something was cut off.
    pub async fn stop(self, patience: Duration) -> Result<(), Fault> {
        self.draining.cancel();
        let deadline = Instant::now() + patience;
        let mut cut_off = Vec::new();
        for stage in self.stages.iter().rev() {
            let left = deadline.duration_since(Instant::now());
            if timeout(left / 2, stage.stop()).await.is_err() {
                cut_off.push(stage.name());
            }
        }
        if cut_off.is_empty() {
            return Ok(());
        }
        let what = format!("Cut off after shutdown.timeout_seconds: {}.", cut_off.join(", "));
        Err(Fault::new(Code::DeadlineExceeded, what))
    }
}
