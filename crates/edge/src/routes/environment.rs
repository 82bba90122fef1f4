//! The two environments.

use serde::{Deserialize, Serialize};
use tollgate_proto::keys;
use utoipa::ToSchema;

/// What a key is for: `live` for the real thing, `test` for trying out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Environment {
    Live,
    Test,
}

impl Environment {
    /// `None` if it is unspecified.
    pub(crate) fn from_keys(environment: keys::Environment) -> Option<Self> {
        match environment {
            keys::Environment::Unspecified => None,
            keys::Environment::Live => Some(Self::Live),
            keys::Environment::Test => Some(Self::Test),
        }
    }
}

impl From<Environment> for keys::Environment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Live => Self::Live,
            Environment::Test => Self::Test,
        }
    }
}

impl From<Environment> for tollgate_verify::Environment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Live => Self::Live,
            Environment::Test => Self::Test,
        }
    }
}

impl From<tollgate_verify::Environment> for Environment {
    fn from(environment: tollgate_verify::Environment) -> Self {
        match environment {
            tollgate_verify::Environment::Live => Self::Live,
            tollgate_verify::Environment::Test => Self::Test,
        }
    }
}
