//! The edge role: HTTP and the Gate service in, the other roles composed.
//!
//! [`Edge::http`] is the HTTP API, [`Edge::gate`] the gRPC service; `router.rs` is the table of contents. The edge
//! authenticates: it says who calls. What a caller may do is for the role to say that owns the thing.
//!
//! What does not live here: SQL, Redis, and any state that outlives a request.

mod app;
mod client_ip;
mod config;
mod credits;
mod docs;
mod door;
mod ext_authz;
mod extract;
mod gate;
mod grpc;
mod layers;
mod limit_headers;
mod principal;
mod problem;
mod protected;
mod question;
mod router;
mod routes;
mod seen;
#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tollgate_kernel::{Clock, Entropy, Fault};
use tollgate_proto::{
    IdentityHandle, KeysHandle, RateLimitHandle, envoy::auth::authorization_server::AuthorizationServer,
    gate::gate_server::GateServer, keys::keys_server::KeysServer,
};
use tollgate_verify::Verifier;

use crate::app::{App, Inner};
pub use crate::{
    config::{Config, Origin, PerIp, UserLimit},
    docs::openapi,
    ext_authz::ExtAuthzService,
    grpc::{GateService, manage::ManageService},
};

/// What the edge composes.
pub struct Parts {
    /// Says whether a credential is valid.
    pub verifier: Verifier,
    /// Users and sessions.
    pub identity: IdentityHandle,
    /// Workspaces and keys.
    pub keys: KeysHandle,
    /// Counting.
    pub ratelimit: RateLimitHandle,
    /// Counting clients by their address: a counter in this process, because whoever floods it must cost no I/O.
    pub door: RateLimitHandle,
    /// What `/readyz` asks.
    pub readiness: Vec<Probe>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// For request ids.
    pub entropy: Arc<dyn Entropy>,
    /// Whether the network and the program of a key's last call are remembered.
    pub record_client: bool,
}

/// A part that must be up before this process can serve.
#[derive(Clone)]
pub struct Probe {
    /// What `/readyz` calls it.
    pub name: &'static str,
    /// Whether it is up now.
    pub check: Arc<dyn Fn() -> BoxFuture<'static, Result<(), Fault>> + Send + Sync>,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Probe").field(&self.name).finish()
    }
}

/// The edge role.
#[derive(Clone)]
pub struct Edge {
    app: App,
    entropy: Arc<dyn Entropy>,
}

impl Edge {
    /// The edge over these parts.
    pub fn new(config: Config, parts: Parts) -> Self {
        let gate = gate::Gate {
            verifier: parts.verifier.clone(),
            ratelimit: parts.ratelimit,
            lender: credits::Lender::new(parts.keys.clone(), parts.clock.clone()),
            clock: parts.clock.clone(),
            user_limit: config.user_limit.to_limit(),
            door: door::Door::new(parts.door, config.per_ip, config.legacy_ratelimit_headers),
            legacy_headers: config.legacy_ratelimit_headers,
            record_client: parts.record_client,
        };
        let slots = usize::try_from(config.max_concurrent_requests.get()).unwrap_or(Semaphore::MAX_PERMITS);
        let app = App::new(Inner {
            gate,
            verifier: parts.verifier,
            identity: parts.identity,
            keys: parts.keys,
            readiness: parts.readiness,
            clock: parts.clock,
            slots: Semaphore::new(slots.min(Semaphore::MAX_PERMITS)),
            openapi: docs::json(),
            config,
        });
        Self { app, entropy: parts.entropy }
    }

    /// The HTTP API with all its layers.
    ///
    /// Whoever serves it gives each request the peer's address as an `axum::extract::ConnectInfo<SocketAddr>` extension;
    /// without it the client's address is unknown, and keys that are bound to networks are refused.
    pub fn http(&self) -> axum::Router {
        router::router(&self.app, self.entropy.clone())
    }

    /// The service `tollgate.gate.v1.Gate`. Deadlines and request contexts are layers of whoever serves it.
    pub fn gate(&self) -> GateServer<GateService> {
        grpc::server(self.app.clone())
    }

    /// The service `tollgate.keys.v1.Keys`, which belongs on the Gate's port: management, for callers with a credential. Whoever
    /// serves it lets it know its peers, as below.
    pub fn manage(&self) -> KeysServer<ManageService> {
        grpc::manage::server(self.app.clone())
    }

    /// The service `envoy.service.auth.v3.Authorization`, which belongs on the Gate's port. Whoever serves it lets it know
    /// its peers, as tonic's `TcpConnectInfo`; without that the client's address is unknown.
    pub fn ext_authz(&self) -> AuthorizationServer<ExtAuthzService> {
        ext_authz::server(self.app.clone())
    }
}
