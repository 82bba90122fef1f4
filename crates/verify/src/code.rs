//! The answers to "may this call pass", and the kind of refusal that each one is.

use tollgate_proto::gate;

use crate::{token::TokenRefusal, words::words};

words! {
    /// The code of a verdict. A verdict is data, never an error.
    ///
    /// Declared in the order of the checks: of several reasons to refuse a call, the first is the verdict.
    pub enum VerdictCode {
        /// The call may pass.
        Valid = "VALID",
        /// What was presented cannot be a key: wrong shape, or wrong check digits.
        Malformed = "MALFORMED",
        /// No such key, or not one of this workspace.
        NotFound = "NOT_FOUND",
        /// The key or its workspace is disabled, for now.
        Disabled = "DISABLED",
        /// The key has been ended for good.
        Revoked = "REVOKED",
        /// The key's time is over.
        Expired = "EXPIRED",
        /// A live key where a test key is asked for, or the other way round.
        WrongEnvironment = "WRONG_ENVIRONMENT",
        /// The key is bound to networks, and the call does not come from one of them.
        ForbiddenIp = "FORBIDDEN_IP",
        /// The key lacks a scope that the call needs.
        InsufficientScope = "INSUFFICIENT_SCOPE",
        /// A limit denied the call; it may pass later.
        RateLimited = "RATE_LIMITED",
        /// A quota denied the call.
        QuotaExceeded = "QUOTA_EXCEEDED",
    }
}

/// What kind of refusal a code is to the one who presented the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The credential is not good: 401.
    WhoAreYou,
    /// The credential is good, but not for this: 403.
    MayYou,
    /// The credential is good, but not now: 429.
    TooMany,
}

impl VerdictCode {
    /// The kind of refusal, or `None` for [`VerdictCode::Valid`].
    pub const fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Valid => None,
            // A disabled key looks like an unknown one to whoever presents it; its workspace sees the code.
            Self::Malformed | Self::NotFound | Self::Disabled | Self::Revoked | Self::Expired => {
                Some(Refusal::WhoAreYou)
            }
            Self::WrongEnvironment | Self::ForbiddenIp | Self::InsufficientScope => Some(Refusal::MayYou),
            Self::RateLimited | Self::QuotaExceeded => Some(Refusal::TooMany),
        }
    }
}

impl From<TokenRefusal> for VerdictCode {
    fn from(refusal: TokenRefusal) -> Self {
        match refusal {
            TokenRefusal::Malformed => Self::Malformed,
            TokenRefusal::Expired => Self::Expired,
            TokenRefusal::Revoked => Self::Revoked,
        }
    }
}

impl From<VerdictCode> for gate::Code {
    fn from(code: VerdictCode) -> Self {
        match code {
            VerdictCode::Valid => Self::Valid,
            VerdictCode::Malformed => Self::Malformed,
            VerdictCode::NotFound => Self::NotFound,
            VerdictCode::Disabled => Self::Disabled,
            VerdictCode::Revoked => Self::Revoked,
            VerdictCode::Expired => Self::Expired,
            VerdictCode::WrongEnvironment => Self::WrongEnvironment,
            VerdictCode::ForbiddenIp => Self::ForbiddenIp,
            VerdictCode::InsufficientScope => Self::InsufficientScope,
            VerdictCode::RateLimited => Self::RateLimited,
            VerdictCode::QuotaExceeded => Self::QuotaExceeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_word_and_the_wire() {
        for code in VerdictCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert_eq!(gate::Code::from(*code).as_str_name(), format!("CODE_{code}"));
        }
    }

    #[test]
    fn no_other_word_is_a_code() {
        for wrong in ["", "valid", "VALID ", "CODE_VALID", "UNKNOWN"] {
            let refused = wrong.parse::<VerdictCode>().expect_err(wrong);
            assert!(refused.expected.starts_with("VALID MALFORMED "));
            assert!(refused.expected.ends_with(" QUOTA_EXCEEDED"));
        }
    }

    #[test]
    fn refusals_by_kind() {
        let of = |refusal| -> Vec<_> {
            VerdictCode::ALL.iter().filter(|c| c.refusal() == refusal).map(|c| c.as_str()).collect()
        };
        assert_eq!(of(None), ["VALID"]);
        assert_eq!(
            of(Some(Refusal::WhoAreYou)),
            ["MALFORMED", "NOT_FOUND", "DISABLED", "REVOKED", "EXPIRED"]
        );
        assert_eq!(of(Some(Refusal::MayYou)), ["WRONG_ENVIRONMENT", "FORBIDDEN_IP", "INSUFFICIENT_SCOPE"]);
        assert_eq!(of(Some(Refusal::TooMany)), ["RATE_LIMITED", "QUOTA_EXCEEDED"]);
    }
}
