//! Several ratelimit processes on one Redis count as one; one that evicts is refused at the start.

use tokio::task::JoinSet;
use tollgate_kernel::ExposeSecret as _;
use tollgate_proto::ratelimit::{
    Charge, CheckRequest, CheckResponse, Limit, rate_limit_client::RateLimitClient,
};
use tollgate_testkit::{PrivateRedis, TestRedis};
use tonic::transport::{Channel, Endpoint};

use crate::process::{Server, empty, run};

/// One unit of each of three limits.
fn request() -> CheckRequest {
    let charge = |(name, limit): (&str, u64)| {
        let limit = Limit { name: name.to_owned(), limit, window_seconds: 86_400, ..Default::default() };
        Charge { limit: Some(limit), subject: "key".to_owned(), cost: 1 }
    };
    let charges = [("ten", 10), ("seven", 7), ("thousand", 1000)].map(charge).to_vec();
    CheckRequest { partition: "workspace".to_owned(), charges, ..Default::default() }
}

async fn check(client: &mut RateLimitClient<Channel>, request: CheckRequest) -> CheckResponse {
    client.check(request).await.expect("decided").into_inner()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn two_hundred_connections_to_four_processes_share_the_narrowest_limit() {
    let (dir, redis) = (empty(), TestRedis::shared());
    let (url, prefix) = (redis.url(), redis.prefix().to_owned());
    let variables = [
        ("REDIS_URL", url.expose_secret()),
        ("TOLLGATE__RATELIMIT__REDIS_PREFIX", prefix.as_str()),
        // So patient that a busy machine does not look like an outage.
        ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "10000"),
        ("TOLLGATE__RATELIMIT__REDIS_CONNECT_TIMEOUT_MS", "60000"),
    ];
    let servers: Vec<_> = (0..4).map(|_| Server::start(dir.path(), &["ratelimit"], &variables)).collect();
    let mut callers = JoinSet::new();
    for number in 0..200 {
        let at = servers[number % servers.len()].at("ratelimit");
        let endpoint = Endpoint::from_shared(format!("http://{at}")).expect("an address");
        callers.spawn(async move {
            let mut client = RateLimitClient::new(endpoint.connect().await.expect("it listens"));
            let mut passed = 0;
            for _ in 0..25 {
                let answer = check(&mut client, request()).await;
                assert!(!answer.degraded);
                passed += usize::from(answer.allowed);
            }
            passed
        });
    }
    assert_eq!(callers.join_all().await.into_iter().sum::<usize>(), 7);
    for server in &servers {
        let mut client =
            RateLimitClient::connect(format!("http://{}", server.at("ratelimit"))).await.expect("it listens");
        let last = check(&mut client, CheckRequest { peek: true, ..request() }).await;
        let used = last.limits.iter().map(|limit| limit.limit - limit.remaining);
        assert_eq!(used.collect::<Vec<_>>(), [7, 7, 7]);
    }
    for server in servers {
        let (status, log) = server.stop().await;
        assert!(status.success(), "{log}");
    }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_redis_that_evicts_is_refused_at_the_start() {
    let (dir, redis) = (empty(), PrivateRedis::start_with(&["--maxmemory-policy", "allkeys-lru"]).await);
    let url = redis.url();
    let variables = [
        ("REDIS_URL", url.expose_secret()),
        ("TOLLGATE__RATELIMIT__LISTEN", "127.0.0.1:0"),
        ("TOLLGATE__ADMIN__LISTEN", "127.0.0.1:0"),
        ("TOLLGATE__RATELIMIT__REDIS_CONNECT_TIMEOUT_MS", "60000"),
    ];
    let said = run(dir.path(), &["serve", "ratelimit"], &variables, "");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("maxmemory-policy") && said.err.contains("noeviction"), "{}", said.err);
}
