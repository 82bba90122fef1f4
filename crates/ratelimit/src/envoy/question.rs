//! What one request of Envoy asks for: which of its descriptors are charged to which limits. Pure.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tollgate_kernel::{Fault, Violation};
use tollgate_proto::{
    envoy::{
        descriptors::{
            RateLimitDescriptor,
            rate_limit_descriptor::{Entry, RateLimitOverride},
        },
        ratelimit::{
            RateLimitRequest,
            rate_limit_response::{RateLimit, rate_limit::Unit},
        },
        types::RateLimitUnit,
    },
    ratelimit::{Algorithm, Calendar, Charge, Limit, Period},
};
use tonic::Status;

use super::rules::{Domain, OVERRIDE, Rule};

/// Most limits of one request.
const MAX_CHARGES: usize = 32;

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Question {
    /// One per descriptor, in their order.
    pub(super) asked: Vec<Asked>,
    /// The charges; no two of the same subject and name.
    pub(super) planned: Vec<Planned>,
}

/// What is done with a descriptor.
#[derive(Debug)]
pub(super) enum Asked {
    /// No rule matches.
    Unlimited,
    /// It brings a limit of nothing.
    Nothing { limit: RateLimit, shadow: bool },
    /// The place of its charge.
    Charged(usize),
}

/// A charge.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) limit: Limit,
    pub(super) unit: Unit,
    subject: String,
    /// Units; of several descriptors under one limit, of all together.
    cost: u64,
    /// Whether it wants more than there ever is: the counters said so, who know of overrides.
    pub(super) is_hopeless: bool,
}

impl Question {
    /// What `request` asks of this domain.
    pub(super) fn new(domain: &Domain, request: &RateLimitRequest) -> Result<Self, Status> {
        let mut question = Self { asked: Vec::new(), planned: Vec::new() };
        for descriptor in &request.descriptors {
            if descriptor.entries.is_empty() {
                return Err(Status::invalid_argument("A descriptor needs an entry."));
            }
            if descriptor.is_negative_hits {
                return Err(Status::unimplemented("What was counted cannot be given back."));
            }
            let cost = descriptor.hits_addend.unwrap_or_else(|| u64::from(request.hits_addend.max(1)));
            let asked = question.plan(domain.rule(&descriptor.entries), descriptor, cost)?;
            question.asked.push(asked);
        }
        if question.planned.len() > MAX_CHARGES {
            return Err(Status::invalid_argument("At most 32 limits can be charged at once."));
        }
        Ok(question)
    }

    /// Whether no call like this can ever pass.
    pub(super) fn is_hopeless(&self) -> bool {
        self.asked.iter().any(|it| matches!(it, Asked::Nothing { shadow: false, .. }))
            || self.planned.iter().any(|it| it.is_hopeless && !it.limit.shadow)
    }

    /// Takes down which charge the counters refuse because it could never pass. Says whether that is what the fault is about, and news.
    pub(super) fn gives_up(&mut self, fault: &Fault) -> bool {
        let place =
            |it: &Violation| it.pointer.strip_prefix("/charges/")?.strip_suffix("/cost")?.parse().ok();
        let charge = fault.violated().iter().find_map(place).and_then(|at: usize| self.planned.get_mut(at));
        charge.is_some_and(|it| !std::mem::replace(&mut it.is_hopeless, true))
    }

    fn plan(
        &mut self,
        rule: Option<&Rule>,
        descriptor: &RateLimitDescriptor,
        cost: u64,
    ) -> Result<Asked, Status> {
        let (limit, unit) = match (descriptor.limit, rule) {
            (Some(instead), _) => overridden(instead, rule)?,
            (None, Some(rule)) => (rule.limit.clone(), unit_of(&rule.limit)),
            (None, None) => return Ok(Asked::Unlimited),
        };
        if limit.limit == 0 {
            let said = RateLimit { name: limit.name, requests_per_unit: 0, unit: unit.into() };
            return Ok(Asked::Nothing { limit: said, shadow: limit.shadow });
        }
        let subject = subject(&descriptor.entries);
        let same = |it: &Planned| it.subject == subject && it.limit.name == limit.name;
        if let Some(at) = self.planned.iter().position(same) {
            self.planned[at].cost = self.planned[at].cost.saturating_add(cost);
            return Ok(Asked::Charged(at));
        }
        self.planned.push(Planned { limit, unit, subject, cost, is_hopeless: false });
        Ok(Asked::Charged(self.planned.len() - 1))
    }
}

impl Planned {
    /// As the role takes it. A shadow limit is charged what it can take: it denies nothing.
    pub(super) fn charge(&self) -> Charge {
        let cost = match (self.is_hopeless, self.limit.shadow) {
            (true, _) => 0,
            (_, true) => self.cost.min(self.most()),
            _ => self.cost,
        };
        Charge { limit: Some(self.limit.clone()), subject: self.subject.clone(), cost }
    }

    fn most(&self) -> u64 {
        let bucket = self.limit.algorithm() == Algorithm::TokenBucket && self.limit.burst > 0;
        if bucket { self.limit.burst } else { self.limit.limit }
    }
}

/// The limit that a descriptor brings: a sliding window. Enforced and failing as the rule's that it replaces.
fn overridden(instead: RateLimitOverride, rule: Option<&Rule>) -> Result<(Limit, Unit), Status> {
    const DAY: u32 = 86_400;
    let (window_seconds, unit) = match instead.unit() {
        RateLimitUnit::Second => (1, Unit::Second),
        RateLimitUnit::Minute => (60, Unit::Minute),
        RateLimitUnit::Hour => (3_600, Unit::Hour),
        RateLimitUnit::Day => (DAY, Unit::Day),
        // As Envoy's reference server has them.
        RateLimitUnit::Month => (30 * DAY, Unit::Month),
        RateLimitUnit::Year => (365 * DAY, Unit::Year),
        RateLimitUnit::Unknown => return Err(Status::invalid_argument("A limit needs a unit of time.")),
    };
    let limit = Limit {
        name: OVERRIDE.to_owned(),
        limit: instead.requests_per_unit.into(),
        window_seconds,
        algorithm: Algorithm::SlidingWindow.into(),
        on_failure: rule.map(|it| it.limit.on_failure).unwrap_or_default(),
        shadow: rule.is_some_and(|it| it.limit.shadow),
        ..Limit::default()
    };
    Ok((limit, unit))
}

fn unit_of(limit: &Limit) -> Unit {
    match (limit.calendar.as_ref().map(Calendar::period), limit.window_seconds) {
        (Some(Period::Day), _) | (None, 86_400) => Unit::Day,
        (Some(Period::Week), _) | (None, 604_800) => Unit::Week,
        (Some(Period::Month), _) => Unit::Month,
        (Some(Period::Year), _) => Unit::Year,
        (None, 1) => Unit::Second,
        (None, 60) => Unit::Minute,
        (None, 3_600) => Unit::Hour,
        _ => Unit::Unknown,
    }
}

/// Names the entries: values are of any length and any characters, and a subject is not.
fn subject(entries: &[Entry]) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for text in entries.iter().flat_map(|entry| [&entry.key, &entry.value]) {
        // The length first, so that no two lists run together.
        hash.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(text.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(hash.finish())
}
