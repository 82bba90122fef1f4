//! How often one client address may knock, before anybody is asked who it is. Counted in this process, without I/O, and so
//! exactly for one edge process.
//!
//! Each route has a [`Class`]. What is protected counts failures only: keys have limits of their own, and behind one
//! address there may be many of them. Once an address has used up its failures, only what is known to be good passes from
//! there, and for the rest nothing is looked up.

use std::net::{IpAddr, Ipv6Addr};

use http::StatusCode;
use tollgate_proto::{
    RateLimitHandle,
    fault::from_status,
    ratelimit::{Charge, CheckRequest, CheckResponse, Limit, OnFailure},
};
use tollgate_verify::{Credential, VerdictCode, Verifier};
use tonic::Request;

use crate::{config::PerIp, extract::ClientIp, limit_headers, problem::Problem};

/// What all clients share whose address is not known.
const UNKNOWN: &str = "unknown";
/// Of the address's limits. There is one partition per address, so that they spread over the counter's locks.
const SUBJECT: &str = "ip";

/// What a route is to a client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Signing up, logging in and out, and showing the token of an invitation: each request counts.
    Auth,
    /// Management: each request counts, and each failed authentication as below.
    Management,
    /// Verdicts that somebody asks for, and what is behind the turnstile: each failed authentication counts.
    Protected,
    /// What anybody may read: each request counts.
    Public,
}

/// Turns clients away by their address.
pub(crate) struct Door {
    counter: RateLimitHandle,
    limits: PerIp,
    /// Whether answers carry the older `X-RateLimit-*`, too.
    legacy_headers: bool,
}

impl Class {
    /// The name of its limit, as clients see it.
    const fn policy(self) -> &'static str {
        match self {
            Self::Auth => "ip-auth",
            Self::Management => "ip-management",
            Self::Protected => "ip-protected",
            Self::Public => "ip-public",
        }
    }
}

impl Door {
    pub(crate) fn new(counter: RateLimitHandle, limits: PerIp, legacy_headers: bool) -> Self {
        Self { counter, limits, legacy_headers }
    }

    /// Counts one request; refuses it if its client has made too many of this class.
    pub(crate) async fn count(&self, class: Class, ip: ClientIp) -> Result<(), Problem> {
        self.ask(class, ip, false).await.inspect_err(|_| turned_away(class))
    }

    /// Lets a client try its credential, unless it has failed too often and this one is not known to be good; counts it if it
    /// fails. What is being tried at the same moment is counted when it has failed, not before.
    pub(crate) async fn guard<T>(
        &self,
        verifier: &Verifier,
        credential: Option<&Credential>,
        ip: ClientIp,
        attempt: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        if let Err(problem) = self.ask(Class::Protected, ip, true).await
            && !credential.is_some_and(|it| verifier.knows(it))
        {
            turned_away(Class::Protected);
            return Err(problem);
        }
        let answer = attempt.await;
        if answer.as_ref().is_err_and(is_no_credential) {
            // The refusal that it has got already is the better one.
            let _ = self.ask(Class::Protected, ip, false).await;
        }
        answer
    }

    /// Refuses if the limit is used up. Else takes one of it, unless it is only asked.
    async fn ask(&self, class: Class, ip: ClientIp, peek: bool) -> Result<(), Problem> {
        let Some(limit) = self.limit(class) else { return Ok(()) };
        let charge = Charge { limit: Some(limit.clone()), subject: SUBJECT.to_owned(), cost: 1 };
        let request =
            CheckRequest { partition: client(ip.0), charges: vec![charge], peek, ..CheckRequest::default() };
        match self.counter.check(Request::new(request)).await.map_err(from_status) {
            Ok(answer) if answer.get_ref().allowed => Ok(()),
            Ok(answer) => Err(self.refusal(answer.get_ref(), &limit)),
            Err(fault) => {
                // What is behind the door has limits of its own: a counter that is broken must not close it.
                tracing::warn!(?fault, "a client was not counted by its address");
                Ok(())
            }
        }
    }

    fn refusal(&self, count: &CheckResponse, limit: &Limit) -> Problem {
        let problem = Problem::refused(VerdictCode::RateLimited).expect("it is a refusal");
        let headers = limit_headers::headers(count, &[limit], self.legacy_headers);
        problem.violating(limit_headers::violated(count)).with_headers(headers)
    }

    /// `None`: the class is not limited.
    fn limit(&self, class: Class) -> Option<Limit> {
        let limit = match class {
            Class::Auth => self.limits.auth,
            Class::Management => self.limits.management,
            Class::Protected => self.limits.protected,
            Class::Public => self.limits.public,
        };
        (limit > 0).then(|| Limit {
            name: class.policy().to_owned(),
            limit,
            window_seconds: self.limits.window_seconds,
            on_failure: OnFailure::Allow.into(),
            ..Limit::default()
        })
    }
}

fn turned_away(class: Class) {
    metrics::counter!("tollgate_turned_away_total", "class" => class.policy()).increment(1);
}

/// Nobody has said who this is, or not in a way that holds.
fn is_no_credential(problem: &Problem) -> bool {
    matches!(problem.status(), StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST)
}

/// Who is counted as one: an IPv4 address, or the 64 bits of IPv6 that one subscriber is given at least (RFC 6177 section 2),
/// who may use any address within.
fn client(ip: Option<IpAddr>) -> String {
    match ip.map(|ip| ip.to_canonical()) {
        None => UNKNOWN.to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64));
            format!("{network}/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        for (ip, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
        ] {
            assert_eq!(client(Some(ip.parse().expect("an address"))), expected, "{ip}");
        }
        assert_eq!(client(None), "unknown");
    }
}
