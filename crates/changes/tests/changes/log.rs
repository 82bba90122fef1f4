//! The log: commit order is sequence order, without gaps, whatever else happens.

use std::time::Duration;

use tollgate_changes::{Appended, Entry, append};
use tollgate_db::{Db, Error, Migrations, Settings, migrations, read_db, tx_db};
use tollgate_kernel::{Clock, Id, KeyId, OsEntropy, UserId};
use tollgate_testkit::{MockClock, TestDatabase, on_every_database};
use tollgate_verify::Subject;

pub(crate) static MIGRATIONS: Migrations =
    migrations!("../../migrations/keys/postgres", "../../migrations/keys/sqlite");

pub(crate) async fn open(database: &TestDatabase) -> Db {
    // Patient, because the machine may be busy: what is tested is order, not speed.
    let patient = Duration::from_mins(1);
    let settings = Settings { pool_size: 40, acquire_timeout: patient, work_timeout: patient };
    let db = Db::open(&database.url(), "keys", &settings).await.expect("opened");
    db.migrate(&MIGRATIONS).await.expect("migrated");
    db
}

pub(crate) fn key() -> Subject {
    let id: KeyId = Id::new(&*MockClock::new(), &OsEntropy);
    Subject::Key(id)
}

/// One change in a transaction of its own. With `fail`, the transaction rolls back after it has taken a sequence.
pub(crate) async fn change(db: Db, subject: Subject, fail: bool) -> Result<((), Option<Appended>), Error> {
    let at = MockClock::new().now();
    tx_db!(db, |c| {
        let appended = append!(c, Entry::new(subject, at, &OsEntropy))?;
        if fail { Err(Error::Other("on purpose".into())) } else { Ok(((), Some(appended))) }
    })
}

pub(crate) async fn logged(db: &Db) -> Vec<i64> {
    use diesel::prelude::*;
    use diesel_async::RunQueryDsl;
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        sequence: i64,
    }
    let rows: Result<Vec<Row>, _> = read_db!(db, |c| {
        diesel::sql_query("SELECT sequence FROM changes ORDER BY sequence").load(c).await
    });
    rows.expect("read").into_iter().map(|row| row.sequence).collect()
}

on_every_database! {
    async fn thirty_two_writers_leave_no_gap_and_no_change_appears_behind_a_reader(database: TestDatabase) {
        let db = open(&database).await;
        let writers: Vec<_> = (0..32)
            .map(|writer| {
                let db = db.clone();
                tokio::spawn(async move {
                    for round in 0..10 {
                        let fail = (writer + round) % 4 == 0;
                        assert_eq!(change(db.clone(), key(), fail).await.is_err(), fail);
                    }
                })
            })
            .collect();
        // A reader that looks all the while: what it has seen up to a place is all that ever comes to be there.
        let mut seen = Vec::new();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let now = logged(&db).await;
            let expected: Vec<i64> = (1..).take(now.len()).collect();
            assert_eq!(now, expected, "a gap");
            assert!(now.len() >= seen.len());
            seen = now;
        }
        for writer in writers {
            writer.await.expect("no writer failed but on purpose");
        }
        assert_eq!(logged(&db).await, (1..=240).collect::<Vec<i64>>());
    }

    async fn a_membership_and_a_session_are_logged_as_they_are_read(database: TestDatabase) {
        let db = open(&database).await;
        let clock = MockClock::new();
        let user: UserId = Id::new(&*clock, &OsEntropy);
        let member = Subject::Member(Id::new(&*clock, &OsEntropy), user);
        change(db.clone(), member, false).await.expect("written");
        change(db.clone(), Subject::User(user), false).await.expect("written");
        assert_eq!(logged(&db).await, [1, 2]);
    }
}
