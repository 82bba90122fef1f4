//! A limit, as it is written in plans and keys.

use serde::{Deserialize, Serialize};
use tollgate_kernel::Fault;
use tollgate_proto::ratelimit;
use utoipa::ToSchema;

/// So many units, counted by one of the algorithms. What an algorithm does not use is left out.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the words of the API")]
pub(crate) struct Limit {
    /// Unique within a key or a plan. A key's limit replaces its plan's of the same name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9_.-]+$", example = "minute")]
    name: String,
    /// Units: per window (`sliding_window`), refilled per window (`token_bucket`), per period (`calendar`).
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 60)]
    limit: u64,
    /// The length of the window in seconds, at most 400 days. Not of `calendar`, required of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 34_560_000, example = 60)]
    window_seconds: Option<u32>,
    /// How it counts; `sliding_window` if it is not given.
    #[serde(default)]
    algorithm: Algorithm,
    /// `token_bucket` only: units that the full bucket holds; as many as `limit` if it is not given. The empty bucket must be
    /// full within 400 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000_000, example = 100)]
    burst: Option<u64>,
    /// `calendar` only, and required of it: the periods.
    #[serde(skip_serializing_if = "Option::is_none")]
    calendar: Option<Calendar>,
    /// What it does when its store cannot be reached; `local` if it is not given.
    #[serde(default)]
    on_failure: OnFailure,
    /// Counted and reported, never enforced: to try a limit out. Left out if it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    shadow: bool,
}

/// How a limit counts. `sliding_window`: never more than the limit in any window; up to 1024, one more at the very moment
/// that the oldest leaves it, above, at most a sixtieth of the window later. `token_bucket`: a bucket of `burst` units that is
/// refilled one by one, `limit` of them in `window_seconds`. `calendar`: so many per day, week, month or year of a time zone.
#[derive(Default, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Algorithm {
    #[default]
    SlidingWindow,
    TokenBucket,
    Calendar,
    /// Read, so that the role can say why it is not for keys; never written.
    #[serde(skip_serializing)]
    Concurrency,
}

/// The periods of a calendar limit. A period begins with the first instant of its first day.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calendar {
    /// How long a period is.
    period: Period,
    /// An IANA time zone; `UTC` if it is not given.
    #[serde(default = "utc")]
    #[schema(default = "UTC", example = "Europe/Berlin")]
    time_zone: String,
    /// The first day of a period. Of a week: 1 (Monday) to 7. Of a month: 1 to 31, of a shorter month its last day. Of a year:
    /// the day of the year, 1 to 366, of a shorter year its last day. 1 if it is not given. A day has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 366, example = 1)]
    anchor_day: Option<u32>,
}

/// How long a period is.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Period {
    Day,
    Week,
    Month,
    Year,
}

/// What a limit does when its store cannot be reached. `local`: count in the process, exactly, until the store is back.
/// `deny`: refuse the call. `allow`: let it pass.
#[derive(Default, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFailure {
    #[default]
    Local,
    Deny,
    Allow,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl From<Limit> for ratelimit::Limit {
    fn from(limit: Limit) -> Self {
        let algorithm = match limit.algorithm {
            Algorithm::SlidingWindow => ratelimit::Algorithm::SlidingWindow,
            Algorithm::TokenBucket => ratelimit::Algorithm::TokenBucket,
            Algorithm::Calendar => ratelimit::Algorithm::Calendar,
            Algorithm::Concurrency => ratelimit::Algorithm::Concurrency,
        };
        let on_failure = match limit.on_failure {
            OnFailure::Local => ratelimit::OnFailure::Local,
            OnFailure::Deny => ratelimit::OnFailure::Deny,
            OnFailure::Allow => ratelimit::OnFailure::Allow,
        };
        Self {
            name: limit.name,
            limit: limit.limit,
            // To the role a zero means "not given", and it says where that will not do.
            window_seconds: limit.window_seconds.unwrap_or_default(),
            algorithm: algorithm.into(),
            on_failure: on_failure.into(),
            burst: limit.burst.unwrap_or_default(),
            calendar: limit.calendar.map(Into::into),
            shadow: limit.shadow,
        }
    }
}

impl From<Calendar> for ratelimit::Calendar {
    fn from(calendar: Calendar) -> Self {
        let period = match calendar.period {
            Period::Day => ratelimit::Period::Day,
            Period::Week => ratelimit::Period::Week,
            Period::Month => ratelimit::Period::Month,
            Period::Year => ratelimit::Period::Year,
        };
        Self {
            period: period.into(),
            time_zone: calendar.time_zone,
            anchor_day: calendar.anchor_day.unwrap_or_default(),
        }
    }
}

impl TryFrom<ratelimit::Limit> for Limit {
    type Error = Fault;

    fn try_from(limit: ratelimit::Limit) -> Result<Self, Fault> {
        let algorithm = match limit.algorithm() {
            ratelimit::Algorithm::Unspecified | ratelimit::Algorithm::SlidingWindow => {
                Algorithm::SlidingWindow
            }
            ratelimit::Algorithm::TokenBucket => Algorithm::TokenBucket,
            ratelimit::Algorithm::Calendar => Algorithm::Calendar,
            ratelimit::Algorithm::Concurrency => {
                return Err(Fault::internal("a key or a plan with a limit of concurrency"));
            }
        };
        let on_failure = match limit.on_failure() {
            ratelimit::OnFailure::Unspecified | ratelimit::OnFailure::Local => OnFailure::Local,
            ratelimit::OnFailure::Deny => OnFailure::Deny,
            ratelimit::OnFailure::Allow => OnFailure::Allow,
        };
        Ok(Self {
            name: limit.name,
            limit: limit.limit,
            window_seconds: not_zero(limit.window_seconds),
            algorithm,
            burst: not_zero(limit.burst),
            calendar: limit.calendar.map(Calendar::try_from).transpose()?,
            on_failure,
            shadow: limit.shadow,
        })
    }
}

impl TryFrom<ratelimit::Calendar> for Calendar {
    type Error = Fault;

    fn try_from(calendar: ratelimit::Calendar) -> Result<Self, Fault> {
        let period = match calendar.period() {
            ratelimit::Period::Unspecified => return Err(Fault::internal("a calendar without a period")),
            ratelimit::Period::Day => Period::Day,
            ratelimit::Period::Week => Period::Week,
            ratelimit::Period::Month => Period::Month,
            ratelimit::Period::Year => Period::Year,
        };
        Ok(Self { period, time_zone: calendar.time_zone, anchor_day: not_zero(calendar.anchor_day) })
    }
}

fn not_zero<N: Default + PartialEq>(number: N) -> Option<N> {
    Some(number).filter(|it| *it != N::default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_limit_is_read_and_written_alike() {
        let sliding = json!({
            "name": "a", "limit": 60, "window_seconds": 60, "algorithm": "sliding_window", "on_failure": "local",
        });
        let bucket = json!({
            "name": "a", "limit": 10, "window_seconds": 1, "algorithm": "token_bucket", "burst": 50, "on_failure": "deny",
            "shadow": true,
        });
        let calendar = json!({
            "name": "a", "limit": 1_000_000_000, "algorithm": "calendar",
            "calendar": { "period": "month", "time_zone": "Europe/Berlin", "anchor_day": 15 }, "on_failure": "allow",
        });
        for limit in [sliding, bucket, calendar] {
            let read: Limit = serde_json::from_value(limit.clone()).expect("a limit");
            let back = Limit::try_from(ratelimit::Limit::from(read)).expect("a limit");
            assert_eq!(serde_json::to_value(back).expect("JSON"), limit);
        }
    }

    #[test]
    fn what_is_left_out_has_its_meaning() {
        let read =
            |value: Value| ratelimit::Limit::from(serde_json::from_value::<Limit>(value).expect("a limit"));
        let limit = read(json!({ "name": "a", "limit": 1, "window_seconds": null, "burst": null }));
        assert_eq!(limit.algorithm(), ratelimit::Algorithm::SlidingWindow);
        assert_eq!((limit.window_seconds, limit.burst, limit.shadow, limit.calendar), (0, 0, false, None));
        let calendar =
            json!({ "name": "a", "limit": 1, "algorithm": "calendar", "calendar": { "period": "day" } });
        let calendar = read(calendar).calendar.expect("a calendar");
        assert_eq!((calendar.time_zone.as_str(), calendar.anchor_day), ("UTC", 0));
    }

    #[test]
    fn what_no_role_may_say_is_our_fault() {
        for wrong in [
            ratelimit::Limit { algorithm: ratelimit::Algorithm::Concurrency.into(), ..Default::default() },
            ratelimit::Limit { calendar: Some(ratelimit::Calendar::default()), ..Default::default() },
        ] {
            assert!(Limit::try_from(wrong).is_err());
        }
    }
}
