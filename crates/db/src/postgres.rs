//! PostgreSQL: how a connection is opened and set up.
//!
//! Connections are not encrypted by us: a URL with `sslmode=require` is refused when it is first used. Put the database on
//! the same host, into a private network, or behind a TLS tunnel.

use std::{future::Future, time::Duration};

use diesel::QueryResult;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager};
use secrecy::{ExposeSecret, SecretString};

use crate::{Error, Settings, pool::Connection};

/// A connection to PostgreSQL.
pub(crate) type PgConnection = AsyncPgConnection;

/// A database and the schema in it that belongs to a role.
pub struct Server {
    /// The URL with our parameters.
    url: SecretString,
    /// The name of the schema; `search_path` leads nowhere else.
    pub(crate) schema: &'static str,
    /// What a new connection says first.
    setup: String,
}

impl Server {
    pub(crate) fn new(url: &SecretString, role: &'static str, settings: &Settings) -> Self {
        Self { url: with_parameters(url, settings), schema: role, setup: setup(role, settings.work_timeout) }
    }

    /// A connection that is not of the pool and has no time limits: for migrations.
    pub(crate) async fn connect(&self) -> Result<AsyncPgConnection, Error> {
        AsyncPgConnection::establish(self.url.expose_secret())
            .await
            .map_err(|error| Error::Unavailable(error.into()))
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
        "SET search_path = {role}; SET application_name = 'tollgate-{role}'; \
         SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = {limit}"
    )
}

// Of a parameter that is named twice, the last counts; so the operator's own come last.
fn with_parameters(url: &SecretString, settings: &Settings) -> SecretString {
    let url = url.expose_secret();
    let (base, theirs) = url.split_once('?').unwrap_or((url, ""));
    let seconds = settings.acquire_timeout.as_secs().max(1);
    let dead = settings.work_timeout.as_secs().max(1);
    let ours = format!("connect_timeout={seconds}&keepalives_idle=30&tcp_user_timeout={dead}");
    let parameters = if theirs.is_empty() { ours } else { format!("{ours}&{theirs}") };
    format!("{base}?{parameters}").into()
}
