//! The `[keys]` section: how often usage is drained, and how long things are kept.

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de::Error as _};

/// What the keys role can be told. The default is what `default.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Milliseconds between two drains of the tallies into usage: how old usage may be.
    pub drain_interval_ms: NonZeroU32,
    /// Days that usage is kept by the minute: 1 to 400.
    #[serde(deserialize_with = "days_within::<_, 400>")]
    pub usage_minute_retention_days: NonZeroU16,
    /// Days that usage is kept by the hour: 1 to 3660.
    #[serde(deserialize_with = "days_within::<_, 3660>")]
    pub usage_hour_retention_days: NonZeroU16,
    /// Days that usage is kept by the day: 1 to 36 500, a hundred years.
    #[serde(deserialize_with = "days_within::<_, 36_500>")]
    pub usage_day_retention_days: NonZeroU16,
    /// Days that audit events are kept.
    pub audit_retention_days: NonZeroU16,
    /// Days that the ids of stored batches are kept: a batch that comes again later would be counted again.
    pub batch_retention_days: NonZeroU16,
    /// Hours within which a create with the same idempotency key is a retry.
    pub idempotency_hours: NonZeroU16,
    /// Seconds between two runs of the job that does what the workspaces' policies ask for.
    pub policy_interval_seconds: NonZeroU32,
    /// Seconds between two runs of the job that deletes what is older.
    pub retention_interval_seconds: NonZeroU32,
}

const fn u16(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("a default is not zero")
}

const fn u32(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("a default is not zero")
}

impl Default for Config {
    fn default() -> Self {
        Self {
            drain_interval_ms: const { u32(500) },
            usage_minute_retention_days: const { u16(30) },
            usage_hour_retention_days: const { u16(400) },
            usage_day_retention_days: const { u16(1830) },
            audit_retention_days: const { u16(365) },
            batch_retention_days: const { u16(7) },
            idempotency_hours: const { u16(24) },
            policy_interval_seconds: const { u32(60) },
            retention_interval_seconds: const { u32(600) },
        }
    }
}

impl Config {
    pub(crate) fn drain_interval(&self) -> Duration {
        Duration::from_millis(self.drain_interval_ms.get().into())
    }

    pub(crate) fn retention_interval(&self) -> Duration {
        Duration::from_secs(self.retention_interval_seconds.get().into())
    }

    pub(crate) fn policy_interval(&self) -> Duration {
        Duration::from_secs(self.policy_interval_seconds.get().into())
    }

    pub(crate) fn idempotency(&self) -> TimeDelta {
        TimeDelta::hours(self.idempotency_hours.get().into())
    }
}

fn days_within<'de, D: Deserializer<'de>, const MAX: u16>(from: D) -> Result<NonZeroU16, D::Error> {
    let days = u16::deserialize(from)?;
    NonZeroU16::new(days)
        .filter(|days| days.get() <= MAX)
        .ok_or_else(|| D::Error::custom(format_args!("must be 1 to {MAX} days")))
}

/// A number of days as a span of time.
pub(crate) fn days(days: NonZeroU16) -> TimeDelta {
    TimeDelta::days(days.get().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_settings_and_zeros_are_refused() {
        let parse = serde_json::from_str::<Config>;
        assert_eq!(parse("{}").expect("all have defaults"), Config::default());
        assert!(parse(r#"{"drain_interval": 1}"#).is_err());
        assert!(parse(r#"{"audit_retention_days": 0}"#).is_err());
    }

    #[test]
    fn usage_is_kept_within_bounds() {
        for (name, most) in [("minute", 400), ("hour", 3660), ("day", 36_500)] {
            let days = |days: u32| {
                serde_json::from_str::<Config>(&format!(r#"{{"usage_{name}_retention_days": {days}}}"#))
            };
            assert!(days(1).is_ok() && days(most).is_ok(), "{name}");
            for wrong in [0, most + 1] {
                let refusal = days(wrong).expect_err("refused").to_string();
                assert!(refusal.contains(&format!("must be 1 to {most} days")), "{refusal}");
            }
        }
    }
}
