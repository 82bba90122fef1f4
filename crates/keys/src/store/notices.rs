//! What is announced once: that a key expires, that a quota is reached. And whom there is to announce it to.

use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Fault, Timestamp};

use super::{
    Change, Outcome, Store,
    change::change,
    contains::contains,
    rows::{KeyRow, NoticeRow},
    schema::{keys, notices, webhooks},
};
use crate::webhooks::event::Event;

/// The most keys that a walk looks at together.
pub(super) const WALKED: i64 = 500;

/// Where a walk along times is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: DbTime,
    /// Of the keys of that time, those up to this one were walked past; absent: all.
    pub(crate) key: Option<DbId>,
}

impl From<(DbTime, DbId)> for Place {
    fn from((at, key): (DbTime, DbId)) -> Self {
        Self { at, key: Some(key) }
    }
}

impl Store {
    /// Says whether this is the first time: of the first of `notices`, that it was not announced yet. The others count as announced
    /// from then on.
    pub(crate) async fn announce_once(&self, change: Change, notices: Vec<NoticeRow>) -> Result<bool, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            let mut first = false;
            for (place, notice) in notices.iter().enumerate() {
                let insert = diesel::insert_into(notices::table).values(notice).on_conflict_do_nothing();
                let new = insert.execute(c).await? == 1;
                first |= place == 0 && new;
            }
            if first { Outcome::Changed(true) } else { Outcome::Unchanged(false) }
        })?;
        Ok(outcome.value())
    }

    /// The next keys of a workspace that end after this place, and by then.
    pub(crate) async fn ends_after(
        &self,
        workspace: DbId,
        Place { at, key }: Place,
        until: Timestamp,
    ) -> Result<Vec<Place>, Fault> {
        let walked: Vec<(DbTime, DbId)> = read_db!(self.db, |c| keys::table
            .filter(keys::workspace_id.eq(workspace))
            .filter(keys::ends_at.ge(at))
            .filter(keys::ends_at.gt(at).or(keys::id.nullable().gt(key)))
            .filter(keys::ends_at.le(DbTime(until)))
            .order((keys::ends_at, keys::id))
            .limit(WALKED)
            .select((keys::ends_at, keys::id))
            .load(c)
            .await)?;
        Ok(walked.into_iter().map(Place::from).collect())
    }

    /// Those of these keys that still pass and whose end was not announced. The first to expire first.
    pub(crate) async fn keys_expiring(
        &self,
        kind: &'static str,
        walked: &[Place],
    ) -> Result<Vec<KeyRow>, Fault> {
        let ids: Vec<_> = walked.iter().filter_map(|it| it.key).collect();
        Ok(read_db!(self.db, |c| keys::table
            .filter(keys::id.eq_any(&ids))
            .filter(keys::revoked_at.is_null())
            .filter(not(exists(
                notices::table
                    .filter(notices::subject_id.eq(keys::id))
                    .filter(notices::kind.eq(kind))
                    .filter(notices::due_at.nullable().eq(keys::expires_at))
            )))
            .order(keys::ends_at)
            .select(KeyRow::as_select())
            .load(c)
            .await)?)
    }

    /// The workspaces that have an endpoint which wants to know of this.
    pub(crate) async fn workspaces_listening(&self, event: Event) -> Result<Vec<DbId>, Fault> {
        Ok(read_db!(self.db, |c| webhooks::table
            .filter(webhooks::enabled.eq(true))
            .filter(contains(webhooks::events, event.as_str().to_owned()))
            .select(webhooks::workspace_id)
            .distinct()
            .load(c)
            .await)?)
    }

    /// Those of these workspaces that have one.
    pub(crate) async fn workspaces_listening_of(
        &self,
        event: Event,
        of: Vec<DbId>,
    ) -> Result<Vec<DbId>, Fault> {
        Ok(read_db!(self.db, |c| webhooks::table
            .filter(webhooks::workspace_id.eq_any(&of))
            .filter(webhooks::enabled.eq(true))
            .filter(contains(webhooks::events, event.as_str().to_owned()))
            .select(webhooks::workspace_id)
            .distinct()
            .load(c)
            .await)?)
    }
}
