//! A limit and what a call wants of it, with every bound of both.

use chrono_tz::Tz;
use tollgate_kernel::Fault;
use tollgate_proto::ratelimit as wire;

use crate::engine::{Algorithm, Calendar, MAX_LIMIT, MAX_WINDOW, Override, Period, Spec};

/// A limit, and what the call wants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) key: Key,
    pub(crate) rule: Rule,
    /// 1 to [`MAX_LIMIT`]; of a bucket, its burst.
    pub(crate) limit: u64,
    /// At most [`MAX_LIMIT`]. More than the number passes if an override allows it.
    pub(crate) cost: u64,
    pub(crate) shadow: bool,
    pub(crate) on_failure: OnFailure,
    /// As it came; of a calendar, 0.
    pub(crate) window_seconds: u32,
}

/// The name of a limit and whose units it counts: what a state and an override are found by within their partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Name and subject, with a space between them, which is in neither.
    text: String,
    /// The length of the name.
    name: usize,
}

/// How a limit counts: what [`Algorithm`] is before the time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Window { window: i64 },
    Bucket { interval: i64 },
    Calendar(Calendar),
    Concurrency { lease: i64 },
    Credit,
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

impl Charge {
    /// What the engine decides about, at a time near `hint`, with what stands in place of the limit's number.
    pub(crate) fn spec(&self, hint: i64, replaced: Option<Override>) -> Spec {
        let algorithm = match self.rule {
            Rule::Window { window } => Algorithm::Window { window },
            Rule::Bucket { interval } => Algorithm::Bucket { interval },
            Rule::Calendar(calendar) => Algorithm::Calendar { periods: calendar.periods(hint) },
            Rule::Concurrency { lease } => Algorithm::Concurrency { lease },
            Rule::Credit => Algorithm::Credit,
        };
        Spec { algorithm, limit: self.limit, replaced, cost: self.cost, shadow: self.shadow }
    }

    /// Whether it is the call's credit, and no limit.
    pub(crate) fn is_credit(&self) -> bool {
        self.rule == Rule::Credit
    }

    /// Which algorithm it is, on the wire, where a credit is none.
    pub(crate) fn algorithm(&self) -> wire::Algorithm {
        match self.rule {
            Rule::Window { .. } => wire::Algorithm::SlidingWindow,
            Rule::Bucket { .. } => wire::Algorithm::TokenBucket,
            Rule::Calendar(_) => wire::Algorithm::Calendar,
            Rule::Concurrency { .. } => wire::Algorithm::Concurrency,
            Rule::Credit => wire::Algorithm::Unspecified,
        }
    }

    /// What becomes of the call without the store. What is only watched stands in nobody's way.
    pub(crate) fn without_store(&self) -> OnFailure {
        match self.on_failure {
            OnFailure::Deny if self.shadow => OnFailure::Allow,
            other => other,
        }
    }
}

impl Key {
    /// The key of a name and a subject that have been checked: neither has a space.
    pub(crate) fn new(name: String, subject: &str) -> Self {
        let (length, mut text) = (name.len(), name);
        text.reserve_exact(1 + subject.len());
        text.push(' ');
        text.push_str(subject);
        Self { text, name: length }
    }

    /// The key that reads so.
    pub(crate) fn parse(text: String) -> Option<Self> {
        let name = text.find(' ')?;
        Some(Self { text, name })
    }

    /// `<name> <subject>`
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the limit.
    pub(crate) fn name(&self) -> &str {
        &self.text[..self.name]
    }

    /// Whose units these are.
    pub(crate) fn subject(&self) -> &str {
        &self.text[self.name + 1..]
    }
}

/// The charge at this position of a call.
pub(super) fn parse((position, charge): (usize, wire::Charge)) -> Result<Charge, Fault> {
    let at = |field: &str| format!("/charges/{position}/{field}");
    let invalid = |field: &str, detail: String| Fault::invalid(at(field), detail);
    let limit = charge.limit.ok_or_else(|| Fault::invalid(at("limit"), "is required"))?;
    limit_name(&limit.name, || at("limit/name"))?;
    let on_failure = on_failure(limit.on_failure)
        .ok_or_else(|| Fault::invalid(at("limit/on_failure"), "is not a failure policy"))?;
    if !is_number(limit.limit) {
        return Err(invalid("limit/limit", format!("must be 1 to {MAX_LIMIT}")));
    }
    let rule = rule(&limit).map_err(|(field, detail)| invalid(field, detail))?;
    let bucket = matches!(rule, Rule::Bucket { .. });
    let number = if bucket && limit.burst > 0 { limit.burst } else { limit.limit };
    if charge.cost > MAX_LIMIT {
        return Err(invalid("cost", format!("must be at most {MAX_LIMIT}")));
    }
    let subject = super::name(charge.subject, || at("subject"))?;
    Ok(Charge {
        key: Key::new(limit.name, &subject),
        rule,
        limit: number,
        cost: charge.cost,
        shadow: limit.shadow,
        on_failure,
        window_seconds: limit.window_seconds,
    })
}

/// Refuses what cannot be the name of a limit.
pub(super) fn limit_name(name: &str, pointer: impl Fn() -> String) -> Result<(), Fault> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Fault::invalid(pointer(), "must be 1 to 64 characters of a-z, 0-9, `_`, `.` and `-`"))
}

/// Whether this can be the number of a limit.
pub(super) fn is_number(limit: u64) -> bool {
    (1..=MAX_LIMIT).contains(&limit)
}

fn on_failure(policy: i32) -> Option<OnFailure> {
    Some(match wire::OnFailure::try_from(policy).ok()? {
        wire::OnFailure::Unspecified | wire::OnFailure::Local => OnFailure::Local,
        wire::OnFailure::Deny => OnFailure::Deny,
        wire::OnFailure::Allow => OnFailure::Allow,
    })
}

/// Where in a charge something is wrong, and what.
type Mistake = (&'static str, String);

fn rule(limit: &wire::Limit) -> Result<Rule, Mistake> {
    let algorithm = wire::Algorithm::try_from(limit.algorithm);
    let algorithm = algorithm.map_err(|_| ("limit/algorithm", "is not an algorithm".to_owned()))?;
    if limit.burst > 0 && algorithm != wire::Algorithm::TokenBucket {
        return Err(("limit/burst", "is of token_bucket only".to_owned()));
    }
    if algorithm == wire::Algorithm::Calendar {
        return calendar(limit).map(Rule::Calendar);
    }
    if limit.calendar.is_some() {
        return Err(("limit/calendar", "is of calendar limits only".to_owned()));
    }
    let window = i64::from(limit.window_seconds) * 1_000_000;
    if !(1..=MAX_WINDOW).contains(&window) {
        return Err(("limit/window_seconds", format!("must be 1 to {}", MAX_WINDOW / 1_000_000)));
    }
    Ok(match algorithm {
        wire::Algorithm::TokenBucket => Rule::Bucket { interval: interval(limit, window)? },
        wire::Algorithm::Concurrency => Rule::Concurrency { lease: window },
        _ => Rule::Window { window },
    })
}

/// The time of one unit, rounded up: never faster than the limit says.
fn interval(limit: &wire::Limit, window: i64) -> Result<i64, Mistake> {
    if limit.burst > MAX_LIMIT {
        return Err(("limit/burst", format!("must be at most {MAX_LIMIT}")));
    }
    let full = u128::from(limit.burst) * u128::from(window.unsigned_abs());
    if full > u128::from(limit.limit) * u128::from(MAX_WINDOW.unsigned_abs()) {
        return Err(("limit/burst", "must be refilled within 400 days".to_owned()));
    }
    Ok(window.unsigned_abs().div_ceil(limit.limit).cast_signed())
}

fn calendar(limit: &wire::Limit) -> Result<Calendar, Mistake> {
    if limit.window_seconds > 0 {
        return Err(("limit/window_seconds", "must be 0: the calendar says how long a period is".to_owned()));
    }
    let calendar =
        limit.calendar.as_ref().ok_or(("limit/calendar", "is required by a calendar limit".to_owned()))?;
    let zone = match calendar.time_zone.as_str() {
        "" => Tz::UTC,
        name => name.parse().map_err(|_| {
            ("limit/calendar/time_zone", "is not an IANA time zone such as Europe/Berlin".to_owned())
        })?,
    };
    let from = |last: u32| match calendar.anchor_day {
        0 => Ok(1),
        day if day <= last => Ok(day),
        _ => Err(("limit/calendar/anchor_day", format!("must be at most {last}"))),
    };
    let period = match wire::Period::try_from(calendar.period) {
        Ok(wire::Period::Day) if calendar.anchor_day == 0 => Period::Day,
        Ok(wire::Period::Day) => {
            return Err(("limit/calendar/anchor_day", "must be 0: a day has one day only".to_owned()));
        }
        Ok(wire::Period::Week) => Period::Week(from(7)?),
        Ok(wire::Period::Month) => Period::Month(from(31)?),
        Ok(wire::Period::Year) => Period::Year(from(366)?),
        Ok(wire::Period::Unspecified) | Err(_) => {
            return Err(("limit/calendar/period", "must be a day, a week, a month or a year".to_owned()));
        }
    };
    Ok(Calendar { zone, period })
}
