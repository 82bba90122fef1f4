//! A connection that carries out whatever SQL it is given, past the product: for making very many rows.

use diesel::{SqliteConnection, dsl::sql, sql_types::BigInt};
use diesel_async::{
    AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    sync_connection_wrapper::SyncConnectionWrapper,
};
use tollgate_kernel::{ExposeSecret, SecretString};

/// What went wrong.
type Problem = Box<dyn std::error::Error + Send + Sync>;

/// A connection to the tables of one role.
pub enum Bulk {
    /// To PostgreSQL.
    Postgres(Box<AsyncPgConnection>),
    /// To the role's file.
    Sqlite(SyncConnectionWrapper<SqliteConnection>),
}

impl Bulk {
    /// By the URL that the role is given: `postgres://…`, or `sqlite://` and a folder.
    ///
    /// # Errors
    /// If there is no such database.
    pub async fn open(url: &SecretString, role: &str) -> Result<Self, Problem> {
        const SETUP: &str =
            "PRAGMA busy_timeout = 60000; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -200000";
        if let Some(folder) = url.expose_secret().strip_prefix("sqlite://") {
            let mut file = SyncConnectionWrapper::establish(&format!("{folder}/{role}.db")).await?;
            file.batch_execute(SETUP).await?;
            return Ok(Self::Sqlite(file));
        }
        let mut server = AsyncPgConnection::establish(url.expose_secret()).await?;
        server.batch_execute(&format!("SET search_path = {role}")).await?;
        Ok(Self::Postgres(Box::new(server)))
    }

    /// Carries out these statements.
    ///
    /// # Errors
    /// What the database says.
    pub async fn execute(&mut self, statements: &str) -> Result<(), Problem> {
        match self {
            Self::Postgres(server) => server.batch_execute(statements).await?,
            Self::Sqlite(file) => file.batch_execute(statements).await?,
        }
        Ok(())
    }

    /// The whole number that this statement gives.
    ///
    /// # Errors
    /// What the database says.
    pub async fn number(&mut self, expression: &str) -> Result<i64, Problem> {
        let query = diesel::select(sql::<BigInt>(expression));
        Ok(match self {
            Self::Postgres(server) => query.get_result(server).await?,
            Self::Sqlite(file) => query.get_result(file).await?,
        })
    }
}
