//! What Redis is asked, and what not.

use tollgate_kernel::{Code, ExposeSecret, OsEntropy};
use tollgate_testkit::{MockClock, PrivateRedis};

use super::*;
use crate::{
    call::{Charge, REMEMBERED, Rule, Tally},
    counter::redis::Pace,
    settings::Tls,
};

const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_millis(250);
const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_mins(1);

/// Redis with the cache of denials before it, and with nothing to answer but these calls.
struct Asked {
    fallback: Arc<Fallback>,
    server: PrivateRedis,
    clock: Arc<MockClock>,
}

impl Asked {
    async fn new() -> Self {
        let (server, clock) = (PrivateRedis::start().await, MockClock::new());
        let pace = Pace { timeout: PATIENCE, connect_timeout: PATIENCE, retry_interval: SHORT };
        let entropy = Arc::new(OsEntropy);
        let (url, prefix) = (server.url(), "tollgate:".to_owned());
        let redis = Redis::open(&url, &Tls::default(), prefix, pace, true, clock.clone(), entropy.clone());
        let local = Memory::new(clock.clone(), entropy.clone(), 1000);
        let ahead = Ahead::new(SHORT, clock.clone(), entropy);
        let redis = redis.expect("an address");
        let fallback = Fallback::new(redis, local, Denials::new(LONGEST), ahead, clock.clone());
        Self { fallback, server, clock }
    }

    async fn check(&self, call: &Call) -> Answer {
        self.fallback.check(call).await.expect("decided")
    }

    /// What is left to wait after a denial.
    async fn denied(&self, call: &Call) -> Duration {
        let denial = self.check(call).await.denial.expect("denied");
        Duration::from_micros(denial.wait.unsigned_abs())
    }

    /// How many scripts the server has run.
    fn questions(&self) -> u64 {
        let url = self.server.url();
        let client = ::redis::Client::open(url.expose_secret()).expect("an address");
        let mut connection = client.get_connection().expect("the server answers");
        let stats: String =
            ::redis::cmd("INFO").arg("commandstats").query(&mut connection).expect("an answer");
        let scripts =
            stats.lines().filter_map(|line| line.strip_prefix("cmdstat_eval")?.split_once("calls="));
        scripts.map(|(_, rest)| rest.split_once(',').expect("more").0.parse::<u64>().expect("a number")).sum()
    }

    /// How many calls were tallied, and how many of them were denied.
    async fn tallied(&self) -> (u64, u64) {
        let (mut all, mut denied) = (0, 0);
        while let Some(batch) = self.fallback.drain().await.expect("drained") {
            for row in &batch.rows {
                all += row.count;
                denied += if row.cell.code == "RATE_LIMITED" { row.count } else { 0 };
            }
            self.fallback.acknowledge(&batch.id).await.expect("acknowledged");
        }
        (all, denied)
    }
}

/// Two units of two per window.
fn call(subject: &str, window: Duration) -> Call {
    let charge = Charge {
        key: Key::new("two".to_owned(), subject),
        rule: Rule::Window { window: i64::try_from(window.as_micros()).expect("short") },
        limit: 2,
        cost: 2,
        shadow: false,
        on_failure: OnFailure::Local,
        window_seconds: 1,
    };
    Call {
        partition: "one".to_owned(),
        charges: vec![charge],
        tally: Some(Tally { subject: subject.to_owned(), code: "VALID".to_owned(), ..Tally::default() }),
        peek: false,
        request_id: None,
        hold: REMEMBERED,
    }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn who_hammers_costs_one_call() {
    let asked = Asked::new().await;
    let call = call("a", SHORT);
    assert!(asked.check(&call).await.denial.is_none());
    let before = asked.questions();
    for _ in 0..1000 {
        assert_eq!(asked.denied(&call).await, SHORT);
    }
    assert_eq!(asked.questions() - before, 1);
    assert_eq!(asked.tallied().await, (1001, 1000));
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn who_tries_when_it_was_promised_passes() {
    let asked = Asked::new().await;
    let call = call("a", SHORT);
    asked.check(&call).await;
    asked.clock.advance(Duration::from_millis(40));
    assert_eq!(asked.denied(&call).await, Duration::from_millis(60));
    asked.clock.advance(Duration::from_millis(10));
    let wait = asked.denied(&call).await;
    assert_eq!(wait, Duration::from_millis(50), "from the cache, by then");
    asked.clock.advance(Duration::from_micros(49_999));
    assert_eq!(asked.denied(&call).await, Duration::from_micros(1));
    asked.clock.advance(Duration::from_micros(1));
    assert!(asked.check(&call).await.denial.is_none());
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn redis_is_asked_again_after_a_while() {
    let asked = Asked::new().await;
    let call = call("a", LONG);
    asked.check(&call).await;
    let before = asked.questions();
    // Ten seconds, one try per millisecond.
    for _ in 0..10_000 {
        asked.denied(&call).await;
        asked.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(asked.questions() - before, 10_000 / 250);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn other_calls_are_asked() {
    let asked = Asked::new().await;
    let denied = call("a", LONG);
    asked.check(&denied).await;
    asked.denied(&denied).await;
    let smaller = Charge { cost: 1, ..denied.charges[0].clone() };
    let peek = Call { peek: true, ..denied.clone() };
    let before = asked.questions();
    assert!(asked.check(&Call { charges: vec![smaller], ..denied.clone() }).await.denial.is_some());
    assert!(asked.check(&peek).await.denial.is_some());
    assert!(asked.check(&peek).await.denial.is_some());
    assert!(asked.check(&call("b", LONG)).await.denial.is_none());
    assert_eq!(asked.questions() - before, 4);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn what_may_have_changed_is_asked_again() {
    let asked = Asked::new().await;
    let call = call("a", LONG);
    asked.check(&call).await;
    asked.denied(&call).await;
    let partition = || "one".to_owned();
    let settle = Settle { partition: partition(), request_id: Arc::from("nobody's"), costs: None };
    let fault = asked.fallback.settle(&settle).await.expect_err("nobody knows of it");
    assert!(matches!(fault.code(), Code::NotFound | Code::Unavailable), "{fault}");
    let before = asked.questions();
    asked.denied(&call).await;
    asked.denied(&call).await;
    assert_eq!(asked.questions() - before, 1);
}
