//! What the server is compared with: the least that an axum server and a tonic server can do.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tollgate_proto::gate::{
    AuthorizeRequest, AuthorizeResponse, Code, Verdict, VerifyKeyRequest, VerifyKeyResponse,
    VerifyTokenRequest, VerifyTokenResponse,
    gate_server::{Gate, GateServer},
};
use tonic::{Request, Response, Status};

use crate::Problem;

/// Answers every question with what it was asked, without looking at it.
struct Echo;

#[tonic::async_trait]
impl Gate for Echo {
    async fn verify_key(
        &self,
        request: Request<VerifyKeyRequest>,
    ) -> Result<Response<VerifyKeyResponse>, Status> {
        let question = request.into_inner();
        let verdict = Verdict {
            valid: true,
            code: Code::Valid.into(),
            key_id: Some(question.key),
            scopes: question.scopes,
            ..Verdict::default()
        };
        Ok(Response::new(VerifyKeyResponse { verdict: Some(verdict) }))
    }

    async fn verify_token(
        &self,
        _: Request<VerifyTokenRequest>,
    ) -> Result<Response<VerifyTokenResponse>, Status> {
        Err(Status::unimplemented("the baseline echoes VerifyKey alone"))
    }

    async fn authorize(&self, _: Request<AuthorizeRequest>) -> Result<Response<AuthorizeResponse>, Status> {
        Err(Status::unimplemented("the baseline echoes VerifyKey alone"))
    }
}

/// Serves both on free ports of loopback, and prints where, as `tollgate serve` does.
pub(crate) async fn serve() -> Result<(), Problem> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let http = TcpListener::bind(anywhere).await?;
    let gate = TcpListener::bind(anywhere).await?;
    println!("  http       http://{}", http.local_addr()?);
    println!("  gate       http://{} (gRPC)", gate.local_addr()?);
    println!("\nReady.");
    let hello = Router::new().route("/", get(async || "hello"));
    let http = async { axum::serve(NoDelay(http), hello).await.map_err(Problem::from) };
    let incoming = TcpListenerStream::new(gate);
    let gate =
        tonic::transport::Server::builder().add_service(GateServer::new(Echo)).serve_with_incoming(incoming);
    tokio::try_join!(http, async { gate.await.map_err(Problem::from) })?;
    Ok(())
}

/// A listener whose connections do not wait to fill a packet; the server that is measured does the same.
struct NoDelay(TcpListener);

impl axum::serve::Listener for NoDelay {
    type Io = tokio::net::TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = axum::serve::Listener::accept(&mut self.0).await;
        // A connection that is gone already shows itself at its first read.
        let _ = stream.set_nodelay(true);
        (stream, peer)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
