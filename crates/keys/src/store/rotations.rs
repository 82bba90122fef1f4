//! When keys are to be rotated: kept, found, moved on by a rotation, and what became of those that were not.

use chrono::TimeDelta;
use diesel::{
    dsl::{exists, not},
    prelude::*,
};
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Fault, KeyId, Timestamp};

use super::{
    Change, Outcome, Store,
    change::{came_between, change},
    contains::contains,
    later::later,
    notices::{Place, WALKED},
    rows::{KeyRow, RotationRow},
    schema::{key_rotations, keys, notices, secrets, webhooks},
};
use crate::webhooks::event::Event;

/// The most keys that are looked at together.
const PIECE: i64 = 100;

/// Plans the rotation of the key anew, if it is planned, in the transaction of `c`: `replan!(c, key, made)?`. `made`: when its
/// newest secret was made.
macro_rules! replan {
    ($c:expr, $key:expr, $made:expr) => {
        async {
            use diesel::{
                ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, SelectableHelper as _,
            };
            use $crate::store::{RotationRow, schema::key_rotations};
            let planned = key_rotations::table.find($key).select(RotationRow::as_select());
            let planned: Option<RotationRow> =
                diesel_async::RunQueryDsl::first(planned, $c).await.optional()?;
            if let Some(row) = planned {
                let RotationRow { due_at, retires_at, .. } = row.counted($made, $made);
                let set = (key_rotations::due_at.eq(due_at), key_rotations::retires_at.eq(retires_at));
                let update = diesel::update(key_rotations::table.find($key)).set(set);
                diesel_async::RunQueryDsl::execute(update, $c).await?;
            }
            Ok::<(), diesel::result::Error>(())
        }
        .await
    };
}

pub(crate) use replan;

impl Store {
    /// Replaces what is planned of the key.
    pub(crate) async fn rotation_put(&self, change: Change, row: RotationRow) -> Result<(), Fault> {
        change!(self, change, |c| {
            diesel::delete(key_rotations::table.find(row.key_id)).execute(c).await?;
            diesel::insert_into(key_rotations::table).values(&row).execute(c).await?;
            Outcome::Changed(())
        })
        .map_err(came_between)?;
        Ok(())
    }

    pub(crate) async fn rotation_of(&self, key: KeyId) -> Result<Option<RotationRow>, Fault> {
        Ok(read_db!(self.db, |c| key_rotations::table
            .find(DbId::from(key))
            .select(RotationRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    pub(crate) async fn rotation_delete(&self, change: Change, key: KeyId) -> Result<(), Fault> {
        change!(self, change, |c| {
            let deleted = diesel::delete(key_rotations::table.find(DbId::from(key))).execute(c).await?;
            if deleted == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        })?;
        Ok(())
    }

    /// The next planned rotations that are due after this place, and by then. `longer`: of keys that are rotated more seldom than after
    /// so many days.
    pub(crate) async fn rotations_after(
        &self,
        Place { at, key }: Place,
        until: Timestamp,
        longer: i64,
    ) -> Result<Vec<Place>, Fault> {
        let walked: Vec<(DbTime, DbId)> = read_db!(self.db, |c| key_rotations::table
            .filter(key_rotations::due_at.ge(at))
            .filter(key_rotations::due_at.gt(at).or(key_rotations::key_id.nullable().gt(key)))
            .filter(key_rotations::due_at.le(DbTime(until)))
            .filter(key_rotations::every_days.gt(longer))
            .order((key_rotations::due_at, key_rotations::key_id))
            .limit(WALKED)
            .select((key_rotations::due_at, key_rotations::key_id))
            .load(c)
            .await)?;
        Ok(walked.into_iter().map(Place::from).collect())
    }

    /// Those of these keys of which endpoints want to know that they are due, and were not told.
    pub(crate) async fn rotations_due(
        &self,
        kind: &'static str,
        walked: &[Place],
    ) -> Result<Vec<(KeyRow, RotationRow)>, Fault> {
        let ids: Vec<_> = walked.iter().filter_map(|it| it.key).collect();
        Ok(read_db!(self.db, |c| key_rotations::table
            .inner_join(keys::table)
            .filter(key_rotations::key_id.eq_any(&ids))
            .filter(keys::revoked_at.is_null())
            .filter(exists(
                webhooks::table
                    .filter(webhooks::workspace_id.eq(keys::workspace_id))
                    .filter(webhooks::enabled.eq(true))
                    .filter(contains(webhooks::events, Event::KeyRotationDue.as_str().to_owned()))
            ))
            .filter(not(exists(
                notices::table
                    .filter(notices::subject_id.eq(key_rotations::key_id))
                    .filter(notices::kind.eq(kind))
                    .filter(notices::due_at.eq(key_rotations::due_at))
            )))
            .order(key_rotations::due_at)
            .select((KeyRow::as_select(), RotationRow::as_select()))
            .load(c)
            .await)?)
    }

    /// The next keys of a workspace whose newest secrets were made after this place, and by then.
    pub(crate) async fn ages_after(
        &self,
        workspace: DbId,
        Place { at, key }: Place,
        until: Timestamp,
    ) -> Result<Vec<Place>, Fault> {
        let walked: Vec<(DbTime, DbId)> = read_db!(self.db, |c| keys::table
            .filter(keys::workspace_id.eq(workspace))
            .filter(keys::secret_made_at.ge(at))
            .filter(keys::secret_made_at.gt(at).or(keys::id.nullable().gt(key)))
            .filter(keys::secret_made_at.le(DbTime(until)))
            .order((keys::secret_made_at, keys::id))
            .limit(WALKED)
            .select((keys::secret_made_at, keys::id))
            .load(c)
            .await)?;
        Ok(walked.into_iter().map(Place::from).collect())
    }

    /// Those of these keys that may become so old, unless they are due sooner by their plans, and that were not told of.
    pub(crate) async fn ages_due(
        &self,
        kind: &'static str,
        walked: &[Place],
        age: TimeDelta,
    ) -> Result<Vec<KeyRow>, Fault> {
        let ids: Vec<_> = walked.iter().filter_map(|it| it.key).collect();
        Ok(read_db!(self.db, |c| keys::table
            .filter(keys::id.eq_any(&ids))
            .filter(keys::revoked_at.is_null())
            .filter(not(exists(
                key_rotations::table
                    .filter(key_rotations::key_id.eq(keys::id))
                    .filter(key_rotations::due_at.le(later(keys::secret_made_at, age)))
            )))
            .filter(not(exists(
                notices::table
                    .filter(notices::subject_id.eq(keys::id))
                    .filter(notices::kind.eq(kind))
                    .filter(notices::due_at.eq(later(keys::secret_made_at, age)))
            )))
            .order(keys::secret_made_at)
            .select(KeyRow::as_select())
            .load(c)
            .await)?)
    }

    /// Keys whose secrets are to retire by then, because they were not rotated.
    pub(crate) async fn rotations_overdue(&self, by: Timestamp) -> Result<Vec<(KeyRow, RotationRow)>, Fault> {
        Ok(read_db!(self.db, |c| key_rotations::table
            .inner_join(keys::table)
            .filter(keys::revoked_at.is_null())
            .filter(key_rotations::retires_at.le(DbTime(by)))
            .order(key_rotations::due_at)
            .limit(PIECE)
            .select((KeyRow::as_select(), RotationRow::as_select()))
            .load(c)
            .await)?)
    }

    /// Retires the secrets of a key that was not rotated in time. Says whether that was still so.
    pub(crate) async fn secrets_retire(
        &self,
        change: Change,
        row: RotationRow,
        at: Timestamp,
    ) -> Result<bool, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            let at = DbTime(at);
            // Of a rotation in the same moment, one finds that the other was first.
            let seen =
                key_rotations::table.find(row.key_id).filter(key_rotations::retires_at.eq(row.retires_at));
            let done = key_rotations::retires_at.eq(None::<DbTime>);
            if diesel::update(seen).set(done).execute(c).await? == 0 {
                Outcome::Unchanged(false)
            } else {
                let counted = keys::revision.eq(keys::revision + 1_i64);
                diesel::update(keys::table.find(row.key_id)).set(counted).execute(c).await?;
                let live = secrets::table
                    .filter(secrets::key_id.eq(row.key_id))
                    .filter(secrets::revoked_at.is_null())
                    .filter(secrets::retired_at.is_null().or(secrets::retired_at.gt(at)));
                diesel::update(live).set(secrets::retired_at.eq(at)).execute(c).await?;
                Outcome::Changed(true)
            }
        })?;
        Ok(outcome.value())
    }
}
