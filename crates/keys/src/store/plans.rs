//! Plans: kept, changed, deleted.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, read_db};
use tollgate_kernel::{Fault, PlanId};

use super::{
    Change, Created, Outcome, Removal, Store,
    change::{came_between, change, collision},
    once::once,
    rows::{IdempotencyRow, PlanChanges, PlanRow},
    schema::{consumers, keys, plans},
};

const TAKEN: &str = "Another plan of the workspace has this name.";

impl Store {
    /// A conflict if the name is taken.
    pub(crate) async fn plan_insert(
        &self,
        change: Change,
        plan: PlanRow,
        once: Option<IdempotencyRow>,
    ) -> Result<Created, Fault> {
        let inserted = change!(self, change, |c| once!(c, &once, plan.created_at, {
            diesel::insert_into(plans::table).values(&plan).execute(c).await?;
        }));
        inserted.map(|(outcome, _)| outcome.value()).map_err(|fault| collision(fault, TAKEN))
    }

    pub(crate) async fn plan(&self, id: PlanId) -> Result<Option<PlanRow>, Fault> {
        Ok(read_db!(self.db, |c| plans::table
            .find(DbId::from(id))
            .select(PlanRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// Something is to be changed. A conflict if the name is taken.
    pub(crate) async fn plan_update(
        &self,
        change: Change,
        id: PlanId,
        changes: PlanChanges,
    ) -> Result<Option<Effect>, Fault> {
        let updated = change!(self, change, |c| {
            let row = plans::table.find(DbId::from(id));
            let rows = diesel::update(row).set(&changes).execute(c).await?;
            if rows == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        });
        updated.map(|(_, effect)| effect).map_err(|fault| collision(fault, TAKEN))
    }

    /// Not while a key or a consumer has it. Of one that gets it meanwhile the database knows: then it is a conflict.
    pub(crate) async fn plan_delete(
        &self,
        change: Change,
        id: PlanId,
    ) -> Result<(Removal, Option<Effect>), Fault> {
        let id = DbId::from(id);
        let deleted = change!(self, change, |c| {
            let keys: i64 = keys::table.filter(keys::plan_id.eq(id)).count().get_result(c).await?;
            let consumers: i64 =
                consumers::table.filter(consumers::plan_id.eq(id)).count().get_result(c).await?;
            if keys + consumers > 0 {
                Outcome::Unchanged(Removal::InUse { keys, consumers })
            } else if diesel::delete(plans::table.find(id)).execute(c).await? == 0 {
                Outcome::Unchanged(Removal::Gone)
            } else {
                Outcome::Changed(Removal::Done)
            }
        });
        deleted.map(|(outcome, effect)| (outcome.value(), effect)).map_err(came_between)
    }
}
