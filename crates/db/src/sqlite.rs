//! SQLite: where the file is, and how a connection is set up.

use std::{
    fs::{DirBuilder, OpenOptions},
    future::Future,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use diesel::{QueryResult, SqliteConnection, connection::AnsiTransactionManager};
use diesel_async::{AsyncConnection, SimpleAsyncConnection, sync_connection_wrapper::SyncConnectionWrapper};

use crate::{Error, pool::Connection};

/// A connection to SQLite: each statement runs on a thread apart from the asynchronous ones.
pub(crate) type LiteConnection = SyncConnectionWrapper<SqliteConnection>;

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

/// The file of a role under the folder that the URL names, made if it is not there: readable by us alone.
pub(crate) fn create(url: &str, role: &str) -> io::Result<PathBuf> {
    let folder = url.trim_start_matches("sqlite:").trim_start_matches("//");
    if folder.is_empty() || folder.contains('?') {
        return Err(io::Error::new(ErrorKind::InvalidInput, "expected sqlite:// and the path of a folder"));
    }
    let folder = std::path::absolute(folder)?;
    create_private_folder(&folder)?;
    let path = folder.join(format!("{role}.db"));
    create_private_file(&path)?;
    Ok(path)
}

#[cfg(unix)]
fn create_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(unix)]
fn create_private_file(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // SQLite gives its -wal and -shm files the mode of this one.
    OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

// busy_timeout first, since the switch to WAL itself may have to wait for another process.
fn setup(access: Access) -> &'static str {
    match access {
        Access::Write => {
            "PRAGMA busy_timeout = 4000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
             PRAGMA foreign_keys = ON"
        }
        Access::Read => "PRAGMA busy_timeout = 4000; PRAGMA foreign_keys = ON; PRAGMA query_only = ON",
    }
}
