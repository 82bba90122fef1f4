//! Keys and their secrets.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Fault, KeyId, Timestamp, WorkspaceId};
use tollgate_verify::Environment;

use super::{
    Change, Deed, Outcome, Store,
    change::{came_between, change},
    once::{Claim, claim},
    rows::{
        ConsumerRow, IdempotencyRow, KeyRecord, KeyRow, PlanRow, ResolvedKey, SecretRow, SecretState,
        WorkspaceRow,
    },
    schema::{consumers, keys, last_used, plans, secrets, workspaces},
};
use crate::page::Page;

/// What came of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    New,
    /// The same request had made this key before.
    Before(DbId),
    /// Another request was made with the same idempotency key.
    Mismatch,
}

/// A key; its consumer, with its plan; its workspace.
pub(crate) type KeyLevels = (KeyRecord, Option<(ConsumerRow, Option<PlanRow>)>, WorkspaceRow);

/// What a list of keys is narrowed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFilter {
    pub(crate) status: Option<KeyStatus>,
    pub(crate) environment: Option<Environment>,
    /// In lower case.
    pub(crate) name_part: Option<String>,
    pub(crate) consumer: Option<DbId>,
}

/// A key has one status: the first of these that it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyStatus {
    Revoked,
    Expired,
    Disabled,
    Active,
}

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
            let before = match &once {
                Some(once) => match claim!(c, once, key.created_at)? {
                    Claim::New => None,
                    Claim::Before { key, secret: None } => Some(Created::Before(key)),
                    Claim::Before { .. } | Claim::Mismatch => Some(Created::Mismatch),
                },
                None => None,
            };
            if let Some(before) = before {
                Outcome::Unchanged(before)
            } else {
                diesel::insert_into(keys::table).values(&key).execute(c).await?;
                diesel::insert_into(secrets::table).values(&secret).execute(c).await?;
                Outcome::Changed(Created::New)
            }
        })
        .map_err(came_between)?;
        Ok(outcome.value())
    }

    pub(crate) async fn key_by_id(&self, id: KeyId) -> Result<Option<KeyRecord>, Fault> {
        Ok(read_db!(self.db, |c| keys::table
            .inner_join(plans::table)
            .left_join(last_used::table)
            .filter(keys::id.eq(DbId::from(id)))
            .select((KeyRow::as_select(), PlanRow::as_select(), last_used::at.nullable()))
            .first(c)
            .await
            .optional())?)
    }

    /// Newest first.
    pub(crate) async fn keys_in(
        &self,
        workspace: WorkspaceId,
        filter: &KeyFilter,
        page: Page,
        now: Timestamp,
    ) -> Result<Vec<KeyRecord>, Fault> {
        let now = DbTime(now);
        let name_pattern = filter.name_part.as_deref().map(like_pattern);
        Ok(read_db!(self.db, |c| {
            let mut query = keys::table
                .inner_join(plans::table)
                .left_join(last_used::table)
                .filter(keys::workspace_id.eq(DbId::from(workspace)))
                .order(keys::id.desc())
                .limit(page.rows())
                .select((KeyRow::as_select(), PlanRow::as_select(), last_used::at.nullable()))
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(keys::id.lt(after));
            }
            if let Some(environment) = filter.environment {
                query = query.filter(keys::environment.eq(environment.as_str()));
            }
            if let Some(consumer) = filter.consumer {
                query = query.filter(keys::consumer_id.eq(consumer));
            }
            if let Some(pattern) = &name_pattern {
                query = query.filter(keys::name_folded.like(pattern).escape('\\'));
            }
            let (live, unexpired) =
                (keys::revoked_at.is_null(), keys::expires_at.is_null().or(keys::expires_at.gt(now)));
            query = match filter.status {
                None => query,
                Some(KeyStatus::Revoked) => query.filter(keys::revoked_at.is_not_null()),
                Some(KeyStatus::Expired) => query.filter(live).filter(keys::expires_at.le(now)),
                Some(KeyStatus::Disabled) => {
                    query.filter(live).filter(unexpired).filter(keys::enabled.eq(false))
                }
                Some(KeyStatus::Active) => {
                    query.filter(live).filter(unexpired).filter(keys::enabled.eq(true))
                }
            };
            query.load(c).await
        })?)
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
        let found: Option<(SecretState, KeyRow, PlanRow, WorkspaceRow)> =
            read_db!(self.db, |c| secrets::table
                .inner_join(keys::table.inner_join(plans::table).inner_join(workspaces::table))
                .filter(secrets::public_id.eq(public_id))
                .select((
                    SecretState::as_select(),
                    KeyRow::as_select(),
                    PlanRow::as_select(),
                    WorkspaceRow::as_select()
                ))
                .first(c)
                .await
                .optional())?;
        let Some((secret, key, plan, workspace)) = found else { return Ok(None) };
        let consumer = match key.consumer_id {
            Some(id) => self.consumer_with_plan(id).await?,
            None => None,
        };
        let roles = self.roles_named(key.workspace_id.typed(), &key.roles.0).await?;
        Ok(Some(ResolvedKey { secret, key, plan, workspace, consumer, roles }))
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
