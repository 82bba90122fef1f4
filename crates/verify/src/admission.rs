//! Lets a request in by its credential, or says why not: in this process, in microseconds, with the promise of
//! [`Verifier::connect`].
//!
//! **Limits are not counted here**, and neither are calls: a key that has used up its limits is let in. Counting takes the
//! ratelimit role; whoever wants limits asks the Gate, which does both.

use std::sync::Arc;

use tollgate_kernel::{ExposeSecret, Fault, SessionId, UserId};

use crate::{Credential, Demand, Grant, LiveToken, VerdictCode, Verifier};

/// Which credentials a route accepts. Service keys manage keys, and open no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accepts {
    /// An access token only.
    User,
    /// An API key only.
    Key,
    /// One or the other.
    Either,
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq)]
pub enum Identity {
    /// By access token.
    User {
        /// Who.
        user_id: UserId,
        /// By which login.
        session_id: SessionId,
        /// An instance administrator now, whatever the token says.
        operator: bool,
    },
    /// By API key.
    Key {
        /// What the key entitles to.
        grant: Arc<Grant>,
    },
}

/// Who is let in, or the code of the refusal; its [`Refusal`](crate::Refusal) says whether that is a 401 or a 403. A fault
/// only if a role had to be asked and could not be: nothing is known then.
pub type Admitted = Result<Result<Identity, VerdictCode>, Fault>;

/// Lets requests in by their credentials. Clones share the verifier.
#[derive(Debug, Clone)]
pub struct Admission(Verifier);

impl Admission {
    /// By what this verifier says.
    pub fn new(verifier: Verifier) -> Self {
        Self(verifier)
    }

    /// The verifier underneath.
    pub fn verifier(&self) -> &Verifier {
        &self.0
    }

    /// By access token.
    pub async fn user(&self, token: &str) -> Admitted {
        let verdict = self.0.token(token).await?;
        Ok(verdict.map(Identity::from).map_err(VerdictCode::from))
    }

    /// By API key, for a call that demands this of it.
    pub async fn key(&self, presented: &str, demand: &Demand<'_>) -> Admitted {
        let grant = match self.0.presented(presented).await? {
            Ok(grant) => grant,
            Err(code) => return Ok(Err(code)),
        };
        Ok(grant.admit(demand, self.0.now()).map(|()| Identity::Key { grant }))
    }

    /// By whichever credential is accepted. One of another kind is refused without a look-up. The demand is about keys: a user
    /// has no scopes, and a token no networks.
    pub async fn either(&self, credential: &Credential, accepts: Accepts, demand: &Demand<'_>) -> Admitted {
        match credential {
            Credential::Token(token) if accepts != Accepts::Key => self.user(token.expose_secret()).await,
            Credential::Key(key) if accepts != Accepts::User => self.key(key.expose_secret(), demand).await,
            _ => Ok(Err(VerdictCode::NotFound)),
        }
    }
}

impl From<LiveToken> for Identity {
    fn from(live: LiveToken) -> Self {
        let LiveToken { claims, operator } = live;
        Self::User { user_id: claims.user_id, session_id: claims.session_id, operator }
    }
}

#[cfg(test)]
mod tests;
