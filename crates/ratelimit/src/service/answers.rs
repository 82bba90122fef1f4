//! What was decided, as it is said on the wire, and as it is counted in the metrics.

use chrono::DateTime;
use tollgate_kernel::Fault;
use tollgate_proto::{
    fault::to_status,
    ratelimit::{
        AccountState, CheckResponse, CreditState, Failure, LimitState, ListOverridesResponse, Outcome,
        Override, outcome,
    },
    time::to_wire,
};

use crate::{
    call::{CREDITS, Call, Charge, Key},
    counter::Answer,
    engine::{self, Credit, Outlook},
};

/// Counts an answer.
pub(super) fn measure(call: &Call, answer: &Answer) {
    let outcome = match (call.peek, answer.denial) {
        (true, _) => "peeked",
        (false, None) => "allowed",
        (false, Some(_)) => "denied",
    };
    metrics::counter!("tollgate_ratelimit_checks_total", "outcome" => outcome).increment(1);
    let limits = || call.charges.iter().zip(&answer.outlooks);
    let watched = limits().filter(|(charge, outlook)| charge.shadow && outlook.exceeded).count();
    if watched > 0 && !call.peek {
        metrics::counter!("tollgate_ratelimit_shadow_exceeded_total").increment(watched as u64);
    }
}

/// The answer to a call.
pub(super) fn response(call: &Call, answer: &Answer) -> CheckResponse {
    let denied_by = answer.denial.map(|denial| &call.charges[denial.by]);
    let name = |charge: &Charge| if charge.is_credit() { CREDITS } else { charge.key.name() }.to_owned();
    let (credit, limits): (Vec<_>, Vec<_>) =
        call.charges.iter().zip(&answer.outlooks).partition(|(charge, _)| charge.is_credit());
    CheckResponse {
        allowed: answer.denial.is_none(),
        denied_by: denied_by.map(name),
        retry_after_us: answer.denial.map_or(0, |denial| denial.wait.unsigned_abs()),
        limits: limits.into_iter().map(limit_state).collect(),
        degraded: answer.degraded,
        credit: credit.first().map(|(_, outlook)| CreditState {
            remaining: outlook.remaining,
            behind: outlook.reset.max(0).unsigned_abs(),
            step: outlook.limit,
            denied: denied_by.is_some_and(Charge::is_credit),
        }),
    }
}

/// How an account of credits stands.
pub(super) fn account(credit: Option<Credit>) -> AccountState {
    let Credit { epoch, left, step, withdrawn, behind: _ } = credit.unwrap_or_default();
    AccountState { epoch, step, remaining: left, withdrawn }
}

/// How one call of a batch ended.
pub(super) fn outcome(decided: Result<CheckResponse, Fault>) -> Outcome {
    let outcome =
        decided.map_or_else(|fault| outcome::Outcome::Failed(failure(fault)), outcome::Outcome::Decided);
    Outcome { outcome: Some(outcome) }
}

/// The overrides of a partition.
pub(super) fn overrides(overrides: &[(Key, engine::Override)]) -> ListOverridesResponse {
    let overrides = overrides.iter().map(|(key, replaced)| Override {
        subject: key.subject().to_owned(),
        name: key.name().to_owned(),
        limit: replaced.limit,
        expires_at: DateTime::from_timestamp_micros(replaced.until).map(to_wire),
    });
    ListOverridesResponse { overrides: overrides.collect() }
}

/// As the status would have been, with what is wrong in its text, because a batch has no details.
fn failure(fault: Fault) -> Failure {
    let wrong = fault.violated().iter().map(|wrong| format!("{} {}", wrong.pointer, wrong.detail));
    let wrong = wrong.collect::<Vec<_>>().join("; ");
    let status = to_status(fault);
    let message = if wrong.is_empty() { status.message().to_owned() } else { wrong };
    Failure { code: status.code().into(), message }
}

fn limit_state((charge, outlook): (&Charge, &Outlook)) -> LimitState {
    let period = u32::try_from(outlook.period / 1_000_000).expect("no period is longer than a year");
    LimitState {
        name: charge.key.name().to_owned(),
        limit: outlook.limit,
        remaining: outlook.remaining,
        reset_us: outlook.reset.max(0).unsigned_abs(),
        window_seconds: charge.window_seconds.max(period),
        exceeded: outlook.exceeded,
        shadow: charge.shadow,
        algorithm: charge.algorithm().into(),
    }
}
