//! Protected routes: a call passes the gate, or is refused as a problem. Either way the limits are in the headers.

use std::sync::Arc;

use http::HeaderMap;
use tollgate_kernel::{ExposeSecret, SecretString};
use tollgate_verify::{Credential, Grant, LiveToken, VerdictCode};

use crate::{
    extract::{ClientIp, Presented},
    gate::{Gate, Question},
    limit_headers,
    problem::Problem,
};

/// What a route accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepts {
    /// A key or an access token.
    Either,
    /// An access token only.
    Token,
    /// A key only.
    Key,
}

/// Who passed.
pub(crate) enum Subject {
    User(LiveToken),
    Key(Arc<Grant>),
}

/// A call that passed and has been counted.
pub(crate) struct Passed {
    pub(crate) subject: Subject,
    /// For the answer.
    pub(crate) headers: HeaderMap,
}

impl Gate {
    /// Lets a call through to a route. A credential of a kind that the route does not accept is refused before it is looked
    /// up, and counts nothing.
    pub(crate) async fn protect(&self, presented: Presented, accepts: Accepts) -> Result<Passed, Problem> {
        match presented.credential {
            Credential::Token(token) if accepts != Accepts::Key => self.protect_user(&token).await,
            Credential::Key(key) if accepts != Accepts::Token => self.protect_key(&key, presented.ip).await,
            _ => Err(Problem::invalid_credential()),
        }
    }

    async fn protect_user(&self, token: &SecretString) -> Result<Passed, Problem> {
        let live = self.token(token.expose_secret()).await?.map_err(|_| Problem::invalid_credential())?;
        let count = self.count_user(&live).await?;
        let code = if count.allowed { VerdictCode::Valid } else { VerdictCode::RateLimited };
        passed_or_refused(code, limit_headers::headers(&count), Subject::User(live))
    }

    async fn protect_key(&self, key: &SecretString, ip: ClientIp) -> Result<Passed, Problem> {
        let question = Question { client_ip: ip.0, ..Question::default() };
        let verdict = self.key(key.expose_secret(), None, &question).await?;
        let headers = verdict.count.as_ref().map(limit_headers::headers).unwrap_or_default();
        let grant = verdict.grant.ok_or_else(Problem::invalid_credential)?;
        passed_or_refused(verdict.code, headers, Subject::Key(grant))
    }
}

fn passed_or_refused(code: VerdictCode, headers: HeaderMap, subject: Subject) -> Result<Passed, Problem> {
    match Problem::refused(code) {
        Some(problem) => Err(problem.with_headers(headers)),
        None => Ok(Passed { subject, headers }),
    }
}
