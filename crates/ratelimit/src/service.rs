//! The service: what comes over the wire, parsed, decided, and answered.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_kernel::{Clock, Entropy, Fault};
use tollgate_proto::{
    RateLimit,
    fault::to_status,
    ratelimit::{
        AckTalliesRequest, AckTalliesResponse, CheckRequest, CheckResponse, DrainTalliesRequest,
        DrainTalliesResponse, LimitState,
    },
};
use tonic::{Request, Response, Status};

use crate::{
    call::{Call, Charge},
    counter::{Answer, Counter},
    engine::Outlook,
    settings::Settings,
    tally::BatchId,
};

/// The ratelimit role.
pub struct RateLimitService {
    counter: Counter,
}

impl RateLimitService {
    /// Opens the store, within a Tokio runtime. A Redis that is gone now does not fail this: the failure policies of the
    /// limits hold until it is there.
    ///
    /// # Errors
    /// A Redis address that cannot be understood.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Result<Self, Fault> {
        Ok(Self { counter: Counter::open(settings.store, clock, entropy)? })
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<(), Fault> {
        self.counter.ping().await
    }

    async fn decide(&self, request: CheckRequest) -> Result<CheckResponse, Fault> {
        let call = Call::try_from(request)?;
        let answer = self.counter.check(&call).await?;
        metrics::counter!("tollgate_ratelimit_checks_total", "outcome" => outcome(&call, &answer))
            .increment(1);
        Ok(response(&call, &answer))
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

#[async_trait]
impl RateLimit for RateLimitService {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.decide(request.into_inner()).await.map(Response::new).map_err(to_status)
    }

    async fn drain_tallies(
        &self,
        _: Request<DrainTalliesRequest>,
    ) -> Result<Response<DrainTalliesResponse>, Status> {
        self.next_batch().await.map(Response::new).map_err(to_status)
    }

    async fn ack_tallies(
        &self,
        request: Request<AckTalliesRequest>,
    ) -> Result<Response<AckTalliesResponse>, Status> {
        self.forget_batch(&request.get_ref().batch_id).await.map(Response::new).map_err(to_status)
    }

    async fn check_batch(
        &self,
        _: Request<tollgate_proto::ratelimit::CheckBatchRequest>,
    ) -> Result<Response<tollgate_proto::ratelimit::CheckBatchResponse>, Status> {
        Err(Status::unimplemented("check_batch"))
    }

    async fn reserve(
        &self,
        _: Request<tollgate_proto::ratelimit::ReserveRequest>,
    ) -> Result<Response<tollgate_proto::ratelimit::CheckResponse>, Status> {
        Err(Status::unimplemented("reserve"))
    }

    async fn settle(
        &self,
        _: Request<tollgate_proto::ratelimit::SettleRequest>,
    ) -> Result<Response<tollgate_proto::ratelimit::SettleResponse>, Status> {
        Err(Status::unimplemented("settle"))
    }

    async fn refund(
        &self,
        _: Request<tollgate_proto::ratelimit::RefundRequest>,
    ) -> Result<Response<tollgate_proto::ratelimit::SettleResponse>, Status> {
        Err(Status::unimplemented("refund"))
    }

    async fn reset(
        &self,
        _: Request<tollgate_proto::ratelimit::ResetRequest>,
    ) -> Result<Response<tollgate_proto::ratelimit::ResetResponse>, Status> {
        Err(Status::unimplemented("reset"))
    }

    async fn put_override(
        &self,
        _: Request<tollgate_proto::ratelimit::PutOverrideRequest>,
    ) -> Result<Response<tollgate_proto::ratelimit::PutOverrideResponse>, Status> {
        Err(Status::unimplemented("put_override"))
    }

    async fn delete_override(
        &self,
        _: Request<tollgate_proto::ratelimit::DeleteOverrideRequest>,
    ) -> Result<Response<tollgate_proto::ratelimit::DeleteOverrideResponse>, Status> {
        Err(Status::unimplemented("delete_override"))
    }

    async fn list_overrides(
        &self,
        _: Request<tollgate_proto::ratelimit::ListOverridesRequest>,
    ) -> Result<Response<tollgate_proto::ratelimit::ListOverridesResponse>, Status> {
        Err(Status::unimplemented("list_overrides"))
    }
}

impl std::fmt::Debug for RateLimitService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitService").finish_non_exhaustive()
    }
}

fn outcome(call: &Call, answer: &Answer) -> &'static str {
    match (call.peek, answer.denial) {
        (true, _) => "peeked",
        (false, None) => "allowed",
        (false, Some(_)) => "denied",
    }
}

fn response(call: &Call, answer: &Answer) -> CheckResponse {
    CheckResponse {
        allowed: answer.denial.is_none(),
        denied_by: answer.denial.map(|denial| call.charges[denial.by].name.clone()),
        retry_after_us: answer.denial.map_or(0, |denial| denial.wait.unsigned_abs()),
        limits: call.charges.iter().zip(&answer.outlooks).map(limit_state).collect(),
        degraded: answer.degraded,
    }
}

fn limit_state((charge, outlook): (&Charge, &Outlook)) -> LimitState {
    let seconds = charge.spec.window / 1_000_000;
    LimitState {
        name: charge.name.clone(),
        limit: charge.spec.limit.into(),
        remaining: outlook.remaining.into(),
        reset_us: outlook.reset.unsigned_abs(),
        window_seconds: u32::try_from(seconds).expect("a window is at most 400 days"),
        ..LimitState::default()
    }
}
