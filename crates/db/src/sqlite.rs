//! SQLite: where the file is, and how a connection is set up.

use std::{
    error::Error as StdError,
    fs::{DirBuilder, OpenOptions},
    future::Future,
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    pin::Pin,
};

use diesel::{QueryResult, SqliteConnection, connection::AnsiTransactionManager};
use diesel_async::{
    AsyncConnection, SimpleAsyncConnection,
    sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper},
};

use crate::{Error, pool::Connection};

/// A connection to SQLite: each statement runs on a thread apart from the asynchronous ones.
pub type LiteConnection = SyncConnectionWrapper<SqliteConnection, Detached>;

/// Runs statements on blocking threads; one that nobody waits for any more ends by itself.
///
/// Diesel's own way blocks the asynchronous thread until it has ended, and panics on a runtime of one thread. It must, since
/// the connection may go back into a pool; ours is closed by its lease instead.
pub struct Detached;

impl SpawnBlocking for Detached {
    fn spawn_blocking<'a, R: Send + 'static>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<R, Failure>> + Send + 'a>> {
        Box::pin(async { Ok(tokio::task::spawn_blocking(task).await?) })
    }

    fn get_runtime() -> Self {
        Self
    }
}

type Failure = Box<dyn StdError + Send + Sync>;

/// A database file, and what its connections are for.
pub struct File {
    path: PathBuf,
    access: Access,
}

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl File {
    pub(crate) fn new(path: PathBuf, access: Access) -> Self {
        Self { path, access }
    }
}

impl Connection for LiteConnection {
    type Target = File;

    async fn open(file: &File) -> Result<Self, Error> {
        let path = file.path.to_str().expect("the path was made from a text");
        let mut connection = Self::establish(path).await.map_err(|error| Error::Unavailable(error.into()))?;
        connection.batch_execute(setup(file.access)).await?;
        Ok(connection)
    }

    // As a writer at once: a reader that becomes one in mid-transaction can fail with "locked" without waiting.
    fn begin(&mut self) -> impl Future<Output = QueryResult<()>> + Send {
        self.spawn_blocking(|c| AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE"))
    }
}

/// The folder that a URL names: `sqlite:///absolute` or `sqlite://relative`.
pub(crate) fn folder(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite://")?;
    (!path.is_empty() && !path.contains('?')).then(|| PathBuf::from(path))
}

/// The file of a role in a folder. Both are made if they are not there, for our user alone.
pub(crate) fn create(folder: &Path, role: &str) -> io::Result<PathBuf> {
    // Absolute, since SQLite takes a name such as `:memory:` for something else.
    let folder = std::path::absolute(folder)?;
    create_private_folder(&folder)?;
    let path = folder.join(format!("{role}.db"));
    create_private_file(&path)?;
    Ok(path)
}

fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn create_private_file(path: &Path) -> io::Result<()> {
    // SQLite gives its -wal and -shm files the mode of this one.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

// 16 MiB of pages for each connection, where a large table's inner pages find room: SQLite itself would take 2.
// busy_timeout first, since the switch to WAL itself may have to wait for another process.
fn setup(access: Access) -> &'static str {
    match access {
        Access::Write => {
            "PRAGMA busy_timeout = 4000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
             PRAGMA foreign_keys = ON; PRAGMA cache_size = -16384"
        }
        Access::Read => {
            "PRAGMA busy_timeout = 4000; PRAGMA foreign_keys = ON; PRAGMA query_only = ON; \
             PRAGMA cache_size = -16384"
        }
    }
}
