//! Invitations: kept, found, ended, accepted. Made and accepted alone in the workspace, as memberships are changed.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Fault, InvitationId, Timestamp, WorkspaceId};
use tollgate_verify::MemberRole;

use super::{
    Change, Created, IdempotencyRow, InvitationRow, MemberRow, Outcome, Store,
    change::change,
    members::{alone, role_of, standing_of},
    once::once_if,
    schema::{invitations, members, workspaces},
};
use crate::{access::Standing, page::Page};

/// What came of the making of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invited {
    Done(Created),
    /// The one who asks may not give this role, or not any more.
    Refused,
    /// Too many are pending.
    Full,
}

/// What came of an acceptance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// The user is a member, by this or before.
    Joined,
    /// It is not pending, and this user did not become a member by it.
    Gone,
    /// The workspace is disabled.
    Disabled,
    /// The workspace has too many members.
    Full,
}

impl Store {
    /// By a member who may give the role at this moment; `None`: by an operator.
    pub(crate) async fn invitation_insert(
        &self,
        change: Change,
        row: InvitationRow,
        role: MemberRole,
        actor: Option<DbId>,
        most: i64,
        once: Option<IdempotencyRow>,
    ) -> Result<Invited, Fault> {
        let (outcome, _) = change!(self, change, |c| once_if!(c, &once, row.created_at, {
            alone!(c, row.workspace_id);
            let standing = standing_of!(c, row.workspace_id, actor);
            let pending = invitations::table
                .filter(invitations::workspace_id.eq(row.workspace_id))
                .filter(invitations::accepted_at.is_null())
                .filter(invitations::revoked_at.is_null())
                .filter(invitations::expires_at.gt(row.created_at));
            let pending: i64 = pending.count().get_result(c).await?;
            if !standing.manages(role) {
                Err(Invited::Refused)
            } else if pending >= most {
                Err(Invited::Full)
            } else {
                diesel::insert_into(invitations::table).values(&row).execute(c).await?;
                Ok(())
            }
        }))?;
        Ok(outcome.value().map_or_else(|refused| refused, Invited::Done))
    }

    pub(crate) async fn invitation_by_digest(&self, digest: Vec<u8>) -> Result<Option<InvitationRow>, Fault> {
        Ok(read_db!(self.db, |c| invitations::table
            .filter(invitations::digest.eq(&digest))
            .select(InvitationRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    pub(crate) async fn invitation_by_id(
        &self,
        workspace: WorkspaceId,
        id: InvitationId,
    ) -> Result<Option<InvitationRow>, Fault> {
        Ok(read_db!(self.db, |c| invitations::table
            .find(DbId::from(id))
            .filter(invitations::workspace_id.eq(DbId::from(workspace)))
            .select(InvitationRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// Newest first.
    pub(crate) async fn invitations_in(
        &self,
        workspace: WorkspaceId,
        page: Page,
    ) -> Result<Vec<InvitationRow>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = invitations::table
                .filter(invitations::workspace_id.eq(DbId::from(workspace)))
                .order(invitations::id.desc())
                .limit(page.rows())
                .select(InvitationRow::as_select())
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(invitations::id.lt(after));
            }
            query.load(c).await
        })?)
    }

    /// Unchanged if it is revoked already, or was accepted.
    pub(crate) async fn invitation_revoke(
        &self,
        change: Change,
        id: InvitationId,
        at: Timestamp,
    ) -> Result<(), Fault> {
        change!(self, change, |c| {
            let open = invitations::table.find(DbId::from(id)).filter(invitations::accepted_at.is_null());
            let open = open.filter(invitations::revoked_at.is_null());
            let revoked = diesel::update(open).set(invitations::revoked_at.eq(DbTime(at))).execute(c).await?;
            if revoked == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        })?;
        Ok(())
    }

    /// Makes the user a member, or one with a higher role: never with a lower one. Of those who race, one does; unchanged for a
    /// user who has done so before and is a member still.
    pub(crate) async fn invitation_accept(
        &self,
        change: Change,
        id: DbId,
        member: MemberRow,
        role: MemberRole,
        most: i64,
    ) -> Result<Accepted, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            let (workspace, user, now) = (member.workspace_id, member.user_id, member.created_at);
            alone!(c, workspace);
            let enabled = workspaces::table.find(workspace).select(workspaces::enabled);
            let enabled: bool = enabled.first(c).await?;
            let row = invitations::table.find(id).select(InvitationRow::as_select());
            let row: InvitationRow = row.first(c).await?;
            let has = role_of!(c, workspace, user);
            let count = members::table.filter(members::workspace_id.eq(workspace)).count();
            let count: i64 = count.get_result(c).await?;
            if has.is_some() && row.accepted_by == Some(user) {
                Outcome::Unchanged(Accepted::Joined)
            } else if !row.is_pending(now.0) {
                Outcome::Unchanged(Accepted::Gone)
            } else if !enabled {
                Outcome::Unchanged(Accepted::Disabled)
            } else if has.is_none() && count >= most {
                Outcome::Unchanged(Accepted::Full)
            } else {
                // Once more with what makes it open: to revoke it one need not be alone in the workspace.
                let open = invitations::table.find(id).filter(invitations::accepted_at.is_null());
                let open = open.filter(invitations::revoked_at.is_null());
                let set = (invitations::accepted_at.eq(now), invitations::accepted_by.eq(user));
                if diesel::update(open).set(set).execute(c).await? == 0 {
                    Outcome::Unchanged(Accepted::Gone)
                } else {
                    let row = members::table.find((workspace, user));
                    match has {
                        None => {
                            diesel::insert_into(members::table).values(&member).execute(c).await?;
                        }
                        // The roles are in the order of what they may, the first may most.
                        Some(has) if role < has => {
                            diesel::update(row).set(members::role.eq(member.role)).execute(c).await?;
                        }
                        Some(_) => {}
                    }
                    Outcome::Changed(Accepted::Joined)
                }
            }
        })?;
        Ok(outcome.value())
    }
}
