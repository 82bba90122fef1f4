//! PostgreSQL: how a connection is opened and set up.
//!
//! Connections are not encrypted by us, and a URL that asks for it is refused. Put the database on the same host, into a
//! private network, or behind a TLS tunnel.

use std::{error::Error as StdError, future::Future, time::Duration};

use diesel::QueryResult;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{Config, NoTls, config::SslMode};
use tollgate_kernel::{Code, Fault};

use crate::{Error, Settings, pool::Connection};

/// A connection to PostgreSQL.
pub type PgConnection = AsyncPgConnection;

/// A database and the schema in it that belongs to a role.
pub struct Server {
    config: Config,
    patience: Duration,
    /// The name of the schema; `search_path` leads nowhere else.
    pub(crate) schema: &'static str,
    /// What a new connection of the pool says first.
    setup: String,
}

impl Server {
    pub(crate) fn new(url: &SecretString, role: &'static str, settings: &Settings) -> Result<Self, Fault> {
        let mut config: Config = url.expose_secret().parse().map_err(|error| {
            Fault::new(Code::InvalidArgument, "The database URL cannot be understood.").caused_by(error)
        })?;
        if config.get_ssl_mode() == SslMode::Require {
            let message = "The database URL asks for TLS (sslmode=require), which is not built in: \
                           use a private network or a tunnel, and sslmode=disable.";
            return Err(Fault::new(Code::InvalidArgument, message));
        }
        config.application_name(format!("tollgate-{role}"));
        // A server that is cut off, and not closed, is found out by TCP as soon as by the limit on work.
        config.tcp_user_timeout(settings.work_timeout).keepalives_idle(Duration::from_secs(30));
        let (patience, setup) = (settings.acquire_timeout, setup(role, settings.work_timeout));
        Ok(Self { config, patience, schema: role, setup })
    }

    /// A connection without our time limits on statements.
    pub(crate) async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        let connect = async {
            let (client, connection) = self.config.connect(NoTls).await.map_err(unavailable)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await.map_err(unavailable)
        };
        let connected = tokio::time::timeout(self.patience, connect).await;
        connected.map_err(|_| Error::too_slow("open a connection", self.patience))?
    }
}

impl Connection for AsyncPgConnection {
    type Target = Server;

    async fn open(server: &Server) -> Result<Self, Error> {
        let mut connection = server.connect().await?;
        connection.batch_execute(&server.setup).await?;
        Ok(connection)
    }

    fn begin(&mut self) -> impl Future<Output = QueryResult<()>> + Send {
        <Self as AsyncConnection>::TransactionManager::begin_transaction(self)
    }
}

// The server ends what we gave up on a second later: a statement that runs on, or a transaction whose client is gone.
fn setup(role: &str, work: Duration) -> String {
    let limit = (work + Duration::from_secs(1)).as_millis();
    format!(
        "SET search_path = {role}; SET statement_timeout = {limit}; \
         SET idle_in_transaction_session_timeout = {limit}"
    )
}

fn unavailable(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::Unavailable(error.into())
}
