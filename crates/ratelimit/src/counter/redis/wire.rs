//! One connection to a server, plain or over TLS.

use std::{io, sync::Arc};

use ::redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, Pipeline, RedisResult,
    aio::MultiplexedConnection,
};
use futures_util::future::select_ok;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{link::Failure, server::Setup};

/// Calls that may wait to be written to a connection; more wait for their turn.
const PIPELINE: usize = 1024;

/// A connection that several may use at the same time. It is closed with the last of its clones, whatever is under way.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    inner: MultiplexedConnection,
    _ended_on_drop: Arc<AbortOnDropHandle<()>>,
}

impl Wire {
    /// Carries out a command.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        command.query_async(&mut self.inner.clone()).await
    }

    /// Carries out several commands.
    pub(super) async fn each<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        commands.query_async(&mut self.inner.clone()).await
    }
}

/// Connects, with nothing known of who answers but, over TLS, that it has the name it was looked for by.
pub(super) async fn dial(info: &ConnectionInfo, setup: &Setup) -> Result<Wire, Failure> {
    let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(Failure::Down) };
    let stream = reach(host, *port).await.map_err(|error| Failure::Broken(error.into()))?;
    let Some(tls) = &setup.tls else {
        return greet(info, stream)
            .await
            .map_err(|error| if error.is_io_error() { Failure::HungUp(error) } else { error.into() });
    };
    let name = ServerName::try_from(host.clone()).map_err(|error| Failure::Tls(io::Error::other(error)))?;
    let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(Failure::Tls)?;
    // In TLS 1.3 the server refuses a client's certificate after the client has taken its own for good.
    greet(info, stream).await.map_err(|error| {
        if error.is_io_error() { Failure::Tls(io::Error::other(error)) } else { error.into() }
    })
}

/// The first of all addresses of the host that answers.
async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let attempts: Vec<_> =
        lookup_host((host, port)).await?.map(|at| Box::pin(TcpStream::connect(at))).collect();
    if attempts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    }
    let (stream, _) = select_ok(attempts).await?;
    // What is written is sent at once: there is always more to come, and a call waits for each answer.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Logs in.
async fn greet<S>(info: &ConnectionInfo, stream: S) -> RedisResult<Wire>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Whoever waits has a time limit.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE);
    let settings = info.redis_settings();
    let (inner, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
    Ok(Wire { inner, _ended_on_drop: Arc::new(AbortOnDropHandle::new(tokio::spawn(driver))) })
}
