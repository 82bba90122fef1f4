//! Roles: kept, found, changed, deleted. Keys name them, so a name never changes.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, DbList, read_db};
use tollgate_kernel::{Fault, RoleId, WorkspaceId};

use super::{
    Change, Created, Outcome, Removal, Store,
    change::{change, collision},
    contains::contains,
    once::once,
    rows::{IdempotencyRow, RoleRow},
    schema::{keys, roles},
};
use crate::page::Page;

const TAKEN: &str = "Another role of the workspace has this name.";

impl Store {
    /// A conflict if the name is taken.
    pub(crate) async fn role_insert(
        &self,
        change: Change,
        role: RoleRow,
        once: Option<IdempotencyRow>,
    ) -> Result<Created, Fault> {
        let inserted = change!(self, change, |c| once!(c, &once, role.created_at, {
            diesel::insert_into(roles::table).values(&role).execute(c).await?;
        }));
        inserted.map(|(outcome, _)| outcome.value()).map_err(|fault| collision(fault, TAKEN))
    }

    pub(crate) async fn role_by_id(&self, id: RoleId) -> Result<Option<RoleRow>, Fault> {
        Ok(read_db!(self.db, |c| roles::table
            .find(DbId::from(id))
            .select(RoleRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// In the order of their making.
    pub(crate) async fn roles_in(&self, workspace: WorkspaceId, page: Page) -> Result<Vec<RoleRow>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = roles::table
                .filter(roles::workspace_id.eq(DbId::from(workspace)))
                .order(roles::id)
                .limit(page.rows())
                .select(RoleRow::as_select())
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(roles::id.gt(after));
            }
            query.load(c).await
        })?)
    }

    pub(crate) async fn role_update(
        &self,
        change: Change,
        id: RoleId,
        scopes: DbList,
    ) -> Result<Option<Effect>, Fault> {
        let (_, effect) = change!(self, change, |c| {
            let row = roles::table.find(DbId::from(id));
            let changed = diesel::update(row).set(roles::scopes.eq(&scopes)).execute(c).await?;
            if changed == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        })?;
        Ok(effect)
    }

    /// Not while a key that is not revoked has it. One that gets it at the very same time is left with a role that is not there,
    /// which gives it nothing.
    pub(crate) async fn role_delete(
        &self,
        change: Change,
        role: RoleRow,
    ) -> Result<(Removal, Option<Effect>), Fault> {
        let (outcome, effect) = change!(self, change, |c| {
            let live = keys::table
                .filter(keys::workspace_id.eq(role.workspace_id))
                .filter(keys::revoked_at.is_null())
                .filter(contains(keys::roles, role.name.clone()));
            let keys: i64 = live.count().get_result(c).await?;
            if keys > 0 {
                Outcome::Unchanged(Removal::InUse { keys, consumers: 0 })
            } else if diesel::delete(roles::table.find(role.id)).execute(c).await? == 0 {
                Outcome::Unchanged(Removal::Gone)
            } else {
                Outcome::Changed(Removal::Done)
            }
        })?;
        Ok((outcome.value(), effect))
    }
}
