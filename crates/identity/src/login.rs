//! Logging in with an address and a password.

use std::net::IpAddr;

use tollgate_kernel::{Code, Fault, SessionId};

use crate::{
    IdentityService,
    email::Email,
    hasher::Check,
    password::Password,
    refresh::{delta, next_end},
    sessions::Tokens,
    store::{Action, Rehash, SessionRow, UserRow},
    throttle::Identifier,
};

/// Somebody says who they are.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) email: Email,
    pub(crate) password: Password,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) user_agent: String,
}

/// Why an attempt fails. For the log and the audit: to the client all are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    UnknownUser,
    WrongPassword,
    Disabled,
}

impl Failure {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::Disabled => "disabled",
        }
    }
}

impl IdentityService {
    /// Opens a session.
    ///
    /// An unknown address, a wrong password and a disabled user cost the same work and get the same answer.
    pub(crate) async fn log_in(&self, attempt: Attempt) -> Result<Tokens, Fault> {
        let identifier = self.throttle.identifier(&attempt.email);
        self.throttle.login(&identifier, attempt.ip).await.inspect_err(|fault| {
            let reason =
                if fault.code() == Code::RateLimited { "rate_limited" } else { "throttle_unavailable" };
            failed(reason, &identifier, attempt.ip);
        })?;
        let user = self.store.user_by_email(attempt.email.key()).await?;
        match self.judge(user, attempt.password.clone()).await? {
            Ok((user, rehash)) => self.open_session(&user, rehash, &attempt).await,
            Err(failure) => {
                failed(failure.as_str(), &identifier, attempt.ip);
                let event = self.event(Action::LoginFailed).from(attempt.ip);
                let event = event.failed(failure.as_str(), &identifier);
                self.store.audit_insert(&event).await?;
                let message = "The e-mail address or the password is wrong.";
                Err(Fault::new(Code::Unauthenticated, message))
            }
        }
    }

    /// Whether the user may come in, and the new hash if the stored one is outdated. Always one hash of work.
    async fn judge(
        &self,
        user: Option<UserRow>,
        password: Password,
    ) -> Result<Result<(UserRow, Option<Rehash>), Failure>, Fault> {
        let Some(user) = user else {
            self.hasher.burn(password).await?;
            return Ok(Err(Failure::UnknownUser));
        };
        let check = self.hasher.check(password.clone(), &user.password_hash).await?;
        Ok(match check {
            Check::Wrong => Err(Failure::WrongPassword),
            _ if user.disabled_at.is_some() => Err(Failure::Disabled),
            Check::Right => Ok((user, None)),
            Check::RightButOutdated => {
                // If the pool is too busy for a second hash, the next login will do.
                let new = self.hasher.hash(password).await.ok();
                let rehash = new.map(|new| Rehash { old: user.password_hash.clone(), new });
                Ok((user, rehash))
            }
        })
    }

    async fn open_session(
        &self,
        user: &UserRow,
        rehash: Option<Rehash>,
        attempt: &Attempt,
    ) -> Result<Tokens, Fault> {
        let session = self.session_row(user, attempt);
        let event = self.event(Action::Login).user(user.id()).session(session.id()).from(attempt.ip);
        self.store.session_insert(&session, rehash.as_ref(), &event).await?;
        metrics::counter!("tollgate_identity_logins_total", "outcome" => "ok").increment(1);
        tracing::info!(
            user = %user.id(), session = %session.id(), ip = ?attempt.ip, rehashed = rehash.is_some(), "login"
        );
        self.tokens(&session, session.generation, self.clock.now()).await
    }

    fn session_row(&self, user: &UserRow, attempt: &Attempt) -> SessionRow {
        let now = self.clock.now();
        let absolute_end = now + delta(self.config.session_absolute_seconds.seconds());
        SessionRow {
            id: SessionId::new(&*self.clock, &*self.entropy).into(),
            user_id: user.id,
            generation: 0,
            created_at: now.into(),
            rotated_at: now.into(),
            ends_at: next_end(now, self.config.session_idle_seconds.seconds(), absolute_end).into(),
            absolute_ends_at: absolute_end.into(),
            end_reason: None,
            ip: attempt.ip.map(|ip| ip.to_string()),
            user_agent: attempt.user_agent.clone(),
        }
    }
}

fn failed(reason: &'static str, identifier: &Identifier, ip: Option<IpAddr>) {
    metrics::counter!("tollgate_identity_logins_total", "outcome" => reason).increment(1);
    tracing::warn!(reason, %identifier, ?ip, "login failed");
}
