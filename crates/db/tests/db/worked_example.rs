//! The whole shape of a role's store, on both databases: copy from here.
//!
//! Tables are made by `migrations/<role>/{postgres,sqlite}/…`; this file's are in `tests/migrations`.

use diesel::{prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use tollgate_db::{
    Db, DbId, DbJson, DbList, DbTime, Error, Settings, insert_many, read_db, sql_types, tx_db, write_db,
};
use tollgate_kernel::{Clock, Entropy, Fault, Id, KeyId, OsEntropy, Timestamp};
use tollgate_testkit::{MockClock, TestDatabase, on_every_database};

use crate::common::MIGRATIONS;

// In a role: `store/schema.rs`.
mod schema {
    diesel::table! {
        use diesel::sql_types::*;
        use tollgate_db::sql_types::{Id, Json, List, Time};

        things (id) {
            id -> Id,
            name -> Text,
            parent -> Nullable<Id>,
            made_at -> Time,
            gone_at -> Nullable<Time>,
            labels -> List,
            extra -> Json,
            digest -> Binary,
            enabled -> Bool,
        }
    }

    diesel::table! {
        use diesel::sql_types::*;
        use tollgate_db::sql_types::{Id, Time};

        counts (thing, minute) {
            thing -> Id,
            minute -> Time,
            count -> BigInt,
        }
    }

    diesel::allow_tables_to_appear_in_same_query!(things, counts);
}

use schema::{counts, things};

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = things, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct ThingRow {
    id: DbId,
    name: String,
    parent: Option<DbId>,
    made_at: DbTime,
    gone_at: Option<DbTime>,
    labels: DbList,
    extra: DbJson,
    digest: Vec<u8>,
    enabled: bool,
}

/// Absent: leave it. `Some(None)`: set it to null.
#[derive(Debug, Default, AsChangeset)]
#[diesel(table_name = things)]
#[expect(clippy::option_option, reason = "diesel's three states of a change")]
struct ThingChange {
    name: Option<String>,
    gone_at: Option<Option<DbTime>>,
}

/// An error of a role's own, for what its callers branch on.
#[derive(Debug)]
enum StoreError {
    NameTaken,
    Db(Error),
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unique(_) => Self::NameTaken,
            error => Self::Db(error),
        }
    }
}

// For `?` on statements in `tx_db!`.
impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        Error::from(error).into()
    }
}

struct Store {
    db: Db,
}

impl Store {
    async fn thing_insert(&self, row: &ThingRow) -> Result<(), StoreError> {
        write_db!(self.db, |c| diesel::insert_into(things::table).values(row).execute(c).await)?;
        Ok(())
    }

    async fn thing_by_id(&self, id: KeyId) -> Result<Option<ThingRow>, Error> {
        let thing = things::table.find(DbId::from(id));
        read_db!(self.db, |c| thing.select(ThingRow::as_select()).first(c).await.optional())
    }

    async fn things_of(&self, parent: KeyId) -> Result<Vec<(ThingRow, Option<i64>)>, Error> {
        let query = things::table
            .left_join(counts::table.on(counts::thing.eq(things::id)))
            .filter(things::parent.eq(DbId::from(parent)))
            .order((things::made_at.desc(), things::id))
            .limit(10);
        read_db!(self.db, |c| {
            query.select((ThingRow::as_select(), counts::count.nullable())).load(c).await
        })
    }

    async fn things_named(&self, ids: &[KeyId]) -> Result<Vec<String>, Error> {
        let ids: Vec<DbId> = ids.iter().copied().map(DbId::from).collect();
        let query = things::table.filter(things::id.eq_any(ids)).order(things::name).select(things::name);
        read_db!(self.db, |c| query.load(c).await)
    }

    /// Two statements that happen together or not at all.
    async fn thing_rename(
        &self,
        id: KeyId,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<ThingRow>, StoreError> {
        let change = ThingChange { name: Some(name.to_owned()), gone_at: Some(None) };
        tx_db!(self.db, |c| {
            let renamed: Option<ThingRow> = diesel::update(things::table.find(DbId::from(id)))
                .set(&change)
                .returning(ThingRow::as_returning())
                .get_result(c)
                .await
                .optional()?;
            if renamed.is_some() {
                let row =
                    (counts::thing.eq(DbId::from(id)), counts::minute.eq(DbTime(now)), counts::count.eq(1));
                diesel::insert_into(counts::table)
                    .values(row)
                    .on_conflict((counts::thing, counts::minute))
                    .do_update()
                    .set(counts::count.eq(counts::count + 1))
                    .execute(c)
                    .await?;
            }
            Ok::<_, StoreError>(renamed)
        })
    }

    /// Many rows in one statement.
    async fn counts_add(&self, rows: &[(KeyId, Timestamp, i64)]) -> Result<usize, Error> {
        let rows = rows.iter().map(|(thing, minute, count)| {
            (
                DbId::from(*thing).into_sql::<sql_types::Id>(),
                DbTime(*minute).into_sql::<sql_types::Time>(),
                count.into_sql::<BigInt>(),
            )
        });
        let insert = insert_many(
            "counts",
            &["thing", "minute", "count"],
            rows.collect(),
            "ON CONFLICT (thing, minute) DO UPDATE SET count = counts.count + excluded.count",
        );
        write_db!(self.db, |c| insert.clone().execute(c).await)
    }

    async fn count_of(&self, thing: KeyId) -> Result<(i64, Option<DbTime>), Error> {
        let of = counts::table.filter(counts::thing.eq(DbId::from(thing)));
        read_db!(self.db, |c| {
            let all: Vec<i64> = of.select(counts::count).load(c).await?;
            let last = of.select(diesel::dsl::max(counts::minute)).first(c).await?;
            Ok((all.iter().sum(), last))
        })
    }
}

async fn store(database: &TestDatabase) -> Result<Store, Fault> {
    let db = Db::open(&database.url(), "example", &Settings::default()).await?;
    db.migrate(&MIGRATIONS).await?;
    Ok(Store { db })
}

fn thing(name: &str, parent: Option<KeyId>, clock: &MockClock) -> ThingRow {
    let id: KeyId = Id::new(clock, &OsEntropy);
    ThingRow {
        id: id.into(),
        name: name.to_owned(),
        parent: parent.map(DbId::from),
        made_at: clock.now().into(),
        gone_at: None,
        labels: vec!["a,b".to_owned(), "{\"c\"}".to_owned()].into(),
        extra: serde_json::json!({ "deep": [1, null, { "ü": "\u{1}" }] }).into(),
        digest: (&OsEntropy as &dyn Entropy).bytes::<32>().to_vec(),
        enabled: true,
    }
}

on_every_database! {
    async fn a_row_comes_back_as_it_was(database: TestDatabase) {
        let (store, clock) = (store(&database).await.unwrap(), MockClock::new());
        let row = thing("one", None, &clock);
        store.thing_insert(&row).await.unwrap();
        assert_eq!(store.thing_by_id(row.id.typed()).await.unwrap(), Some(row));
        assert_eq!(store.thing_by_id(Id::new(&*clock, &OsEntropy)).await.unwrap(), None);
    }

    async fn joins_lists_and_sets_agree(database: TestDatabase) {
        let (store, clock) = (store(&database).await.unwrap(), MockClock::new());
        let parent = thing("parent", None, &clock);
        let older = thing("older", Some(parent.id.typed()), &clock);
        clock.advance(std::time::Duration::from_micros(1));
        let newer = thing("newer", Some(parent.id.typed()), &clock);
        for row in [&parent, &older, &newer] {
            store.thing_insert(row).await.unwrap();
        }
        store.counts_add(&[(older.id.typed(), clock.now(), 7)]).await.unwrap();
        let children = store.things_of(parent.id.typed()).await.unwrap();
        assert_eq!(children, [(newer.clone(), None), (older.clone(), Some(7))]);
        let named = store.things_named(&[newer.id.typed(), older.id.typed()]).await.unwrap();
        assert_eq!(named, ["newer", "older"]);
        assert!(store.things_named(&[]).await.unwrap().is_empty());
    }

    async fn a_taken_name_is_told_apart_and_rolls_all_back(database: TestDatabase) {
        let (store, clock) = (store(&database).await.unwrap(), MockClock::new());
        let (one, two) = (thing("one", None, &clock), thing("two", None, &clock));
        store.thing_insert(&one).await.unwrap();
        store.thing_insert(&two).await.unwrap();
        assert!(matches!(store.thing_insert(&one).await, Err(StoreError::NameTaken)));
        let renamed = store.thing_rename(two.id.typed(), "one", clock.now()).await;
        assert!(matches!(renamed, Err(StoreError::NameTaken)));
        assert_eq!(store.thing_by_id(two.id.typed()).await.unwrap(), Some(two.clone()));
        let renamed = store.thing_rename(two.id.typed(), "three", clock.now()).await.unwrap().unwrap();
        assert_eq!(renamed.name, "three");
        assert_eq!(store.count_of(two.id.typed()).await.unwrap(), (1, Some(clock.now().into())));
    }

    async fn a_missing_parent_is_a_foreign_key_error(database: TestDatabase) {
        let (store, clock) = (store(&database).await.unwrap(), MockClock::new());
        let orphan = thing("orphan", Some(Id::new(&*clock, &OsEntropy)), &clock);
        let refused = store.thing_insert(&orphan).await;
        assert!(matches!(refused, Err(StoreError::Db(Error::ForeignKey(_)))), "{refused:?}");
    }

    async fn many_rows_are_added_up_in_one_statement(database: TestDatabase) {
        let (store, clock) = (store(&database).await.unwrap(), MockClock::new());
        let row = thing("counted", None, &clock);
        store.thing_insert(&row).await.unwrap();
        let id = row.id.typed();
        let minutes: Vec<_> = (0..500).map(|i| (id, clock.now() + std::time::Duration::from_secs(60 * i), 2)).collect();
        store.counts_add(&minutes).await.unwrap();
        store.counts_add(&minutes[..10]).await.unwrap();
        assert_eq!(store.count_of(id).await.unwrap(), (1020, Some(minutes[499].1.into())));
    }
}
