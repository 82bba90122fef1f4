//! A PostgreSQL that goes away is "unavailable" within seconds, and comes back without a restart of ours.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use tokio::time::Instant;
use tollgate_db::{Db, Error, Settings, read_db};
use tollgate_kernel::{Code, SecretString};
use tollgate_testkit::PrivatePostgres;

use crate::common::MIGRATIONS;

/// Shorter than the defaults, so that the tests are.
fn settings() -> Settings {
    Settings {
        pool_size: 4,
        acquire_timeout: Duration::from_millis(500),
        work_timeout: Duration::from_secs(1),
    }
}

async fn open(url: &SecretString) -> Db {
    Db::open(url, "example", &settings()).await.unwrap()
}

/// Uses every connection of the pool at once.
async fn ping_on_all_connections(db: &Db) -> Vec<Result<(), Code>> {
    let pings: Vec<_> = (0..settings().pool_size)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.ping().await.map_err(|fault| fault.code()) })
        })
        .collect();
    let mut answers = Vec::new();
    for ping in pings {
        answers.push(ping.await.unwrap());
    }
    answers
}

async fn unavailable_within(db: &Db, limit: Duration) {
    let began = Instant::now();
    for answer in ping_on_all_connections(db).await {
        assert_eq!(answer, Err(Code::Unavailable));
    }
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

async fn available(db: &Db) {
    for answer in ping_on_all_connections(db).await {
        assert_eq!(answer, Ok(()));
    }
}

#[tokio::test]
async fn where_nothing_listens_it_is_unavailable_at_once() {
    let db = open(&"postgres://postgres@127.0.0.1:1/postgres".into()).await;
    unavailable_within(&db, Duration::from_millis(400)).await;
    assert_eq!(db.migrate(&MIGRATIONS).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_killed_server_is_noticed_and_used_again_when_it_is_back() {
    let mut server = PrivatePostgres::start().await;
    let db = open(&server.url()).await;
    available(&db).await;
    server.kill();
    unavailable_within(&db, Duration::from_secs(2)).await;
    server.restart().await;
    available(&db).await;
    // The pool now holds connections to a server that went away and came back unnoticed.
    server.restart().await;
    available(&db).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_server_that_stands_still_is_given_up_on_and_used_again_when_it_goes_on() {
    let server = PrivatePostgres::start().await;
    let db = open(&server.url()).await;
    available(&db).await;
    server.pause();
    // Once with the connections that were open, once with new ones.
    unavailable_within(&db, Duration::from_secs(3)).await;
    unavailable_within(&db, Duration::from_secs(3)).await;
    server.resume();
    available(&db).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_statement_cut_short_by_a_shutdown_is_unavailable() {
    let mut server = PrivatePostgres::start().await;
    let db = open(&server.url()).await;
    available(&db).await;
    let statement = tokio::spawn({
        let db = db.clone();
        async move { read_db!(db, |c| c.batch_execute("SELECT pg_sleep(30)").await) }
    });
    while !is_sleeping(&db).await {}
    server.stop();
    let cut = statement.await.unwrap();
    assert!(matches!(cut, Err(Error::Unavailable(_))), "{cut:?}");
}

async fn is_sleeping(db: &Db) -> bool {
    let ask = "DO $$ BEGIN PERFORM 1 / count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'; END $$";
    read_db!(db, |c| c.batch_execute(ask).await).is_ok()
}
