//! Work that is given up half-way leaves nothing behind: no rows, no locks, no broken connection in the pool.

use std::{future::pending, pin::pin, time::Duration};

use crate::common::{Tally, open, tallies};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tollgate_db::{Db, Error, Settings, read_db, tx_db, write_db};
use tollgate_testkit::on_every_database;

/// Long enough for a slow machine; a lock that is kept costs at least `busy_timeout` or `work_timeout`, 4 and 5 s.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A transaction that has written and then never ends.
async fn stuck(db: &Db, written: oneshot::Sender<()>) -> Result<(), Error> {
    let mut written = Some(written);
    tx_db!(db, |c| {
        diesel::update(tallies::table).set(tallies::count.eq(99)).execute(c).await.map_err(Error::from)?;
        written.take().map(|told| told.send(()));
        let (): () = pending().await;
        Ok::<_, Error>(())
    })
}

async fn add_one(db: &Db) -> Result<usize, Error> {
    write_db!(db, |c| diesel::update(tallies::table)
        .set(tallies::count.eq(tallies::count + 1))
        .execute(c)
        .await)
}

async fn count(db: &Db) -> Result<i64, Error> {
    read_db!(db, |c| tallies::table.select(tallies::count).first(c).await)
}

on_every_database! {
    async fn a_dropped_transaction_lets_the_next_writer_on_at_once(database: TestDatabase) {
        let (db, other) = (open(&database, &Settings::default()).await, open(&database, &Settings::default()).await);
        Tally::insert(&db).await;
        let (written, was_written) = oneshot::channel();
        {
            let mut transaction = pin!(stuck(&db, written));
            tokio::select! {
                ended = &mut transaction => panic!("{ended:?}"),
                told = was_written => told.unwrap(),
            }
        }
        timeout(AT_ONCE, add_one(&other)).await.unwrap().unwrap();
        timeout(AT_ONCE, add_one(&db)).await.unwrap().unwrap();
        assert_eq!(count(&db).await.unwrap(), 2);
    }

    async fn a_transaction_that_takes_too_long_is_unavailable_and_undone(database: TestDatabase) {
        let impatient = Settings { work_timeout: Duration::from_millis(300), ..Settings::default() };
        let (db, other) = (open(&database, &impatient).await, open(&database, &Settings::default()).await);
        Tally::insert(&other).await;
        let (written, _told) = oneshot::channel();
        let began = Instant::now();
        let ended = stuck(&db, written).await;
        assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
        assert!(began.elapsed() < AT_ONCE);
        timeout(AT_ONCE, add_one(&other)).await.unwrap().unwrap();
        assert_eq!(count(&other).await.unwrap(), 1);
    }

    async fn statements_dropped_at_any_moment_leave_a_pool_that_works(database: TestDatabase) {
        let db = open(&database, &Settings { pool_size: 2, ..Settings::default() }).await;
        Tally::insert(&db).await;
        for moment in 0..40 {
            // Polled `moment` times at most, then dropped.
            let mut polls = 0;
            let mut work = pin!(async { (count(&db).await, add_one(&db).await) });
            std::future::poll_fn(|context| {
                polls += 1;
                let done = work.as_mut().poll(context).is_ready();
                if done || polls > moment { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        }
        for _ in 0..8 {
            timeout(AT_ONCE, add_one(&db)).await.unwrap().unwrap();
            timeout(AT_ONCE, count(&db)).await.unwrap().unwrap();
        }
    }

    async fn a_transaction_that_fails_leaves_its_connection_usable(database: TestDatabase) {
        let db = open(&database, &Settings { pool_size: 1, ..Settings::default() }).await;
        Tally::insert(&db).await;
        for _ in 0..3 {
            let failed: Result<(), Error> = tx_db!(db, |c| {
                diesel::update(tallies::table).set(tallies::count.eq(7)).execute(c).await.map_err(Error::from)?;
                Err::<(), _>(Error::Unique("made up".to_owned()))
            });
            assert!(matches!(failed, Err(Error::Unique(_))), "{failed:?}");
        }
        assert_eq!(count(&db).await.unwrap(), 0);
    }

    async fn writers_of_many_tasks_and_processes_all_get_their_turn(database: TestDatabase) {
        let (db, other) = (open(&database, &Settings::default()).await, open(&database, &Settings::default()).await);
        Tally::insert(&db).await;
        let writers: Vec<_> = (0..40)
            .map(|turn| {
                let db = if turn % 2 == 0 { db.clone() } else { other.clone() };
                tokio::spawn(async move { add_one(&db).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
        assert_eq!(count(&db).await.unwrap(), 40);
    }
}
