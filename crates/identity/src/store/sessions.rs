//! Sessions.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::{Appended, Entry, append};
use tollgate_db::{DbId, DbTime, Error, read_db, tx_db, write_db};
use tollgate_kernel::{SessionId, Timestamp, UserId};

use super::{
    AuditEvent, BATCH, Store, UserRow,
    schema::{audit_events, sessions, users},
};
use crate::refresh::{Generation, SessionState};

/// A row of `sessions`.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = sessions, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(crate) struct SessionRow {
    pub(crate) id: DbId,
    pub(crate) user_id: DbId,
    pub(crate) generation: Generation,
    pub(crate) created_at: DbTime,
    pub(crate) rotated_at: DbTime,
    pub(crate) ends_at: DbTime,
    pub(crate) absolute_ends_at: DbTime,
    pub(crate) end_reason: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) user_agent: String,
}

/// Why a session was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndReason {
    Logout,
    LogoutAll,
    Reuse,
}

/// A password's new hash, to replace the one that was checked.
#[derive(Clone)]
pub(crate) struct Rehash {
    pub(crate) old: String,
    pub(crate) new: String,
}

impl SessionRow {
    pub(crate) fn id(&self) -> SessionId {
        self.id.typed()
    }

    pub(crate) fn user_id(&self) -> UserId {
        self.user_id.typed()
    }

    pub(crate) fn state(&self) -> SessionState {
        SessionState {
            generation: self.generation,
            rotated_at: self.rotated_at.into(),
            ends_at: self.ends_at.into(),
            ended: self.end_reason.is_some(),
        }
    }
}

impl EndReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::LogoutAll => "logout_all",
            Self::Reuse => "reuse",
        }
    }
}

impl Store {
    /// A new session, and in the same transaction the user's new hash, unless the password has changed since.
    pub(crate) async fn session_insert(
        &self,
        session: &SessionRow,
        rehash: Option<&Rehash>,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        tx_db!(self.0, |c| {
            if let Some(rehash) = rehash {
                let same = users::table.find(session.user_id).filter(users::password_hash.eq(&rehash.old));
                diesel::update(same).set(users::password_hash.eq(&rehash.new)).execute(c).await?;
            }
            diesel::insert_into(sessions::table).values(session).execute(c).await?;
            diesel::insert_into(audit_events::table).values(event).execute(c).await?;
            Ok::<_, Error>(())
        })
    }

    pub(crate) async fn session_by_id(&self, id: SessionId) -> Result<Option<(SessionRow, UserRow)>, Error> {
        let id = DbId::from(id);
        read_db!(self.0, |c| {
            let both = sessions::table.inner_join(users::table).filter(sessions::id.eq(id));
            both.select((SessionRow::as_select(), UserRow::as_select())).first(c).await.optional()
        })
    }

    /// Counts one exchange, if the session is still of this generation and has not been ended. Says whether it was.
    pub(crate) async fn session_rotate(
        &self,
        id: SessionId,
        generation: Generation,
        now: Timestamp,
        ends_at: Timestamp,
    ) -> Result<bool, Error> {
        let id = DbId::from(id);
        let rotated = write_db!(self.0, |c| {
            let unchanged = sessions::generation.eq(generation).and(sessions::end_reason.is_null());
            diesel::update(sessions::table.find(id).filter(unchanged))
                .set((
                    sessions::generation.eq(generation + 1),
                    sessions::rotated_at.eq(DbTime(now)),
                    sessions::ends_at.eq(DbTime(ends_at)),
                ))
                .execute(c)
                .await
        })?;
        Ok(rotated == 1)
    }

    /// Ends a session, if nobody has. Says whether this did. Logged either way: who ended it may have died before it could tell.
    pub(crate) async fn session_end(
        &self,
        id: SessionId,
        entry: Entry,
        reason: EndReason,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(bool, Option<Appended>), Error> {
        let id = DbId::from(id);
        let end = (sessions::end_reason.eq(reason.as_str()), sessions::ends_at.eq(DbTime(now)));
        tx_db!(self.0, |c| {
            let open = sessions::table.find(id).filter(sessions::end_reason.is_null());
            let ended = diesel::update(open).set(end).execute(c).await?;
            if ended == 1 {
                diesel::insert_into(audit_events::table).values(event).execute(c).await?;
            }
            Ok::<_, Error>((ended == 1, Some(append!(c, entry)?)))
        })
    }

    /// Ends all sessions of a user that nobody has ended, and says how many.
    pub(crate) async fn sessions_end(
        &self,
        user: UserId,
        entry: Entry,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<(usize, Option<Appended>), Error> {
        let user = DbId::from(user);
        let end = (sessions::end_reason.eq(EndReason::LogoutAll.as_str()), sessions::ends_at.eq(DbTime(now)));
        tx_db!(self.0, |c| {
            let open = sessions::user_id.eq(user).and(sessions::end_reason.is_null());
            let ended = diesel::update(sessions::table.filter(open)).set(end).execute(c).await?;
            if ended > 0 {
                diesel::insert_into(audit_events::table).values(event).execute(c).await?;
            }
            Ok::<_, Error>((ended, Some(append!(c, entry)?)))
        })
    }

    /// Deletes at most [`BATCH`] sessions that ended before `limit`, and says how many.
    pub(crate) async fn sessions_delete(&self, limit: Timestamp) -> Result<usize, Error> {
        write_db!(self.0, |c| {
            let old = sessions::table.filter(sessions::ends_at.lt(DbTime(limit)));
            let old: Vec<DbId> =
                old.select(sessions::id).order(sessions::ends_at).limit(BATCH).load(c).await?;
            diesel::delete(sessions::table.filter(sessions::id.eq_any(old))).execute(c).await
        })
    }
}
