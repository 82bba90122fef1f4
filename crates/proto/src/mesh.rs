//! The credential of the mesh: what lets a role believe the `caller` field of a request.
//!
//! A shared token in the metadata of every call between roles. On loopback it may be absent; a role that listens beyond
//! loopback does not start without one (the wiring sees to that).

use std::sync::Arc;

use subtle::ConstantTimeEq;
use tollgate_kernel::{Code, ExposeSecret, Fault, SecretString};
use tonic::{Request, Status, service::Interceptor};

use crate::{context::Context, fault::to_status};

/// The metadata name of the token.
pub const METADATA: &str = "x-tollgate-mesh";

/// The mesh's token, if there is one.
#[derive(Debug, Clone, Default)]
pub struct MeshToken(Option<Arc<SecretString>>);

impl MeshToken {
    /// A mesh with this token, or an open one.
    pub fn new(token: Option<SecretString>) -> Self {
        Self(token.map(Arc::new))
    }

    /// Whether there is a token.
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    fn admits(&self, presented: Option<&[u8]>) -> bool {
        match &self.0 {
            None => true,
            Some(token) => presented.is_some_and(|it| token.expose_secret().as_bytes().ct_eq(it).into()),
        }
    }
}

/// On the server: refuses a call that does not carry the token.
#[derive(Debug, Clone)]
pub struct Incoming(pub MeshToken);

impl Interceptor for Incoming {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let presented = request.metadata().get(METADATA).map(tonic::metadata::MetadataValue::as_bytes);
        if self.0.admits(presented) {
            return Ok(request);
        }
        Err(to_status(Fault::new(Code::Unauthenticated, "The mesh token is missing or wrong.")))
    }
}

/// On the client: sends the token, the request id and the trace context.
#[derive(Debug, Clone)]
pub struct Outgoing(pub MeshToken);

impl Interceptor for Outgoing {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0.0 {
            let mut value: tonic::metadata::AsciiMetadataValue = token
                .expose_secret()
                .parse()
                .map_err(|_| to_status(Fault::internal("the mesh token is not visible ASCII")))?;
            value.set_sensitive(true);
            request.metadata_mut().insert(METADATA, value);
        }
        if let Some(context) = Context::current() {
            let mut headers = std::mem::take(request.metadata_mut()).into_headers();
            context.write(&mut headers);
            *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> MeshToken {
        MeshToken::new(Some(text.into()))
    }

    #[test]
    fn only_the_same_token_passes() {
        let sent = Outgoing(token("open sesame")).call(Request::new(())).expect("sent");
        assert!(Incoming(token("open sesame")).call(sent).is_ok());

        let wrong = Outgoing(token("open barley")).call(Request::new(())).expect("sent");
        let refused = Incoming(token("open sesame")).call(wrong).expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);

        let none = Incoming(token("open sesame")).call(Request::new(())).expect_err("refused");
        assert_eq!(none.code(), tonic::Code::Unauthenticated);
    }

    #[test]
    fn the_token_does_not_print() {
        assert!(!format!("{:?}", token("open sesame")).contains("sesame"));
    }
}
