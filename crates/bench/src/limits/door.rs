//! Who decides, and how it is asked.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use limitador::{
    RateLimiter,
    limit::{Context, Limit as TheirLimit, Namespace},
};
use redis::{aio::MultiplexedConnection, pipe};
use tollgate_kernel::{OsEntropy, SystemClock};
use tollgate_proto::{
    RateLimit,
    ratelimit::{Charge, CheckRequest, CheckResponse, Limit, rate_limit_client::RateLimitClient},
};
use tollgate_ratelimit::{Config, RateLimitService, Store, Tls};
use tollgate_testkit::TestRedis;
use tonic::{Request, transport::Channel};

use crate::{Problem, calls::Outcome};

/// No run takes as much. All limits have the same number and differ in their windows, of so many seconds.
const LIMIT: u64 = 1_000_000_000;
const WINDOWS: [u32; 5] = [1, 60, 3600, 86_400, 604_800];
/// How many callers share one HTTP/2 connection.
const PER_CHANNEL: usize = 8;
/// So patient that a busy machine does not look like an outage.
const PATIENCE: Duration = Duration::from_secs(10);

static NAMESPACE: LazyLock<Namespace> = LazyLock::new(|| Namespace::from("bench"));

/// Who decides.
#[derive(Clone)]
pub(super) enum Door {
    /// The service, in this process.
    Service(Arc<RateLimitService>),
    /// The service, in another process; several connections, dealt out to the callers.
    Grpc(Vec<RateLimitClient<Channel>>),
    /// Another program's library, in this process.
    Limitador(Arc<RateLimiter>),
    /// A counter per limit in Redis: what is least.
    Counters { connection: MultiplexedConnection, prefix: String },
}

/// One of those who ask at the same time, about one subject after the other.
pub(super) struct Caller {
    door: Door,
    requests: Arc<[CheckRequest]>,
    next: usize,
}

/// As many requests as there are subjects, for so many limits each.
pub(super) fn requests(limits: usize, subjects: usize) -> Arc<[CheckRequest]> {
    let charge = |subject: usize, place: usize| {
        let limit = Limit {
            name: format!("limit-{place}"),
            limit: LIMIT,
            window_seconds: WINDOWS[place],
            ..Limit::default()
        };
        Charge { limit: Some(limit), subject: format!("subject-{subject}"), cost: 1 }
    };
    let request = |subject| CheckRequest {
        partition: format!("partition-{}", subject % 64),
        charges: (0..limits).map(|place| charge(subject, place)).collect(),
        ..CheckRequest::default()
    };
    (0..subjects).map(request).collect()
}

impl Door {
    /// The service on its own memory.
    pub(super) fn memory() -> Result<Self, Problem> {
        Self::service(Config::default().settings(None, None).store)
    }

    /// The service on a corner of Redis, which charges what is asked often ahead for so long.
    pub(super) fn redis(redis: &TestRedis, corner: &str, charge_ahead_ms: u64) -> Result<Self, Problem> {
        let redis_prefix = format!("{}{corner}", redis.prefix());
        let config = Config { redis_prefix, charge_ahead_ms, ..Config::default() };
        let mut store = config.settings(Some((redis.url(), Tls::default())), None).store;
        if let Store::Redis { timeout, connect_timeout, .. } = &mut store {
            (*timeout, *connect_timeout) = (PATIENCE, PATIENCE);
        }
        Self::service(store)
    }

    /// The service behind this address.
    pub(super) async fn grpc(address: SocketAddr, callers: usize) -> Result<Self, Problem> {
        let endpoint = Channel::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let mut clients = Vec::new();
        for _ in 0..callers.div_ceil(PER_CHANNEL) {
            clients.push(RateLimitClient::new(endpoint.connect().await?));
        }
        Ok(Self::Grpc(clients))
    }

    /// Limitador with so many limits.
    pub(super) fn limitador(limits: usize) -> Result<Self, Problem> {
        let limiter = RateLimiter::new(1_000_000);
        for window in &WINDOWS[..limits] {
            let variables = vec!["subject".try_into().map_err(|error| format!("{error:?}"))?];
            limiter.add_limit(TheirLimit::new("bench", LIMIT, u64::from(*window), vec![], variables));
        }
        Ok(Self::Limitador(Arc::new(limiter)))
    }

    /// So many callers, who start at different subjects.
    pub(super) fn callers(&self, count: usize, requests: &Arc<[CheckRequest]>) -> Vec<Caller> {
        let caller = |number: usize| {
            let door = match self {
                Self::Grpc(clients) => Self::Grpc(vec![clients[number % clients.len()].clone()]),
                other => other.clone(),
            };
            Caller { door, requests: requests.clone(), next: number * requests.len() / count }
        };
        (0..count).map(caller).collect()
    }

    fn service(store: Store) -> Result<Self, Problem> {
        let settings = tollgate_ratelimit::Settings { store };
        let service = RateLimitService::open(settings, Arc::new(SystemClock), Arc::new(OsEntropy));
        Ok(Self::Service(Arc::new(service.map_err(|fault| fault.to_string())?)))
    }
}

impl Caller {
    /// One decision about the next subject.
    pub(super) async fn call(&mut self) -> Outcome {
        let request = &self.requests[self.next % self.requests.len()];
        self.next = self.next.wrapping_add(1);
        match &mut self.door {
            Door::Service(service) => judge(service.check(Request::new(request.clone())).await),
            Door::Grpc(clients) => judge(clients[0].check(request.clone()).await),
            Door::Limitador(limiter) => {
                let subject = request.charges[0].subject.clone();
                let context = Context::from(HashMap::from([("subject".to_owned(), subject)]));
                match limiter.check_rate_limited_and_update(&NAMESPACE, &context, 1) {
                    Ok(answer) if answer.limited => Outcome::Refused,
                    Ok(answer) if answer.counters.len() == request.charges.len() => Outcome::Allowed,
                    _ => Outcome::Failed,
                }
            }
            Door::Counters { connection, prefix } => {
                let mut commands = pipe();
                for (place, charge) in request.charges.iter().enumerate() {
                    let key = format!("{prefix}{}:{place}", charge.subject);
                    commands.incr(&key, 1).ignore().expire(&key, i64::from(WINDOWS[place])).ignore();
                }
                let done = commands.exec_async(connection).await;
                done.map_or(Outcome::Failed, |()| Outcome::Allowed)
            }
        }
    }
}

fn judge(answer: Result<tonic::Response<CheckResponse>, tonic::Status>) -> Outcome {
    match answer.map(tonic::Response::into_inner) {
        Ok(answer) if !answer.allowed => Outcome::Refused,
        Ok(answer) if answer.degraded => Outcome::Degraded,
        Ok(_) => Outcome::Allowed,
        Err(_) => Outcome::Failed,
    }
}
