//! The real system, started in this process, with a clock that a test moves by hand.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Method;
use tempfile::TempDir;
use tollgate::{
    Running,
    cli::Common,
    config::{self, Config},
    roles::{Role, RoleSet},
};
use tollgate_kernel::{Clock as _, ExposeSecret as _, OsEntropy, SecretString, Timestamp};
use tollgate_proto::{gate::gate_client::GateClient, keys::keys_client::KeysClient};
use tollgate_testkit::{MockClock, TestDatabase, TestRedis};
use tonic::transport::{Channel, Endpoint};

use crate::{
    http::{Call, Client},
    logs,
    shape::Shape,
};

/// What tests need otherwise than an installation does: cheap hashes, and throttles that a suite does not reach.
const TEST_SETTINGS: [(&str, &str); 22] = [
    ("TOLLGATE__HTTP__LISTEN", "127.0.0.1:0"),
    ("TOLLGATE__GATE__LISTEN", "127.0.0.1:0"),
    ("TOLLGATE__ADMIN__LISTEN", "127.0.0.1:0"),
    ("TOLLGATE__IDENTITY__LISTEN", "127.0.0.1:0"),
    ("TOLLGATE__KEYS__LISTEN", "127.0.0.1:0"),
    ("TOLLGATE__RATELIMIT__LISTEN", "127.0.0.1:0"),
    ("TOLLGATE__IDENTITY__PASSWORD__MEMORY_KIB", "7168"),
    ("TOLLGATE__IDENTITY__PASSWORD__PASSES", "1"),
    ("TOLLGATE__IDENTITY__PASSWORD__QUEUE", "1024"),
    ("TOLLGATE__IDENTITY__THROTTLE__LOGIN_IP__LIMIT", "1024"),
    ("TOLLGATE__IDENTITY__THROTTLE__LOGIN_IDENTIFIER__LIMIT", "1024"),
    ("TOLLGATE__IDENTITY__THROTTLE__SIGNUP_IP__LIMIT", "1024"),
    // All clients of a test have one address, and no time passes there by itself.
    ("TOLLGATE__EDGE__PER_IP__AUTH", "1000000000"),
    ("TOLLGATE__EDGE__PER_IP__MANAGEMENT", "1000000000"),
    ("TOLLGATE__EDGE__PER_IP__PROTECTED", "1000000000"),
    ("TOLLGATE__EDGE__PER_IP__PUBLIC", "1000000000"),
    // A busy machine must not let it run out.
    ("TOLLGATE__CHANGES__LEASE_MS", "30000"),
    ("TOLLGATE__DATABASE__POOL_SIZE", "4"),
    ("TOLLGATE__DATABASE__ACQUIRE_TIMEOUT_MS", "20000"),
    ("TOLLGATE__DATABASE__WORK_TIMEOUT_MS", "20000"),
    // A machine that is busy with other tests is not a Redis that is down.
    ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "10000"),
    ("TOLLGATE__RATELIMIT__REDIS_CONNECT_TIMEOUT_MS", "10000"),
];

/// What the roles show each other in the split shape.
pub(crate) const MESH_TOKEN: &str = "a-mesh-token-of-the-tests";

/// Stores of a test's own, gone with it.
pub(crate) struct Stores {
    settings: Vec<(String, String)>,
    _keep: (TempDir, Option<TestDatabase>, Option<TestRedis>),
}

impl Stores {
    /// Those of the shape.
    pub(crate) async fn of(shape: Shape) -> Self {
        if shape == Shape::Sqlite {
            return Self::new(None, None);
        }
        Self::new(Some(TestDatabase::postgres().await), Some(TestRedis::shared()))
    }

    fn new(database: Option<TestDatabase>, redis: Option<TestRedis>) -> Self {
        let dir = tempfile::tempdir().expect("there is a temporary folder");
        let mut settings = vec![("TOLLGATE__DATA_DIR".into(), dir.path().join("data").display().to_string())];
        if let Some(database) = &database {
            settings.push(("DATABASE_URL".into(), database.url().expose_secret().to_owned()));
            settings.push(("TOLLGATE__MASTER_KEY".into(), "00".repeat(32)));
        }
        if let Some(redis) = &redis {
            settings.push(("REDIS_URL".into(), redis.url().expose_secret().to_owned()));
            settings.push(("TOLLGATE__RATELIMIT__REDIS_PREFIX".into(), redis.prefix().to_owned()));
        }
        Self { settings, _keep: (dir, database, redis) }
    }

    /// What a process is told of them, as environment variables.
    pub(crate) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// These servers instead; the test keeps them.
    pub(crate) fn on(database: &SecretString, redis: &SecretString) -> Self {
        let mut stores = Self::new(None, None);
        stores.settings.push(("DATABASE_URL".into(), database.expose_secret().to_owned()));
        stores.settings.push(("TOLLGATE__MASTER_KEY".into(), "00".repeat(32)));
        stores.settings.push(("REDIS_URL".into(), redis.expose_secret().to_owned()));
        stores
    }
}

/// The system, and what a test does with it.
pub(crate) struct TestApp {
    pub(crate) clock: Arc<MockClock>,
    pub(crate) shape: Shape,
    client: Client,
    admin: Client,
    gate: SocketAddr,
    // In the order of starting.
    running: Vec<Running>,
    secrets: Mutex<Vec<(String, String)>>,
    log_start: usize,
    // None once another has taken over.
    stores: Option<Stores>,
}

impl TestApp {
    /// In the shape of this run.
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With settings of the test's own, as environment variables.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let shape = Shape::of_this_run();
        Self::start(shape, Stores::of(shape).await, settings).await
    }

    /// In this shape, on these stores.
    pub(crate) async fn start(shape: Shape, stores: Stores, settings: &[(&str, &str)]) -> Self {
        Self::start_at(shape, stores, settings, MockClock::new()).await
    }

    /// The same at the time of this clock.
    pub(crate) async fn start_at(
        shape: Shape,
        stores: Stores,
        settings: &[(&str, &str)],
        clock: Arc<MockClock>,
    ) -> Self {
        let log_start = logs::capture();
        let mut given: HashMap<String, String> = HashMap::new();
        let own = TEST_SETTINGS.iter().chain(settings).map(|(name, value)| ((*name).into(), (*value).into()));
        given.extend(stores.settings.iter().cloned().chain(own));
        let running = match shape {
            Shape::Sqlite | Shape::Postgres => vec![start(&given, &RoleSet::all(), &clock).await],
            Shape::Split => split(given, &clock).await,
        };
        let at = running.last().expect("something runs").addresses().clone();
        let address = |at: Option<SocketAddr>| at.expect("the edge listens");
        Self {
            clock,
            shape,
            client: Client::new(address(at.http)),
            admin: Client::new(address(at.admin)),
            gate: address(at.gate),
            running,
            secrets: Mutex::new(vec![("the mesh token".into(), MESH_TOKEN.into())]),
            log_start,
            stores: Some(stores),
        }
    }

    /// Ends it as SIGTERM would and starts it again on the same stores, with these settings; the clock stays.
    pub(crate) async fn restart(mut self, settings: &[(&str, &str)]) -> Self {
        self.stop().await;
        let stores = self.stores.take().expect("it has not been restarted before");
        let again = Self::start_at(self.shape, stores, settings, self.clock.clone()).await;
        again.secrets.lock().unwrap().extend(self.secrets.lock().unwrap().drain(..));
        again
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.client.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.client.call(Method::POST, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.client.call(Method::DELETE, path)
    }

    /// What its processes were told of their stores, for commands beside them.
    pub(crate) fn store_settings(&self) -> Vec<(String, String)> {
        self.stores.as_ref().expect("it has not been restarted").settings.clone()
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        self.client.call(method, path)
    }

    /// A request to the admin port of the process that the edge is in.
    pub(crate) fn admin(&self, path: &str) -> Call {
        self.admin.call(Method::GET, path)
    }

    /// Where HTTP listens, for tests that speak it by hand.
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.running.last().expect("something runs").addresses().http.expect("the edge listens")
    }

    /// The Gate, by the generated client.
    pub(crate) async fn gate(&self) -> GateClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.gate)).expect("an address");
        GateClient::new(endpoint.connect().await.expect("the Gate listens"))
    }

    /// Management on the Gate's port.
    pub(crate) async fn manage(&self) -> KeysClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.gate)).expect("an address");
        KeysClient::new(endpoint.connect().await.expect("the Gate listens"))
    }

    pub(crate) fn gate_address(&self) -> SocketAddr {
        self.gate
    }

    /// Where the ratelimit role listens, if it does.
    pub(crate) fn ratelimit_address(&self) -> Option<SocketAddr> {
        self.running.iter().find_map(|running| running.addresses().ratelimit)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Stores every tally, so that usage shows it.
    pub(crate) async fn drain_usage(&self) {
        for running in &self.running {
            running.drain_usage().await.expect("tallies can be stored");
        }
    }

    /// Remembers what must never be logged.
    pub(crate) fn secret(&self, what: &str, value: &str) {
        assert!(value.len() >= 8, "{what} is too short to be searched for");
        self.secrets.lock().unwrap().push((what.to_owned(), value.to_owned()));
    }

    /// What this test, and those beside it, have logged so far.
    pub(crate) fn logged(&self) -> String {
        logs::since(self.log_start)
    }

    /// Ends the system in good order, and checks that no secret was logged.
    pub(crate) async fn finish(mut self) {
        self.stop().await;
    }

    async fn stop(&mut self) {
        for running in std::mem::take(&mut self.running).into_iter().rev() {
            running.stop(Duration::from_mins(1)).await.expect("nothing is cut off");
        }
    }

    fn assert_nothing_leaked(&self) {
        let logged = self.logged();
        for (what, value) in self.secrets.lock().unwrap().iter() {
            if let Some(at) = logged.find(value.as_str()) {
                let line = logged[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let end = logged[at..].find('\n').map_or(logged.len(), |newline| at + newline);
                panic!("{what} was logged: {}", &logged[line..end]);
            }
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_nothing_leaked();
        }
    }
}

async fn start(given: &HashMap<String, String>, roles: &RoleSet, clock: &Arc<MockClock>) -> Running {
    let config = configured(given, roles);
    let started = tollgate::start(&config, roles, clock.clone(), Arc::new(OsEntropy)).await;
    started.unwrap_or_else(|fault| panic!("{roles} did not start: {fault:?}"))
}

/// Four sets of one role each, over real sockets, with a mesh token. The addresses become known one by one.
async fn split(mut given: HashMap<String, String>, clock: &Arc<MockClock>) -> Vec<Running> {
    given.insert("TOLLGATE__MESH__TOKEN".into(), MESH_TOKEN.into());
    // Tests start many systems on one machine: a deadline is not what they are about.
    given.entry("TOLLGATE__GRPC__TIMEOUT_MS".into()).or_insert("30000".into());
    migrate(&given).await;
    let mut running = Vec::new();
    for role in Role::ALL {
        let started = start(&given, &RoleSet::of(&[role]), clock).await;
        let at = started.addresses();
        let address = [at.ratelimit, at.identity, at.keys].into_iter().flatten().next();
        if let Some(address) = address {
            given.insert(
                format!("TOLLGATE__{}__URL", role.as_str().to_uppercase()),
                format!("http://{address}"),
            );
        }
        running.push(started);
    }
    running
}

/// What `tollgate migrate` does.
async fn migrate(given: &HashMap<String, String>) {
    let config = configured(given, &RoleSet::of(&[Role::Edge]));
    tollgate::migrate(&config, &RoleSet::all()).await.expect("the tables can be made");
}

pub(crate) fn configured(given: &HashMap<String, String>, roles: &RoleSet) -> Config {
    let environment = given.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let nothing = Common { config: Some("/dev/null".into()), ..Common::default() };
    match config::load_from(&nothing, None, Some(roles), environment) {
        Ok(loaded) => loaded.config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}
