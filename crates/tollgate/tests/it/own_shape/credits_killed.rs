//! A process is killed in mid-load: there are never more credits than were granted, and what is lost is at most what was lent.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_kernel::ExposeSecret as _;
use tollgate_testkit::{TestDatabase, TestRedis};

use crate::{
    actors::{email, password},
    http::Client,
    process::{Server, borrowed, empty, split},
};

const GRANTED: u64 = 10_000;
/// A twentieth of it: the largest block.
const BLOCK: u64 = 500;
/// Who calls without pause. Each of them may not hear of one call that passed.
const CALLERS: u64 = 16;

/// A load that stops by itself when credits are lacking or nobody answers any more.
struct Load {
    passed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(http: &Client, service: &str, key: &str) -> Self {
        let (passed, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            let (passed, stop) = (passed.clone(), stop.clone());
            let (http, service, body) = (http.clone(), service.to_owned(), json!({ "key": key }));
            tasks.spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let ask = http.call(Method::POST, "/v1/keys/verify").bearer(&service).json(&body);
                    // Nobody may answer, or not to the end.
                    let Ok(answer) = tokio::spawn(async move { ask.await }).await else { continue };
                    if answer.status != 200 {
                        continue;
                    }
                    match answer.json(200)["code"].as_str().expect("a code") {
                        "VALID" => passed.fetch_add(1, Ordering::SeqCst),
                        "QUOTA_EXCEEDED" => return,
                        other => panic!("{other}"),
                    };
                }
            });
        }
        Self { passed, stop, tasks }
    }

    fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    async fn until(&self, passed: u64) {
        let reached = async {
            while self.passed() < passed {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(5), reached).await.expect("it goes on");
    }

    /// Until no credit is left.
    async fn until_the_end(self) -> u64 {
        let ended = self.tasks.join_all();
        tokio::time::timeout(Duration::from_mins(5), ended).await.expect("it comes to an end");
        self.passed.load(Ordering::SeqCst)
    }

    async fn broken_off(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.until_the_end().await
    }
}

/// Somebody with a key that has credits, and a service key.
struct Owner {
    access: String,
    credits: String,
    key: String,
    service: String,
}

impl Owner {
    async fn new(http: &Client) -> Self {
        let body = json!({ "email": email(), "password": password() });
        http.call(Method::POST, "/v1/auth/signup").json(&body).await.json(201);
        let tokens = http.call(Method::POST, "/v1/auth/login").json(&body).await.json(200);
        let access = tokens["access_token"].as_str().unwrap().to_owned();
        let post = async |path: &str, body: Value| {
            http.call(Method::POST, path).bearer(&access).json(&body).await.json(201)
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let plan = post("/v1/plans", json!({ "name": "metered" })).await["id"].clone();
        let made = post("/v1/keys", json!({ "name": "a key", "plan_id": plan })).await;
        let service = post("/v1/service-keys", json!({ "name": "a", "permissions": ["keys.verify"] })).await;
        let credits = format!("/v1/keys/{}/credits", text(&made["id"]));
        http.call(Method::PUT, &credits).bearer(&access).json(&json!({})).await.json(200);
        post(&format!("{credits}/grants"), json!({ "amount": GRANTED, "request_id": "all" })).await;
        let (key, service) = (text(&made["key"]), text(&service["key"]));
        Self { access, credits, key, service }
    }

    /// Balance, and what is lent and not spent.
    async fn standing(&self, http: &Client) -> (u64, u64) {
        let account = http.call(Method::GET, &self.credits).bearer(&self.access).await.json(200);
        (account["balance"].as_u64().unwrap(), account["lent"].as_u64().unwrap())
    }
}

/// The only process, with the counters in its memory, is killed.
#[tokio::test(flavor = "multi_thread")]
async fn killed_all_in_one_loses_at_most_what_was_lent() {
    let dir = empty();
    let lavish = [("TOLLGATE__EDGE__PER_IP__PROTECTED", "1000000000")];
    let server = Server::start(dir.path(), &[], &lavish);
    let owner = Owner::new(&server.http()).await;
    let load = Load::start(&server.http(), &owner.service, &owner.key);
    load.until(GRANTED / 3).await;
    server.signal(Signal::KILL);
    server.ended().await;
    let before = load.broken_off().await;

    let again = Server::start(dir.path(), &[], &lavish);
    let (balance, lent) = owner.standing(&again.http()).await;
    assert_eq!(lent, 0, "the next process knows of nothing that was lent");
    assert!(before + balance <= GRANTED, "{before} spent, {balance} left");
    let lost = GRANTED - before - balance;
    assert!(lost <= BLOCK + CALLERS, "{lost} lost");
    let after = Load::start(&again.http(), &owner.service, &owner.key).until_the_end().await;
    assert_eq!(after, balance, "all that is left is spent, and no more");
    assert_eq!(owner.standing(&again.http()).await, (0, 0));
    println!("all in one: {before} spent before, {after} after, {lost} lost of {GRANTED}");
}

/// First the process that counts is killed, then the edge, then the one that lends.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn killed_one_by_one_four_processes_lose_nothing_but_answers() {
    let dir = empty();
    let (database, redis) = (TestDatabase::postgres().await, TestRedis::shared());
    let (database, redis_url) = (database.url(), redis.url());
    let variables = [
        ("DATABASE_URL", database.expose_secret()),
        ("REDIS_URL", redis_url.expose_secret()),
        ("TOLLGATE__RATELIMIT__REDIS_PREFIX", redis.prefix()),
        ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "10000"),
        ("TOLLGATE__EDGE__PER_IP__PROTECTED", "1000000000"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (mut servers, variables) = split(dir.path(), variables.into());
    let owner = Owner::new(&servers[3].1.http()).await;

    let mut passed = 0;
    for (killed, victim) in ["ratelimit", "edge", "keys"].into_iter().enumerate() {
        let load = Load::start(&servers[3].1.http(), &owner.service, &owner.key);
        load.until(GRANTED / 5).await;
        let at = servers.iter().position(|(role, _)| *role == victim).expect("it runs");
        let (role, server) = servers.remove(at);
        server.signal(Signal::KILL);
        let address = (role != "edge").then(|| server.at(role));
        server.ended().await;
        passed += load.broken_off().await;
        servers.insert(at, (role, restarted(dir.path(), role, address, &variables)));
        let http = servers[3].1.http();
        let (balance, lent) = settled(&owner, &http).await;
        let gone = GRANTED - passed - balance - lent;
        assert!(passed + balance + lent <= GRANTED, "{passed} spent, {balance} left, {lent} lent");
        // The counters are in Redis, which nobody has killed: only answers are lost.
        let times = killed as u64 + 1;
        assert!(gone <= times * CALLERS, "{gone} lost after {role}");
    }
    let http = servers[3].1.http();
    let left = owner.standing(&http).await;
    let after = Load::start(&http, &owner.service, &owner.key).until_the_end().await;
    assert_eq!(after, left.0 + left.1, "all that is left is spent, and no more");
    println!(
        "split: {passed} spent before, {after} after, {} answers lost of {GRANTED}",
        GRANTED - passed - after
    );
}

/// The same role where it was.
fn restarted(
    dir: &Path,
    role: &str,
    address: Option<std::net::SocketAddr>,
    variables: &[(String, String)],
) -> Server {
    let mut variables = variables.to_vec();
    if let Some(address) = address {
        variables.push((format!("TOLLGATE__{}__LISTEN", role.to_uppercase()), address.to_string()));
    }
    Server::start(dir, &[role], &borrowed(&variables))
}

/// How the account stands once the roles have found each other again.
async fn settled(owner: &Owner, http: &Client) -> (u64, u64) {
    let asking = async {
        loop {
            let answer = http.call(Method::GET, &owner.credits).bearer(&owner.access).await;
            let lent = if answer.status == 200 { answer.json(200)["lent"].as_u64() } else { None };
            if let Some(lent) = lent {
                return (answer.json(200)["balance"].as_u64().unwrap(), lent);
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asking).await.expect("they find each other")
}
