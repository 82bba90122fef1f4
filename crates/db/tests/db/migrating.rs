//! Migrations run once, whoever starts them, and a role's tables are its own.

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tollgate_db::{Db, Error, Migrations, Settings, migrations, read_db, write_db};
use tollgate_kernel::{Code, ExposeSecret};
use tollgate_testkit::{TestDatabase, on_every_database};

use crate::common::MIGRATIONS;

static BROKEN: Migrations = migrations!("tests/broken/postgres", "tests/broken/sqlite");

async fn open(database: &TestDatabase, role: &'static str) -> Db {
    Db::open(&database.url(), role, &Settings::default()).await.unwrap()
}

async fn tallies(db: &Db) -> Result<usize, Error> {
    read_db!(db, |c| diesel::sql_query("SELECT name FROM tallies").execute(c).await)
}

on_every_database! {
    async fn four_starters_at_once_all_succeed(database: TestDatabase) {
        let mut starters = Vec::new();
        for _ in 0..4 {
            let db = open(&database, "example").await;
            starters.push(tokio::spawn(async move { db.migrate(&MIGRATIONS).await }));
        }
        let mut applied = 0;
        for starter in starters {
            applied += starter.await.unwrap().unwrap();
        }
        assert_eq!(applied, 2);
    }

    async fn what_is_pending_is_told_and_nothing_is_changed_by_asking(database: TestDatabase) {
        let db = open(&database, "example").await;
        let all = ["2026-01-01-000000_things", "2026-01-02-000000_tallies"];
        assert_eq!(db.pending(&MIGRATIONS).await.unwrap(), all);
        assert_eq!(db.pending(&MIGRATIONS).await.unwrap(), all);
        assert!(tallies(&db).await.is_err());
        assert_eq!(db.migrate(&MIGRATIONS).await.unwrap(), 2);
        assert!(db.pending(&MIGRATIONS).await.unwrap().is_empty());
        assert_eq!(db.migrate(&MIGRATIONS).await.unwrap(), 0);
    }

    async fn a_role_does_not_see_the_tables_of_another(database: TestDatabase) {
        let (mine, theirs) = (open(&database, "mine").await, open(&database, "theirs").await);
        mine.migrate(&MIGRATIONS).await.unwrap();
        tallies(&mine).await.unwrap();
        assert!(matches!(tallies(&theirs).await, Err(Error::Other(_))));
        assert_eq!(theirs.pending(&MIGRATIONS).await.unwrap().len(), 2);
        theirs.migrate(&MIGRATIONS).await.unwrap();
        write_db!(theirs, |c| c.batch_execute("DROP TABLE tallies").await).unwrap();
        tallies(&mine).await.unwrap();
    }

    async fn a_migration_that_fails_leaves_nothing_of_itself(database: TestDatabase) {
        let db = open(&database, "example").await;
        let fault = db.migrate(&BROKEN).await.unwrap_err();
        assert_eq!(fault.code(), Code::Internal);
        assert!(fault.cause().unwrap().contains("nowhere"), "{fault:?}");
        assert_eq!(db.pending(&BROKEN).await.unwrap(), ["2026-01-01-000000_broken"]);
        assert!(read_db!(db, |c| c.batch_execute("SELECT * FROM half").await).is_err());
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_refused_when_opened() {
    let wrong = [
        "mysql://localhost/x",
        "sqlite://",
        "sqlite:///tmp/x?mode=memory",
        "postgres://user:hunter2@host:port/x",
        "postgres://user:hunter2@host/x?sslmode=require",
        "postgres://user:hunter2@host/x?no_such_option=1",
        "",
    ];
    for url in wrong {
        let fault = Db::open(&url.into(), "example", &Settings::default()).await.err().unwrap();
        assert_eq!(fault.code(), Code::InvalidArgument, "{url}");
        assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
    }
}

#[tokio::test]
async fn the_file_is_ours_alone_and_set_up_for_readers_beside_a_writer() {
    use std::{fs, os::unix::fs::PermissionsExt};

    let parent = TestDatabase::sqlite().await;
    let folder = format!("{}/new/data", parent.url().expose_secret());
    let db = Db::open(&folder.as_str().into(), "example", &Settings::default()).await.unwrap();
    db.migrate(&MIGRATIONS).await.unwrap();
    let folder = folder.strip_prefix("sqlite://").unwrap();
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    for file in ["example.db", "example.db-wal"] {
        assert_eq!(mode(&format!("{folder}/{file}")), 0o600, "{file}");
    }
    let refused = read_db!(db, |c| c.batch_execute("INSERT INTO tallies VALUES ('x', 1)").await);
    assert!(matches!(refused, Err(Error::Other(_))), "{refused:?}");
}
