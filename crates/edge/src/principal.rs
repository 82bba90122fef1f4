//! Who makes a management request, and how a role is told. What they may do is for the role to say.

use std::sync::Arc;

use tollgate_kernel::{ExposeSecret, Fault, SessionId, Timestamp, UserId};
use tollgate_proto::kernel::{self, caller};
use tollgate_verify::{Credential, Permission, PresentedKey, ServiceGrant, Verifier};

/// A caller whose credential is valid.
#[derive(Debug, Clone)]
pub(crate) enum Principal {
    /// By access token.
    User {
        /// Who.
        user_id: UserId,
        /// By which login.
        session_id: SessionId,
        /// Whether an instance administrator.
        operator: bool,
    },
    /// By service key.
    ServiceKey(Arc<ServiceGrant>),
}

impl Principal {
    /// Whose credential this is; `None` if it is not valid now, or is a plain API key, which manages nothing.
    pub(crate) async fn authenticate(
        credential: &Credential,
        verifier: &Verifier,
    ) -> Result<Option<Self>, Fault> {
        match credential {
            Credential::Key(_) => Ok(None),
            Credential::Token(token) => {
                let live = verifier.token(token.expose_secret()).await?.ok();
                Ok(live.map(|it| Self::User {
                    user_id: it.claims.user_id,
                    session_id: it.claims.session_id,
                    operator: it.operator,
                }))
            }
            Credential::ServiceKey(key) => {
                let Some(key) = PresentedKey::parse(key.expose_secret()) else { return Ok(None) };
                Ok(verifier.service_key(&key).await?.map(Self::ServiceKey))
            }
        }
    }

    /// Whether this caller may ask about credentials at all: any user, and service keys with `keys.verify`.
    pub(crate) fn may_verify(&self, now: Timestamp) -> bool {
        match self {
            Self::User { .. } => true,
            Self::ServiceKey(grant) => grant.allows(Permission::KeysVerify, now),
        }
    }

    /// As the roles are told.
    pub(crate) fn to_proto(&self) -> caller::Principal {
        match self {
            Self::User { user_id, session_id, operator } => caller::Principal::User(caller::User {
                user_id: user_id.to_string(),
                session_id: session_id.to_string(),
                operator: *operator,
                email: String::new(),
            }),
            Self::ServiceKey(grant) => caller::Principal::ServiceKey(caller::ServiceKey {
                service_key_id: grant.service_key_id.to_string(),
            }),
        }
    }
}

/// The first field of every management request.
pub(crate) fn caller(principal: caller::Principal, ip: String) -> kernel::Caller {
    kernel::Caller { principal: Some(principal), ip }
}
