//! The `[keys]` section: how often usage is drained, and how long things are kept.

use std::{
    num::{NonZeroU16, NonZeroU32},
    path::PathBuf,
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
    #[serde(deserialize_with = "days_within::<_, 1, 400>")]
    pub usage_minute_retention_days: NonZeroU16,
    /// Days that usage is kept by the hour: 1 to 3660.
    #[serde(deserialize_with = "days_within::<_, 1, 3660>")]
    pub usage_hour_retention_days: NonZeroU16,
    /// Days that usage is kept by the day: 1 to 36 500, a hundred years.
    #[serde(deserialize_with = "days_within::<_, 1, 36_500>")]
    pub usage_day_retention_days: NonZeroU16,
    /// Days that audit events are kept.
    pub audit_retention_days: NonZeroU16,
    /// Days that the ids of stored batches are kept: a batch that comes again later would be counted again.
    pub batch_retention_days: NonZeroU16,
    /// Hours within which a create with the same idempotency key is a retry.
    pub idempotency_hours: NonZeroU16,
    /// What is lent of an account of credits at once, to where calls spend it, in percent of its balance.
    pub credit_block_percent: NonZeroU16,
    /// Units of the smallest block, if the account has them; more if one call costs more.
    pub credit_block_min: NonZeroU32,
    /// Units of the largest block, unless one call costs more.
    pub credit_block_max: NonZeroU32,
    /// Seconds after which what was lent and lies idle is taken back.
    pub credit_idle_seconds: NonZeroU32,
    /// Days that the movements of accounts of credits are kept, and with them the ids of grants: 35 to 36 500. A refill is known by its
    /// movement for as long as its period is, which is a month at most.
    #[serde(deserialize_with = "days_within::<_, 35, 36_500>")]
    pub credit_ledger_retention_days: NonZeroU16,
    /// Seconds between two runs of the job that refills accounts of credits and takes back what lies idle.
    pub credit_interval_seconds: NonZeroU32,
    /// Seconds between two runs of the job that does what the workspaces' policies ask for.
    pub policy_interval_seconds: NonZeroU32,
    /// Seconds between two runs of the job that deletes what is older.
    pub retention_interval_seconds: NonZeroU32,
    /// Milliseconds between two looks at what webhooks are to be told.
    pub webhook_interval_ms: NonZeroU32,
    /// Milliseconds that one request to a webhook may take, with all of its answer.
    pub webhook_timeout_ms: NonZeroU32,
    /// Whether webhooks may lead to private networks, and to this machine also without TLS.
    pub webhook_private_networks: bool,
    /// A file with certificates in PEM that are trusted beside the machine's; empty: none.
    pub webhook_ca_file: PathBuf,
    /// Days that nothing reaches a webhook before it is disabled.
    pub webhook_disable_days: NonZeroU16,
    /// Days that events and their deliveries are kept.
    pub delivery_retention_days: NonZeroU16,
    /// Where the keys are that GitHub's secret scanning signs with: an address, a file, or nothing.
    pub github_secret_scanning_keys: String,
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
            credit_block_percent: const { u16(5) },
            credit_block_min: const { u32(100) },
            credit_block_max: const { u32(100_000) },
            credit_idle_seconds: const { u32(3600) },
            credit_ledger_retention_days: const { u16(400) },
            credit_interval_seconds: const { u32(10) },
            policy_interval_seconds: const { u32(60) },
            retention_interval_seconds: const { u32(600) },
            webhook_interval_ms: const { u32(1000) },
            webhook_timeout_ms: const { u32(10_000) },
            webhook_private_networks: false,
            webhook_ca_file: PathBuf::new(),
            webhook_disable_days: const { u16(5) },
            delivery_retention_days: const { u16(30) },
            github_secret_scanning_keys: String::new(),
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

    pub(crate) fn credit_interval(&self) -> Duration {
        Duration::from_secs(self.credit_interval_seconds.get().into())
    }

    pub(crate) fn credit_idle(&self) -> TimeDelta {
        TimeDelta::seconds(self.credit_idle_seconds.get().into())
    }

    pub(crate) fn webhook_interval(&self) -> Duration {
        Duration::from_millis(self.webhook_interval_ms.get().into())
    }

    pub(crate) fn webhook_timeout(&self) -> Duration {
        Duration::from_millis(self.webhook_timeout_ms.get().into())
    }

    pub(crate) fn idempotency(&self) -> TimeDelta {
        TimeDelta::hours(self.idempotency_hours.get().into())
    }
}

fn days_within<'de, D: Deserializer<'de>, const MIN: u16, const MAX: u16>(
    from: D,
) -> Result<NonZeroU16, D::Error> {
    let days = u16::deserialize(from)?;
    NonZeroU16::new(days)
        .filter(|days| (MIN..=MAX).contains(&days.get()))
        .ok_or_else(|| D::Error::custom(format_args!("must be {MIN} to {MAX} days")))
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
    fn what_is_counted_is_kept_within_bounds() {
        for (name, least, most) in [
            ("usage_minute", 1, 400),
            ("usage_hour", 1, 3660),
            ("usage_day", 1, 36_500),
            ("credit_ledger", 35, 36_500),
        ] {
            let days = |days: u32| {
                serde_json::from_str::<Config>(&format!(r#"{{"{name}_retention_days": {days}}}"#))
            };
            assert!(days(least).is_ok() && days(most).is_ok(), "{name}");
            for wrong in [0, least - 1, most + 1] {
                let refusal = days(wrong).expect_err("refused").to_string();
                assert!(refusal.contains(&format!("must be {least} to {most} days")), "{refusal}");
            }
        }
    }
}
