//! One call to decide, as the rest of the role sees it: parsed from the wire, with every bound kept.

use std::collections::HashSet;

use tollgate_kernel::Fault;
use tollgate_proto::ratelimit as wire;

use crate::{
    engine::{MAX_LIMIT, Spec},
    tally::is_name,
};

/// Most limits of one call.
const MAX_CHARGES: usize = 32;
/// The longest window: 400 days, in seconds.
const MAX_WINDOW: u32 = 34_560_000;
/// The longest request id, in characters.
const MAX_REQUEST_ID: usize = 128;

/// One call to decide and to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) partition: String,
    /// No two of the same subject and name.
    pub(crate) charges: Vec<Charge>,
    pub(crate) tally: Option<Tally>,
    /// Decide and report, change nothing.
    pub(crate) peek: bool,
    /// Never set on a peek, which has nothing to remember.
    pub(crate) request_id: Option<String>,
}

/// A limit, and what the call wants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) name: String,
    pub(crate) subject: String,
    pub(crate) spec: Spec,
    pub(crate) on_failure: OnFailure,
}

/// What a limit does when its store is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// Count in this process.
    Local,
    /// Refuse the call.
    Deny,
    /// Let the call pass.
    Allow,
}

/// Where the call is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) subject: String,
    /// The code if no limit denies.
    pub(crate) code: String,
}

impl Call {
    /// The limits with what is wanted of them, in order.
    pub(crate) fn specs(&self) -> Vec<Spec> {
        self.charges.iter().map(|charge| charge.spec).collect()
    }
}

impl TryFrom<wire::CheckRequest> for Call {
    type Error = Fault;

    fn try_from(request: wire::CheckRequest) -> Result<Self, Fault> {
        if request.charges.len() > MAX_CHARGES {
            return Err(Fault::invalid("/charges", format!("must be at most {MAX_CHARGES}")));
        }
        let charges = request.charges.into_iter().enumerate().map(charge);
        let call = Self {
            partition: name(request.partition, || "/partition".to_owned())?,
            charges: charges.collect::<Result<_, _>>()?,
            tally: request.tally.map(tally).transpose()?,
            peek: request.peek,
            request_id: request_id(request.request_id)?.filter(|_| !request.peek),
        };
        no_duplicates(&call.charges)?;
        Ok(call)
    }
}

fn charge((position, charge): (usize, wire::Charge)) -> Result<Charge, Fault> {
    let at = |field: &str| format!("/charges/{position}/{field}");
    let limit = charge.limit.ok_or_else(|| Fault::invalid(at("limit"), "is required"))?;
    if !(1..=64).contains(&limit.name.len()) || !limit.name.bytes().all(is_limit_name) {
        return Err(Fault::invalid(
            at("limit/name"),
            "must be 1 to 64 characters of a-z, 0-9, `_`, `.` and `-`",
        ));
    }
    if !(1..=MAX_WINDOW).contains(&limit.window_seconds) {
        return Err(Fault::invalid(at("limit/window_seconds"), format!("must be 1 to {MAX_WINDOW}")));
    }
    if wire::Algorithm::try_from(limit.algorithm).is_err() {
        return Err(Fault::invalid(at("limit/algorithm"), "is not an algorithm"));
    }
    let on_failure = on_failure(limit.on_failure)
        .ok_or_else(|| Fault::invalid(at("limit/on_failure"), "is not a failure policy"))?;
    let units = units(limit.limit).ok_or_else(|| {
        let detail = format!("must be 1 to {MAX_LIMIT}; larger limits are not supported yet");
        Fault::invalid(at("limit/limit"), detail)
    })?;
    let cost = u32::try_from(charge.cost).unwrap_or(u32::MAX);
    if cost > units {
        return Err(Fault::invalid(at("cost"), "must be at most the limit: such a call could never pass"));
    }
    let window = i64::from(limit.window_seconds) * 1_000_000;
    let spec = Spec { limit: units, window, cost };
    Ok(Charge { name: limit.name, subject: name(charge.subject, || at("subject"))?, spec, on_failure })
}

fn is_limit_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte)
}

fn units(limit: u64) -> Option<u32> {
    u32::try_from(limit).ok().filter(|units| (1..=MAX_LIMIT).contains(units))
}

fn on_failure(policy: i32) -> Option<OnFailure> {
    Some(match wire::OnFailure::try_from(policy).ok()? {
        wire::OnFailure::Unspecified | wire::OnFailure::Local => OnFailure::Local,
        wire::OnFailure::Deny => OnFailure::Deny,
        wire::OnFailure::Allow => OnFailure::Allow,
    })
}

fn tally(tally: wire::Tally) -> Result<Tally, Fault> {
    let code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if !(1..=64).contains(&tally.code.len()) || !tally.code.bytes().all(code) {
        return Err(Fault::invalid("/tally/code", "must be 1 to 64 characters of A-Z, 0-9 and `_`"));
    }
    Ok(Tally { subject: name(tally.subject, || "/tally/subject".to_owned())?, code: tally.code })
}

fn request_id(id: String) -> Result<Option<String>, Fault> {
    if id.chars().count() > MAX_REQUEST_ID {
        return Err(Fault::invalid("/request_id", format!("must be at most {MAX_REQUEST_ID} characters")));
    }
    Ok(Some(id).filter(|id| !id.is_empty()))
}

fn name(text: String, pointer: impl Fn() -> String) -> Result<String, Fault> {
    if is_name(&text) {
        return Ok(text);
    }
    Err(Fault::invalid(pointer(), "must be 1 to 128 visible ASCII characters without braces"))
}

/// Two charges of one state in one call would each be decided as if the other were not there.
fn no_duplicates(charges: &[Charge]) -> Result<(), Fault> {
    let mut seen = HashSet::with_capacity(charges.len());
    match charges.iter().position(|charge| !seen.insert((&charge.subject, &charge.name))) {
        None => Ok(()),
        Some(at) => {
            Err(Fault::invalid(format!("/charges/{at}"), "repeats a limit of the same subject and name"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut wire::CheckRequest);

    fn request() -> wire::CheckRequest {
        let limit =
            wire::Limit { name: "minute".into(), limit: 10, window_seconds: 60, ..Default::default() };
        wire::CheckRequest {
            partition: "ws_1".into(),
            charges: vec![wire::Charge { limit: Some(limit), subject: "key_1".into(), cost: 1 }],
            tally: Some(wire::Tally { subject: "key_1".into(), code: "VALID".into() }),
            ..Default::default()
        }
    }

    fn limit(request: &mut wire::CheckRequest) -> &mut wire::Limit {
        request.charges[0].limit.as_mut().expect("set above")
    }

    #[test]
    fn what_is_within_its_bounds_is_understood() {
        let mut wire = request();
        limit(&mut wire).limit = 1024;
        limit(&mut wire).window_seconds = 34_560_000;
        limit(&mut wire).on_failure = wire::OnFailure::Deny.into();
        wire.charges[0].cost = 1024;
        wire.request_id = "ü".repeat(128);
        let call = Call::try_from(wire).expect("a call");
        let spec = Spec { limit: 1024, window: 34_560_000_000_000, cost: 1024 };
        let charge =
            Charge { name: "minute".into(), subject: "key_1".into(), spec, on_failure: OnFailure::Deny };
        assert_eq!(call.charges, [charge]);
        assert_eq!(call.request_id, Some("ü".repeat(128)));
    }

    #[test]
    fn what_is_unspecified_has_its_meaning() {
        let call = Call::try_from(request()).expect("a call");
        assert_eq!(call.charges[0].on_failure, OnFailure::Local);
        assert_eq!(call.request_id, None);
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let cases: [(&str, Change); 19] = [
            ("/partition", |it| it.partition = String::new()),
            ("/partition", |it| it.partition = "a{b".into()),
            ("/partition", |it| it.partition = "a b".into()),
            ("/partition", |it| it.partition = "ü".into()),
            ("/partition", |it| it.partition = "x".repeat(129)),
            ("/charges", |it| it.charges = vec![it.charges[0].clone(); 33]),
            ("/charges/1", |it| it.charges.push(it.charges[0].clone())),
            ("/charges/0/limit", |it| it.charges[0].limit = None),
            ("/charges/0/subject", |it| it.charges[0].subject = "\n".into()),
            ("/charges/0/cost", |it| it.charges[0].cost = 11),
            ("/charges/0/limit/name", |it| limit(it).name = "Minute".into()),
            ("/charges/0/limit/limit", |it| limit(it).limit = 0),
            ("/charges/0/limit/limit", |it| limit(it).limit = 1025),
            ("/charges/0/limit/window_seconds", |it| limit(it).window_seconds = 0),
            ("/charges/0/limit/window_seconds", |it| limit(it).window_seconds = 34_560_001),
            ("/charges/0/limit/algorithm", |it| limit(it).algorithm = 77),
            ("/charges/0/limit/on_failure", |it| limit(it).on_failure = -1),
            ("/tally/code", |it| it.tally.as_mut().expect("set above").code = "valid".into()),
            ("/request_id", |it| it.request_id = "x".repeat(129)),
        ];
        for (pointer, change) in cases {
            let mut wire = request();
            change(&mut wire);
            let fault = Call::try_from(wire).expect_err(pointer);
            assert_eq!(fault.violated()[0].pointer, pointer);
        }
    }
}
