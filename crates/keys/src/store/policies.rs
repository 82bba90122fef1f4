//! What workspaces require of their keys.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbJson, read_db};
use tollgate_kernel::{Fault, WorkspaceId};

use super::{Change, Outcome, Store, change::change, lives::Changed, schema::workspaces};

/// The most workspaces that are read together.
const PIECE: i64 = 100;

impl Store {
    pub(crate) async fn policy_of(&self, workspace: WorkspaceId) -> Result<Option<DbJson>, Fault> {
        Ok(read_db!(self.db, |c| workspaces::table
            .find(DbId::from(workspace))
            .select(workspaces::policy)
            .first(c)
            .await
            .optional())?)
    }

    /// Replaces the policy that was seen. `tended`: it asks for something to be done from time to time.
    pub(crate) async fn policy_update(
        &self,
        change: Change,
        workspace: WorkspaceId,
        seen: DbJson,
        policy: DbJson,
        tended: bool,
    ) -> Result<Changed, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            let row = workspaces::table.find(DbId::from(workspace)).filter(workspaces::policy.eq(&seen));
            let set = (workspaces::policy.eq(&policy), workspaces::tended.eq(tended));
            let updated = diesel::update(row).set(set).execute(c).await?;
            if updated == 1 { Outcome::Changed(Changed::Done) } else { Outcome::Unchanged(Changed::Stale) }
        })?;
        Ok(outcome.value())
    }

    /// Workspaces whose policy asks for something to be done from time to time, in the order of their ids.
    pub(crate) async fn workspaces_tended(&self, after: Option<DbId>) -> Result<Vec<(DbId, DbJson)>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = workspaces::table
                // A bare column, as the index has it.
                .filter(workspaces::tended)
                .order(workspaces::id)
                .limit(PIECE)
                .select((workspaces::id, workspaces::policy))
                .into_boxed();
            if let Some(after) = after {
                query = query.filter(workspaces::id.gt(after));
            }
            query.load(c).await
        })?)
    }
}
