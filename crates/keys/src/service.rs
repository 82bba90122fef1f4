//! The role's service. What each call does is a function of the same name, in the file that is named after the thing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tollgate_changes::Feed;
use tollgate_db::Db;
use tollgate_kernel::{Clock, Entropy, Fault};
use tollgate_proto::{Keys, RateLimitHandle, fault::to_status, keys as wire, keys_rpcs};
use tonic::{Request, Response, Status};

use crate::{Config, imported::SlowHashes, store::Store};

/// The keys role.
pub struct KeysService {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) ratelimit: RateLimitHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) slow_hashes: SlowHashes,
    /// Held by the drain that runs: two at once would be handed the same batches, one of them in vain.
    pub(crate) draining: tokio::sync::Mutex<()>,
}

impl KeysService {
    /// The role over these tables, which are migrated. What turns a yes into a no goes through `feed`.
    pub fn new(
        config: Config,
        db: Db,
        ratelimit: RateLimitHandle,
        feed: Feed,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        let store = Store::new(db, feed, clock.clone(), entropy.clone());
        Arc::new(Self {
            config,
            store,
            ratelimit,
            clock,
            entropy,
            slow_hashes: SlowHashes::new(),
            draining: tokio::sync::Mutex::default(),
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.store.ping().await
    }

    /// Does what is to be done from time to time: drains tallies into usage, forgets what is old, and does what
    /// policies ask for. Returns after
    /// `stop` is cancelled and the tallies were drained once more.
    pub async fn run(&self, stop: CancellationToken) {
        // In a box: the task of all three would be large for what it mostly does, which is to wait.
        let tending = Box::pin(self.keep_tending(&stop));
        tokio::join!(self.keep_draining(&stop), self.keep_forgetting(&stop), tending);
    }
}

impl std::fmt::Debug for KeysService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeysService").field("config", &self.config).finish_non_exhaustive()
    }
}

macro_rules! rpcs {
    ($($rpc:ident($request:ident) -> $response:ident;)*) => {
        #[async_trait::async_trait]
        impl Keys for KeysService {
            $(
                #[tracing::instrument(skip_all)]
                async fn $rpc(
                    &self,
                    request: Request<wire::$request>,
                ) -> Result<Response<wire::$response>, Status> {
                    // The path form calls the function of the same name that does it, not this one.
                    KeysService::$rpc(self, request.into_inner()).await.map(Response::new).map_err(to_status)
                }
            )*
        }
    };
}

keys_rpcs!(rpcs! {});
