//! Serving connections: HTTP ([`http`]) and gRPC ([`grpc`]), both with a bound on everything that a peer controls.

pub(crate) mod grpc;
pub(crate) mod http;

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tollgate_kernel::{Code, Fault};

/// Listens at `address`; `key` is the setting that says so.
pub(crate) async fn listen(key: &str, address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "something listens there already: choose another port, or 0 for a free one"
            }
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege",
            io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
            _ => "see the cause",
        };
        Fault::new(Code::Unavailable, format!("Cannot listen on {address} ({key}): {hint}.")).caused_by(error)
    })
}

/// The next connection. Out of file descriptors is a state that passes: it is waited for, not died of.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small answers should not wait for more; a connection that is already gone shows itself later.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; trying again");
                sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
