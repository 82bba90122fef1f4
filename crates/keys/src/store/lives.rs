//! What happens to a key after it was made: changes, rotations, and what these have to look at.
//!
//! Each of them counts the key's `revision` up and is made only if that is still the one that was seen, so that what was
//! decided on a row holds for the row that is written: also for its secrets, which nothing changes without the key.

use diesel::{dsl::not, prelude::*};
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{ConsumerId, Fault, KeyId, SecretId, Timestamp, WorkspaceId};

use super::{
    Change, Deed, Outcome, Store,
    change::{came_between, change},
    once::{Claim, claim, unclaim},
    rotations::replan,
    rows::{IdempotencyRow, KeyRow, RoleScopes, SecretInfo, SecretRow},
    schema::{consumers, keys, roles, secrets},
};

/// The most secrets in a list.
const SECRETS: i64 = 100;
/// The most keys that are looked at together by what is done from time to time.
const PIECE: i64 = 100;

/// A new secret for a key.
pub(crate) struct Rotation {
    /// As it was seen.
    pub(crate) key: KeyRow,
    pub(crate) secret: SecretRow,
    /// The secrets that live, and when each of them retires.
    pub(crate) retiring: Vec<(DbId, DbTime)>,
    /// Too many of them live on: only a retry has an answer.
    pub(crate) full: bool,
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Done,
    /// Somebody else has changed the key since it was seen, or ended it.
    Stale,
}

/// What came of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotated {
    New,
    /// The same request had made this secret before.
    Before(DbId),
    /// Another request was made with the same idempotency key.
    Mismatch,
    /// Too many secrets live.
    Full,
    /// As [`Changed::Stale`].
    Stale,
}

impl Store {
    /// Writes the row as it is to be; its revision is the one that was seen.
    pub(crate) async fn key_update(
        &self,
        change: Change,
        key: KeyRow,
    ) -> Result<(Changed, Option<Effect>), Fault> {
        let (outcome, effect) = change!(self, change, |c| {
            let seen = keys::table.find(key.id);
            let seen = seen.filter(keys::revision.eq(key.revision)).filter(keys::revoked_at.is_null());
            let row = KeyRow { revision: key.revision + 1, ..key };
            let updated = diesel::update(seen).set(&row).execute(c).await?;
            if updated == 1 { Outcome::Changed(Changed::Done) } else { Outcome::Unchanged(Changed::Stale) }
        })
        .map_err(came_between)?;
        Ok((outcome.value(), effect))
    }

    /// Gives the key its new secret, and the others their ends.
    pub(crate) async fn key_rotate(
        &self,
        change: Change,
        rotation: Rotation,
        once: Option<IdempotencyRow>,
    ) -> Result<(Rotated, Option<Effect>), Fault> {
        let (outcome, effect) = change!(self, change, |c| {
            let Rotation { key, secret, retiring, full } = rotation;
            let before = match &once {
                Some(once) => match claim!(c, once, secret.created_at)? {
                    Claim::New => None,
                    Claim::Before { part: Some(secret), .. } => Some(Rotated::Before(secret)),
                    Claim::Before { part: None, .. } | Claim::Mismatch => Some(Rotated::Mismatch),
                },
                None => None,
            };
            if let Some(before) = before {
                Outcome::Unchanged(before)
            } else {
                let seen = keys::table.find(key.id);
                let seen = seen.filter(keys::revision.eq(key.revision)).filter(keys::revoked_at.is_null());
                let set = (
                    keys::start.eq(&secret.start),
                    keys::revision.eq(key.revision + 1),
                    keys::secret_made_at.eq(secret.created_at),
                );
                if full || diesel::update(seen).set(set).execute(c).await? == 0 {
                    // What was not done may be tried again.
                    if let Some(once) = &once {
                        unclaim!(c, once)?;
                    }
                    Outcome::Unchanged(if full { Rotated::Full } else { Rotated::Stale })
                } else {
                    // The only secret of a key may have left its beginning to the key.
                    let nameless = secrets::table.filter(secrets::key_id.eq(key.id));
                    let nameless = nameless.filter(secrets::start.eq(""));
                    diesel::update(nameless).set(secrets::start.eq(&key.start)).execute(c).await?;
                    for (id, at) in &retiring {
                        let retire = diesel::update(secrets::table.find(id));
                        retire.set(secrets::retired_at.eq(at)).execute(c).await?;
                    }
                    diesel::insert_into(secrets::table).values(&secret).execute(c).await?;
                    replan!(c, key.id, secret.created_at)?;
                    Outcome::Changed(Rotated::New)
                }
            }
        })?;
        Ok((outcome.value(), effect))
    }

    /// Makes verifiers forget that there was no such secret: of that nothing is in the log yet. It is not of the transaction
    /// that makes the secret, and need not be, since nobody knows the secret before its maker is told of it, after this.
    pub(crate) async fn secret_born(&self, deed: Deed<'_>) -> Result<(), Fault> {
        change!(self, Change::creates(self, deed), |_c| Outcome::Unchanged(()))?;
        Ok(())
    }

    /// Ends one secret of the key. Unchanged if it is revoked already; the time of the first revocation stays.
    pub(crate) async fn secret_revoke(
        &self,
        change: Change,
        key: KeyRow,
        id: SecretId,
        at: Timestamp,
    ) -> Result<(Changed, Option<Effect>), Fault> {
        let (outcome, effect) = change!(self, change, |c| {
            let seen = keys::table.find(key.id);
            let seen = seen.filter(keys::revision.eq(key.revision)).filter(keys::revoked_at.is_null());
            let counted = diesel::update(seen).set(keys::revision.eq(key.revision + 1)).execute(c).await?;
            if counted == 0 {
                Outcome::Unchanged(Changed::Stale)
            } else {
                let live = secrets::table.find(DbId::from(id)).filter(secrets::revoked_at.is_null());
                let revoked = diesel::update(live).set(secrets::revoked_at.eq(DbTime(at))).execute(c).await?;
                if revoked == 0 { Outcome::Unchanged(Changed::Done) } else { Outcome::Changed(Changed::Done) }
            }
        })?;
        Ok((outcome.value(), effect))
    }

    /// The newest first.
    pub(crate) async fn secrets_of(&self, key: KeyId) -> Result<Vec<SecretInfo>, Fault> {
        Ok(read_db!(self.db, |c| secrets::table
            .filter(secrets::key_id.eq(DbId::from(key)))
            .order((secrets::created_at.desc(), secrets::id.desc()))
            .limit(SECRETS)
            .select(SecretInfo::as_select())
            .load(c)
            .await)?)
    }

    /// Those that pass at this time, as far as it is up to them. The newest first.
    pub(crate) async fn secrets_live(&self, key: KeyId, at: Timestamp) -> Result<Vec<SecretInfo>, Fault> {
        let now = DbTime(at);
        Ok(read_db!(self.db, |c| secrets::table
            .filter(secrets::key_id.eq(DbId::from(key)))
            .filter(secrets::revoked_at.is_null())
            .filter(secrets::retired_at.is_null().or(secrets::retired_at.gt(now)))
            .order((secrets::created_at.desc(), secrets::id.desc()))
            .limit(SECRETS)
            .select(SecretInfo::as_select())
            .load(c)
            .await)?)
    }

    pub(crate) async fn secret_by_id(&self, key: KeyId, id: SecretId) -> Result<Option<SecretInfo>, Fault> {
        Ok(read_db!(self.db, |c| secrets::table
            .find(DbId::from(id))
            .filter(secrets::key_id.eq(DbId::from(key)))
            .select(SecretInfo::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// Those of the named roles that there are, by name.
    pub(crate) async fn roles_named(
        &self,
        workspace: WorkspaceId,
        names: &[String],
    ) -> Result<Vec<RoleScopes>, Fault> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        Ok(read_db!(self.db, |c| roles::table
            .filter(roles::workspace_id.eq(DbId::from(workspace)))
            .filter(roles::name.eq_any(names))
            .order(roles::name)
            .select((roles::name, roles::scopes))
            .load(c)
            .await)?)
    }

    pub(crate) async fn has_consumer(&self, workspace: WorkspaceId, id: ConsumerId) -> Result<bool, Fault> {
        let found: Option<DbId> = read_db!(self.db, |c| consumers::table
            .find(DbId::from(id))
            .filter(consumers::workspace_id.eq(DbId::from(workspace)))
            .select(consumers::id)
            .first(c)
            .await
            .optional())?;
        Ok(found.is_some())
    }

    /// Keys that were disabled before then, and not enabled again; the longest disabled first.
    pub(crate) async fn keys_disabled_before(
        &self,
        workspace: WorkspaceId,
        before: Timestamp,
    ) -> Result<Vec<KeyRow>, Fault> {
        Ok(read_db!(self.db, |c| keys::table
            .filter(keys::workspace_id.eq(DbId::from(workspace)))
            .filter(keys::revoked_at.is_null())
            .filter(not(keys::enabled))
            .filter(keys::disabled_at.lt(DbTime(before)))
            .order(keys::disabled_at)
            .limit(PIECE)
            .select(KeyRow::as_select())
            .load(c)
            .await)?)
    }
}
