//! A service on a database of its own, with its time moved by hand and its limits counted here.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use serde_json::json;
use tollgate_changes::Feed;
use tollgate_kernel::{Clock, Code, Fault, MasterKey, OsEntropy, Timestamp, UserId};
use tollgate_proto::{
    Identity, RateLimit,
    fault::from_status,
    identity::{
        LoginRequest, LogoutRequest, RefreshRequest, ResolveSessionRequest, Session, SignupRequest, TokenSet,
        User,
    },
    mesh::MeshToken,
    ratelimit::{CheckRequest, CheckResponse},
    remote::Remote,
};
use tollgate_testkit::{MockClock, TestDatabase};
use tollgate_verify::{Changes, Settings, TokenRules, Verifier, watch::always};
use tonic::{Request, Response, Status};

use crate::{Config, IdentityService, MIGRATIONS, Parts};

pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const IP: &str = "192.0.2.1";

/// All that a test touches.
pub(super) struct World {
    pub(super) clock: Arc<MockClock>,
    pub(super) limits: Arc<Limits>,
    pub(super) identity: Arc<IdentityService>,
    pub(super) changes: Changes,
    pub(super) database: TestDatabase,
}

pub(super) fn rules() -> TokenRules {
    TokenRules { issuer: "https://id.example".to_owned(), audience: "https://api.example".to_owned() }
}

/// As configured by default, but for cheap hashes.
pub(super) fn config() -> Config {
    serde_json::from_value(json!({"password": {"memory_kib": 7168, "passes": 1}})).unwrap()
}

pub(super) fn master(byte: &str) -> MasterKey {
    MasterKey::parse(&byte.repeat(32).into()).unwrap()
}

impl World {
    pub(super) async fn new(database: TestDatabase) -> Self {
        let (clock, changes, limits) = (MockClock::new(), Changes::new(), Arc::new(Limits::default()));
        limits.clock.lock().unwrap().replace(clock.clone());
        let db = open(&database).await;
        db.migrate(&MIGRATIONS).await.unwrap();
        let parts = parts(db, &clock, &limits, &changes);
        let identity = IdentityService::open(config(), &master("00"), parts).await.unwrap();
        Self { clock, limits, identity, changes, database }
    }

    /// Another process of the same role, on the same tables.
    pub(super) async fn replica(
        &self,
        config: Config,
        master: &MasterKey,
    ) -> Result<Arc<IdentityService>, Fault> {
        let parts = parts(open(&self.database).await, &self.clock, &self.limits, &Changes::new());
        IdentityService::open(config, master, parts).await
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(super) async fn try_sign_up(&self, email: &str, password: &str) -> Result<User, Fault> {
        let request = SignupRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            name: None,
            ip: IP.to_owned(),
        };
        let answer = self.identity.signup(Request::new(request)).await.map_err(from_status)?;
        Ok(answer.into_inner().user.unwrap())
    }

    pub(super) async fn sign_up(&self, email: &str) -> User {
        self.try_sign_up(email, PASSWORD).await.unwrap()
    }

    pub(super) async fn try_log_in(&self, email: &str, password: &str, ip: &str) -> Result<TokenSet, Fault> {
        let request = LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
            ip: ip.to_owned(),
            user_agent: "test".to_owned(),
        };
        let answer = self.identity.login(Request::new(request)).await.map_err(from_status)?;
        Ok(answer.into_inner().tokens.unwrap())
    }

    pub(super) async fn log_in(&self, email: &str) -> TokenSet {
        self.try_log_in(email, PASSWORD, IP).await.unwrap()
    }

    /// A new user who is logged in.
    pub(super) async fn session(&self) -> TokenSet {
        self.sign_up("ann@example.com").await;
        self.log_in("ann@example.com").await
    }

    pub(super) async fn refresh(&self, token: &str) -> Result<TokenSet, Fault> {
        let request = RefreshRequest { refresh_token: token.to_owned(), ip: IP.to_owned() };
        let answer = self.identity.refresh(Request::new(request)).await.map_err(from_status)?;
        Ok(answer.into_inner().tokens.unwrap())
    }

    pub(super) async fn log_out(&self, token: &str, all: bool) -> Result<(), Fault> {
        let request = LogoutRequest { refresh_token: token.to_owned(), all, no_wait: false };
        self.identity.logout(Request::new(request)).await.map_err(from_status)?;
        Ok(())
    }

    pub(super) async fn resolve(&self, session_id: &str) -> Option<Session> {
        let request = ResolveSessionRequest { session_id: session_id.to_owned() };
        self.identity.resolve_session(Request::new(request)).await.unwrap().into_inner().session
    }

    /// A verifier in this process, which believes what it has read until it hears of a change.
    pub(super) fn verifier(&self) -> Verifier {
        let settings = Settings {
            rules: rules(),
            keys: always(),
            identity: always(),
            patience: Duration::from_mins(1),
            capacity: 100_000,
            absence: Settings::ABSENCE,
        };
        // Never asked.
        let keys = Remote {
            address: "http://127.0.0.1:1".parse().unwrap(),
            mesh: MeshToken::default(),
            timeout: Duration::from_secs(1),
        };
        Verifier::new(settings, keys.keys(), self.identity.clone(), self.changes.clone(), self.clock.clone())
    }

    pub(super) async fn disable(&self, user: &User) {
        let id: UserId = user.id.parse().unwrap();
        self.identity.store.user_disable(id, self.now()).await;
    }
}

/// The role's database. Patient, so that on a busy machine a test is slow rather than refused.
pub(crate) async fn open(database: &TestDatabase) -> tollgate_db::Db {
    let patience = std::time::Duration::from_mins(1);
    let settings = tollgate_db::Settings {
        acquire_timeout: patience,
        work_timeout: patience,
        ..tollgate_db::Settings::default()
    };
    tollgate_db::Db::open(&database.url(), "identity", &settings).await.unwrap()
}

/// Follows the log in the background. A long lease, so that a busy machine does not let it run out.
fn feed(db: &tollgate_db::Db, changes: &Changes, clock: &Arc<MockClock>) -> Feed {
    let settings = tollgate_changes::Settings { lease: std::time::Duration::from_mins(1) };
    let feed = Feed::new(db, "identity", &settings, changes.clone(), clock.clone(), &OsEntropy);
    let following = feed.clone();
    tokio::spawn(async move { following.run(std::future::pending()).await });
    feed
}

fn parts(db: tollgate_db::Db, clock: &Arc<MockClock>, limits: &Arc<Limits>, changes: &Changes) -> Parts {
    Parts {
        feed: feed(&db, changes, clock),
        db,
        rules: rules(),
        ratelimit: limits.clone(),
        clock: clock.clone(),
        entropy: Arc::new(OsEntropy),
    }
}

/// The code and the message, which is all that a client can tell faults apart by.
pub(super) fn seen(fault: &Fault) -> (Code, String, Option<Duration>) {
    (fault.code(), fault.message().to_owned(), fault.wait())
}

/// Counts, as the ratelimit role does: nothing is charged for what is denied.
#[derive(Debug, Default)]
pub(super) struct Limits {
    clock: Mutex<Option<Arc<MockClock>>>,
    accepted: Mutex<HashMap<String, Vec<Timestamp>>>,
    pub(super) down: AtomicBool,
}

impl Limits {
    /// The names of all counters.
    pub(super) fn names(&self) -> Vec<String> {
        self.accepted.lock().unwrap().keys().cloned().collect()
    }

    fn check_at(&self, request: &CheckRequest, now: Timestamp) -> CheckResponse {
        let mut accepted = self.accepted.lock().unwrap();
        let mut wait = 0;
        for charge in &request.charges {
            let limit = charge.limit.as_ref().unwrap();
            let window = TimeDelta::seconds(limit.window_seconds.into());
            let times = accepted.entry(counter(request, charge)).or_default();
            times.retain(|at| *at + window > now);
            if times.len() as u64 >= limit.limit {
                wait = wait.max((times[0] + window - now).num_microseconds().unwrap());
            }
        }
        if wait == 0 {
            let counters = request.charges.iter().map(|charge| counter(request, charge));
            counters.for_each(|name| accepted.get_mut(&name).unwrap().push(now));
        }
        CheckResponse { allowed: wait == 0, retry_after_us: wait.unsigned_abs(), ..CheckResponse::default() }
    }
}

fn counter(request: &CheckRequest, charge: &tollgate_proto::ratelimit::Charge) -> String {
    let name = &charge.limit.as_ref().unwrap().name;
    let key = [&request.partition, &charge.subject];
    // The bounds of the contract.
    assert!(key.iter().all(|part| (1..=128).contains(&part.len())
        && part.bytes().all(|b| b.is_ascii_graphic() && !b"{}".contains(&b))));
    format!("{} {} {name}", request.partition, charge.subject)
}

#[async_trait::async_trait]
impl RateLimit for Limits {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Status::unavailable("down"));
        }
        let now = self.clock.lock().unwrap().as_ref().unwrap().now();
        Ok(Response::new(self.check_at(request.get_ref(), now)))
    }
}

thread_local! {
    static LOGGED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// What this thread logs while this is kept. A test's tasks all run on its own thread.
pub(super) struct Log;

impl Log {
    pub(super) fn start() -> Self {
        // One subscriber for all threads: what one of them has no subscriber for, none of them would see.
        static SUBSCRIBED: Once = Once::new();
        SUBSCRIBED.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
            subscriber.with_writer(|| Log).init();
        });
        LOGGED.set(Some(Vec::new()));
        Self
    }

    #[expect(clippy::unused_self, reason = "there is a text only while a log is kept")]
    pub(super) fn text(&self) -> String {
        LOGGED.with_borrow(|logged| String::from_utf8(logged.clone().unwrap()).unwrap())
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.as_mut().map(|logged| logged.extend_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
