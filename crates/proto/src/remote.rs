//! Roles in other processes: the generated clients, with the trait of the service that they call.

use std::{sync::Arc, time::Duration};

use tonic::{
    Request, Response, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint, Uri},
};

use crate::{
    Identity, IdentityHandle, Keys, KeysHandle, RateLimit, RateLimitHandle,
    identity::{self, identity_client::IdentityClient},
    keys::{self, keys_client::KeysClient},
    mesh::{MeshToken, Outgoing},
    ratelimit::{self, rate_limit_client::RateLimitClient},
};

/// Largest message that a handle accepts, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// A connection that carries the mesh's credential and the request's context.
pub type Mesh = InterceptedService<Channel, Outgoing>;

/// The client of the stream of changes. No handle: its callers are always elsewhere.
pub type WatchClient = crate::verify::watch_client::WatchClient<Mesh>;

/// A role at an address. Connects when it is first called, and again whenever the connection is lost.
#[derive(Debug, Clone)]
pub struct Remote {
    /// `http://host:port`
    pub address: Uri,
    /// Sent with every call.
    pub mesh: MeshToken,
    /// A call that takes longer is given up.
    pub timeout: Duration,
}

impl Remote {
    /// The identity role there.
    pub fn identity(&self) -> IdentityHandle {
        Arc::new(IdentityClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE))
    }

    /// The keys role there.
    pub fn keys(&self) -> KeysHandle {
        Arc::new(KeysClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE))
    }

    /// The ratelimit role there.
    pub fn ratelimit(&self) -> RateLimitHandle {
        Arc::new(RateLimitClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE))
    }

    /// The bare connection, for services that this crate does not hold (health).
    pub fn channel(&self) -> Mesh {
        self.over(&self.endpoint().timeout(self.timeout))
    }

    /// A connection for streams that live as long as the process.
    pub fn streaming_channel(&self) -> Mesh {
        self.over(&self.endpoint())
    }

    fn over(&self, endpoint: &Endpoint) -> Mesh {
        InterceptedService::new(endpoint.connect_lazy(), Outgoing(self.mesh.clone()))
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from(self.address.clone())
            .connect_timeout(self.timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
    }
}

macro_rules! same_trait {
    ($service:ident for $client:ident in $package:ident: $($method:ident($request:ident) -> $response:ident;)*) => {
        #[async_trait::async_trait]
        impl $service for $client<Mesh> {
            $(async fn $method(
                &self,
                request: Request<$package::$request>,
            ) -> Result<Response<$package::$response>, Status> {
                // The path form calls the client; `self.clone().method()` would find this very method and recurse.
                $client::$method(&mut self.clone(), request).await
            })*
        }
    };
}

identity_rpcs!(same_trait! { Identity for IdentityClient in identity: });
keys_rpcs!(same_trait! { Keys for KeysClient in keys: });
rate_limit_rpcs!(same_trait! { RateLimit for RateLimitClient in ratelimit: });
