//! What a call that takes something away says when it returns.

use serde::{Deserialize, Serialize};
use tollgate_kernel::Fault;
use tollgate_proto::kernel;
use utoipa::{IntoParams, ToSchema};

use crate::wire::required;

/// How a change came to hold everywhere.
#[derive(Serialize, ToSchema)]
pub(crate) struct Effect {
    /// How far the word has gone.
    effective: Effective,
    /// From the moment at which it was stored to the moment at which it held, in milliseconds.
    #[schema(minimum = 0, example = 6)]
    took_ms: u32,
}

/// How far the word has gone.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effective {
    /// Every live verifier has said that it has forgotten what was taken away.
    Acknowledged,
    /// Some verifier did not answer; by now it has stopped trusting what it remembers.
    LeaseExpired,
    /// The caller did not wait. It holds within a lease.
    Pending,
}

/// Whether to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitQuery {
    /// `false`: return at once, not when the change holds everywhere. For many changes in a row.
    #[param(nullable = false, default = true)]
    wait: Option<bool>,
}

impl WaitQuery {
    pub(crate) fn no_wait(&self) -> bool {
        self.wait == Some(false)
    }
}

impl Effect {
    /// What held before the call was made.
    pub(crate) const UNCHANGED: Self = Self { effective: Effective::Acknowledged, took_ms: 0 };
}

impl Effect {
    /// Of a change that may have had nothing to cut off: then it held before the call returned.
    pub(crate) fn of(effect: Option<kernel::Effect>) -> Result<Self, Fault> {
        effect.map_or(Ok(Self::UNCHANGED), Self::try_from)
    }
}

impl TryFrom<kernel::Effect> for Effect {
    type Error = Fault;

    fn try_from(effect: kernel::Effect) -> Result<Self, Fault> {
        let effective = match effect.mode() {
            kernel::effect::Mode::Unspecified => None,
            kernel::effect::Mode::Acknowledged => Some(Effective::Acknowledged),
            kernel::effect::Mode::LeaseExpired => Some(Effective::LeaseExpired),
            kernel::effect::Mode::Pending => Some(Effective::Pending),
        };
        Ok(Self { effective: required(effective, "mode")?, took_ms: effect.took_ms })
    }
}
