//! The two databases as one value, and how it is opened.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use secrecy::{ExposeSecret, SecretString};
use tollgate_kernel::{Code, Fault};

use crate::{
    Error,
    pool::{Lease, Pool},
    postgres::{PgConnection, Server},
    sqlite::{self, Access, File, LiteConnection},
};

/// A role's tables: a schema on PostgreSQL, or a file of SQLite. Cheap to clone.
#[derive(Clone)]
pub enum Db {
    /// A schema named after the role.
    Postgres(Pool<PgConnection>),
    /// A file named after the role.
    Sqlite {
        /// Connections that cannot write.
        read: Pool<LiteConnection>,
        /// The one connection that can: writers queue here, and not on SQLite's lock.
        write: Pool<LiteConnection>,
    },
}

/// Bounds on the use of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The most connections to PostgreSQL of one role of one process; SQLite has one writer and four readers.
    pub pool_size: usize,
    /// How long to wait for a connection, a new one included, before the answer is "unavailable".
    pub acquire_timeout: Duration,
    /// How long one read, write or transaction may take, before the answer is "unavailable" and the connection is closed.
    pub work_timeout: Duration,
}

/// A connection on loan, of either kind.
pub enum Either {
    /// To PostgreSQL.
    Postgres(Box<Lease<PgConnection>>),
    /// To SQLite.
    Sqlite(Lease<LiteConnection>),
}

const SQLITE_READERS: usize = 4;

impl Db {
    /// Opens the tables of `role` at `url`.
    ///
    /// - `postgres://user@host/database`: in the schema `role`, which [`Db::migrate`] makes. Nothing is connected to yet.
    /// - `sqlite:///var/lib/tollgate`: in the file `<role>.db` in that folder. Both are made, for our user alone.
    pub async fn open(url: &SecretString, role: &'static str, settings: &Settings) -> Result<Self, Fault> {
        let scheme = url.expose_secret().split(':').next().unwrap_or_default();
        match scheme {
            "postgres" | "postgresql" => {
                let server = Server::new(url, role, settings)?;
                Ok(Self::Postgres(Pool::new(server, settings.pool_size, settings)?))
            }
            "sqlite" => Self::open_sqlite(url.expose_secret(), role, settings).await,
            _ => {
                Err(Fault::new(Code::InvalidArgument, "A database URL starts with postgres:// or sqlite://."))
            }
        }
    }

    async fn open_sqlite(url: &str, role: &'static str, settings: &Settings) -> Result<Self, Fault> {
        let folder = sqlite::folder(url).ok_or_else(|| {
            let message = "A SQLite URL is sqlite:// and the path of a folder, without options.";
            Fault::new(Code::InvalidArgument, message)
        })?;
        let create = move || sqlite::create(&folder, role);
        let path = tokio::task::spawn_blocking(create).await.expect("making a file does not panic");
        let path = path.map_err(|error| {
            Fault::new(Code::Unavailable, format!("The folder of the database cannot be used: {error}."))
        })?;
        let read = File::new(path.clone(), Access::Read);
        let write = File::new(path, Access::Write);
        let write: Pool<LiteConnection> = Pool::new(write, 1, settings)?;
        // The first writer turns the file into one that can be read while it is written.
        write.lease().await?.settle(Some(Ok(()))).await?;
        Ok(Self::Sqlite { read: Pool::new(read, SQLITE_READERS, settings)?, write })
    }

    /// Whether the database answers, within [`Settings::acquire_timeout`] and [`Settings::work_timeout`].
    pub async fn ping(&self) -> Result<(), Fault> {
        Ok(crate::read_db!(self, |c| c.batch_execute("SELECT 1").await)?)
    }

    /// A connection to read with. For [`read_db!`](crate::read_db).
    #[doc(hidden)]
    pub async fn reader(&self) -> Result<Either, Error> {
        match self {
            Self::Postgres(pool) => Ok(Either::Postgres(Box::new(pool.lease().await?))),
            Self::Sqlite { read, .. } => read.lease().await.map(Either::Sqlite),
        }
    }

    /// A connection to write with. For [`write_db!`](crate::write_db) and [`tx_db!`](crate::tx_db).
    #[doc(hidden)]
    pub async fn writer(&self) -> Result<Either, Error> {
        match self {
            Self::Postgres(pool) => Ok(Either::Postgres(Box::new(pool.lease().await?))),
            Self::Sqlite { write, .. } => write.lease().await.map(Either::Sqlite),
        }
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Postgres(_) => "Db::Postgres",
            Self::Sqlite { .. } => "Db::Sqlite",
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { pool_size: 10, acquire_timeout: Duration::from_secs(3), work_timeout: Duration::from_secs(5) }
    }
}
