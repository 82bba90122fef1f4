//! Which role talks to which: local services or clients of those elsewhere, built in the order ratelimit, identity, keys,
//! edge. The only place that knows whether a role is in this process.

use std::{collections::HashMap, fs::File, net::SocketAddr, path::PathBuf, sync::Arc};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tollgate_changes::Feed;
use tollgate_db::Db;
use tollgate_edge::{Edge, Parts, Probe};
use tollgate_identity::IdentityService;
use tollgate_kernel::{Clock, Entropy, Fault};
use tollgate_keys::KeysService;
use tollgate_proto::{
    IdentityHandle, KeysHandle, RateLimitHandle,
    envoy::{
        auth::authorization_server,
        ratelimit::rate_limit_service_server::{self, RateLimitServiceServer},
    },
    gate::gate_server,
    identity::identity_server::{self, IdentityServer},
    keys::keys_server::{self, KeysServer},
    mesh::{Incoming, MeshToken},
    ratelimit::rate_limit_server::{self, RateLimitServer},
    remote::Remote,
};
use tollgate_ratelimit::{
    RateLimitService,
    envoy::{Domains, EnvoyService},
};
use tollgate_verify::{
    Changes, TokenRules, Verifier,
    watch::{Follower, Trust},
};
use tonic::service::{Routes, interceptor::InterceptedService};
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, HealthService},
};

use crate::{
    Addresses, Running, admin,
    config::{Config, address_of},
    health,
    lifecycle::Stage,
    roles::{Role, RoleSet},
    serve::{self, grpc::Port, http},
    storage::{self, Storage},
    telemetry,
};

/// Starts `roles` as `config` says, which has been checked.
pub async fn start(
    config: &Config,
    roles: &RoleSet,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Running, Fault> {
    // Before the parts take their counters from it.
    telemetry::metrics();
    let (sender, deaths) = mpsc::channel(8);
    let mut wiring = Wiring::new(config, roles, clock, entropy, sender);
    let lock = wiring.lock()?;
    // First, so that it is the last to stop: it says that the others are not ready.
    let admin = wiring.stage("admin");
    let ratelimit = wiring.ratelimit().await?;
    let identity = wiring.identity(&ratelimit).await?;
    let (keys, keys_here) = wiring.keys(&ratelimit).await?;
    if roles.has(Role::Edge) {
        wiring.edge(ratelimit, identity, keys).await?;
    }
    wiring.admin(&admin).await?;
    wiring.stages.insert(0, admin);
    let Wiring { addresses, draining, stages, .. } = wiring;
    Ok(Running { addresses, keys: keys_here, draining, stages, deaths, _lock: lock })
}

/// The full name of what Envoy's rate limit filter asks.
const ENVOY: &str = rate_limit_service_server::SERVICE_NAME;

struct Wiring<'a> {
    config: &'a Config,
    roles: &'a RoleSet,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    changes: Changes,
    /// The feeds of the roles that are here.
    feeds: HashMap<&'static str, Feed>,
    rules: TokenRules,
    mesh: MeshToken,
    health: HealthReporter,
    draining: CancellationToken,
    probes: Vec<Probe>,
    services: Vec<&'static str>,
    addresses: Addresses,
    stages: Vec<Stage>,
    deaths: mpsc::Sender<Fault>,
}

impl<'a> Wiring<'a> {
    fn new(
        config: &'a Config,
        roles: &'a RoleSet,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        deaths: mpsc::Sender<Fault>,
    ) -> Self {
        let draining = CancellationToken::new();
        Self {
            config,
            roles,
            clock,
            entropy,
            changes: Changes::new(),
            feeds: HashMap::new(),
            rules: TokenRules {
                issuer: config.tokens.issuer.clone(),
                audience: config.tokens.audience.clone(),
            },
            mesh: config.mesh.shown(),
            health: HealthReporter::new(),
            probes: vec![health::not_draining(draining.clone())],
            draining,
            services: vec![""],
            addresses: Addresses::default(),
            stages: Vec::new(),
            deaths,
        }
    }

    fn stage(&self, name: &'static str) -> Stage {
        Stage::new(name, self.deaths.clone())
    }

    fn lock(&self) -> Result<Option<File>, Fault> {
        let stores = self.roles.has(Role::Identity) || self.roles.has(Role::Keys);
        if !stores || self.config.database.url.is_some() {
            return Ok(None);
        }
        Storage::open(self.config)?;
        storage::lock(&self.config.data_dir).map(Some)
    }

    /// Where counters are kept while no process runs: in the data directory, if that is this process's own.
    fn snapshot(&self) -> Option<PathBuf> {
        self.config.database.url.is_none().then(|| self.config.data_dir.join("ratelimit.snapshot"))
    }

    /// A role in another process.
    fn elsewhere(&self, role: Role) -> Remote {
        let at = address_of(self.config, role).expect("nobody calls the edge");
        Remote { address: at.url.clone(), mesh: self.mesh.clone(), timeout: self.config.grpc.timeout }
    }

    async fn ratelimit(&mut self) -> Result<RateLimitHandle, Fault> {
        if !self.roles.has(Role::Ratelimit) {
            return Ok(self.elsewhere(Role::Ratelimit).ratelimit());
        }
        let service =
            Arc::new(counters(self.config, self.snapshot(), self.clock.clone(), self.entropy.clone())?);
        service.examine().await?;
        let pinged = service.clone();
        self.probes.push(health::probe("ratelimit", move || {
            let service = pinged.clone();
            async move { service.ping().await }
        }));
        let stage = self.stage("ratelimit");
        // It stops after all who call it, and what they counted last is kept.
        let (closing, stop) = (service.clone(), stage.stop_signal());
        stage.spawn("counters", async move {
            stop.cancelled_owned().await;
            if let Err(fault) = closing.close().await {
                tracing::error!(%fault, cause = fault.cause(), "what was counted is lost: every limit begins anew");
            }
            Ok(())
        });
        let server = RateLimitServer::from_arc(service.clone()).max_decoding_message_size(self.max_message());
        let routes = Routes::new(self.mesh_only(server));
        match self.envoy(service.clone()).await? {
            // For Envoy alone: nobody else calls this role from outside.
            Some(envoy) if self.roles.is_all() => {
                self.open_role(&stage, Role::Ratelimit, &[ENVOY], Routes::new(envoy)).await?;
            }
            Some(envoy) => {
                let names = [rate_limit_server::SERVICE_NAME, ENVOY];
                self.open_role(&stage, Role::Ratelimit, &names, routes.add_service(envoy)).await?;
            }
            None => {
                self.role_port(&stage, Role::Ratelimit, rate_limit_server::SERVICE_NAME, routes).await?;
            }
        }
        self.stages.push(stage);
        Ok(service)
    }

    /// What Envoy's rate limit filter asks, if it may.
    async fn envoy(
        &self,
        counters: RateLimitHandle,
    ) -> Result<Option<InterceptedService<RateLimitServiceServer<EnvoyService>, Incoming>>, Fault> {
        let file = &self.config.ratelimit.envoy_config;
        if file.as_os_str().is_empty() {
            return Ok(None);
        }
        let domains = Domains::read(file).map_err(Fault::internal)?;
        let service = EnvoyService::open(domains, counters).await?;
        let server = RateLimitServiceServer::new(service).max_decoding_message_size(self.max_message());
        Ok(Some(self.mesh_only(server)))
    }

    async fn identity(&mut self, ratelimit: &RateLimitHandle) -> Result<IdentityHandle, Fault> {
        if !self.roles.has(Role::Identity) {
            return Ok(self.elsewhere(Role::Identity).identity());
        }
        let stage = self.stage("identity");
        let storage = Storage::open(self.config)?;
        let db = storage.ready(Role::Identity, self.roles).await?;
        let feed = self.feed(&stage, Role::Identity, &db);
        let service = self.identity_service(&storage, db, feed.clone(), ratelimit).await?;
        let pinged = service.clone();
        self.probes.push(health::probe("identity", move || {
            let service = pinged.clone();
            async move { service.ping().await }
        }));
        let (jobs, stop) = (service.clone(), stage.stop_signal());
        stage.spawn("periodic jobs", async move {
            jobs.run(stop.cancelled_owned()).await;
            Ok(())
        });
        let server = IdentityServer::from_arc(service.clone()).max_decoding_message_size(self.max_message());
        let routes = self.watched(Routes::new(self.mesh_only(server)), &feed);
        self.role_port(&stage, Role::Identity, identity_server::SERVICE_NAME, routes).await?;
        self.stages.push(stage);
        Ok(service)
    }

    async fn identity_service(
        &self,
        storage: &Storage<'_>,
        db: Db,
        feed: Feed,
        ratelimit: &RateLimitHandle,
    ) -> Result<Arc<IdentityService>, Fault> {
        let master = storage.master_key(&*self.entropy)?;
        let parts = tollgate_identity::Parts {
            db,
            rules: self.rules.clone(),
            ratelimit: ratelimit.clone(),
            feed,
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
        };
        IdentityService::open(self.config.identity.clone(), &master, parts).await
    }

    async fn keys(
        &mut self,
        ratelimit: &RateLimitHandle,
    ) -> Result<(KeysHandle, Option<Arc<KeysService>>), Fault> {
        if !self.roles.has(Role::Keys) {
            return Ok((self.elsewhere(Role::Keys).keys(), None));
        }
        let stage = self.stage("keys");
        let storage = Storage::open(self.config)?;
        let db = storage.ready(Role::Keys, self.roles).await?;
        let feed = self.feed(&stage, Role::Keys, &db);
        let service = KeysService::new(
            self.config.keys.clone(),
            storage.master_key_if_any(&*self.entropy)?.as_ref(),
            db,
            ratelimit.clone(),
            feed.clone(),
            self.clock.clone(),
            self.entropy.clone(),
        );
        let pinged = service.clone();
        self.probes.push(health::probe("keys", move || {
            let service = pinged.clone();
            async move { service.ping().await }
        }));
        let (jobs, stop) = (service.clone(), stage.stop_signal());
        stage.spawn("periodic jobs", async move {
            jobs.run(stop).await;
            Ok(())
        });
        let server = KeysServer::from_arc(service.clone()).max_decoding_message_size(self.max_message());
        let routes = self.watched(Routes::new(self.mesh_only(server)), &feed);
        self.role_port(&stage, Role::Keys, keys_server::SERVICE_NAME, routes).await?;
        self.stages.push(stage);
        Ok((service.clone(), Some(service)))
    }

    /// The changes of a role that is here, followed as long as the process lives.
    fn feed(&mut self, stage: &Stage, role: Role, db: &Db) -> Feed {
        let settings = tollgate_changes::Settings { lease: self.config.changes.lease };
        let (changes, clock) = (self.changes.clone(), self.clock.clone());
        let feed = Feed::new(db, role.as_str(), &settings, changes, clock, &*self.entropy);
        let (follow, stop) = (feed.clone(), stage.stop_signal());
        stage.spawn("changes", async move {
            follow.run(stop.cancelled_owned()).await;
            Ok(())
        });
        self.feeds.insert(role.as_str(), feed.clone());
        feed
    }

    /// A role's routes, with its stream of changes.
    fn watched(&self, routes: Routes, feed: &Feed) -> Routes {
        match feed.watch_service() {
            Some(watch) => routes.add_service(self.mesh_only(watch)),
            None => routes,
        }
    }

    /// When what is cached of a role may be used: it is here, or it is followed.
    fn trust(&self, stage: &Stage, role: Role) -> Trust {
        if let Some(feed) = self.feeds.get(role.as_str()) {
            return feed.trust();
        }
        let lease = self.config.changes.lease;
        let follower = Follower::new(role.as_str(), self.elsewhere(role), self.changes.clone(), lease);
        let (trust, stop) = (follower.trust(), stage.stop_signal());
        stage.spawn("follower", async move {
            stop.run_until_cancelled(follower.run()).await;
            Ok(())
        });
        trust
    }

    async fn edge(
        &mut self,
        ratelimit: RateLimitHandle,
        identity: IdentityHandle,
        keys: KeysHandle,
    ) -> Result<(), Fault> {
        let stage = self.stage("edge");
        let settings = tollgate_verify::Settings {
            rules: self.rules.clone(),
            keys: self.trust(&stage, Role::Keys),
            identity: self.trust(&stage, Role::Identity),
            patience: self.config.changes.lease,
            capacity: self.config.changes.cache_bytes,
            absence: tollgate_verify::Settings::ABSENCE,
        };
        let verifier =
            Verifier::new(settings, keys.clone(), identity.clone(), self.changes.clone(), self.clock.clone());
        self.probe_elsewhere();
        let parts = Parts {
            verifier,
            identity,
            keys,
            ratelimit,
            door: self.door()?,
            readiness: self.probes.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            record_client: self.config.usage.record_client,
        };
        let edge = Edge::new(self.config.edge.clone(), parts);
        let routes = Routes::new(edge.gate()).add_service(edge.manage()).add_service(edge.ext_authz());
        let names =
            [gate_server::SERVICE_NAME, keys_server::SERVICE_NAME, authorization_server::SERVICE_NAME];
        self.addresses.gate =
            Some(self.grpc(&stage, "gate.listen", self.config.gate.listen, &names, routes).await?);
        let address = self.http(&stage, "http.listen", self.config.http.listen, edge.http()).await?;
        self.addresses.http = Some(address);
        self.stages.push(stage);
        Ok(())
    }

    /// What the edge counts client addresses with: in this process, wherever the role ratelimit is.
    fn door(&self) -> Result<RateLimitHandle, Fault> {
        let settings = self.config.ratelimit.settings(None, None);
        Ok(Arc::new(RateLimitService::open(settings, self.clock.clone(), self.entropy.clone())?))
    }

    async fn admin(&mut self, stage: &Stage) -> Result<(), Fault> {
        let stop = stage.stop_signal();
        stage.spawn("metrics upkeep", async move {
            stop.run_until_cancelled(telemetry::upkeep()).await;
            Ok(())
        });
        let router = admin::router(self.probes.clone());
        let address = self.http(stage, "admin.listen", self.config.admin.listen, router).await?;
        self.addresses.admin = Some(address);
        // Once before anybody can ask: who has started is not "not serving" until the first tick.
        health::report(&self.health, &self.probes, &self.services).await;
        let health = health::keep(self.health.clone(), self.probes.clone(), self.services.clone());
        let stop = stage.stop_signal();
        stage.spawn("health", async move {
            stop.run_until_cancelled(health).await;
            Ok(())
        });
        Ok(())
    }

    fn max_message(&self) -> usize {
        self.config.grpc.max_message_bytes
    }

    /// A service that answers the mesh only.
    fn mesh_only<S>(&self, server: S) -> InterceptedService<S, Incoming> {
        InterceptedService::new(server, Incoming(self.mesh.clone()))
    }

    /// Opens a role to other processes, if there may be others.
    async fn role_port(
        &mut self,
        stage: &Stage,
        role: Role,
        name: &'static str,
        routes: Routes,
    ) -> Result<(), Fault> {
        if self.roles.is_all() { Ok(()) } else { self.open_role(stage, role, &[name], routes).await }
    }

    async fn open_role(
        &mut self,
        stage: &Stage,
        role: Role,
        names: &[&'static str],
        routes: Routes,
    ) -> Result<(), Fault> {
        let at = address_of(self.config, role).expect("the edge opens no such port").listen;
        let address = self.grpc(stage, &format!("{role}.listen"), at, names, routes).await?;
        self.addresses.set(role, address);
        Ok(())
    }

    async fn http(
        &self,
        stage: &Stage,
        key: &str,
        address: SocketAddr,
        router: axum::Router,
    ) -> Result<SocketAddr, Fault> {
        let listener = serve::listen(key, address).await?;
        let address = listener.local_addr().map_err(Fault::internal)?;
        let serving = http::serve(listener, router, self.config.http.clone(), stage.stop_signal());
        stage.spawn("HTTP server", serving.map(Ok));
        Ok(address)
    }

    async fn grpc(
        &mut self,
        stage: &Stage,
        key: &str,
        address: SocketAddr,
        names: &[&'static str],
        routes: Routes,
    ) -> Result<SocketAddr, Fault> {
        let listener = serve::listen(key, address).await?;
        let address = listener.local_addr().map_err(Fault::internal)?;
        // Until the first look at the parts.
        for service in [""].iter().chain(names) {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
        }
        self.services.extend(names);
        let port = Port {
            routes,
            names: names.to_vec(),
            settings: self.config.grpc.clone(),
            entropy: self.entropy.clone(),
        };
        let health = HealthService::from_health_reporter(self.health.clone());
        stage.spawn("gRPC server", port.serve(listener, health, stage.stop_signal()));
        Ok(address)
    }

    /// The edge is ready when those that it calls are.
    fn probe_elsewhere(&mut self) {
        for role in [Role::Ratelimit, Role::Identity, Role::Keys] {
            if !self.roles.has(role) {
                let channel = self.elsewhere(role).channel();
                self.probes.push(health::elsewhere(role.as_str(), channel));
            }
        }
    }
}

/// Counters in this process, kept in this file from one process to the next; or in Redis.
pub(crate) fn counters(
    config: &Config,
    snapshot: Option<PathBuf>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<RateLimitService, Fault> {
    let redis = config.redis.url.clone().map(|url| (url, config.redis.tls.clone()));
    let settings = config.ratelimit.settings(redis, snapshot);
    RateLimitService::open(settings, clock, entropy)
}
