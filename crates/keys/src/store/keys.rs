//! Keys and their secrets.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Fault, KeyId, Timestamp};

use super::{
    Change, Deed, LastUsed, Outcome, Store,
    change::{came_between, change},
    once::{Created, once},
    rows::{
        ConsumerRow, IdempotencyRow, KeyRecord, KeyRow, PlanRow, ResolvedKey, SecretRow, SecretState,
        WorkspaceRow,
    },
    schema::{consumers, key_rotations, keys, last_used, plans, secrets, workspaces},
};

/// A key; its consumer, with its plan; its workspace.
pub(crate) type KeyLevels = (KeyRecord, Option<(ConsumerRow, Option<PlanRow>)>, WorkspaceRow);

/// A secret, its key, that key's plan and workspace, and when the key is to be rotated by its plan.
pub(crate) type FoundSecret = (SecretState, KeyRow, PlanRow, WorkspaceRow, Option<DbTime>);

impl Store {
    /// The key with its first secret. With an idempotency row: unless that says that it was made before.
    pub(crate) async fn key_insert(
        &self,
        deed: Deed<'_>,
        key: KeyRow,
        secret: SecretRow,
        once: Option<IdempotencyRow>,
    ) -> Result<Created, Fault> {
        let change = Change::creates(self, deed);
        let (outcome, _) = change!(self, change, |c| {
            once!(c, &once, key.created_at, {
                diesel::insert_into(keys::table).values(&key).execute(c).await?;
                diesel::insert_into(secrets::table).values(&secret).execute(c).await?;
            })
        })
        .map_err(came_between)?;
        Ok(outcome.value())
    }

    pub(crate) async fn key_by_id(&self, id: KeyId) -> Result<Option<KeyRecord>, Fault> {
        Ok(read_db!(self.db, |c| keys::table
            .inner_join(plans::table)
            .inner_join(workspaces::table)
            .left_join(last_used::table)
            .left_join(key_rotations::table)
            .filter(keys::id.eq(DbId::from(id)))
            .select((
                KeyRow::as_select(),
                PlanRow::as_select(),
                Option::<LastUsed>::as_select(),
                (key_rotations::due_at.nullable(), workspaces::policy)
            ))
            .first(c)
            .await
            .optional())?)
    }

    /// Unchanged if it is revoked already; the time of the first revocation stays.
    pub(crate) async fn key_revoke(
        &self,
        change: Change,
        id: KeyId,
        at: Timestamp,
    ) -> Result<Option<Effect>, Fault> {
        let (_, effect) = change!(self, change, |c| {
            let live = keys::table.find(DbId::from(id)).filter(keys::revoked_at.is_null());
            let revoked = diesel::update(live).set(keys::revoked_at.eq(DbTime(at))).execute(c).await?;
            if revoked == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        })?;
        Ok(effect)
    }

    /// The key with this secret, and all that it has from others. Not one moment's view: what changes meanwhile is in the
    /// log of changes, and a verifier throws away what it read across a change.
    pub(crate) async fn key_by_public_id(&self, public_id: &str) -> Result<Option<ResolvedKey>, Fault> {
        match self.secret_by_public_id(public_id).await? {
            Some(found) => self.resolved(found).await.map(Some),
            None => Ok(None),
        }
    }

    /// The secret, and what is in one question with it.
    pub(crate) async fn secret_by_public_id(&self, public_id: &str) -> Result<Option<FoundSecret>, Fault> {
        Ok(read_db!(self.db, |c| secrets::table
            .inner_join(
                keys::table
                    .inner_join(plans::table)
                    .inner_join(workspaces::table)
                    .left_join(key_rotations::table)
            )
            .filter(secrets::public_id.eq(public_id))
            .select((
                SecretState::as_select(),
                KeyRow::as_select(),
                PlanRow::as_select(),
                WorkspaceRow::as_select(),
                key_rotations::due_at.nullable()
            ))
            .first(c)
            .await
            .optional())?)
    }

    /// With all that it has from others, as [`Store::key_by_public_id`] gives it.
    pub(crate) async fn resolved(&self, found: FoundSecret) -> Result<ResolvedKey, Fault> {
        let (secret, key, plan, workspace, rotation_due_at) = found;
        let consumer = match key.consumer_id {
            Some(id) => self.consumer_with_plan(id).await?,
            None => None,
        };
        let roles = self.roles_named(key.workspace_id.typed(), &key.roles.0).await?;
        let credit_account = self.credit_account_of(key.id, key.consumer_id).await?;
        Ok(ResolvedKey { secret, key, plan, workspace, consumer, roles, credit_account, rotation_due_at })
    }

    /// The key, and all that it has limits from.
    pub(crate) async fn key_with_levels(&self, id: KeyId) -> Result<Option<KeyLevels>, Fault> {
        let Some(record) = self.key_by_id(id).await? else { return Ok(None) };
        let Some(workspace) = self.workspace_by_id(record.0.workspace_id.typed()).await? else {
            return Ok(None);
        };
        let consumer = match record.0.consumer_id {
            Some(id) => self.consumer_with_plan(id).await?,
            None => None,
        };
        Ok(Some((record, consumer, workspace)))
    }

    async fn consumer_with_plan(&self, id: DbId) -> Result<Option<(ConsumerRow, Option<PlanRow>)>, Fault> {
        Ok(read_db!(self.db, |c| consumers::table
            .left_join(plans::table)
            .filter(consumers::id.eq(id))
            .select((ConsumerRow::as_select(), Option::<PlanRow>::as_select()))
            .first(c)
            .await
            .optional())?)
    }
}

/// A pattern that finds the part anywhere, and takes it literally.
pub(super) fn like_pattern(part: &str) -> String {
    let mut pattern = String::from("%");
    for letter in part.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
