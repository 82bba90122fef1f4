//! Who is in a workspace. What is done to a membership is done alone in its workspace: of two at once, the second sees what the
//! first has left.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, DbTime, Error, read_db};
use tollgate_kernel::{Fault, UserId, WorkspaceId};
use tollgate_verify::{MemberRole, UnknownWord};

use super::{
    Change, Membership, Outcome, Store,
    change::change,
    schema::{invitations, members, workspaces},
};
use crate::{
    access::Standing,
    members::{Case, Refused, rule},
    page::Page,
};

/// What is to be done to a membership.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberStep {
    pub(crate) workspace: DbId,
    /// Absent: an operator.
    pub(crate) actor: Option<DbId>,
    pub(crate) member: DbId,
    /// Absent: it ends.
    pub(crate) to: Option<MemberRole>,
    pub(crate) at: DbTime,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// It is as it was to be.
    Done,
    /// There is no such member.
    Gone,
    Refused(Refused),
}

/// A role in a row.
pub(super) fn role(word: Option<String>) -> Result<Option<MemberRole>, Error> {
    word.map(|word| word.parse().map_err(|unknown: UnknownWord| Error::Other(unknown.into()))).transpose()
}

/// Makes everybody else who does this for the same workspace wait for the end of this transaction: `alone!(c, workspace)`.
/// PostgreSQL has a lock on the row then; SQLite has one writer anyway.
macro_rules! alone {
    ($c:expr, $workspace:expr) => {{
        let row = diesel::QueryDsl::find(workspaces::table, $workspace);
        let same = diesel::ExpressionMethods::eq(workspaces::name, workspaces::name);
        diesel_async::RunQueryDsl::execute(diesel::update(row).set(same), $c).await?;
    }};
}

/// The role of a user in a workspace, in the transaction of `c`; absent: none.
macro_rules! role_of {
    ($c:expr, $workspace:expr, $user:expr) => {
        $crate::store::members::role(
            members::table.find(($workspace, $user)).select(members::role).first($c).await.optional()?,
        )?
    };
}

/// What the one who asks is to a workspace, in the transaction of `c`; without an id it is an operator.
macro_rules! standing_of {
    ($c:expr, $workspace:expr, $actor:expr) => {
        match $actor {
            None => Standing::Operator,
            Some(actor) => match role_of!($c, $workspace, actor) {
                Some(role) => Standing::Member(role),
                None => Standing::Stranger,
            },
        }
    };
}

pub(super) use alone;
pub(super) use role_of;
pub(super) use standing_of;

impl Store {
    /// Gives a member another role, or none, if the rules allow it; whoever may less than before invites nobody any more.
    pub(crate) async fn member_step(
        &self,
        change: Change,
        step: MemberStep,
    ) -> Result<(Stepped, Option<Effect>), Fault> {
        let (outcome, effect) = change!(self, change, |c| {
            let MemberStep { workspace, actor, member, to, at } = step;
            alone!(c, workspace);
            let standing = standing_of!(c, workspace, actor);
            let from = role_of!(c, workspace, member);
            let row = workspaces::table.find(workspace).select(workspaces::personal_owner);
            let personal: Option<DbId> = row.first(c).await?;
            let owners = members::table.filter(members::workspace_id.eq(workspace));
            let owners = owners.filter(members::role.eq(MemberRole::Owner.as_str()));
            let others = owners.filter(members::user_id.ne(member));
            let other_owners: i64 = others.count().get_result(c).await?;
            let case = from.map(|from| {
                let (own, personal) = (actor == Some(member), personal == Some(member));
                Case { own, from, to, other_owners, personal }
            });
            match case.map(|case| (case, rule(&standing, case))) {
                None => Outcome::Unchanged(Stepped::Gone),
                Some((case, _)) if Some(case.from) == to => Outcome::Unchanged(Stepped::Done),
                Some((_, Err(refused))) => Outcome::Unchanged(Stepped::Refused(refused)),
                Some((case, Ok(()))) => {
                    if case.lowers() {
                        let theirs = invitations::table.filter(invitations::workspace_id.eq(workspace));
                        let theirs = theirs.filter(invitations::invited_by.eq(member));
                        let pending = theirs.filter(invitations::accepted_at.is_null());
                        let pending = pending.filter(invitations::revoked_at.is_null());
                        diesel::update(pending).set(invitations::revoked_at.eq(at)).execute(c).await?;
                    }
                    let row = members::table.find((workspace, member));
                    match to {
                        Some(role) => {
                            let role = members::role.eq(role.as_str());
                            diesel::update(row).set(role).execute(c).await?
                        }
                        None => diesel::delete(row).execute(c).await?,
                    };
                    Outcome::Changed(Stepped::Done)
                }
            }
        })?;
        Ok((outcome.value(), effect))
    }

    /// In the order of their ids.
    pub(crate) async fn members_in(
        &self,
        workspace: WorkspaceId,
        page: Page,
    ) -> Result<Vec<Membership>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = members::table
                .filter(members::workspace_id.eq(DbId::from(workspace)))
                .order(members::user_id)
                .limit(page.rows())
                .select(Membership::as_select())
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(members::user_id.gt(after));
            }
            query.load(c).await
        })?)
    }

    pub(crate) async fn member_by_id(
        &self,
        workspace: WorkspaceId,
        user: UserId,
    ) -> Result<Option<Membership>, Fault> {
        Ok(read_db!(self.db, |c| members::table
            .find((DbId::from(workspace), DbId::from(user)))
            .select(Membership::as_select())
            .first(c)
            .await
            .optional())?)
    }
}
