//! The role's service. What each call does is a function of the same name, in the file that is named after the thing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tollgate_changes::Feed;
use tollgate_db::Db;
use tollgate_kernel::{Clock, Entropy, Fault, MasterKey};
use tollgate_proto::{Keys, RateLimitHandle, fault::to_status, keys as wire, keys_rpcs};
use tonic::{Request, Response, Status};

use crate::{
    Config,
    credits::Turns,
    imported::SlowHashes,
    leaks::GithubKeys,
    notices::Walks,
    outbound::{Machine, Outbound, Rules},
    quota::Called,
    store::Store,
    webhooks::secret::Seal,
};

/// The keys role.
pub struct KeysService {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) ratelimit: RateLimitHandle,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) slow_hashes: SlowHashes,
    /// Held by the drain that runs: two at once would be handed the same batches, one of them in vain. In it, what was drained of
    /// which the quotas are to be looked at.
    pub(crate) draining: tokio::sync::Mutex<Called>,
    /// Held by whoever makes steps of an account of credits: two at once would get in each other's way.
    pub(crate) turns: Turns,
    /// Where the announcing of what comes near goes on.
    pub(crate) walks: Walks,
    /// What the secrets of webhooks are sealed with; absent: there are no webhooks here.
    pub(crate) seal: Option<Seal>,
    pub(crate) outbound: Outbound,
    pub(crate) github: GithubKeys,
}

impl KeysService {
    /// The role over these tables, which are migrated. What turns a yes into a no goes through `feed`. Without a master key there
    /// are no webhooks.
    pub fn new(
        config: Config,
        master: Option<&MasterKey>,
        db: Db,
        ratelimit: RateLimitHandle,
        feed: Feed,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Arc<Self> {
        let store = Store::new(db, feed, clock.clone(), entropy.clone());
        let rules = Rules {
            private: config.webhook_private_networks,
            timeout: config.webhook_timeout(),
            trusted: config.webhook_ca_file.clone(),
        };
        Arc::new(Self {
            seal: master.map(Seal::new),
            outbound: Outbound::new(rules, Arc::new(Machine)),
            github: GithubKeys::default(),
            config,
            store,
            ratelimit,
            clock,
            entropy,
            slow_hashes: SlowHashes::new(),
            draining: tokio::sync::Mutex::default(),
            turns: Turns::default(),
            walks: Walks::default(),
        })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.store.ping().await
    }

    /// Does what is to be done from time to time: drains tallies into usage, forgets what is old, does what policies ask for,
    /// refills accounts of credits, and tells webhooks. Returns after `stop` is cancelled and the tallies were drained once
    /// more.
    pub async fn run(&self, stop: CancellationToken) {
        // In boxes: the task of all five would be large for what it mostly does, which is to wait.
        let (draining, forgetting) =
            (Box::pin(self.keep_draining(&stop)), Box::pin(self.keep_forgetting(&stop)));
        let (tending, telling) = (Box::pin(self.keep_tending(&stop)), Box::pin(self.keep_telling(&stop)));
        let crediting = Box::pin(self.keep_crediting(&stop));
        tokio::join!(draining, forgetting, tending, telling, crediting);
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
