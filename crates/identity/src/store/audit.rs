//! Audit events.

use std::net::IpAddr;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, Error, write_db};
use tollgate_kernel::{Clock, Entropy, Id, IdKind, SessionId, Timestamp, UserId};

use super::{BATCH, Store, schema::audit_events};
use crate::throttle::Identifier;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Signup,
    Login,
    LoginFailed,
    Logout,
    LogoutAll,
    RefreshReused,
    OperatorCreated,
    OperatorPromoted,
    SigningKeyCreated,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Signup => "user.signup",
            Self::Login => "session.login",
            Self::LoginFailed => "session.login_failed",
            Self::Logout => "session.logout",
            Self::LogoutAll => "session.logout_all",
            Self::RefreshReused => "session.refresh_reused",
            Self::OperatorCreated => "operator.created",
            Self::OperatorPromoted => "operator.promoted",
            Self::SigningKeyCreated => "signing_key.created",
        }
    }
}

/// The kind of an event's id: `evt_…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Event;

impl IdKind for Event {
    const PREFIX: &'static str = "evt";
}

/// A row of `audit_events`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = audit_events, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(crate) struct AuditEvent {
    id: DbId,
    at: DbTime,
    action: String,
    user_id: Option<DbId>,
    session_id: Option<DbId>,
    ip: Option<String>,
    reason: Option<String>,
    identifier: Option<String>,
}

impl AuditEvent {
    /// An event of now.
    pub(crate) fn new(action: Action, clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
        Self {
            id: Id::<Event>::new(clock, entropy).into(),
            at: clock.now().into(),
            action: action.as_str().to_owned(),
            user_id: None,
            session_id: None,
            ip: None,
            reason: None,
            identifier: None,
        }
    }

    pub(crate) fn user(self, id: UserId) -> Self {
        Self { user_id: Some(id.into()), ..self }
    }

    pub(crate) fn session(self, id: SessionId) -> Self {
        Self { session_id: Some(id.into()), ..self }
    }

    pub(crate) fn from(self, ip: Option<IpAddr>) -> Self {
        Self { ip: ip.map(|ip| ip.to_string()), ..self }
    }

    /// Why it failed, and whom it was about: the hash of an address.
    pub(crate) fn failed(self, reason: &str, identifier: &Identifier) -> Self {
        Self { reason: Some(reason.to_owned()), identifier: Some(identifier.to_string()), ..self }
    }
}

impl Store {
    pub(crate) async fn audit_insert(&self, event: &AuditEvent) -> Result<(), Error> {
        write_db!(self.0, |c| diesel::insert_into(audit_events::table).values(event).execute(c).await)?;
        Ok(())
    }

    /// Deletes at most [`BATCH`] events of before `limit`, and says how many.
    pub(crate) async fn audit_delete(&self, limit: Timestamp) -> Result<usize, Error> {
        write_db!(self.0, |c| {
            let old = audit_events::table.filter(audit_events::at.lt(DbTime(limit)));
            let old = old.select(audit_events::id).order(audit_events::at).limit(BATCH);
            let old: Vec<DbId> = old.load(c).await?;
            diesel::delete(audit_events::table.filter(audit_events::id.eq_any(old))).execute(c).await
        })
    }
}
