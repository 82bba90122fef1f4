//! Migrations: embedded in the program, applied in order, by one process at a time.

use std::error::Error as StdError;

use diesel::{
    QueryDsl, QueryableByName, migration::MigrationSource, pg::Pg, sql_types::Text, sqlite::Sqlite,
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection, async_connection_wrapper::AsyncConnectionWrapper};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use tollgate_kernel::Fault;

use crate::{
    Db, Error,
    pool::Pool,
    postgres::{PgConnection, Server},
    read_db,
    sqlite::LiteConnection,
};

/// A role's migrations, for each database. Made by [`migrations!`](crate::migrations).
pub struct Migrations {
    /// For PostgreSQL.
    pub postgres: EmbeddedMigrations,
    /// For SQLite.
    pub sqlite: EmbeddedMigrations,
}

/// A role's migrations out of their folders, which are named from the folder of the crate's `Cargo.toml`.
///
/// ```text
/// pub static MIGRATIONS: tollgate_db::Migrations =
///     tollgate_db::migrations!("../../migrations/keys/postgres", "../../migrations/keys/sqlite");
/// ```
#[macro_export]
macro_rules! migrations {
    ($postgres:literal, $sqlite:literal) => {{
        use $crate::__private::diesel_migrations;
        $crate::Migrations {
            postgres: diesel_migrations::embed_migrations!($postgres),
            sqlite: diesel_migrations::embed_migrations!($sqlite),
        }
    }};
}

type Failure = Box<dyn StdError + Send + Sync>;

// Advisory locks are of one database; the second number tells the roles apart.
const LOCK: i32 = 0x7011_6A7E;

const LOCK_TIMEOUT: &str = "SET lock_timeout = '60s'";

diesel::table! {
    /// Diesel's own record of what it has applied.
    __diesel_schema_migrations (version) {
        /// The digits of the folder's name.
        version -> Text,
    }
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

impl Db {
    /// Applies what was not applied yet, and says how many that were.
    ///
    /// Others who do so at the same time wait, for at most a minute on PostgreSQL.
    pub async fn migrate(&self, migrations: &'static Migrations) -> Result<usize, Fault> {
        Ok(match self {
            Self::Postgres(pool) => migrate_postgres(pool.target(), &migrations.postgres).await?,
            Self::Sqlite { write, .. } => migrate_sqlite(write, &migrations.sqlite).await?,
        })
    }

    /// The names of the migrations that were not applied yet, in their order. Changes nothing.
    pub async fn pending(&self, migrations: &Migrations) -> Result<Vec<String>, Fault> {
        let mut known = match self {
            Self::Postgres(_) => names::<Pg>(&migrations.postgres)?,
            Self::Sqlite { .. } => names::<Sqlite>(&migrations.sqlite)?,
        };
        let applied = self.applied().await?;
        known.retain(|(version, _)| !applied.contains(version));
        known.sort();
        Ok(known.into_iter().map(|(_, name)| name).collect())
    }

    async fn applied(&self) -> Result<Vec<String>, Error> {
        let has_record = match self {
            Self::Postgres(_) => {
                "SELECT tablename::text AS name FROM pg_tables \
                 WHERE schemaname = current_schema() AND tablename = '__diesel_schema_migrations'"
            }
            Self::Sqlite { .. } => "SELECT name FROM sqlite_master WHERE name = '__diesel_schema_migrations'",
        };
        read_db!(self, |c| {
            let tables: Vec<Name> = diesel::sql_query(has_record).load(c).await?;
            if tables.iter().all(|table| table.name.is_empty()) {
                return Ok(Vec::new());
            }
            __diesel_schema_migrations::table.select(__diesel_schema_migrations::version).load(c).await
        })
    }
}

async fn migrate_postgres(server: &Server, migrations: &'static EmbeddedMigrations) -> Result<usize, Error> {
    let schema = server.schema;
    let mut c = server.connect().await?;
    c.batch_execute(LOCK_TIMEOUT).await?;
    // Held until this connection closes, at the end.
    c.batch_execute(&format!("SELECT pg_advisory_lock({LOCK}, hashtext('{schema}'))")).await?;
    c.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}")).await?;
    let run = move || -> Result<usize, Failure> {
        let mut c = AsyncConnectionWrapper::<PgConnection>::from(c);
        Ok(c.run_pending_migrations(Borrowed(migrations))?.len())
    };
    let applied = tokio::task::spawn_blocking(run).await.map_err(|error| Error::Other(error.into()))?;
    applied.map_err(Error::Other)
}

async fn migrate_sqlite(
    pool: &Pool<LiteConnection>,
    migrations: &'static EmbeddedMigrations,
) -> Result<usize, Error> {
    let mut c = pool.lease().await?;
    // One transaction around all, as a writer, so that two processes do not apply the same one.
    let run = move |c: &mut diesel::SqliteConnection| -> Result<usize, Failure> {
        c.immediate_transaction(|c| Ok(c.run_pending_migrations(Borrowed(migrations))?.len()))
    };
    let applied = c.connection().spawn_blocking(move |c| Ok(run(c))).await;
    c.settle(Some(applied)).await?.map_err(Error::Other)
}

fn names<DB: diesel::backend::Backend>(
    source: &impl MigrationSource<DB>,
) -> Result<Vec<(String, String)>, Error> {
    let migrations = source.migrations().map_err(Error::Other)?;
    Ok(migrations
        .iter()
        .map(|migration| (migration.name().version().to_string(), migration.name().to_string()))
        .collect())
}

// Diesel takes the source by value, and the embedded ones are not `Clone`.
struct Borrowed(&'static EmbeddedMigrations);

impl<DB: diesel::backend::Backend> MigrationSource<DB> for Borrowed {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn diesel::migration::Migration<DB>>>> {
        self.0.migrations()
    }
}
