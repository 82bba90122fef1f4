//! Who asks, as the edge says it.

use std::{fmt, net::IpAddr};

use tollgate_kernel::{Code, Fault, ServiceKeyId, SessionId, UserId};
use tollgate_proto::kernel::{self as wire, caller::Principal as WirePrincipal};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// For the audit only. A user who has just signed up has none yet.
    pub(crate) session: Option<SessionId>,
    /// For the audit only.
    pub(crate) ip: Option<IpAddr>,
}

/// A person, or a machine, or this role itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Principal {
    User {
        id: UserId,
        operator: bool,
    },
    ServiceKey(ServiceKeyId),
    /// What is done from time to time because a policy says so. Nobody who calls is this.
    System,
}

impl Caller {
    /// This role itself.
    pub(crate) const SYSTEM: Self = Self { principal: Principal::System, session: None, ip: None };
}

impl TryFrom<Option<wire::Caller>> for Caller {
    type Error = Fault;

    fn try_from(caller: Option<wire::Caller>) -> Result<Self, Fault> {
        let caller = caller.ok_or_else(nobody)?;
        let (principal, session) = match caller.principal.ok_or_else(nobody)? {
            WirePrincipal::User(user) => {
                let id = user.user_id.parse().map_err(|_| nobody())?;
                (Principal::User { id, operator: user.operator }, session(&user.session_id)?)
            }
            WirePrincipal::ServiceKey(key) => {
                (Principal::ServiceKey(key.service_key_id.parse().map_err(|_| nobody())?), None)
            }
        };
        Ok(Self { principal, session, ip: caller.ip.parse().ok() })
    }
}

fn session(text: &str) -> Result<Option<SessionId>, Fault> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| nobody()) }
}

/// The fault of a request that names no caller, or one that is no more.
pub(crate) fn nobody() -> Fault {
    Fault::new(
        Code::Unauthenticated,
        "The request does not say who asks, or the one who asks is no longer known.",
    )
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { id, .. } => id.fmt(f),
            Self::ServiceKey(id) => id.fmt(f),
            Self::System => f.write_str("system"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_proto::kernel::caller::{ServiceKey, User};

    use super::*;

    const USER: &str = "usr_00000000000000000000000001";

    fn user(user_id: &str, session_id: &str) -> wire::Caller {
        let user = User {
            user_id: user_id.into(),
            session_id: session_id.into(),
            operator: false,
            email: String::new(),
        };
        wire::Caller { ip: "2001:db8::1".into(), principal: Some(WirePrincipal::User(user)) }
    }

    #[test]
    fn a_user_may_have_no_session_yet() {
        let caller = Caller::try_from(Some(user(USER, ""))).expect("a caller");
        assert_eq!((caller.principal.to_string().as_str(), caller.session), (USER, None));
        assert_eq!(caller.ip, "2001:db8::1".parse().ok());
    }

    #[test]
    fn nobody_is_refused() {
        let service = ServiceKey { service_key_id: USER.into() };
        let service = wire::Caller { ip: String::new(), principal: Some(WirePrincipal::ServiceKey(service)) };
        assert_eq!(refusal(None), Code::Unauthenticated);
        for caller in [wire::Caller::default(), user("", ""), user(USER, "ses_1"), user("svc_1", ""), service]
        {
            assert_eq!(refusal(Some(caller)), Code::Unauthenticated);
        }
    }

    fn refusal(caller: Option<wire::Caller>) -> Code {
        Caller::try_from(caller).expect_err("refused").code()
    }
}
