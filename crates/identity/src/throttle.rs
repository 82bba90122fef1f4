//! How often somebody may try: asked of the ratelimit role before anything is looked up.
//!
//! If that role cannot answer, nobody gets in: what happens when only its store is down is its own decision
//! (`ON_FAILURE_LOCAL`).

use std::{fmt, net::IpAddr, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tollgate_kernel::{Code, Fault, MasterKey};
use tollgate_proto::{
    RateLimitHandle,
    ratelimit::{Algorithm, Charge, CheckRequest, Limit, OnFailure},
};
use tonic::Request;

use crate::{
    client::place,
    config::{Rate, ThrottleConfig},
    email::Email,
};

/// Stands for an e-mail address where the address itself must not be: in the names of counters, in logs, in the audit.
/// A keyed hash, so that it cannot be found by trying addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identifier(String);

/// The limits, and who keeps them.
pub(crate) struct Throttle {
    limits: ThrottleConfig,
    ratelimit: RateLimitHandle,
    key: hmac::Key,
}

impl Throttle {
    pub(crate) fn new(limits: ThrottleConfig, ratelimit: RateLimitHandle, master: &MasterKey) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &master.derive("identity e-mail identifier v1"));
        Self { limits, ratelimit, key }
    }

    /// What stands for this address.
    pub(crate) fn identifier(&self, email: &Email) -> Identifier {
        let hash = hmac::sign(&self.key, email.key().as_bytes());
        Identifier(URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]))
    }

    /// Counts a login.
    ///
    /// # Errors
    /// [`Code::RateLimited`] with the time to wait; [`Code::Unavailable`] if it cannot be counted.
    pub(crate) async fn login(&self, identifier: &Identifier, ip: Option<IpAddr>) -> Result<(), Fault> {
        let place = place(ip);
        let charges = vec![
            charge("login_pair", self.limits.login_pair, format!("{identifier}|{place}")),
            charge("login_identifier", self.limits.login_identifier, identifier.to_string()),
            charge("login_ip", self.limits.login_ip, place),
        ];
        self.ask("login", charges).await
    }

    /// Counts a sign-up. Errors as of [`Throttle::login`].
    pub(crate) async fn signup(&self, ip: Option<IpAddr>) -> Result<(), Fault> {
        self.ask("signup", vec![charge("signup_ip", self.limits.signup_ip, place(ip))]).await
    }

    async fn ask(&self, partition: &str, charges: Vec<Charge>) -> Result<(), Fault> {
        let request = CheckRequest { partition: partition.to_owned(), charges, ..CheckRequest::default() };
        let answer = self.ratelimit.check(Request::new(request)).await.map_err(|status| {
            let cause = tollgate_proto::fault::from_status(status);
            Fault::unavailable(cause)
        })?;
        let answer = answer.into_inner();
        if answer.allowed {
            return Ok(());
        }
        let wait = Duration::from_micros(answer.retry_after_us);
        Err(Fault::new(Code::RateLimited, "Too many attempts; try again later.").retry_after(wait))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn charge(name: &str, rate: Rate, subject: String) -> Charge {
    let limit = Limit {
        name: name.to_owned(),
        limit: rate.limit.get().into(),
        window_seconds: rate.window_seconds.get(),
        algorithm: Algorithm::SlidingWindow.into(),
        on_failure: OnFailure::Local.into(),
        ..Limit::default()
    };
    Charge { limit: Some(limit), subject, cost: 1 }
}
