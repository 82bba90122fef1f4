//! The gRPC servers: the Gate's, and one per role that is called from other processes. Health and reflection on each.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;
use tollgate_kernel::{Entropy, Fault};
use tollgate_proto::{DESCRIPTORS, context::ContextLayer};
use tonic::{
    Status,
    service::Routes,
    transport::{Server, server::Connected, server::TcpConnectInfo},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::config::Grpc;

/// A gRPC port: what is served on it, and within which bounds.
pub(crate) struct Port {
    /// The services, without health and reflection.
    pub routes: Routes,
    /// The full names of the services, for health and reflection.
    pub names: Vec<&'static str>,
    /// The bounds.
    pub settings: Grpc,
    /// For new request ids.
    pub entropy: Arc<dyn Entropy>,
}

impl Port {
    /// Answers on `listener` until `stop`, then until the last call that had begun is finished.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        health: tonic_health::server::HealthService,
        stop: CancellationToken,
    ) -> Result<(), Fault> {
        let described = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        let reflection = self.names.iter().fold(described, |it, name| it.with_service_name(*name));
        let reflection = reflection.build_v1().map_err(Fault::internal)?;
        let routes = self
            .routes
            .add_service(tonic_health::pb::health_server::HealthServer::new(health))
            .add_service(reflection);
        let connections = connections(listener, self.settings.max_connections, stop.clone());
        server(&self.settings)
            .layer(ContextLayer::new(self.entropy))
            .layer(CatchPanicLayer::custom(panicked))
            .add_routes(routes)
            .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
            .await
            .map_err(Fault::internal)
    }
}

fn server(settings: &Grpc) -> Server {
    Server::builder()
        .timeout(settings.timeout)
        .max_concurrent_streams(settings.max_streams)
        .http2_keepalive_interval(Some(settings.keep_alive))
        .http2_keepalive_timeout(Some(settings.keep_alive))
        .http2_max_header_list_size(16 * 1024)
        .http2_max_pending_accept_reset_streams(Some(20))
}

/// A panic in a handler must not end the whole connection, nor say anything to the caller.
fn panicked(_: Box<dyn std::any::Any + Send>) -> http::Response<tonic::body::Body> {
    // The panic hook has logged it.
    Status::internal("Something went wrong on our side.").into_http()
}

/// The connections of `listener`, no more than `most` at one time.
fn connections(
    listener: TcpListener,
    most: usize,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Connection, std::io::Error>> {
    let permits = Arc::new(Semaphore::new(most));
    let (accepted, connections) = mpsc::channel(1);
    let accepting = async move {
        loop {
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (stream, _) = super::accept(&listener).await;
            if accepted.send(Ok(Connection { stream, _permit: permit })).await.is_err() {
                break;
            }
        }
    };
    tokio::spawn(async move { stop.run_until_cancelled_owned(accepting).await });
    tokio_stream::wrappers::ReceiverStream::new(connections)
}

/// A connection that gives back its permit when it ends.
struct Connection {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
