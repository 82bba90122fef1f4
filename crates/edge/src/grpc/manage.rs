//! Management over gRPC: the role's own service `tollgate.keys.v1.Keys`, for whoever has a service key or an access token.
//!
//! The edge says who calls, as it does over HTTP, and hands the request on. Of a request it vouches for `caller` alone, and
//! whatever came in that field is replaced; all else is the client's own word. What the roles ask one another, and says of
//! nobody who calls, is not here.

use tollgate_proto::{
    Keys,
    fault::{from_status, to_status},
    kernel,
    keys::{self, keys_server::KeysServer},
    keys_calls,
};
use tonic::{Request, Response, Status};

use crate::{
    app::App,
    extract::{Caller, ClientIp, Presented},
};

/// Largest request, in bytes: that of the role.
const MAX_REQUEST: usize = 4 * 1024 * 1024;
/// What compares the caller's e-mail address with something.
const ADDRESSED: [&str; 1] = ["accept_invitation"];

/// Implements `tollgate.keys.v1.Keys` for callers from outside.
#[derive(Clone)]
pub struct ManageService(App);

/// The service.
pub(crate) fn service(app: App) -> ManageService {
    ManageService(app)
}

/// The service, bounded.
pub(crate) fn server(app: App) -> KeysServer<ManageService> {
    KeysServer::new(service(app)).max_decoding_message_size(MAX_REQUEST)
}

impl ManageService {
    /// Who calls, as the RPC needs to know it. Behind the door that counts who fails.
    async fn caller<T>(&self, rpc: &str, request: &Request<T>) -> Result<kernel::Caller, Status> {
        let ip = ClientIp(request.remote_addr().map(|peer| peer.ip().to_canonical()));
        let caller = Caller::of(Presented::of(request.metadata().as_ref(), ip), &self.0).await?;
        if ADDRESSED.contains(&rpc) {
            return caller.with_address(&self.0).await.map_err(to_status);
        }
        Ok(caller.to_proto())
    }
}

macro_rules! handed_on {
    ($($rpc:ident($request:ident) -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl Keys for ManageService {
            $(async fn $rpc(
                &self,
                request: Request<keys::$request>,
            ) -> Result<Response<keys::$response>, Status> {
                let caller = self.caller(stringify!($rpc), &request).await?;
                // Nothing of the client's metadata goes further.
                let mut message = request.into_inner();
                message.caller = Some(caller);
                self.0.keys.$rpc(Request::new(message)).await.map_err(|status| to_status(from_status(status)))
            })*
        }
    };
}

keys_calls!(handed_on! {});
