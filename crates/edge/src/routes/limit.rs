//! A limit, as it is written in plans and keys.

use serde::{Deserialize, Serialize};
use tollgate_proto::ratelimit;
use utoipa::ToSchema;

/// So many units per window.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the words of the API")]
pub(crate) struct Limit {
    /// Unique within a key or a plan. A key's limit replaces its plan's of the same name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9_.-]+$", example = "minute")]
    name: String,
    /// Units per window.
    #[schema(minimum = 1, maximum = 1024, example = 60)]
    limit: u64,
    /// The length of the window in seconds, at most 400 days.
    #[schema(minimum = 1, maximum = 34_560_000, example = 60)]
    window_seconds: u32,
    /// How it counts.
    #[serde(default)]
    algorithm: Algorithm,
    /// What it does when its store cannot be reached.
    #[serde(default)]
    on_failure: OnFailure,
}

/// How a limit counts. `sliding_window`: never more than the limit in any window, and one more at the moment that the
/// oldest leaves it.
#[derive(Default, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Algorithm {
    #[default]
    SlidingWindow,
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

impl From<Limit> for ratelimit::Limit {
    fn from(limit: Limit) -> Self {
        let algorithm = match limit.algorithm {
            Algorithm::SlidingWindow => ratelimit::Algorithm::SlidingWindow,
        };
        let on_failure = match limit.on_failure {
            OnFailure::Local => ratelimit::OnFailure::Local,
            OnFailure::Deny => ratelimit::OnFailure::Deny,
            OnFailure::Allow => ratelimit::OnFailure::Allow,
        };
        Self {
            name: limit.name,
            limit: limit.limit,
            window_seconds: limit.window_seconds,
            algorithm: algorithm.into(),
            on_failure: on_failure.into(),
            ..Self::default()
        }
    }
}

impl From<ratelimit::Limit> for Limit {
    fn from(limit: ratelimit::Limit) -> Self {
        let algorithm = match limit.algorithm() {
            _ => Algorithm::SlidingWindow,
        };
        let on_failure = match limit.on_failure() {
            ratelimit::OnFailure::Unspecified | ratelimit::OnFailure::Local => OnFailure::Local,
            ratelimit::OnFailure::Deny => OnFailure::Deny,
            ratelimit::OnFailure::Allow => OnFailure::Allow,
        };
        Self {
            name: limit.name,
            limit: limit.limit,
            window_seconds: limit.window_seconds,
            algorithm,
            on_failure,
        }
    }
}
