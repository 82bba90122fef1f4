//! Four ratelimit processes count on one Redis as one would.

use std::time::Duration;

use tokio::task::JoinSet;
use tollgate_kernel::ExposeSecret as _;
use tollgate_proto::{
    mesh::MeshToken,
    ratelimit::{Charge, CheckRequest, Limit},
    remote::Remote,
};
use tollgate_testkit::TestRedis;
use tonic::Request;

use crate::process::{Server, empty};

const CONNECTIONS: usize = 200;
const CALLS_OF_EACH: usize = 25;
const LIMITS: [(&str, u64); 3] = [("ten", 10), ("seven", 7), ("thousand", 1000)];

fn call() -> CheckRequest {
    let charge = |(name, limit): (&str, u64)| {
        let limit = Limit { name: name.to_owned(), limit, window_seconds: 86_400, ..Limit::default() };
        Charge { limit: Some(limit), subject: "one".to_owned(), cost: 1 }
    };
    CheckRequest {
        partition: "shared".to_owned(),
        charges: LIMITS.map(charge).to_vec(),
        ..CheckRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn five_thousand_calls_on_four_processes_charge_what_the_narrowest_limit_lets_pass() {
    let (dir, redis) = (empty(), TestRedis::shared());
    let url = redis.url();
    let variables = [
        ("REDIS_URL", url.expose_secret()),
        ("TOLLGATE__RATELIMIT__REDIS_PREFIX", redis.prefix()),
        // So patient that a busy machine does not look like an outage.
        ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "10000"),
        ("TOLLGATE__RATELIMIT__REDIS_CONNECT_TIMEOUT_MS", "10000"),
    ];
    let servers = [(); 4].map(|()| Server::start(dir.path(), &["ratelimit"], &variables));
    let asks = |number: usize| Remote {
        address: format!("http://{}", servers[number % servers.len()].at("ratelimit"))
            .parse()
            .expect("a URL"),
        mesh: MeshToken::new(None),
        timeout: Duration::from_mins(2),
    };

    // Each has a connection of its own.
    let mut tasks = JoinSet::new();
    for number in 0..CONNECTIONS {
        let role = asks(number).ratelimit();
        tasks.spawn(async move {
            let mut passed = 0;
            for _ in 0..CALLS_OF_EACH {
                let answer = role.check(Request::new(call())).await.expect("decided").into_inner();
                assert!(!answer.degraded, "Redis decides");
                passed += usize::from(answer.allowed);
            }
            passed
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), 7);

    for number in 0..servers.len() {
        let peek = CheckRequest { peek: true, ..call() };
        let seen = asks(number).ratelimit().check(Request::new(peek)).await.expect("decided").into_inner();
        let used: Vec<_> = seen.limits.iter().map(|it| it.limit - it.remaining).collect();
        assert_eq!(used, [7, 7, 7]);
    }
    for server in servers {
        let (status, log) = server.stop().await;
        assert!(status.success(), "{log}");
    }
}
