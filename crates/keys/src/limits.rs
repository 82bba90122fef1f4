//! Limits as the keys role keeps them: stored as JSON, and the ones in force for a key. Parsing is in [`parse`]; counting
//! is elsewhere.

mod parse;

use serde::{Deserialize, Serialize};
use tollgate_proto::ratelimit::{self as wire, Algorithm};

pub(crate) use parse::{MAX_UNITS, is_name, parse};

#[expect(
    clippy::struct_field_names,
    reason = "the field is called so in the API, on the wire and in the database"
)]
/// So many units, counted in one of three ways. Concurrency is not among them: it needs the end of a call, which nobody
/// tells the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) name: String,
    /// Units: 1 to 1 000 000 000.
    pub(crate) limit: u64,
    #[serde(flatten)]
    pub(crate) counting: Counting,
    pub(crate) on_failure: OnFailure,
    /// Counted and reported, never enforced. Rows from before there was such a thing do not have it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shadow: bool,
}

/// How units are counted. Windows are 1 second to 400 days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "algorithm", rename_all = "snake_case")]
pub(crate) enum Counting {
    /// At most so many in any window.
    SlidingWindow { window_seconds: u32 },
    /// A bucket that holds `burst` units and is refilled by the limit per window.
    TokenBucket { window_seconds: u32, burst: u64 },
    /// So many per period of a calendar.
    Calendar { calendar: Calendar },
}

/// The periods of a calendar limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calendar {
    pub(crate) period: Period,
    /// A name of the IANA time zone database.
    pub(crate) time_zone: String,
    /// The first day of a period; 0 for a day, which has one only.
    pub(crate) anchor_day: u32,
}

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Period {
    Day,
    Week,
    Month,
    Year,
}

/// What a limit does when its counter cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFailure {
    Local,
    Deny,
    Allow,
}

/// A sliding window that is counted in process when its counter is away.
pub(crate) fn sliding(name: &str, limit: u64, window_seconds: u32) -> Limit {
    Limit {
        name: name.to_owned(),
        limit,
        counting: Counting::SlidingWindow { window_seconds },
        on_failure: OnFailure::Local,
        shadow: false,
    }
}

/// The plan's limits, each replaced by the key's own of the same name, then the key's others.
pub(crate) fn in_force(plan: Vec<Limit>, own: Vec<Limit>) -> Vec<Limit> {
    let mut limits = plan;
    for limit in own {
        match limits.iter_mut().find(|it| it.name == limit.name) {
            Some(replaced) => *replaced = limit,
            None => limits.push(limit),
        }
    }
    limits
}

impl From<Limit> for wire::Limit {
    fn from(limit: Limit) -> Self {
        let on_failure = match limit.on_failure {
            OnFailure::Local => wire::OnFailure::Local,
            OnFailure::Deny => wire::OnFailure::Deny,
            OnFailure::Allow => wire::OnFailure::Allow,
        };
        let common = Self {
            name: limit.name,
            limit: limit.limit,
            on_failure: on_failure.into(),
            shadow: limit.shadow,
            ..Self::default()
        };
        match limit.counting {
            Counting::SlidingWindow { window_seconds } => {
                Self { algorithm: Algorithm::SlidingWindow.into(), window_seconds, ..common }
            }
            Counting::TokenBucket { window_seconds, burst } => {
                Self { algorithm: Algorithm::TokenBucket.into(), window_seconds, burst, ..common }
            }
            Counting::Calendar { calendar } => {
                Self { algorithm: Algorithm::Calendar.into(), calendar: Some(calendar.into()), ..common }
            }
        }
    }
}

impl From<Calendar> for wire::Calendar {
    fn from(calendar: Calendar) -> Self {
        let period = match calendar.period {
            Period::Day => wire::Period::Day,
            Period::Week => wire::Period::Week,
            Period::Month => wire::Period::Month,
            Period::Year => wire::Period::Year,
        };
        Self { period: period.into(), time_zone: calendar.time_zone, anchor_day: calendar.anchor_day }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::input::Problems;

    #[test]
    fn what_is_stored_already_is_read() {
        let stored = json!([{
            "name": "minute", "limit": 60, "window_seconds": 60, "algorithm": "sliding_window", "on_failure": "deny",
        }]);
        let read: Vec<Limit> = serde_json::from_value(stored.clone()).expect("limits");
        assert_eq!(read, [Limit { on_failure: OnFailure::Deny, ..sliding("minute", 60, 60) }]);
        assert_eq!(serde_json::to_value(read).expect("JSON"), stored, "and written as it was");
    }

    #[test]
    fn a_limit_survives_storage_and_wire() {
        let calendar = wire::Calendar {
            period: wire::Period::Month.into(),
            time_zone: "Asia/Kolkata".into(),
            anchor_day: 31,
        };
        let common = wire::Limit { name: "a".into(), limit: 1_000_000_000, ..Default::default() };
        for sent in [
            wire::Limit {
                window_seconds: 60,
                algorithm: Algorithm::SlidingWindow.into(),
                on_failure: wire::OnFailure::Deny.into(),
                ..common.clone()
            },
            wire::Limit {
                limit: 10,
                window_seconds: 1,
                burst: 50,
                algorithm: Algorithm::TokenBucket.into(),
                on_failure: wire::OnFailure::Allow.into(),
                shadow: true,
                ..common.clone()
            },
            wire::Limit {
                calendar: Some(calendar),
                algorithm: Algorithm::Calendar.into(),
                on_failure: wire::OnFailure::Local.into(),
                ..common
            },
        ] {
            let mut problems = Problems::default();
            let parsed = parse(std::slice::from_ref(&sent), &mut problems);
            problems.check().expect("fine");
            let stored: Value = serde_json::to_value(&parsed).expect("JSON");
            let read: Vec<Limit> = serde_json::from_value(stored).expect("limits");
            assert_eq!(read, parsed);
            assert_eq!(wire::Limit::from(read[0].clone()), sent);
        }
    }

    #[test]
    fn the_keys_own_limit_replaces_the_plans() {
        let plan = vec![sliding("minute", 60, 60), sliding("day", 1000, 86_400)];
        let own = vec![sliding("burst", 5, 1), sliding("minute", 3, 60)];
        assert_eq!(
            in_force(plan, own),
            [sliding("minute", 3, 60), sliding("day", 1000, 86_400), sliding("burst", 5, 1)]
        );
    }
}
