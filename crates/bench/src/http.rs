//! One HTTP/1.1 connection, as lean as can be: the generator must not be what is measured.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Problem;

/// A connection that is made when it is first needed, and again after it broke.
pub(crate) struct Connection {
    to: SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// An answer, whole.
pub(crate) struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl Connection {
    pub(crate) fn new(to: SocketAddr) -> Self {
        Self { to, sender: None }
    }

    /// Sends the request and reads the answer to its end. After an error, or when this is cancelled, the next call
    /// connects anew.
    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Problem> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(self.to).await?,
        };
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok(Answer { status, body })
    }
}

async fn connect(to: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Problem> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends with the connection; what broke it is seen by whoever sends.
    tokio::spawn(connection);
    Ok(sender)
}
