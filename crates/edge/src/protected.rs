//! Protected routes: a call passes the gate, or is refused as a problem. Either way the limits are in the headers.

use std::sync::Arc;

use http::HeaderMap;
use tollgate_kernel::{ExposeSecret, SecretString};
use tollgate_proto::ratelimit::{CheckResponse, Limit};
use tollgate_verify::{Credential, Grant, LiveToken, VerdictCode};

use crate::{
    extract::{ClientIp, Presented},
    gate::{Gate, KeyVerdict, Question, code_of, limits},
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
    /// Lets a call through to a route, if its client has not presented too much that is no credential. A credential of a kind
    /// that the route does not accept is refused before it is looked up, and counts nothing.
    pub(crate) async fn protect(&self, presented: Presented, accepts: Accepts) -> Result<Passed, Problem> {
        let Presented { credential, ip, user_agent } = &presented;
        let attempt = async {
            match credential.as_ref().map_err(|missing| Problem::from(*missing))? {
                Credential::Token(token) if accepts != Accepts::Key => self.protect_user(token).await,
                Credential::Key(key) if accepts != Accepts::Token => {
                    self.protect_key(key, *ip, user_agent).await
                }
                _ => Err(Problem::invalid_credential()),
            }
        };
        self.door.guard(&self.verifier, credential.as_ref().ok(), *ip, attempt).await
    }

    async fn protect_user(&self, token: &SecretString) -> Result<Passed, Problem> {
        let live = self.token(token.expose_secret()).await?.map_err(|_| Problem::invalid_credential())?;
        let count = self.count_user(&live).await?;
        self.passed_or_refused(code_of(&count), Some((&count, &[&self.user_limit])), Subject::User(live))
    }

    async fn protect_key(
        &self,
        key: &SecretString,
        ip: ClientIp,
        user_agent: &str,
    ) -> Result<Passed, Problem> {
        let user_agent = user_agent.to_owned();
        let question = Question { client_ip: ip.0, user_agent, ..Question::default() };
        let KeyVerdict { code, grant, count } = self.key(key.expose_secret(), None, &question).await?;
        let grant = grant.ok_or_else(Problem::invalid_credential)?;
        let limits: Vec<_> = limits(&grant).map(|(_, limit)| limit).collect();
        let count = count.as_ref().map(|count| (count, &*limits));
        self.passed_or_refused(code, count, Subject::Key(grant.clone()))
    }

    fn passed_or_refused(
        &self,
        code: VerdictCode,
        count: Option<(&CheckResponse, &[&Limit])>,
        subject: Subject,
    ) -> Result<Passed, Problem> {
        let said = |(count, limits)| limit_headers::headers(count, limits, self.legacy_headers);
        let headers = count.map(said).unwrap_or_default();
        let Some(problem) = Problem::refused(code) else { return Ok(Passed { subject, headers }) };
        let violated = count.map(|(count, _)| limit_headers::violated(count)).unwrap_or_default();
        Err(problem.violating(violated).with_headers(headers))
    }
}
