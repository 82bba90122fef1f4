//! The service: what comes over the wire, parsed, decided, and answered ([`answers`]).

mod answers;

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_kernel::{Clock, Entropy, Fault};
use tollgate_proto::{
    RateLimit,
    fault::to_status,
    ratelimit::{
        AccountState, AckTalliesRequest, AckTalliesResponse, CheckBatchRequest, CheckBatchResponse,
        CheckRequest, CheckResponse, DeleteOverrideRequest, DeleteOverrideResponse, DepositRequest,
        DrainTalliesRequest, DrainTalliesResponse, ListOverridesRequest, ListOverridesResponse,
        PutOverrideRequest, PutOverrideResponse, RefundRequest, ReserveRequest, ResetRequest, ResetResponse,
        SettleRequest, SettleResponse, WithdrawRequest,
    },
};
use tonic::{Request, Response, Status};

use crate::{
    call::{self, Call, Move, PutOverride, Reset, Settle},
    counter::Counter,
    settings::Settings,
    tally::BatchId,
};

/// The ratelimit role.
pub struct RateLimitService {
    counter: Counter,
    clock: Arc<dyn Clock>,
}

impl RateLimitService {
    /// Opens the store, within a Tokio runtime. A Redis that is gone now does not fail this: the failure policies of the
    /// limits hold until it is there.
    ///
    /// # Errors
    /// A Redis address that cannot be understood; a snapshot that cannot be taken away.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, Fault> {
        Ok(Self { counter: Counter::open(settings.store, clock.clone(), entropy)?, clock })
    }

    /// Waits until the first attempt to reach the store has ended.
    ///
    /// # Errors
    /// Why a Redis that answers must not be counted in: it may evict keys. That it does not answer is none.
    pub async fn examine(&self) -> Result<(), Fault> {
        self.counter.examine().await
    }

    /// Keeps what was counted in this process for the next one, if the settings say where. To be called once nobody calls
    /// the service any more: what is counted after it is lost.
    ///
    /// # Errors
    /// The file cannot be written; then the next process begins anew.
    pub async fn close(&self) -> Result<(), Fault> {
        self.counter.close().await
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.counter.ping().await
    }

    async fn decide(&self, call: Call) -> Result<CheckResponse, Fault> {
        let answer = self.counter.check(&call).await?;
        answers::measure(&call, &answer);
        Ok(answers::response(&call, &answer))
    }

    async fn decide_each(&self, request: CheckBatchRequest) -> Result<CheckBatchResponse, Fault> {
        let calls = Call::batch(request)?;
        let mut outcomes = Vec::with_capacity(calls.len());
        // One after the other, because a later one may depend on what an earlier one was charged.
        for call in calls {
            let decided = match call {
                Ok(call) => self.decide(call).await,
                Err(fault) => Err(fault),
            };
            outcomes.push(answers::outcome(decided));
        }
        Ok(CheckBatchResponse { outcomes })
    }

    async fn give_back(&self, settle: Result<Settle, Fault>) -> Result<Response<SettleResponse>, Status> {
        let settled = async { self.counter.settle(&settle?).await };
        let returned = settled.await.map_err(to_status)?;
        Ok(Response::new(SettleResponse { returned }))
    }

    async fn make(&self, step: Result<Move, Fault>) -> Result<AccountState, Fault> {
        Ok(answers::account(self.counter.make(&step?).await?))
    }

    async fn forget(&self, request: ResetRequest) -> Result<ResetResponse, Fault> {
        self.counter.reset(&Reset::try_from(request)?).await?;
        Ok(ResetResponse {})
    }

    async fn replace(&self, request: PutOverrideRequest) -> Result<PutOverrideResponse, Fault> {
        let put = PutOverride::parse(request, self.clock.now())?;
        self.counter.put_override(&put).await?;
        Ok(PutOverrideResponse {})
    }

    async fn restore(&self, request: DeleteOverrideRequest) -> Result<DeleteOverrideResponse, Fault> {
        let (partition, key) = call::ended(request)?;
        self.counter.delete_override(&partition, &key).await?;
        Ok(DeleteOverrideResponse {})
    }

    async fn list(&self, request: ListOverridesRequest) -> Result<ListOverridesResponse, Fault> {
        let overrides = self.counter.overrides(&call::partition(request.partition)?).await?;
        Ok(answers::overrides(&overrides))
    }

    async fn next_batch(&self) -> Result<DrainTalliesResponse, Fault> {
        let batch = self.counter.drain().await?;
        Ok(DrainTalliesResponse { batch: batch.map(Into::into) })
    }

    async fn forget_batch(&self, id: &str) -> Result<AckTalliesResponse, Fault> {
        let id: BatchId = id.parse()?;
        self.counter.acknowledge(&id).await?;
        Ok(AckTalliesResponse {})
    }
}

/// What every method answers with.
type Answered<T> = Result<Response<T>, Status>;

fn answered<T>(outcome: Result<T, Fault>) -> Answered<T> {
    outcome.map(Response::new).map_err(to_status)
}

#[async_trait]
impl RateLimit for RateLimitService {
    async fn check(&self, request: Request<CheckRequest>) -> Answered<CheckResponse> {
        let call = Call::try_from(request.into_inner()).map_err(to_status)?;
        answered(self.decide(call).await)
    }

    async fn check_batch(&self, request: Request<CheckBatchRequest>) -> Answered<CheckBatchResponse> {
        answered(self.decide_each(request.into_inner()).await)
    }

    async fn reserve(&self, request: Request<ReserveRequest>) -> Answered<CheckResponse> {
        let call = Call::try_from(request.into_inner()).map_err(to_status)?;
        let decided = self.decide(call).await;
        answered(
            decided.map_err(
                |fault| if fault.violated().is_empty() { fault } else { call::within("/call", &fault) },
            ),
        )
    }

    async fn settle(&self, request: Request<SettleRequest>) -> Answered<SettleResponse> {
        self.give_back(request.into_inner().try_into()).await
    }

    async fn refund(&self, request: Request<RefundRequest>) -> Answered<SettleResponse> {
        self.give_back(request.into_inner().try_into()).await
    }

    async fn deposit(&self, request: Request<DepositRequest>) -> Answered<AccountState> {
        answered(self.make(request.into_inner().try_into()).await)
    }

    async fn withdraw(&self, request: Request<WithdrawRequest>) -> Answered<AccountState> {
        answered(self.make(request.into_inner().try_into()).await)
    }

    async fn reset(&self, request: Request<ResetRequest>) -> Answered<ResetResponse> {
        answered(self.forget(request.into_inner()).await)
    }

    async fn put_override(&self, request: Request<PutOverrideRequest>) -> Answered<PutOverrideResponse> {
        answered(self.replace(request.into_inner()).await)
    }

    async fn delete_override(
        &self,
        request: Request<DeleteOverrideRequest>,
    ) -> Answered<DeleteOverrideResponse> {
        answered(self.restore(request.into_inner()).await)
    }

    async fn list_overrides(
        &self,
        request: Request<ListOverridesRequest>,
    ) -> Answered<ListOverridesResponse> {
        answered(self.list(request.into_inner()).await)
    }

    async fn drain_tallies(&self, _: Request<DrainTalliesRequest>) -> Answered<DrainTalliesResponse> {
        answered(self.next_batch().await)
    }

    async fn ack_tallies(&self, request: Request<AckTalliesRequest>) -> Answered<AckTalliesResponse> {
        answered(self.forget_batch(&request.get_ref().batch_id).await)
    }
}

impl std::fmt::Debug for RateLimitService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitService").finish_non_exhaustive()
    }
}
