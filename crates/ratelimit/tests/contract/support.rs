//! The role on either store, with time moved by hand, and the requests that tests send.

use std::{sync::Arc, time::Duration};

use tollgate_kernel::{Fault, OsEntropy, SecretString};
use tollgate_proto::{
    RateLimit, fault,
    ratelimit::{
        AccountState, AckTalliesRequest, Charge, CheckBatchRequest, CheckRequest, CheckResponse,
        DeleteOverrideRequest, DepositRequest, DrainTalliesRequest, Limit, ListOverridesRequest, Override,
        PutOverrideRequest, RefundRequest, ReserveRequest, ResetRequest, SettleRequest, Tally, TallyBatch,
        WithdrawRequest, outcome::Outcome as Ended,
    },
    time::{from_wire, to_wire},
};
use tollgate_ratelimit::{RateLimitService, Settings, Store, Tls};
use tollgate_testkit::{MockClock, TestRedis};
use tonic::Request;

/// Expands each test to one on the in-process counter and one on Redis.
macro_rules! on_every_counter {
    ($($(#[$meta:meta])* async fn $name:ident($($role:ident)+: Role) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn test($($role)+: Role) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn memory() {
                test(Role::memory()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs Redis"]
            async fn redis() {
                test(Role::redis()).await;
            }
        }
    )*};
}
pub(crate) use on_every_counter;

/// The role and what it runs on.
pub(crate) struct Role {
    pub(crate) service: Arc<RateLimitService>,
    pub(crate) clock: Arc<MockClock>,
    place: Place,
    spares: Spares,
}

/// How a process spares Redis questions. Not at all in tests of what is counted, so that each is asked.
#[derive(Debug, Clone, Copy, Default)]
struct Spares {
    /// How long it believes a denial.
    denial_cache: Duration,
    /// For how long it charges calls ahead.
    charge_ahead: Duration,
}

/// Where a role counts.
enum Place {
    /// In its process, which keeps in this directory what it has counted.
    Process(tempfile::TempDir),
    /// In a corner of the Redis server of the tests.
    Shared(TestRedis),
    /// In the servers of one test.
    Private { url: SecretString, prefix: String },
}

impl Role {
    /// In this process.
    pub(crate) fn memory() -> Self {
        let clock = MockClock::new();
        let directory = tempfile::tempdir().expect("a directory");
        Self::open(Place::Process(directory), clock, Spares::default())
    }

    /// In a corner of the Redis server of the tests.
    pub(crate) fn redis() -> Self {
        Self::redis_behind(Duration::ZERO)
    }

    /// The same, with processes that believe a denial for so long.
    pub(crate) fn redis_behind(denial_cache: Duration) -> Self {
        let spares = Spares { denial_cache, ..Spares::default() };
        Self::open(Place::Shared(TestRedis::shared()), MockClock::new(), spares)
    }

    /// The same, with processes that charge calls ahead for so long.
    pub(crate) fn redis_ahead(charge_ahead: Duration) -> Self {
        let spares = Spares { charge_ahead, ..Spares::default() };
        Self::open(Place::Shared(TestRedis::shared()), MockClock::new(), spares)
    }

    /// In the servers of one test, under names that begin with `prefix`.
    pub(crate) fn at(url: SecretString, prefix: &str) -> Self {
        Self::at_ahead(url, prefix, Duration::ZERO)
    }

    /// The same, with processes that charge calls ahead for so long.
    pub(crate) fn at_ahead(url: SecretString, prefix: &str, charge_ahead: Duration) -> Self {
        let place = Place::Private { url, prefix: prefix.to_owned() };
        Self::open(place, MockClock::new(), Spares { charge_ahead, ..Spares::default() })
    }

    fn open(place: Place, clock: Arc<MockClock>, spares: Spares) -> Self {
        let service = open(place.store(spares), clock.clone());
        Self { service, clock, place, spares }
    }

    /// The process ends, and another one starts.
    pub(crate) async fn restart(&mut self) {
        self.service.close().await.expect("what was counted is kept");
        self.service = open(self.place.store(self.spares), self.clock.clone());
    }

    /// Another process that counts in the same store; the same one if the store is a process.
    pub(crate) fn another(&self) -> Arc<RateLimitService> {
        match &self.place {
            Place::Process(_) => self.service.clone(),
            other => open(other.store(self.spares), self.clock.clone()),
        }
    }

    pub(crate) async fn check(&self, request: CheckRequest) -> CheckResponse {
        check(&self.service, request).await.expect("decided")
    }

    pub(crate) async fn try_check(&self, request: CheckRequest) -> Result<CheckResponse, Fault> {
        check(&self.service, request).await
    }

    pub(crate) async fn reserve(&self, request: ReserveRequest) -> Result<CheckResponse, Fault> {
        answer(self.service.reserve(Request::new(request)).await)
    }

    /// What became of each call, or its code and why.
    pub(crate) async fn batch(&self, calls: Vec<CheckRequest>) -> Vec<Result<CheckResponse, (i32, String)>> {
        let answered = self.service.check_batch(Request::new(CheckBatchRequest { calls })).await;
        let each = answer(answered).expect("decided").outcomes.into_iter();
        each.map(|outcome| match outcome.outcome.expect("an outcome") {
            Ended::Decided(response) => Ok(response),
            Ended::Failed(failure) => Err((failure.code, failure.message)),
        })
        .collect()
    }

    pub(crate) async fn settle(&self, request: SettleRequest) -> Result<Vec<u64>, Fault> {
        answer(self.service.settle(Request::new(request)).await).map(|response| response.returned)
    }

    pub(crate) async fn refund(&self, request: RefundRequest) -> Result<Vec<u64>, Fault> {
        answer(self.service.refund(Request::new(request)).await).map(|response| response.returned)
    }

    pub(crate) async fn deposit(&self, request: DepositRequest) -> Result<AccountState, Fault> {
        answer(self.service.deposit(Request::new(request)).await)
    }

    pub(crate) async fn withdraw(&self, request: WithdrawRequest) -> Result<AccountState, Fault> {
        answer(self.service.withdraw(Request::new(request)).await)
    }

    pub(crate) async fn reset(
        &self,
        partition: &str,
        subject: &str,
        names: Vec<String>,
    ) -> Result<(), Fault> {
        let (partition, subject) = (partition.to_owned(), subject.to_owned());
        answer(self.service.reset(Request::new(ResetRequest { partition, subject, names })).await).map(drop)
    }

    /// Until a time in microseconds.
    pub(crate) async fn put_override(
        &self,
        partition: &str,
        subject: &str,
        name: &str,
        limit: u64,
        until: i64,
    ) -> Result<(), Fault> {
        let expires_at = chrono::DateTime::from_timestamp_micros(until).map(to_wire);
        let (subject, name) = (subject.to_owned(), name.to_owned());
        let r#override = Some(Override { subject, name, limit, expires_at });
        let request = PutOverrideRequest { partition: partition.to_owned(), r#override };
        answer(self.service.put_override(Request::new(request)).await).map(drop)
    }

    pub(crate) async fn delete_override(
        &self,
        partition: &str,
        subject: &str,
        name: &str,
    ) -> Result<(), Fault> {
        let (partition, subject, name) = (partition.to_owned(), subject.to_owned(), name.to_owned());
        let request = DeleteOverrideRequest { partition, subject, name };
        answer(self.service.delete_override(Request::new(request)).await).map(drop)
    }

    /// Name, subject, number, and end in microseconds.
    pub(crate) async fn overrides(&self, partition: &str) -> Result<Vec<(String, String, u64, i64)>, Fault> {
        let request = ListOverridesRequest { partition: partition.to_owned() };
        let listed = answer(self.service.list_overrides(Request::new(request)).await)?.overrides;
        let until = |it: &Override| {
            let at = from_wire(it.expires_at.expect("an end"), "").expect("an instant");
            at.timestamp_micros()
        };
        Ok(listed.into_iter().map(|it| (it.name.clone(), it.subject.clone(), it.limit, until(&it))).collect())
    }

    pub(crate) async fn drain(&self) -> Option<TallyBatch> {
        drain(&self.service).await.expect("drained")
    }

    pub(crate) async fn acknowledge(&self, batch: &TallyBatch) {
        acknowledge(&self.service, &batch.id).await.expect("acknowledged");
    }
}

/// The service on this store.
pub(crate) fn open(store: Store, clock: Arc<MockClock>) -> Arc<RateLimitService> {
    let service = RateLimitService::open(Settings { store }, clock, Arc::new(OsEntropy));
    Arc::new(service.expect("the settings are right"))
}

fn answer<T>(response: Result<tonic::Response<T>, tonic::Status>) -> Result<T, Fault> {
    response.map(tonic::Response::into_inner).map_err(fault::from_status)
}

impl Place {
    fn store(&self, spares: Spares) -> Store {
        let mut store = match self {
            Self::Process(directory) => {
                Store::Memory { max_states: 1_000_000, snapshot: Some(directory.path().join("counters")) }
            }
            Self::Shared(redis) => store(redis.url(), redis.prefix(), PATIENCE),
            Self::Private { url, prefix } => store(url.clone(), prefix, PATIENCE),
        };
        if let Store::Redis { denial_cache, charge_ahead, .. } = &mut store {
            (*denial_cache, *charge_ahead) = (spares.denial_cache, spares.charge_ahead);
        }
        store
    }
}

/// So patient that a busy machine does not look like an outage.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Counters in Redis, which has this long for an answer.
pub(crate) fn store(url: SecretString, prefix: &str, timeout: Duration) -> Store {
    Store::Redis {
        url,
        tls: Tls::default(),
        prefix: prefix.to_owned(),
        timeout,
        connect_timeout: Duration::from_secs(5),
        retry_interval: Duration::from_millis(50),
        check_eviction: true,
        max_states: 1_000_000,
        denial_cache: Duration::ZERO,
        charge_ahead: Duration::ZERO,
    }
}

/// Asks the service until its store answers, or until it does not.
pub(crate) async fn until_up(service: &RateLimitService, up: bool) {
    until(async || service.ping().await.is_ok() == up).await;
}

/// Asks until it is so; the machine's time is the limit.
pub(crate) async fn until(mut so: impl AsyncFnMut() -> bool) {
    let asked = async {
        while !so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it comes true in time");
}

pub(crate) async fn check(service: &RateLimitService, request: CheckRequest) -> Result<CheckResponse, Fault> {
    service.check(Request::new(request)).await.map(tonic::Response::into_inner).map_err(fault::from_status)
}

pub(crate) async fn drain(service: &RateLimitService) -> Result<Option<TallyBatch>, Fault> {
    let response = service.drain_tallies(Request::new(DrainTalliesRequest {})).await;
    response.map(|response| response.into_inner().batch).map_err(fault::from_status)
}

pub(crate) async fn acknowledge(service: &RateLimitService, batch_id: &str) -> Result<(), Fault> {
    let request = AckTalliesRequest { batch_id: batch_id.to_owned() };
    service.ack_tallies(Request::new(request)).await.map(drop).map_err(fault::from_status)
}

/// One unit of a limit of this many per window, of the subject `key`.
pub(crate) fn charge(name: &str, limit: u64, window_seconds: u32) -> Charge {
    let limit = Limit { name: name.to_owned(), limit, window_seconds, ..Default::default() };
    Charge { limit: Some(limit), subject: "key".to_owned(), cost: 1 }
}

/// A call with these charges.
pub(crate) fn call(charges: Vec<Charge>) -> CheckRequest {
    CheckRequest { partition: "workspace".to_owned(), charges, ..Default::default() }
}

/// Where a call is counted.
pub(crate) fn tally(subject: &str) -> Tally {
    Tally { subject: subject.to_owned(), code: "VALID".to_owned(), ..Tally::default() }
}
