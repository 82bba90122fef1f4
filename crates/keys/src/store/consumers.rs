//! Consumers: kept, found, changed, deleted.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, read_db};
use tollgate_kernel::{ConsumerId, Fault, WorkspaceId};

use super::{
    Change, Created, Outcome, Removal, Store,
    change::{came_between, change, collision},
    keys::like_pattern,
    once::once,
    rows::{ConsumerChanges, ConsumerRow, IdempotencyRow},
    schema::{consumers, credit_accounts, keys},
};
use crate::page::Page;

const TAKEN: &str = "Another consumer of the workspace has this `external_id`.";

/// What a list of consumers is narrowed to.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConsumerFilter {
    /// In lower case.
    pub(crate) name_part: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) plan: Option<DbId>,
    pub(crate) enabled: Option<bool>,
}

impl Store {
    /// A conflict if the external id is taken.
    pub(crate) async fn consumer_insert(
        &self,
        change: Change,
        consumer: ConsumerRow,
        once: Option<IdempotencyRow>,
    ) -> Result<Created, Fault> {
        let inserted = change!(self, change, |c| once!(c, &once, consumer.created_at, {
            diesel::insert_into(consumers::table).values(&consumer).execute(c).await?;
        }));
        inserted.map(|(outcome, _)| outcome.value()).map_err(|fault| collision(fault, TAKEN))
    }

    pub(crate) async fn consumer_by_id(&self, id: ConsumerId) -> Result<Option<ConsumerRow>, Fault> {
        Ok(read_db!(self.db, |c| consumers::table
            .find(DbId::from(id))
            .select(ConsumerRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// Newest first.
    pub(crate) async fn consumers_in(
        &self,
        workspace: WorkspaceId,
        filter: &ConsumerFilter,
        page: Page,
    ) -> Result<Vec<ConsumerRow>, Fault> {
        let name_pattern = filter.name_part.as_deref().map(like_pattern);
        Ok(read_db!(self.db, |c| {
            let mut query = consumers::table
                .filter(consumers::workspace_id.eq(DbId::from(workspace)))
                .order(consumers::id.desc())
                .limit(page.rows())
                .select(ConsumerRow::as_select())
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(consumers::id.lt(after));
            }
            if let Some(pattern) = &name_pattern {
                query = query.filter(consumers::name_folded.like(pattern).escape('\\'));
            }
            if let Some(external_id) = &filter.external_id {
                query = query.filter(consumers::external_id.eq(external_id));
            }
            if let Some(plan) = filter.plan {
                query = query.filter(consumers::plan_id.eq(plan));
            }
            if let Some(enabled) = filter.enabled {
                query = query.filter(consumers::enabled.eq(enabled));
            }
            query.load(c).await
        })?)
    }

    /// Something is to be changed. A conflict if the external id is taken.
    pub(crate) async fn consumer_update(
        &self,
        change: Change,
        id: ConsumerId,
        changes: ConsumerChanges,
    ) -> Result<Option<Effect>, Fault> {
        let updated = change!(self, change, |c| {
            let row = consumers::table.find(DbId::from(id));
            let rows = diesel::update(row).set(&changes).execute(c).await?;
            if rows == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        });
        updated.map(|(_, effect)| effect).map_err(|fault| collision(fault, TAKEN))
    }

    /// Not while it has keys that are not revoked; those that are lose it. Its credits are closed. Of one that is made for it meanwhile the database
    /// knows: then it is a conflict.
    pub(crate) async fn consumer_delete(
        &self,
        change: Change,
        id: ConsumerId,
    ) -> Result<(Removal, Option<Effect>), Fault> {
        let (id, at) = (DbId::from(id), change.audit.at);
        let deleted = change!(self, change, |c| {
            let its = keys::table.filter(keys::consumer_id.eq(id));
            let live: i64 = its.filter(keys::revoked_at.is_null()).count().get_result(c).await?;
            if live > 0 {
                Outcome::Unchanged(Removal::InUse { keys: live, consumers: 0 })
            } else {
                let revoked =
                    keys::table.filter(keys::consumer_id.eq(id)).filter(keys::revoked_at.is_not_null());
                diesel::update(revoked).set(keys::consumer_id.eq(None::<DbId>)).execute(c).await?;
                let account = credit_accounts::table.filter(credit_accounts::owner_id.eq(id));
                let open = account.filter(credit_accounts::closed_at.is_null());
                diesel::update(open).set(credit_accounts::closed_at.eq(at)).execute(c).await?;
                let deleted = diesel::delete(consumers::table.find(id)).execute(c).await?;
                if deleted == 0 { Outcome::Unchanged(Removal::Gone) } else { Outcome::Changed(Removal::Done) }
            }
        });
        deleted.map(|(outcome, effect)| (outcome.value(), effect)).map_err(came_between)
    }
}
