//! What a database can say no with, in the four ways that a caller tells apart.

use std::{error::Error as StdError, fmt, time::Duration};

use deadpool::managed::PoolError;
use diesel::result::{DatabaseErrorKind, Error as Diesel};
use tollgate_kernel::Fault;

/// Why a read, a write or a transaction failed.
#[derive(Debug)]
pub enum Error {
    /// A unique index has this value already. The text is the database's own and names the index (PostgreSQL) or the
    /// columns (SQLite): for the log; a caller that must know which index was hit reads the row.
    Unique(String),
    /// A row that this one refers to is not there, or a row that refers to this one is.
    ForeignKey(String),
    /// The database is away, too busy or too slow. The work may succeed later; a transaction whose commit was under way
    /// may have happened.
    Unavailable(Box<dyn StdError + Send + Sync>),
    /// Anything else: a wrong statement, a value that does not fit. Our mistake.
    Other(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// The work took longer than it may.
    pub(crate) fn too_slow(what: &str, limit: Duration) -> Self {
        Self::Unavailable(format!("the database did not {what} within {limit:?}").into())
    }

    /// Whether the database named a reason that the connection's death would explain as well.
    pub(crate) fn is_doubtful(&self) -> bool {
        matches!(self, Self::Other(source) if source.downcast_ref::<Diesel>().is_some_and(|error| {
            matches!(error, Diesel::DatabaseError(DatabaseErrorKind::Unknown, _))
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unique(text) => write!(f, "not unique: {text}"),
            Self::ForeignKey(text) => write!(f, "a referenced row is missing or in use: {text}"),
            Self::Unavailable(_) => f.write_str("the database is not available"),
            Self::Other(_) => f.write_str("the database refused"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unique(_) | Self::ForeignKey(_) => None,
            Self::Unavailable(source) | Self::Other(source) => Some(source.as_ref()),
        }
    }
}

impl From<Diesel> for Error {
    fn from(error: Diesel) -> Self {
        use DatabaseErrorKind as Kind;
        let Diesel::DatabaseError(kind, information) = &error else {
            return match error {
                Diesel::BrokenTransactionManager => Self::Unavailable(error.into()),
                _ => Self::Other(error.into()),
            };
        };
        match kind {
            Kind::UniqueViolation => Self::Unique(information.message().to_owned()),
            Kind::ForeignKeyViolation => Self::ForeignKey(information.message().to_owned()),
            Kind::UnableToSendCommand | Kind::ClosedConnection | Kind::SerializationFailure => {
                Self::Unavailable(error.into())
            }
            // SQLite's words for SQLITE_BUSY and SQLITE_LOCKED; diesel has no kind for them.
            _ if information.message().ends_with("is locked") => Self::Unavailable(error.into()),
            _ => Self::Other(error.into()),
        }
    }
}

impl From<PoolError<Self>> for Error {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Backend(error) => error,
            error => Self::Unavailable(error.into()),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }
}
