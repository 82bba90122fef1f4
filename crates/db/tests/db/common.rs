//! One small table for the tests of this folder.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{Db, Migrations, Settings, migrations, write_db};
use tollgate_testkit::TestDatabase;

/// The tables of the worked example, and `tallies`.
pub(crate) static MIGRATIONS: Migrations =
    migrations!("tests/migrations/postgres", "tests/migrations/sqlite");

mod schema {
    diesel::table! {
        tallies (name) {
            name -> Text,
            count -> BigInt,
        }
    }
}

pub(crate) use schema::tallies;

/// A row of `tallies`.
#[derive(Insertable)]
#[diesel(table_name = tallies)]
pub(crate) struct Tally {
    name: String,
    count: i64,
}

impl Tally {
    /// The one row, at zero.
    pub(crate) async fn insert(db: &Db) {
        let row = Self { name: "one".to_owned(), count: 0 };
        write_db!(db, |c| diesel::insert_into(tallies::table).values(&row).execute(c).await)
            .expect("an insert");
    }
}

/// The database, with its tables.
pub(crate) async fn open(database: &TestDatabase, settings: &Settings) -> Db {
    let db = Db::open(&database.url(), "example", settings).await.expect("the database opens");
    db.migrate(&MIGRATIONS).await.expect("the migrations run");
    db
}
