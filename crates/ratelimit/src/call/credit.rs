//! The credit of a call, and the steps of an account: deposits and withdrawals.

use tollgate_kernel::Fault;
use tollgate_proto::ratelimit as wire;

use super::charge::{Charge, Key, OnFailure, Rule};
use crate::engine::{MAX_LIMIT, Step, StepKind};

/// What a denial for lack of credits is said to be by.
pub(crate) const CREDITS: &str = "credits";
/// The name of the state, which no limit can have.
const STATE: &str = "$credits";
/// Largest amount of a deposit, and of what is behind it, in units.
const MAX_AMOUNT: u64 = 1_000_000_000_000;
/// Largest epoch and step: what a double holds.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// A step of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) partition: String,
    pub(crate) key: Key,
    pub(crate) step: Step,
}

/// The credit as what it is decided as: a charge that is never watched only, and never let pass without its store.
pub(super) fn parse(credit: wire::Credit) -> Result<Charge, Fault> {
    if credit.cost > MAX_LIMIT {
        return Err(Fault::invalid("/credit/cost", format!("must be at most {MAX_LIMIT}")));
    }
    Ok(Charge {
        key: key(credit.account, "/credit/account")?,
        rule: Rule::Credit,
        limit: MAX_LIMIT,
        cost: credit.cost,
        shadow: false,
        on_failure: OnFailure::Deny,
        window_seconds: 0,
    })
}

impl TryFrom<wire::DepositRequest> for Move {
    type Error = Fault;

    fn try_from(request: wire::DepositRequest) -> Result<Self, Fault> {
        let wire::DepositRequest { partition, account, epoch, step, amount, behind } = request;
        at_most(epoch, MAX_NUMBER, "/epoch")?;
        at_most(step, MAX_NUMBER, "/step")?;
        at_most(amount, MAX_AMOUNT, "/amount")?;
        at_most(behind.unwrap_or(0), MAX_AMOUNT, "/behind")?;
        let kind = match step {
            0 if amount > 0 => return Err(Fault::invalid("/amount", "must be 0 with no step")),
            0 => StepKind::Open { behind },
            _ => StepKind::Deposit { amount, behind },
        };
        let step = Step { epoch, number: step, kind };
        Ok(Self { partition: super::partition(partition)?, key: key(account, "/account")?, step })
    }
}

impl TryFrom<wire::WithdrawRequest> for Move {
    type Error = Fault;

    fn try_from(request: wire::WithdrawRequest) -> Result<Self, Fault> {
        let wire::WithdrawRequest { partition, account, epoch, step } = request;
        at_most(epoch, MAX_NUMBER, "/epoch")?;
        at_most(step, MAX_NUMBER, "/step")?;
        if step == 0 {
            return Err(Fault::invalid("/step", "must be at least 1"));
        }
        let step = Step { epoch, number: step, kind: StepKind::Withdraw };
        Ok(Self { partition: super::partition(partition)?, key: key(account, "/account")?, step })
    }
}

fn key(account: String, pointer: &str) -> Result<Key, Fault> {
    let account = super::name(account, || pointer.to_owned())?;
    Ok(Key::new(STATE.to_owned(), &account))
}

fn at_most(number: u64, most: u64, pointer: &'static str) -> Result<(), Fault> {
    if number > most { Err(Fault::invalid(pointer, format!("must be at most {most}"))) } else { Ok(()) }
}
