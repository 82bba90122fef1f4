//! What becomes of a session after the login: refresh, logout, and whether it lives.

use std::net::IpAddr;

use secrecy::SecretString;
use tollgate_changes::{Cut, Effect};
use tollgate_kernel::{Code, Fault, SessionId, Timestamp, UserId};
use tollgate_verify::Subject;

use crate::{
    IdentityService,
    refresh::{Decision, Generation, Presented, decide, next_end},
    store::{Action, EndReason, SessionRow, UserRow},
};

/// What a client holds for one session.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) access: SecretString,
    /// Seconds.
    pub(crate) expires_in: u32,
    pub(crate) refresh: SecretString,
    /// Seconds.
    pub(crate) refresh_expires_in: u32,
    pub(crate) session: SessionId,
}

impl IdentityService {
    /// Exchanges a refresh token for its successor.
    ///
    /// Every way in which a token can be bad gets the same answer. One that was exchanged before, and not just now, ends
    /// its session: RFC 9700 §4.14.2.
    pub(crate) async fn exchange(&self, token: &str, ip: Option<IpAddr>) -> Result<Tokens, Fault> {
        let presented = self.presented(token)?;
        // Ends: who loses the race to rotate finds a newer generation or an ended session, and neither rotates.
        loop {
            let Some((session, user)) = self.store.session_by_id(presented.session).await? else {
                return Err(not_valid());
            };
            let now = self.clock.now();
            match self.decide(&session, &user, presented, now) {
                Decision::Ended => return Err(not_valid()),
                Decision::Reuse => {
                    self.end_reused(&session, presented, ip).await?;
                    return Err(not_valid());
                }
                Decision::SameSuccessor => {
                    tracing::debug!(session = %session.id(), "refresh repeated");
                    return self.tokens(&session, session.generation, now).await;
                }
                Decision::Rotate => {
                    if let Some(rotated) = self.rotate(session, now).await? {
                        return self.tokens(&rotated, rotated.generation, now).await;
                    }
                }
            }
        }
    }

    fn decide(&self, session: &SessionRow, user: &UserRow, token: Presented, now: Timestamp) -> Decision {
        let grace = self.config.refresh_grace_seconds.seconds();
        match user.disabled_at {
            Some(_) => Decision::Ended,
            None => decide(&session.state(), token.generation, now, grace),
        }
    }

    /// The session after its rotation; nothing if another request was first.
    async fn rotate(&self, session: SessionRow, now: Timestamp) -> Result<Option<SessionRow>, Fault> {
        let idle = self.config.session_idle_seconds.seconds();
        let ends_at = next_end(now, idle, session.absolute_ends_at.into());
        let won = self.store.session_rotate(session.id(), session.generation, now, ends_at).await?;
        let generation = session.generation + 1;
        let rotated = SessionRow { generation, rotated_at: now.into(), ends_at: ends_at.into(), ..session };
        Ok(won.then_some(rotated))
    }

    async fn end_reused(
        &self,
        session: &SessionRow,
        token: Presented,
        ip: Option<IpAddr>,
    ) -> Result<(), Fault> {
        let (id, user) = (session.id(), session.user_id());
        tracing::warn!(
            session = %id, %user, ?ip, presented = token.generation, current = session.generation,
            "refresh token reused: its session is ended"
        );
        self.end(id, user, EndReason::Reuse, ip, true).await.map(drop)
    }

    /// Ends the session of a token, or all sessions of its user. The token need not be the newest, and its session need
    /// not be live: being rid of a session is never refused to who once held it.
    pub(crate) async fn log_out(&self, token: &str, all: bool, wait: bool) -> Result<Option<Effect>, Fault> {
        let presented = self.presented(token)?;
        let Some((session, user)) = self.store.session_by_id(presented.session).await? else {
            return Ok(None);
        };
        if all {
            self.end_all(session.id(), user.id(), wait).await
        } else {
            self.end(session.id(), user.id(), EndReason::Logout, None, wait).await
        }
    }

    async fn end(
        &self,
        session: SessionId,
        user: UserId,
        reason: EndReason,
        ip: Option<IpAddr>,
        wait: bool,
    ) -> Result<Option<Effect>, Fault> {
        let action = if reason == EndReason::Reuse { Action::RefreshReused } else { Action::Logout };
        let event = self.event(action).user(user).session(session).from(ip);
        let (store, now) = (self.store.clone(), self.clock.now());
        let cut = Cut { subject: Subject::Session(session), wait };
        let entry = self.entry(cut, now);
        let work = async move { store.session_end(session, entry, reason, now, &event).await };
        let (ended, effect) = self.feed.carry_out(Some(cut), work).await?;
        if ended && reason == EndReason::Logout {
            tracing::info!(%session, %user, "logout");
        }
        Ok(effect)
    }

    async fn end_all(&self, session: SessionId, user: UserId, wait: bool) -> Result<Option<Effect>, Fault> {
        let event = self.event(Action::LogoutAll).user(user).session(session);
        let (store, now) = (self.store.clone(), self.clock.now());
        let cut = Cut { subject: Subject::User(user), wait };
        let entry = self.entry(cut, now);
        let work = async move { store.sessions_end(user, entry, now, &event).await };
        let (ended, effect) = self.feed.carry_out(Some(cut), work).await?;
        tracing::info!(%user, ended, "logout of all sessions");
        Ok(effect)
    }

    /// The session, if it lives, and its user.
    pub(crate) async fn live_session(&self, id: SessionId) -> Result<Option<(SessionRow, UserRow)>, Fault> {
        let found = self.store.session_by_id(id).await?;
        let now = self.clock.now();
        Ok(found.filter(|(session, user)| session.state().is_live(now) && user.disabled_at.is_none()))
    }

    /// The tokens of this generation.
    pub(crate) async fn tokens(
        &self,
        session: &SessionRow,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Tokens, Fault> {
        let key = self.keys.signer().await?;
        let ids = (session.user_id(), session.id());
        let absolute_end = session.absolute_ends_at.into();
        let access = self.access.issue(&key, ids, absolute_end, now, &*self.entropy)?;
        let remaining = (Timestamp::from(session.ends_at) - now).num_seconds();
        Ok(Tokens {
            access: access.token,
            expires_in: access.expires_in,
            refresh: self.refresh.issue(session.id(), generation),
            refresh_expires_in: u32::try_from(remaining).unwrap_or(0),
            session: session.id(),
        })
    }

    fn presented(&self, token: &str) -> Result<Presented, Fault> {
        self.refresh.parse(token).ok_or_else(not_valid)
    }
}

fn not_valid() -> Fault {
    Fault::new(Code::Unauthenticated, "The refresh token is not valid.")
}
