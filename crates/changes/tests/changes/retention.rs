//! The log is bounded by time, and whoever was away for longer than it reaches back starts with nothing.

use std::{sync::Arc, time::Duration};

use tollgate_changes::{Entry, Feed, Settings, append};
use tollgate_db::{Db, Error, read_db, tx_db, write_db};
use tollgate_kernel::{Clock, OsEntropy};
use tollgate_testkit::{MockClock, TestDatabase, on_every_database};
use tollgate_verify::Changes;

use crate::{
    log::{key, logged, open},
    replicas::{LONG, Process, Watcher},
};

fn feed(db: &Db, clock: &Arc<MockClock>) -> Feed {
    Feed::new(db, "keys", &Settings::default(), Changes::new(), clock.clone(), &OsEntropy)
}

/// So many changes, now.
async fn write(db: &Db, clock: &MockClock, changes: usize) {
    let at = clock.now();
    let written: Result<(), Error> = tx_db!(db, |c| {
        for _ in 0..changes {
            append!(c, Entry::new(key(), at, &OsEntropy))?;
        }
        Ok(())
    });
    written.expect("written");
}

/// The last sequence that was pruned.
async fn mark(db: &Db) -> i64 {
    use diesel::prelude::*;
    use diesel_async::RunQueryDsl;
    diesel::table! {
        change_head (id) { id -> Integer, pruned -> BigInt, }
    }
    read_db!(db, |c| change_head::table.select(change_head::pruned).first(c).await).expect("read")
}

on_every_database! {
    async fn the_log_holds_an_hour_and_the_mark_says_where_it_begins(database: TestDatabase) {
        let (db, clock) = (open(&database).await, MockClock::new());
        let feed = feed(&db, &clock);
        let mut forgotten = 0;
        for round in 1..=30_u64 {
            write(&db, &clock, 20).await;
            forgotten += feed.prune().await.expect("pruned");
            let log = logged(&db).await;
            // Every ten minutes: what is an hour old is still there, and no more.
            assert_eq!(log.len(), usize::try_from(20 * round.min(7)).expect("few"), "round {round}");
            assert_eq!(log.first(), Some(&(mark(&db).await + 1)), "round {round}");
            assert_eq!(mark(&db).await, i64::try_from(forgotten).expect("few"), "round {round}");
            clock.advance(Duration::from_mins(10));
        }
        clock.advance(Duration::from_hours(2));
        assert_eq!(feed.prune().await.expect("pruned"), 140);
        assert_eq!((logged(&db).await, mark(&db).await), (vec![], 600));
        assert_eq!(feed.prune().await.expect("pruned"), 0);
        write(&db, &clock, 1).await;
        assert_eq!(logged(&db).await, [601], "places go on");
    }

    async fn who_follows_prunes_however_much_there_is(database: TestDatabase) {
        let (db, clock) = (open(&database).await, MockClock::new());
        write(&db, &clock, 2_500).await;
        clock.advance(Duration::from_hours(2));
        write(&db, &clock, 3).await;
        let feed = feed(&db, &clock);
        let following = tokio::spawn(async move { feed.run(std::future::pending()).await });
        while logged(&db).await.len() > 3 {
            tokio::task::yield_now().await;
        }
        following.abort();
        assert_eq!((logged(&db).await, mark(&db).await), (vec![2_501, 2_502, 2_503], 2_500));
    }

    async fn of_many_who_prune_none_sets_the_mark_back(database: TestDatabase) {
        let (db, clock) = (open(&database).await, MockClock::new());
        for _ in 0..8 {
            write(&db, &clock, 5).await;
            clock.advance(Duration::from_mins(1));
        }
        // Their clocks differ, so they do not agree on what is old.
        let pruning: Vec<_> = (0..8).map(|minutes| {
            let clock = MockClock::new();
            clock.advance(Duration::from_hours(1) + Duration::from_mins(minutes));
            let feed = feed(&db, &clock);
            tokio::spawn(async move { feed.prune().await.expect("pruned") })
        }).collect();
        let mut forgotten = 0;
        for pruning in pruning {
            forgotten += pruning.await.expect("no panic");
        }
        assert_eq!((forgotten, mark(&db).await), (35, 35));
        assert_eq!(logged(&db).await, [36, 37, 38, 39, 40]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn what_was_pruned_before_it_was_read_ends_all_that_was_cached() {
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    let process = Process::start(&db, LONG).await;
    let watcher = Watcher::start(&process, LONG).await;
    let (here, there) = (process.changes.sequence(), watcher.changes.sequence());
    let one = key();
    // In one step, so that the process cannot read them in between: as if it had been away for an hour.
    let away = "UPDATE change_head SET last = last + 3, pruned = pruned + 3";
    write_db!(db, |c| {
        use diesel_async::SimpleAsyncConnection;
        c.batch_execute(away).await
    })
    .expect("written");
    while process.changes.holds_until(here, &[one]).is_some()
        || watcher.changes.holds_until(there, &[one]).is_some()
    {
        tokio::task::yield_now().await;
    }
    watcher.until_trusted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_gap_in_what_is_read_ends_all_that_was_cached() {
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    let process = Process::start(&db, LONG).await;
    let (here, one) = (process.changes.sequence(), key());
    let gap = "UPDATE change_head SET last = last + 3, pruned = pruned + 2;
        INSERT INTO changes (sequence, tag, subject, at) SELECT last, tag, 'usr_00000000000000000000000001', now() FROM change_head";
    write_db!(db, |c| {
        use diesel_async::SimpleAsyncConnection;
        c.batch_execute(gap).await
    })
    .expect("written");
    while process.changes.holds_until(here, &[one]).is_some() {
        tokio::task::yield_now().await;
    }
}
