//! What only shows in the keys of a Redis server.

use ::redis::{Client, Commands, Connection as Direct};
use tollgate_kernel::OsEntropy;
use tollgate_testkit::{MockClock, PrivateRedis, TestRedis};

use super::*;
use crate::call::{Charge, OnFailure, REMEMBERED, Rule, Tally};

const PATIENCE: Duration = Duration::from_secs(30);

fn open(server: &TestRedis) -> Redis {
    open_at(&server.url(), server.prefix())
}

fn open_at(url: &SecretString, prefix: &str) -> Redis {
    let pace =
        Pace { timeout: PATIENCE, connect_timeout: PATIENCE, retry_interval: Duration::from_millis(100) };
    let (clock, entropy) = (MockClock::new(), Arc::new(OsEntropy));
    Redis::open(url, &Tls::default(), prefix.to_owned(), pace, true, clock, entropy).expect("an address")
}

fn direct(url: &SecretString) -> Direct {
    let client = Client::open(url.expose_secret()).expect("an address");
    client.get_connection().expect("the server of the tests answers")
}

fn call() -> Call {
    let charge = Charge {
        key: Key::new("minute".to_owned(), "key"),
        rule: Rule::Window { window: 60_000_000 },
        limit: 10,
        cost: 1,
        shadow: false,
        on_failure: OnFailure::Deny,
        window_seconds: 60,
    };
    Call {
        partition: "workspace".to_owned(),
        charges: vec![charge],
        tally: Some(Tally { subject: "key".to_owned(), code: "VALID".to_owned(), ..Tally::default() }),
        peek: false,
        request_id: Some(Arc::from("once")),
        hold: REMEMBERED,
    }
}

async fn drain_all(redis: &Redis) -> usize {
    let mut rows = 0;
    while let Some(batch) = redis.drain().await.expect("drained") {
        rows += batch.rows.len();
        redis.acknowledge(&batch.id, &batch.partition).await.expect("acknowledged");
    }
    rows
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn states_expire_and_tallies_do_not() {
    let server = TestRedis::shared();
    open(&server).check(&call()).await.expect("decided");
    let mut direct = direct(&server.url());
    let mut life = |key: &str| -> i64 {
        direct.pttl(format!("{}{{workspace}}:{key}", server.prefix())).expect("an answer")
    };
    // The window, or ten minutes, and a minute's slack; some of it may have passed.
    assert!((60_000..=120_000).contains(&life("l:minute:key")));
    assert!((600_000..=660_000).contains(&life("r:once")));
    assert_eq!(life("t"), -1);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_quiet_partition_is_retired_and_comes_back() {
    let server = TestRedis::shared();
    let redis = open(&server);
    let (active, mut direct) = (format!("{}active", server.prefix()), direct(&server.url()));
    let call = Call { request_id: None, ..call() };
    redis.check(&call).await.expect("decided");
    assert_eq!(drain_all(&redis).await, 1);
    let lately: Option<u64> = direct.zscore(&active, "workspace").expect("an answer");
    let lately = lately.expect("it was announced just now, so it stays");

    let _: u64 = direct.zadd(&active, "workspace", lately - LATELY_AGO).expect("an answer");
    assert_eq!(drain_all(&redis).await, 0);
    let retired: Option<u64> = direct.zscore(&active, "workspace").expect("an answer");
    assert_eq!(retired, None);

    // Another process, which has not announced it yet.
    open(&server).check(&call).await.expect("decided");
    assert_eq!(drain_all(&redis).await, 1);
}

/// Longer ago than a partition stays without a tally, in seconds.
const LATELY_AGO: u64 = active::LATELY + 10;

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_partition_with_a_tally_is_never_retired() {
    let server = TestRedis::shared();
    let redis = open(&server);
    let (active, mut direct) = (format!("{}active", server.prefix()), direct(&server.url()));
    redis.check(&call()).await.expect("decided");
    let _: u64 = direct.zadd(&active, "workspace", 0).expect("an answer");
    let batch = redis.drain().await.expect("drained").expect("a batch");
    assert_eq!(redis.drain().await.expect("drained"), Some(batch), "taken and not acknowledged");
    assert_eq!(drain_all(&redis).await, 1);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = TestRedis::shared();
    let redis = open(&server);
    redis.check(&call()).await.expect("decided");
    ::redis::cmd("SCRIPT").arg("FLUSH").exec(&mut direct(&server.url())).expect("flushed");
    let other = Call { request_id: None, ..call() };
    assert_eq!(redis.check(&other).await.expect("decided").outlooks[0].remaining, 8);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_connection_that_breaks_costs_no_answer() {
    let server = PrivateRedis::start().await;
    let redis = open_at(&server.url(), "tollgate:");
    redis.check(&call()).await.expect("decided");
    assert_eq!(drain_all(&redis).await, 1);
    let mut direct = direct(&server.url());
    let kill = |direct: &mut Direct| {
        ::redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(direct).expect("killed");
    };
    // Another server may answer now, which knows nothing of what was announced to the first.
    let _: u64 = direct.del("tollgate:active").expect("an answer");
    kill(&mut direct);
    let other = Call { request_id: None, ..call() };
    assert_eq!(redis.check(&other).await.expect("decided").outlooks[0].remaining, 8);
    assert_eq!(drain_all(&redis).await, 1);
}
