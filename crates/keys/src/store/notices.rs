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

/// The most keys that are looked at together.
const PIECE: i64 = 100;

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

    /// Keys of a workspace that expire in this span of time and were not announced. The first to expire first.
    pub(crate) async fn keys_expiring(
        &self,
        workspace: DbId,
        kind: &'static str,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<KeyRow>, Fault> {
        let (after, until) = (DbTime(after), DbTime(until));
        Ok(read_db!(self.db, |c| keys::table
            .filter(keys::workspace_id.eq(workspace))
            .filter(keys::revoked_at.is_null())
            .filter(keys::ends_at.gt(after))
            .filter(keys::ends_at.le(until))
            .filter(not(exists(
                notices::table
                    .filter(notices::subject_id.eq(keys::id))
                    .filter(notices::kind.eq(kind))
                    .filter(notices::due_at.nullable().eq(keys::expires_at))
            )))
            .order(keys::ends_at)
            .limit(PIECE)
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
