//! Workspaces, who is in them, and their plans.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, read_db};
use tollgate_kernel::{Fault, PlanId, UserId, WorkspaceId};
use tollgate_verify::{MemberRole, UnknownWord};

use super::{
    Change, Created, Outcome, Store,
    change::change,
    once::once_if,
    rows::{IdempotencyRow, MemberRow, PlanRow, WorkspaceChanges, WorkspaceRow},
    schema::{credit_accounts, members, plans, workspaces},
};
use crate::page::Page;

impl Store {
    pub(crate) async fn workspace_exists(&self, id: WorkspaceId) -> Result<bool, Fault> {
        let found: Option<DbId> = read_db!(self.db, |c| workspaces::table
            .find(DbId::from(id))
            .select(workspaces::id)
            .first(c)
            .await
            .optional())?;
        Ok(found.is_some())
    }

    pub(crate) async fn workspace_by_id(&self, id: WorkspaceId) -> Result<Option<WorkspaceRow>, Fault> {
        Ok(read_db!(self.db, |c| workspaces::table
            .find(DbId::from(id))
            .select(WorkspaceRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// Something is to be changed. If it is enabled again, the refills of its accounts of credits that were due meanwhile are not made
    /// up for: the next is that of the present period.
    pub(crate) async fn workspace_update(
        &self,
        change: Change,
        id: WorkspaceId,
        changes: WorkspaceChanges,
    ) -> Result<Option<Effect>, Fault> {
        let at = change.audit.at;
        let (_, effect) = change!(self, change, |c| {
            if changes.enabled == Some(true) {
                let disabled = workspaces::table
                    .find(DbId::from(id))
                    .filter(workspaces::enabled.eq(false))
                    .select(workspaces::id);
                let missed = credit_accounts::table
                    .filter(credit_accounts::next_refill_at.lt(at))
                    .filter(credit_accounts::closed_at.is_null())
                    .filter(credit_accounts::workspace_id.eq_any(disabled));
                let present = (
                    credit_accounts::next_refill_at.eq(at),
                    credit_accounts::revision.eq(credit_accounts::revision + 1),
                );
                diesel::update(missed).set(present).execute(c).await?;
            }
            let row = workspaces::table.find(DbId::from(id));
            let rows = diesel::update(row).set(&changes).execute(c).await?;
            if rows == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        })?;
        Ok(effect)
    }

    pub(crate) async fn workspace_personal(&self, owner: UserId) -> Result<Option<WorkspaceRow>, Fault> {
        Ok(read_db!(self.db, |c| workspaces::table
            .filter(workspaces::personal_owner.eq(DbId::from(owner)))
            .select(WorkspaceRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// Unchanged if the owner has a personal workspace already: of those who race, one makes it.
    pub(crate) async fn workspace_insert(
        &self,
        change: Change,
        workspace: WorkspaceRow,
        owner: MemberRow,
        starting_plans: Vec<PlanRow>,
    ) -> Result<Outcome<()>, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            let made = diesel::insert_into(workspaces::table)
                .values(&workspace)
                .on_conflict(workspaces::personal_owner)
                .do_nothing()
                .execute(c)
                .await?;
            if made == 0 {
                Outcome::Unchanged(())
            } else {
                diesel::insert_into(members::table).values(&owner).execute(c).await?;
                for plan in &starting_plans {
                    diesel::insert_into(plans::table).values(plan).execute(c).await?;
                }
                Outcome::Changed(())
            }
        })?;
        Ok(outcome)
    }

    /// Makes another workspace of a user; `None` if the user has made `most` already. Those who make many at once wait for each
    /// other at the user's personal workspace, which is there.
    pub(crate) async fn workspace_create(
        &self,
        change: Change,
        workspace: WorkspaceRow,
        owner: MemberRow,
        starting_plans: Vec<PlanRow>,
        most: i64,
        once: Option<IdempotencyRow>,
    ) -> Result<Option<Created>, Fault> {
        let (outcome, _) = change!(self, change, |c| once_if!(c, &once, workspace.created_at, {
            let personal = workspaces::table.filter(workspaces::personal_owner.eq(owner.user_id));
            diesel::update(personal).set(workspaces::name.eq(workspaces::name)).execute(c).await?;
            let made = workspaces::table.filter(workspaces::created_by.eq(owner.user_id));
            let made: i64 = made.count().get_result(c).await?;
            if made >= most {
                Err(())
            } else {
                diesel::insert_into(workspaces::table).values(&workspace).execute(c).await?;
                diesel::insert_into(members::table).values(&owner).execute(c).await?;
                for plan in &starting_plans {
                    diesel::insert_into(plans::table).values(plan).execute(c).await?;
                }
                Ok(())
            }
        }))?;
        Ok(outcome.value().ok())
    }

    /// Newest first.
    pub(crate) async fn workspaces_of(
        &self,
        user: UserId,
        page: Page,
    ) -> Result<Vec<(WorkspaceRow, String)>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = members::table
                .inner_join(workspaces::table)
                .filter(members::user_id.eq(DbId::from(user)))
                .order(members::workspace_id.desc())
                .limit(page.rows())
                .select((WorkspaceRow::as_select(), members::role))
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(members::workspace_id.lt(after));
            }
            query.load(c).await
        })?)
    }

    pub(crate) async fn member_role(
        &self,
        workspace: WorkspaceId,
        user: UserId,
    ) -> Result<Option<MemberRole>, Fault> {
        let role: Option<String> = read_db!(self.db, |c| members::table
            .find((DbId::from(workspace), DbId::from(user)))
            .select(members::role)
            .first(c)
            .await
            .optional())?;
        role.map(|word| word.parse().map_err(|error: UnknownWord| Fault::internal(error))).transpose()
    }

    /// A member's role, and whether the workspace is enabled.
    pub(crate) async fn member_standing(
        &self,
        workspace: WorkspaceId,
        user: UserId,
    ) -> Result<Option<(MemberRole, bool)>, Fault> {
        let found: Option<(String, bool)> = read_db!(self.db, |c| members::table
            .inner_join(workspaces::table)
            .filter(members::workspace_id.eq(DbId::from(workspace)))
            .filter(members::user_id.eq(DbId::from(user)))
            .select((members::role, workspaces::enabled))
            .first(c)
            .await
            .optional())?;
        let Some((word, enabled)) = found else { return Ok(None) };
        let role = word.parse().map_err(|error: UnknownWord| Fault::internal(error))?;
        Ok(Some((role, enabled)))
    }

    /// Absent: there is no such workspace.
    pub(crate) async fn workspace_enabled(&self, id: WorkspaceId) -> Result<Option<bool>, Fault> {
        Ok(read_db!(self.db, |c| workspaces::table
            .find(DbId::from(id))
            .select(workspaces::enabled)
            .first(c)
            .await
            .optional())?)
    }

    /// In the order of their making.
    pub(crate) async fn plans_in(&self, workspace: WorkspaceId, page: Page) -> Result<Vec<PlanRow>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = plans::table
                .filter(plans::workspace_id.eq(DbId::from(workspace)))
                .order(plans::id)
                .limit(page.rows())
                .select(PlanRow::as_select())
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(plans::id.gt(after));
            }
            query.load(c).await
        })?)
    }

    pub(crate) async fn plan_by_id(
        &self,
        workspace: WorkspaceId,
        id: PlanId,
    ) -> Result<Option<PlanRow>, Fault> {
        Ok(read_db!(self.db, |c| plans::table
            .find(DbId::from(id))
            .filter(plans::workspace_id.eq(DbId::from(workspace)))
            .select(PlanRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    pub(crate) async fn plan_by_name(
        &self,
        workspace: WorkspaceId,
        name: &str,
    ) -> Result<Option<PlanRow>, Fault> {
        Ok(read_db!(self.db, |c| plans::table
            .filter(plans::workspace_id.eq(DbId::from(workspace)))
            .filter(plans::name.eq(name))
            .select(PlanRow::as_select())
            .first(c)
            .await
            .optional())?)
    }
}
