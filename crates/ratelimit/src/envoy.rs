//! Envoy's rate limit service (`envoy.service.ratelimit.v3`), on top of the role: what a file says of domains and
//! descriptors becomes one [`CheckRequest`].
//!
//! Envoy's own reference server counts each descriptor for itself. Here a request is charged to all of its descriptors, or,
//! if one of them is over its limit, to none.

mod question;
mod rules;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use tollgate_kernel::{Code, Fault};
use tollgate_proto::{
    RateLimitHandle,
    envoy::{
        core::HeaderValue,
        ratelimit::{
            RateLimitRequest, RateLimitResponse,
            rate_limit_response::{self, DescriptorStatus, RateLimit},
            rate_limit_service_server::RateLimitService,
        },
    },
    fault::from_status,
    ratelimit::{Algorithm, Charge, CheckRequest, CheckResponse, LimitState},
};
use tonic::{Request, Response, Status};

use self::question::{Asked, Planned, Question};
pub use self::rules::{Domains, Mistakes};

/// Answers Envoy.
pub struct EnvoyService {
    domains: Domains,
    counters: RateLimitHandle,
}

impl EnvoyService {
    /// The service over these domains, once `counters` has found every limit of theirs to be one.
    ///
    /// # Errors
    /// Limits that the role does not take, by their places in the file.
    pub async fn open(domains: Domains, counters: RateLimitHandle) -> Result<Self, Fault> {
        let mut mistakes = Mistakes::default();
        for (place, partition, limit) in domains.limits() {
            let charge = Charge { limit: Some(limit), subject: "none".to_owned(), cost: 0 };
            let request =
                CheckRequest { partition, charges: vec![charge], peek: true, ..CheckRequest::default() };
            let Err(status) = counters.check(Request::new(request)).await else { continue };
            let fault = from_status(status);
            // That the counters cannot be reached says nothing of the limit.
            for wrong in fault.violated().iter().filter(|_| fault.code() == Code::InvalidArgument) {
                let field = wrong.pointer.rsplit("limit/").next().unwrap_or_default();
                mistakes.push(&place, format!("`{field}` {}", wrong.detail));
            }
        }
        if mistakes.is_empty() { Ok(Self { domains, counters }) } else { Err(Fault::internal(mistakes)) }
    }

    async fn decide(&self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let Some(domain) = self.domains.get(&request.domain) else {
            count("unknown_domain");
            let all = request.descriptors.iter().map(|_| unlimited());
            return Ok(RateLimitResponse {
                overall_code: rate_limit_response::Code::Ok.into(),
                statuses: all.collect(),
                ..RateLimitResponse::default()
            });
        };
        let mut question = Question::new(domain, &request)?;
        let decided = self.check(domain.partition(), &mut question).await?;
        let answer = answer(&question, &decided);
        count(if answer.overall_code() == rate_limit_response::Code::Ok { "ok" } else { "over_limit" });
        Ok(answer)
    }

    /// Asks the counters. What could never pass is charged to nothing: each time that they name such a charge, they are asked again
    /// about the others, so at most once per charge.
    async fn check(&self, partition: String, question: &mut Question) -> Result<CheckResponse, Status> {
        if question.planned.is_empty() {
            return Ok(CheckResponse { allowed: true, ..CheckResponse::default() });
        }
        loop {
            let request = CheckRequest {
                partition: partition.clone(),
                charges: question.planned.iter().map(Planned::charge).collect(),
                peek: question.is_hopeless(),
                ..CheckRequest::default()
            };
            let refused = match self.counters.check(Request::new(request)).await {
                Ok(decided) => return Ok(decided.into_inner()),
                Err(status) => from_status(status),
            };
            if !question.gives_up(&refused) {
                // The cause has been logged where it became a status. Whatever it is: then Envoy's `failure_mode_deny` decides.
                count("failed");
                return Err(Status::unavailable("Tollgate cannot decide now."));
            }
        }
    }
}

#[async_trait]
impl RateLimitService for EnvoyService {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.decide(request.into_inner()).await.map(Response::new)
    }
}

impl std::fmt::Debug for EnvoyService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvoyService").finish_non_exhaustive()
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("tollgate_ratelimit_envoy_total", "outcome" => outcome).increment(1);
}

fn answer(question: &Question, decided: &CheckResponse) -> RateLimitResponse {
    let passes = decided.allowed && !question.is_hopeless();
    let wait = Duration::from_micros(decided.retry_after_us);
    let retry_after = (!passes && !question.is_hopeless()).then(|| HeaderValue {
        key: "retry-after".to_owned(),
        // Rounded up: whoever waits this long has waited long enough.
        value: wait.as_micros().div_ceil(1_000_000).max(1).to_string(),
        ..HeaderValue::default()
    });
    RateLimitResponse {
        overall_code: code(!passes).into(),
        statuses: question.asked.iter().map(|asked| status(asked, question, &decided.limits)).collect(),
        response_headers_to_add: retry_after.into_iter().collect(),
    }
}

fn status(asked: &Asked, question: &Question, states: &[LimitState]) -> DescriptorStatus {
    match asked {
        Asked::Unlimited => unlimited(),
        Asked::Nothing { limit, shadow } => DescriptorStatus {
            code: code(!shadow).into(),
            current_limit: Some(limit.clone()),
            ..DescriptorStatus::default()
        },
        Asked::Charged(at) => question.planned[*at].status(states.get(*at)),
    }
}

fn unlimited() -> DescriptorStatus {
    DescriptorStatus { code: code(false).into(), ..DescriptorStatus::default() }
}

fn code(over: bool) -> rate_limit_response::Code {
    if over { rate_limit_response::Code::OverLimit } else { rate_limit_response::Code::Ok }
}

impl Planned {
    fn status(&self, state: Option<&LimitState>) -> DescriptorStatus {
        let state = state.cloned().unwrap_or_default();
        let over = (state.exceeded || self.is_hopeless) && !self.limit.shadow;
        // Of a token bucket the state says the burst.
        let bucket = self.limit.algorithm() == Algorithm::TokenBucket;
        let units = if bucket { self.limit.limit } else { state.limit };
        DescriptorStatus {
            code: code(over).into(),
            current_limit: Some(RateLimit {
                name: self.limit.name.clone(),
                requests_per_unit: clamped(units),
                unit: self.unit.into(),
            }),
            limit_remaining: clamped(state.remaining),
            duration_until_reset: Some(duration(state.reset_us)),
        }
    }
}

fn clamped(units: u64) -> u32 {
    u32::try_from(units).unwrap_or(u32::MAX)
}

fn duration(micros: u64) -> prost_types::Duration {
    let parts = "a microsecond count is in the range of a duration";
    Duration::from_micros(micros).try_into().expect(parts)
}
