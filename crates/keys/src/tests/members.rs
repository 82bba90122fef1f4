//! Members are managed by those above them; the last owner stays, whoever asks at once.

use super::*;
use MemberRole::{Admin, Member, Owner};

/// The user's id.
pub(super) fn id_of(caller: &Caller) -> String {
    let Some(caller::Principal::User(user)) = &caller.principal else { panic!("a user") };
    user.user_id.clone()
}

impl Desk {
    /// A workspace of this user that is not the personal one.
    pub(super) async fn another_workspace(&self, owner: &Caller) -> String {
        let message = wire::CreateWorkspaceRequest {
            caller: Some(owner.clone()),
            name: "Acme".into(),
            ..Default::default()
        };
        call!(self, create_workspace, message).expect("made").workspace.expect("a workspace").id
    }

    async fn set_role(
        &self,
        caller: &Caller,
        at: &str,
        member: &Caller,
        role: MemberRole,
    ) -> Result<(), Code> {
        let message = wire::UpdateMemberRequest {
            caller: Some(caller.clone()),
            workspace_id: at.to_owned(),
            user_id: id_of(member),
            role: Some(role.to_string()),
            ..Default::default()
        };
        call!(self, update_member, message).map(|_| ()).map_err(|fault| fault.code())
    }

    pub(super) async fn remove(&self, caller: &Caller, at: &str, member: &Caller) -> Result<(), Code> {
        let message = wire::RemoveMemberRequest {
            caller: Some(caller.clone()),
            workspace_id: at.to_owned(),
            user_id: id_of(member),
            no_wait: false,
        };
        call!(self, remove_member, message).map(|_| ()).map_err(|fault| fault.code())
    }

    pub(super) async fn members(&self, caller: &Caller, at: &str) -> Vec<(String, String)> {
        let message = wire::ListMembersRequest {
            caller: Some(caller.clone()),
            workspace_id: at.to_owned(),
            ..Default::default()
        };
        let members = call!(self, list_members, message).expect("a list").members;
        members.into_iter().map(|member| (member.user_id, member.role)).collect()
    }

    async fn owners(&self, at: &str) -> usize {
        let members = self.members(&self.operator(), at).await;
        members.iter().filter(|(_, role)| role == "owner").count()
    }
}

/// Both at once.
async fn race<A: Send + 'static, B: Send + 'static>(
    a: impl Future<Output = A> + Send + 'static,
    b: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    let (a, b) = (tokio::spawn(a), tokio::spawn(b));
    (a.await.expect("no panic"), b.await.expect("no panic"))
}

on_every_database! {
    async fn a_member_gets_another_role_and_goes(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.workspace_of(&owner).await;
        let member = desk.member(&at, Member).await;
        let before = desk.changes.sequence();
        assert_eq!(desk.set_role(&owner, &at, &member, Admin).await, Ok(()));
        let (workspace, user) = (at.parse().expect("an id"), id_of(&member).parse().expect("an id"));
        let membership = Subject::Member(workspace, user);
        assert_eq!(desk.changes.holds_until(before, &[membership]), None, "caches know");
        let mut expected = vec![(id_of(&owner), "owner".to_owned()), (id_of(&member), "admin".to_owned())];
        expected.sort();
        assert_eq!(desk.members(&member, &at).await, expected);
        // To what it is already: nothing is done.
        assert_eq!(desk.set_role(&owner, &at, &member, Admin).await, Ok(()));
        let before = desk.changes.sequence();
        assert_eq!(desk.remove(&owner, &at, &member).await, Ok(()));
        assert_eq!(desk.changes.holds_until(before, &[membership]), None, "caches know");
        assert_eq!(desk.remove(&owner, &at, &member).await, Err(Code::NotFound));
        assert_eq!(desk.remove(&member, &at, &member).await, Err(Code::NotFound), "a stranger by now");
        assert_eq!(desk.members(&owner, &at).await.len(), 1);
        let audited = desk.service.store.audited().await;
        assert_eq!(audited, ["member.remove", "member.update", "workspace.create"]);
    }

    async fn nobody_reaches_above_themselves(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.another_workspace(&owner).await;
        let (admin, other) = (desk.member(&at, Admin).await, desk.member(&at, Admin).await);
        let (member, colleague) = (desk.member(&at, Member).await, desk.member(&at, Member).await);
        let forbidden = Err(Code::Forbidden);
        assert_eq!(desk.set_role(&admin, &at, &member, Owner).await, forbidden);
        assert_eq!(desk.set_role(&admin, &at, &admin, Owner).await, forbidden);
        assert_eq!(desk.set_role(&admin, &at, &owner, Member).await, forbidden);
        assert_eq!(desk.remove(&admin, &at, &owner).await, forbidden);
        assert_eq!(desk.set_role(&member, &at, &member, Admin).await, forbidden);
        assert_eq!(desk.set_role(&member, &at, &colleague, Member).await, forbidden);
        assert_eq!(desk.remove(&member, &at, &colleague).await, forbidden);
        let machine = desk.machine(&owner, &["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
        let personal = desk.workspace_of(&owner).await;
        assert_eq!(desk.remove(&machine, &personal, &owner).await, forbidden);
        let stranger = desk.user();
        assert_eq!(desk.remove(&stranger, &at, &member).await, Err(Code::NotFound));
        assert_eq!(desk.set_role(&stranger, &at, &stranger, Owner).await, Err(Code::NotFound));
        assert_eq!(desk.members(&owner, &at).await.len(), 5);

        // What is below, and what is one's own to give up.
        assert_eq!(desk.set_role(&admin, &at, &member, Admin).await, Ok(()));
        assert_eq!(desk.set_role(&admin, &at, &other, Member).await, Ok(()));
        assert_eq!(desk.set_role(&admin, &at, &admin, Member).await, Ok(()));
        assert_eq!(desk.remove(&colleague, &at, &colleague).await, Ok(()), "leaves");
        assert_eq!(desk.set_role(&owner, &at, &member, Owner).await, Ok(()));
        assert_eq!(desk.remove(&owner, &at, &owner).await, Ok(()), "there is another owner");
        assert_eq!(desk.owners(&at).await, 1);
    }

    async fn the_last_owner_and_the_personal_one_stay(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.another_workspace(&owner).await;
        desk.member(&at, Admin).await;
        let conflict = Err(Code::Conflict);
        for caller in [&owner, &desk.operator()] {
            assert_eq!(desk.set_role(caller, &at, &owner, Admin).await, conflict);
            assert_eq!(desk.remove(caller, &at, &owner).await, conflict);
        }
        let personal = desk.workspace_of(&owner).await;
        let second = desk.member(&personal, Owner).await;
        for caller in [&owner, &second, &desk.operator()] {
            assert_eq!(desk.set_role(caller, &personal, &owner, Member).await, conflict);
            assert_eq!(desk.remove(caller, &personal, &owner).await, conflict);
        }
        assert_eq!(desk.remove(&owner, &personal, &second).await, Ok(()));
    }

    async fn of_two_owners_who_leave_at_once_one_stays(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        for _ in 0..8 {
            let owner = desk.user();
            let at = desk.another_workspace(&owner).await;
            let second = desk.member(&at, Owner).await;
            let leave = |who: Caller| {
                let (desk, at) = (desk.clone(), at.clone());
                async move { desk.remove(&who, &at, &who).await }
            };
            let said = race(leave(owner), leave(second)).await;
            assert!([(Ok(()), Err(Code::Conflict)), (Err(Code::Conflict), Ok(()))].contains(&said), "{said:?}");
            assert_eq!(desk.owners(&at).await, 1);
        }
    }

    async fn of_two_owners_who_demote_each_other_at_once_one_stays(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        for _ in 0..8 {
            let owner = desk.user();
            let at = desk.another_workspace(&owner).await;
            let second = desk.member(&at, Owner).await;
            let demote = |who: &Caller, whom: &Caller| {
                let (desk, at, who, whom) = (desk.clone(), at.clone(), who.clone(), whom.clone());
                async move { desk.set_role(&who, &at, &whom, Member).await }
            };
            let said = race(demote(&owner, &second), demote(&second, &owner)).await;
            // The slower one is no owner any more when it is decided.
            assert!([(Ok(()), Err(Code::Forbidden)), (Err(Code::Forbidden), Ok(()))].contains(&said), "{said:?}");
            assert_eq!(desk.owners(&at).await, 1);
        }
    }

    async fn what_a_removed_member_has_made_stays(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.workspace_of(&owner).await;
        let member = desk.member(&at, Member).await;
        let message =
            wire::CreateKeyRequest { workspace_id: at.clone(), name: "theirs".into(), ..Default::default() };
        let made = desk.create(&member, message).await.expect("made");
        assert_eq!(desk.remove(&owner, &at, &member).await, Ok(()));
        assert!(desk.resolve(&made.secret).await.is_some_and(|grant| grant.enabled));
        let key_id = made.key.expect("a key").id;
        let get = wire::GetKeyRequest { caller: Some(member.clone()), key_id: key_id.clone() };
        assert_eq!(call!(desk, get_key, get).expect_err("a stranger").code(), Code::NotFound);
        assert_eq!(desk.revoke(&member, &key_id).await.expect_err("a stranger").code(), Code::NotFound);
        desk.revoke(&owner, &key_id).await.expect("it is the workspace's");
    }

    async fn what_breaks_a_rule_is_named(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace_id = desk.workspace_of(&owner).await;
        let message = wire::UpdateMemberRequest {
            caller: Some(owner.clone()),
            workspace_id: workspace_id.clone(),
            user_id: id_of(&owner),
            ..Default::default()
        };
        let king = wire::UpdateMemberRequest { role: Some("king".into()), ..message.clone() };
        assert_eq!(pointers(&call!(desk, update_member, king).expect_err("no role")), ["/role"]);
        let none = wire::UpdateMemberRequest { clear: vec!["role".into()], ..message.clone() };
        assert_eq!(pointers(&call!(desk, update_member, none).expect_err("no role")), ["/role"]);
        let nothing = call!(desk, update_member, message.clone()).expect("nothing to do");
        assert_eq!((nothing.member.expect("a member").role.as_str(), nothing.effect), ("owner", None));
        for user_id in ["nonsense", "usr_00000000000000000000000001"] {
            let nobody = wire::UpdateMemberRequest {
                user_id: user_id.into(), role: Some("member".into()), ..message.clone()
            };
            assert_eq!(call!(desk, update_member, nobody).expect_err("nobody").code(), Code::NotFound);
        }
    }

    async fn members_are_paged(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace_id = desk.workspace_of(&owner).await;
        for _ in 0..4 {
            desk.member(&workspace_id, Member).await;
        }
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let caller = Some(owner.clone());
            let list = wire::ListMembersRequest { caller, workspace_id: workspace_id.clone(), limit: 2, cursor };
            let list = call!(desk, list_members, list).expect("a list");
            seen.extend(list.members.into_iter().map(|member| (member.user_id, member.role)));
            let Some(next) = list.next_cursor else { break };
            cursor = next;
        }
        assert_eq!(seen, desk.members(&owner, &workspace_id).await);
        assert_eq!(seen.len(), 5);
    }

    async fn a_user_makes_so_many_workspaces(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let user = desk.user();
        let make = || {
            let (desk, caller) = (desk.clone(), Some(user.clone()));
            tokio::spawn(async move {
                let message = wire::CreateWorkspaceRequest { caller, name: "Acme".into(), ..Default::default() };
                call!(desk, create_workspace, message)
            })
        };
        let tasks: Vec<_> = (0..24).map(|_| make()).collect();
        let (mut made, mut refused) = (Vec::new(), 0);
        for task in tasks {
            match task.await.expect("no panic") {
                Ok(answer) => made.push(answer.workspace.expect("a workspace")),
                Err(fault) => {
                    assert_eq!(fault.code(), Code::Conflict);
                    refused += 1;
                }
            }
        }
        assert_eq!((made.len(), refused), (20, 4));
        assert!(made.iter().all(|it| it.role == "owner" && it.enabled && it.name == "Acme"));
        let plans = wire::ListPlansRequest {
            caller: Some(user.clone()), workspace_id: made[0].id.clone(), page: None,
        };
        let plans = call!(desk, list_plans, plans).expect("a list").plans;
        assert_eq!(plans.iter().map(|plan| &*plan.name).collect::<Vec<_>>(), ["free", "basic", "pro"]);
        // Another user has as many.
        desk.another_workspace(&desk.user()).await;
    }

    async fn a_disabled_workspace_can_only_be_looked_at(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, operator) = (desk.user(), desk.operator());
        let workspace_id = desk.workspace_of(&owner).await;
        let made = desk.key(&owner).await;
        let machine = desk.machine(&owner, &["keys.read", "keys.write"]).await;
        let switch = |caller: &Caller, enabled| wire::UpdateWorkspaceRequest {
            caller: Some(caller.clone()),
            workspace_id: workspace_id.clone(),
            enabled: Some(enabled),
            ..Default::default()
        };
        let refused = call!(desk, update_workspace, switch(&owner, false)).expect_err("for operators");
        assert_eq!(refused.code(), Code::Forbidden);
        let before = desk.changes.sequence();
        let off = call!(desk, update_workspace, switch(&operator, false)).expect("disabled");
        assert!(!off.workspace.expect("a workspace").enabled && off.effect.is_some());
        let subject = Subject::Workspace(workspace_id.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[subject]), None, "caches know");
        assert!(!desk.resolve(&made.secret).await.expect("it resolves").workspace_enabled);

        for caller in [&owner, &machine] {
            let list = wire::ListKeysRequest { caller: Some(caller.clone()), ..Default::default() };
            assert_eq!(call!(desk, list_keys, list).expect("it may be looked at").keys.len(), 1);
            let create = wire::CreateKeyRequest { name: "a".into(), ..Default::default() };
            let fault = desk.create(caller, create).await.expect_err("refused");
            assert_eq!(fault.code(), Code::Forbidden);
            assert!(fault.to_string().contains("disabled"), "{fault}");
        }
        assert_eq!(desk.remove(&owner, &workspace_id, &owner).await, Err(Code::Forbidden));
        desk.revoke(&owner, &made.key.expect("a key").id).await.expect("what lets in may be taken away");
        let refused = call!(desk, update_workspace, switch(&owner, true)).expect_err("for operators");
        assert_eq!(refused.code(), Code::Forbidden);
        call!(desk, update_workspace, switch(&operator, true)).expect("enabled");
        desk.key(&owner).await;
    }
}
