//! The `[keys]` section: how often usage is drained, and how long things are kept.

use std::{
    num::{NonZeroU16, NonZeroU32},
    path::PathBuf,
    time::Duration,
};

use chrono::TimeDelta;
use serde::Deserialize;

/// What the keys role can be told. The default is what `default.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Milliseconds between two drains of the tallies into usage: how old usage may be.
    pub drain_interval_ms: NonZeroU32,
    /// Days that usage is kept, by the minute.
    pub usage_retention_days: NonZeroU16,
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
            usage_retention_days: const { u16(90) },
            audit_retention_days: const { u16(365) },
            batch_retention_days: const { u16(7) },
            idempotency_hours: const { u16(24) },
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
        assert!(parse(r#"{"usage_retention_days": 0}"#).is_err());
    }
}
