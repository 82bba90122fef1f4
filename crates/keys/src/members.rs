//! Members: listed, given another role, removed. Who may do what to whom is decided by [`rule`], on the rows as they are when
//! they are written.

use tollgate_changes::{Cut, Effect};
use tollgate_kernel::{Code, Fault, UserId, WorkspaceId};
use tollgate_proto::keys as wire;
use tollgate_verify::{MemberRole, Subject};

use crate::{
    KeysService,
    access::{Action, Standing, forbidden},
    caller::{Caller, Principal},
    input::{self, Problems},
    page::Page,
    store::{Change, Deed, MemberStep, Stepped},
    wire as messages,
};

/// Why a membership stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The one who asks is no member any more.
    Stranger,
    Forbidden,
    /// A workspace has an owner.
    LastOwner,
    /// The one whose personal workspace it is owns it.
    Personal,
}

/// What is to be done to a membership, and what it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    /// It is the membership of the one who asks.
    pub(crate) own: bool,
    pub(crate) from: MemberRole,
    /// Absent: it ends.
    pub(crate) to: Option<MemberRole>,
    /// Owners beside this member.
    pub(crate) other_owners: i64,
    /// It is this member's personal workspace.
    pub(crate) personal: bool,
}

impl Case {
    /// The member may less than before.
    pub(crate) fn lowers(&self) -> bool {
        // The roles are in the order of what they may, the first may most.
        self.to.is_none_or(|to| to > self.from)
    }
}

/// Everybody may give up what is theirs. Beyond that one changes who is not above oneself, to what is not above oneself.
pub(crate) fn rule(actor: &Standing, case: Case) -> Result<(), Refused> {
    if *actor == Standing::Stranger {
        return Err(Refused::Stranger);
    }
    let manages = actor.manages(case.from) && case.to.is_none_or(|to| actor.manages(to));
    let gives_up = case.own && case.lowers();
    if !(manages || gives_up) {
        return Err(Refused::Forbidden);
    }
    if case.from == MemberRole::Owner && case.to != Some(MemberRole::Owner) {
        if case.personal {
            return Err(Refused::Personal);
        }
        if case.other_owners == 0 {
            return Err(Refused::LastOwner);
        }
    }
    Ok(())
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stranger => Self::not_found("workspace"),
            Refused::Forbidden => forbidden(),
            Refused::LastOwner => Self::new(
                Code::Conflict,
                "A workspace has an owner: make somebody else one before the last owner stops being one.",
            ),
            Refused::Personal => {
                Self::new(Code::Conflict, "The one whose personal workspace it is stays its owner.")
            }
        }
    }
}

/// A role in a body.
pub(crate) fn role(text: &str, problems: &mut Problems) -> MemberRole {
    text.parse().unwrap_or_else(|unknown: tollgate_verify::UnknownWord| {
        problems.add("/role", unknown.to_string());
        MemberRole::Member
    })
}

impl Caller {
    /// Whose standing in a workspace decides, by their row in it; absent: an operator, who needs none.
    pub(crate) fn member(&self) -> Result<Option<UserId>, Fault> {
        match self.principal {
            Principal::User { operator: true, .. } => Ok(None),
            Principal::User { id, operator: false } => Ok(Some(id)),
            Principal::ServiceKey(_) | Principal::System => Err(forbidden()),
        }
    }
}

impl KeysService {
    pub(crate) async fn list_members(
        &self,
        message: wire::ListMembersRequest,
    ) -> Result<wire::ListMembersResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let page = wire::Page { limit: message.limit, cursor: message.cursor };
        let page = Page::parse(Some(&page), &mut problems);
        let (workspace, standing) = self.known_workspace(&caller, &message.workspace_id).await?;
        standing.require(Action::ReadMembers, "workspace")?;
        problems.check()?;
        let rows = self.store.members_in(workspace, page).await?;
        let (rows, next_cursor) = page.cut(rows, |member| member.user_id);
        Ok(wire::ListMembersResponse {
            members: rows.into_iter().map(messages::member).collect(),
            next_cursor,
        })
    }

    pub(crate) async fn update_member(
        &self,
        message: wire::UpdateMemberRequest,
    ) -> Result<wire::UpdateMemberResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (workspace, member) = self.membership(&caller, &message.workspace_id, &message.user_id).await?;
        let mut problems = Problems::default();
        let wanted = message.role.as_deref().map(|text| role(text, &mut problems));
        if !message.clear.is_empty() {
            problems.add("/role", "must not be null");
        }
        problems.check()?;
        let effect = match wanted {
            None => None,
            Some(_) => self.change_membership(&caller, workspace, member, wanted, message.no_wait).await?,
        };
        let row = self.store.member_by_id(workspace, member).await?;
        let member = messages::member(row.ok_or_else(|| Fault::not_found("member"))?);
        Ok(wire::UpdateMemberResponse { member: Some(member), effect: effect.map(Into::into) })
    }

    pub(crate) async fn remove_member(
        &self,
        message: wire::RemoveMemberRequest,
    ) -> Result<wire::RemoveMemberResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (workspace, member) = self.membership(&caller, &message.workspace_id, &message.user_id).await?;
        let effect = self.change_membership(&caller, workspace, member, None, message.no_wait).await?;
        Ok(wire::RemoveMemberResponse { effect: effect.map(Into::into) })
    }

    /// A membership that the caller may want to do something to: anybody's, or only their own.
    async fn membership(
        &self,
        caller: &Caller,
        workspace: &str,
        member: &str,
    ) -> Result<(WorkspaceId, UserId), Fault> {
        let (workspace, standing) = self.known_workspace(caller, workspace).await?;
        let member: Result<UserId, Fault> = input::path_id(member, "member");
        let own = member.as_ref().ok().copied() == caller.member()? && caller.member()?.is_some();
        let action = if own { Action::ReadMembers } else { Action::ManageMembers };
        standing.require(action, "workspace")?;
        if let Standing::Suspended(_) = standing {
            return Err(crate::access::disabled());
        }
        Ok((workspace, member?))
    }

    async fn change_membership(
        &self,
        caller: &Caller,
        workspace: WorkspaceId,
        member: UserId,
        to: Option<MemberRole>,
        no_wait: bool,
    ) -> Result<Option<Effect>, Fault> {
        let at = self.clock.now();
        let action = if to.is_some() { "member.update" } else { "member.remove" };
        let deed = Deed { caller, workspace, action, target: member.to_string(), at };
        let cut = Cut { subject: Subject::Member(workspace, member), wait: !no_wait };
        let change = Change::cuts_off(&self.store, cut, deed);
        let actor = caller.member()?.map(Into::into);
        let step =
            MemberStep { workspace: workspace.into(), actor, member: member.into(), to, at: at.into() };
        match self.store.member_step(change, step).await? {
            (Stepped::Done, effect) => Ok(effect),
            (Stepped::Gone, _) => Err(Fault::not_found("member")),
            (Stepped::Refused(refused), _) => Err(refused.into()),
        }
    }

    /// The workspace of a path, and what the caller is to it.
    pub(crate) async fn known_workspace(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(WorkspaceId, Standing), Fault> {
        self.workspace_of(caller, Some(input::path_id(id, "workspace")?)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemberRole::{Admin, Member, Owner};

    fn case(from: MemberRole, to: Option<MemberRole>) -> Case {
        Case { own: false, from, to, other_owners: 1, personal: false }
    }

    /// What comes of every role that may be had and wanted: the rows are owner, admin, member; the columns too, then none.
    fn table(actor: &Standing, own: bool) -> String {
        let mut said = String::new();
        for from in [Owner, Admin, Member] {
            for to in [Some(Owner), Some(Admin), Some(Member), None] {
                let ruling = rule(actor, Case { own, ..case(from, to) });
                said.push(match ruling {
                    Ok(()) => 'y',
                    Err(Refused::Forbidden) => '-',
                    Err(Refused::Stranger) => '?',
                    Err(other) => panic!("{other:?}"),
                });
            }
            said.push(' ');
        }
        said
    }

    #[test]
    fn who_does_what_to_whom() {
        for (actor, others) in [
            (Standing::Operator, "yyyy yyyy yyyy "),
            (Standing::Member(Owner), "yyyy yyyy yyyy "),
            (Standing::Member(Admin), "---- -yyy -yyy "),
            (Standing::Member(Member), "---- ---- ---- "),
            (Standing::Stranger, "???? ???? ???? "),
        ] {
            assert_eq!(table(&actor, false), others, "{actor:?}");
        }
        // Of oneself: what one has, and less.
        let own = |role| rule(&Standing::Member(role), Case { own: true, ..case(role, None) });
        assert_eq!([own(Owner), own(Admin), own(Member)], [Ok(()); 3]);
        for (from, to, fine) in
            [(Owner, Member, true), (Admin, Member, true), (Admin, Owner, false), (Member, Admin, false)]
        {
            let ruling = rule(&Standing::Member(from), Case { own: true, ..case(from, Some(to)) });
            assert_eq!(ruling.is_ok(), fine, "{from} to {to}");
        }
    }

    #[test]
    fn the_last_owner_stays() {
        for actor in [Standing::Operator, Standing::Member(Owner)] {
            for to in [Some(Admin), Some(Member), None] {
                let last = Case { other_owners: 0, ..case(Owner, to) };
                assert_eq!(rule(&actor, last), Err(Refused::LastOwner));
                assert_eq!(rule(&actor, Case { own: true, ..last }), Err(Refused::LastOwner));
                let personal = Case { personal: true, ..case(Owner, to) };
                assert_eq!(rule(&actor, personal), Err(Refused::Personal));
            }
        }
        assert_eq!(rule(&Standing::Member(Owner), Case { other_owners: 0, ..case(Admin, None) }), Ok(()));
    }
}
