//! What is asked of the role, as the rest of it sees it: parsed from the wire, with every bound kept. A call to decide is
//! here, with its limits in [`charge`] and its credit in [`credit`]; what comes after a call is in [`settle`], and what is done to a subject's limits
//! in [`standing`].

mod charge;
mod credit;
mod settle;
mod standing;

use std::{collections::HashSet, sync::Arc};

use tollgate_kernel::Fault;
use tollgate_proto::ratelimit as wire;

use crate::tally::{Client, QUOTA_EXCEEDED, RATE_LIMITED, is_name};

pub(crate) use self::{
    charge::{Charge, Key, OnFailure, Rule},
    credit::{CREDITS, Move},
    settle::{Settle, Wrong},
    standing::{PutOverride, Reset, ended},
};

/// Most limits of one call.
const MAX_CHARGES: usize = 32;
/// Most calls of one batch.
const MAX_CALLS: usize = 100;
/// The longest request id, in characters.
const MAX_REQUEST_ID: usize = 128;
/// Most of what is kept of who called, in bytes.
const MAX_NETWORK: usize = 64;
const MAX_USER_AGENT: usize = 200;
const NO_NAME: &str = "must be 1 to 128 visible ASCII characters without braces";
/// How long an accepted call is remembered by its request id, and can be settled, in microseconds.
pub(crate) const REMEMBERED: i64 = 600_000_000;
/// The longest time for which a reservation can be settled, in seconds.
const MAX_HOLD: u32 = 86_400;

/// One call to decide and to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) partition: String,
    /// No two of the same subject and name. The credit is the last, if there is one.
    pub(crate) charges: Vec<Charge>,
    pub(crate) tally: Option<Tally>,
    /// Decide and report, change nothing.
    pub(crate) peek: bool,
    /// Never set on a peek, which has nothing to remember. Set if something is charged to a concurrency limit.
    pub(crate) request_id: Option<Arc<str>>,
    /// How long it can be settled, in microseconds. A retry is known as long, and for [`REMEMBERED`] at least.
    pub(crate) hold: i64,
}

/// Where the call is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) subject: String,
    /// What the subject belongs to; empty: nothing.
    pub(crate) group: String,
    /// The code if no limit denies.
    pub(crate) code: String,
    pub(crate) client: Client,
}

impl Tally {
    /// Where it is counted, whoever calls: subject, group and code.
    pub(crate) fn place(&self) -> (&str, &str, &str) {
        (&self.subject, &self.group, &self.code)
    }
}

impl Call {
    /// The calls of a batch, each by itself.
    pub(crate) fn batch(request: wire::CheckBatchRequest) -> Result<Vec<Result<Self, Fault>>, Fault> {
        if request.calls.len() > MAX_CALLS {
            return Err(Fault::invalid("/calls", format!("must be at most {MAX_CALLS}")));
        }
        Ok(request.calls.into_iter().map(Self::try_from).collect())
    }

    /// How the call is counted if the limit at this position denies it. Not at all if that is the credit: whoever asks may
    /// deposit more and ask again.
    pub(crate) fn denied_as(&self, by: usize) -> Option<&'static str> {
        match self.charges[by].rule {
            Rule::Calendar(_) => Some(QUOTA_EXCEEDED),
            Rule::Credit => None,
            _ => Some(RATE_LIMITED),
        }
    }
}

impl TryFrom<wire::CheckRequest> for Call {
    type Error = Fault;

    fn try_from(request: wire::CheckRequest) -> Result<Self, Fault> {
        if request.charges.len() + usize::from(request.credit.is_some()) > MAX_CHARGES {
            return Err(Fault::invalid("/charges", format!("must be at most {MAX_CHARGES}")));
        }
        let limits = request.charges.into_iter().enumerate().map(charge::parse);
        let charges = limits.chain(request.credit.map(credit::parse));
        let call = Self {
            partition: partition(request.partition)?,
            charges: charges.collect::<Result<_, _>>()?,
            tally: request.tally.map(tally).transpose()?,
            peek: request.peek,
            request_id: request_id(&request.request_id)?.filter(|_| !request.peek),
            hold: REMEMBERED,
        };
        no_duplicates(&call.charges)?;
        let leases = |charge: &Charge| charge.cost > 0 && matches!(charge.rule, Rule::Concurrency { .. });
        if !call.peek && call.request_id.is_none() && call.charges.iter().any(leases) {
            return Err(Fault::invalid("/request_id", "is required by a concurrency limit"));
        }
        Ok(call)
    }
}

impl TryFrom<wire::ReserveRequest> for Call {
    type Error = Fault;

    fn try_from(request: wire::ReserveRequest) -> Result<Self, Fault> {
        let call = request.call.ok_or_else(|| Fault::invalid("/call", "is required"))?;
        let seconds = match request.hold_seconds {
            0 => REMEMBERED / 1_000_000,
            seconds @ 1..=MAX_HOLD => i64::from(seconds),
            _ => return Err(Fault::invalid("/hold_seconds", format!("must be at most {MAX_HOLD}"))),
        };
        if call.peek {
            return Err(Fault::invalid("/call/peek", "reserves nothing"));
        }
        if call.request_id.is_empty() {
            return Err(Fault::invalid("/call/request_id", "is required: what is reserved is settled by it"));
        }
        let call = Self::try_from(call).map_err(|fault| within("/call", &fault))?;
        Ok(Self { hold: seconds * 1_000_000, ..call })
    }
}

/// The same violations, of a part of the request.
pub(crate) fn within(part: &str, fault: &Fault) -> Fault {
    let mut violations = fault.violated().to_vec();
    for violation in &mut violations {
        violation.pointer = format!("{part}{}", violation.pointer).into();
    }
    Fault::violations(violations)
}

fn tally(tally: wire::Tally) -> Result<Tally, Fault> {
    let code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if !(1..=64).contains(&tally.code.len()) || !tally.code.bytes().all(code) {
        return Err(Fault::invalid("/tally/code", "must be 1 to 64 characters of A-Z, 0-9 and `_`"));
    }
    let group = tally.group;
    if !group.is_empty() && !is_name(&group) {
        return Err(Fault::invalid("/tally/group", NO_NAME));
    }
    let network = tally.network;
    if network.len() > MAX_NETWORK || !network.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Fault::invalid("/tally/network", "must be at most 64 visible ASCII characters"));
    }
    let user_agent = tally.user_agent;
    if user_agent.len() > MAX_USER_AGENT || user_agent.chars().any(char::is_control) {
        let detail = "must be at most 200 bytes, and have no control characters";
        return Err(Fault::invalid("/tally/user_agent", detail));
    }
    let subject = name(tally.subject, || "/tally/subject".to_owned())?;
    Ok(Tally { subject, group, code: tally.code, client: Client::new(&network, &user_agent) })
}

fn request_id(id: &str) -> Result<Option<Arc<str>>, Fault> {
    if id.len() > MAX_REQUEST_ID && id.chars().count() > MAX_REQUEST_ID {
        return Err(Fault::invalid("/request_id", format!("must be at most {MAX_REQUEST_ID} characters")));
    }
    Ok((!id.is_empty()).then(|| Arc::from(id)))
}

/// What is counted together.
pub(crate) fn partition(text: String) -> Result<String, Fault> {
    name(text, || "/partition".to_owned())
}

fn name(text: String, pointer: impl Fn() -> String) -> Result<String, Fault> {
    if is_name(&text) {
        return Ok(text);
    }
    Err(Fault::invalid(pointer(), NO_NAME))
}

/// Two charges of one state in one call would each be decided as if the other were not there.
fn no_duplicates(charges: &[Charge]) -> Result<(), Fault> {
    let repeats = match charges {
        [] | [_] => None,
        [first, second] => (first.key == second.key).then_some(1),
        _ => {
            let mut seen = HashSet::with_capacity(charges.len());
            charges.iter().position(|charge| !seen.insert(&charge.key))
        }
    };
    match repeats {
        None => Ok(()),
        Some(at) => {
            Err(Fault::invalid(format!("/charges/{at}"), "repeats a limit of the same subject and name"))
        }
    }
}

#[cfg(test)]
mod tests;
