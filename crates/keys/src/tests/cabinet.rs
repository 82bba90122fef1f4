//! What keys hang on (workspaces, plans, consumers, roles, overrides): every call, made by everybody.

use super::{consumers::limit, *};

/// What is in the workspace that everybody tries to get at.
struct Target {
    workspace: String,
    plan: String,
    consumer: String,
    role: String,
    key: String,
}

/// Allowed, Forbidden, Not found, Unauthenticated.
fn letter<T>(result: Result<T, Fault>) -> char {
    match result.map_err(|fault| fault.code()) {
        Ok(_) => 'A',
        Err(Code::Forbidden) => 'F',
        Err(Code::NotFound) => 'N',
        Err(Code::Unauthenticated) => 'U',
        Err(code) => panic!("unexpected: {code:?}"),
    }
}

/// A name that nothing has yet.
fn fresh() -> String {
    UserId::new(&*MockClock::new(), &OsEntropy).to_string()
}

impl Desk {
    /// New things in the workspace, for one who tries to take them away.
    async fn target_of(&self, owner: &Caller) -> Target {
        let (caller, name) = (Some(owner.clone()), fresh());
        let workspace = self.workspace_of(owner).await;
        let plan =
            wire::CreatePlanRequest { caller: caller.clone(), name: name.clone(), ..Default::default() };
        let consumer =
            wire::CreateConsumerRequest { caller: caller.clone(), name: name.clone(), ..Default::default() };
        let role = wire::CreateRoleRequest { caller, name, ..Default::default() };
        Target {
            workspace,
            plan: call!(self, create_plan, plan).expect("made").plan.expect("a plan").id,
            consumer: call!(self, create_consumer, consumer).expect("made").consumer.expect("a consumer").id,
            role: call!(self, create_role, role).expect("made").role.expect("a role").id,
            key: self.key(owner).await.key.expect("a key").id,
        }
    }

    /// One letter per call: the workspace, then plans, consumers, roles and overrides, each group with its deletion last.
    async fn try_cabinet(&self, caller: Option<&Caller>, at: &Target) -> String {
        let groups = [
            self.try_workspace(caller.cloned(), at).await,
            self.try_plans(caller.cloned(), at).await,
            self.try_consumers(caller.cloned(), at).await,
            self.try_roles(caller.cloned(), at).await,
            self.try_overrides(caller.cloned(), at).await,
        ];
        groups.join(" ")
    }

    async fn try_workspace(&self, caller: Option<Caller>, at: &Target) -> String {
        let workspace_id = at.workspace.clone();
        let get = wire::GetWorkspaceRequest { caller: caller.clone(), workspace_id: workspace_id.clone() };
        let nothing = wire::UpdateWorkspaceRequest { caller, workspace_id, ..Default::default() };
        let name = wire::UpdateWorkspaceRequest { name: Some("tried".into()), ..nothing.clone() };
        let limits = Some(wire::LimitList { items: vec![limit("minute", 9)] });
        let limit = wire::UpdateWorkspaceRequest { limits, ..nothing.clone() };
        let unlimited = wire::UpdateWorkspaceRequest { clear: vec!["limits".into()], ..nothing.clone() };
        [
            letter(call!(self, get_workspace, get)),
            letter(call!(self, update_workspace, nothing)),
            letter(call!(self, update_workspace, name)),
            letter(call!(self, update_workspace, limit)),
            letter(call!(self, update_workspace, unlimited)),
        ]
        .into_iter()
        .collect()
    }

    async fn try_plans(&self, caller: Option<Caller>, at: &Target) -> String {
        let (workspace_id, plan_id) = (at.workspace.clone(), at.plan.clone());
        let create = wire::CreatePlanRequest {
            caller: caller.clone(),
            workspace_id,
            name: fresh(),
            ..Default::default()
        };
        let get = wire::GetPlanRequest { caller: caller.clone(), plan_id: plan_id.clone() };
        let update = wire::UpdatePlanRequest {
            caller: caller.clone(),
            plan_id: plan_id.clone(),
            name: Some(fresh()),
            ..Default::default()
        };
        let delete = wire::DeletePlanRequest { caller, plan_id, no_wait: false };
        [
            letter(call!(self, create_plan, create)),
            letter(call!(self, get_plan, get)),
            letter(call!(self, update_plan, update)),
            letter(call!(self, delete_plan, delete)),
        ]
        .into_iter()
        .collect()
    }

    async fn try_consumers(&self, caller: Option<Caller>, at: &Target) -> String {
        let (workspace_id, consumer_id) = (at.workspace.clone(), at.consumer.clone());
        let create = wire::CreateConsumerRequest {
            caller: caller.clone(),
            workspace_id: workspace_id.clone(),
            name: "tried".into(),
            ..Default::default()
        };
        let get = wire::GetConsumerRequest { caller: caller.clone(), consumer_id: consumer_id.clone() };
        let list = wire::ListConsumersRequest { caller: caller.clone(), workspace_id, ..Default::default() };
        let update = wire::UpdateConsumerRequest {
            caller: caller.clone(),
            consumer_id: consumer_id.clone(),
            enabled: Some(false),
            ..Default::default()
        };
        let delete = wire::DeleteConsumerRequest { caller, consumer_id, no_wait: false };
        [
            letter(call!(self, create_consumer, create)),
            letter(call!(self, list_consumers, list)),
            letter(call!(self, get_consumer, get)),
            letter(call!(self, update_consumer, update)),
            letter(call!(self, delete_consumer, delete)),
        ]
        .into_iter()
        .collect()
    }

    async fn try_roles(&self, caller: Option<Caller>, at: &Target) -> String {
        let (workspace_id, role_id) = (at.workspace.clone(), at.role.clone());
        let create = wire::CreateRoleRequest {
            caller: caller.clone(),
            workspace_id: workspace_id.clone(),
            name: fresh(),
            ..Default::default()
        };
        let get = wire::GetRoleRequest { caller: caller.clone(), role_id: role_id.clone() };
        let list = wire::ListRolesRequest { caller: caller.clone(), workspace_id, page: None };
        let update = wire::UpdateRoleRequest {
            caller: caller.clone(),
            role_id: role_id.clone(),
            scopes: Some(wire::TextList { items: vec!["tried".into()] }),
            ..Default::default()
        };
        let delete = wire::DeleteRoleRequest { caller, role_id, no_wait: false };
        [
            letter(call!(self, create_role, create)),
            letter(call!(self, list_roles, list)),
            letter(call!(self, get_role, get)),
            letter(call!(self, update_role, update)),
            letter(call!(self, delete_role, delete)),
        ]
        .into_iter()
        .collect()
    }

    async fn try_overrides(&self, caller: Option<Caller>, at: &Target) -> String {
        let key_id = at.key.clone();
        let expires_at = Some(time::to_wire(self.clock.now() + std::time::Duration::from_mins(1)));
        let wanted = wire::KeyOverride { name: "minute".into(), limit: 9, expires_at };
        let put = wire::PutKeyOverrideRequest {
            caller: caller.clone(),
            key_id: key_id.clone(),
            r#override: Some(wanted),
            ..Default::default()
        };
        let list = wire::ListKeyOverridesRequest { caller: caller.clone(), key_id: key_id.clone() };
        let delete = wire::DeleteKeyOverrideRequest { caller, key_id, name: "minute".into() };
        [
            letter(call!(self, put_key_override, put)),
            letter(call!(self, list_key_overrides, list)),
            letter(call!(self, delete_key_override, delete)),
        ]
        .into_iter()
        .collect()
    }
}

const ALL: [&str; 4] = ["keys.verify", "keys.read", "keys.write", "usage.read"];
const NOTHING: &str = "NNNNN NNNN NNNNN NNNNN NNN";

on_every_database! {
    async fn everybody_may_what_the_table_says(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let workspace = desk.workspace_of(&owner).await;
        desk.workspace_of(&other).await;
        let everybody = [
            ("admin", desk.member(&workspace, MemberRole::Admin).await, "AAAFF AAAA AAAAA AAAAA AAA"),
            ("member", desk.member(&workspace, MemberRole::Member).await, "AFFFF FAFF AAAAA FAAFF FAF"),
            ("operator", desk.operator(), "AAAAA AAAA AAAAA AAAAA AAA"),
            ("stranger", desk.user(), NOTHING),
            ("service key without a right", desk.machine(&owner, &ALL[..1]).await, "FFFFF FFFF FFFFF FFFFF FFF"),
            ("service key that reads keys", desk.machine(&owner, &ALL[1..2]).await, "AFFFF FAFF FAAFF FAAFF FAF"),
            ("service key that writes keys", desk.machine(&owner, &ALL[2..3]).await, "FFFFF FAFF AFFAA FFFFF AFA"),
            ("service key with all rights", desk.machine(&owner, &ALL).await, "AFFFF FAFF AAAAA FAAFF AAA"),
            ("another workspace's service key", desk.machine(&other, &ALL).await, NOTHING),
            ("another workspace's owner", other, NOTHING),
            ("owner", owner.clone(), "AAAFF AAAA AAAAA AAAAA AAA"),
        ];
        for (who, caller, expected) in everybody {
            let at = desk.target_of(&owner).await;
            let before = desk.service.store.audited().await.len();
            assert_eq!(desk.try_cabinet(Some(&caller), &at).await, expected, "{who}");
            let left = desk.service.store.audited().await.len() > before;
            let writes = expected != NOTHING && !expected.starts_with("FFFFF FFFF") && who != "service key that reads keys";
            assert_eq!(left, writes, "{who}: what is refused leaves no deed");
        }
    }

    async fn nobody_may_nothing(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.target_of(&owner).await;
        for caller in [None, Some(Caller::default()), Some(machine("svc_1".into()))] {
            assert_eq!(desk.try_cabinet(caller.as_ref(), &at).await, "UUUUU UUUU UUUUU UUUUU UUU", "{caller:?}");
        }
    }

    async fn what_does_not_exist_is_not_found_for_an_operator_either(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let at = Target {
            workspace: "ws_00000000000000000000000001".into(),
            plan: "pln_00000000000000000000000001".into(),
            consumer: "con_00000000000000000000000001".into(),
            role: "rol_00000000000000000000000001".into(),
            key: "key_00000000000000000000000001".into(),
        };
        assert_eq!(desk.try_cabinet(Some(&desk.operator()), &at).await, NOTHING);
    }

    async fn a_member_overrides_what_it_has_made(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace_id = desk.workspace_of(&owner).await;
        let member = desk.member(&workspace_id, MemberRole::Member).await;
        let message = wire::CreateKeyRequest { workspace_id, name: "a".into(), ..Default::default() };
        let key = desk.create(&member, message).await.expect("made").key.expect("a key").id;
        let at = Target { key, ..desk.target_of(&owner).await };
        assert_eq!(desk.try_overrides(Some(member), &at).await, "AAA");
    }

    async fn what_the_instance_allows_is_seen_by_the_tenant_and_by_verifiers(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let key = desk.key(&owner).await;
        let workspace_id = desk.workspace_of(&owner).await;
        let before = desk.changes.sequence();
        let message = wire::UpdateWorkspaceRequest {
            caller: Some(desk.operator()),
            workspace_id: workspace_id.clone(),
            name: Some("Acme".into()),
            limits: Some(wire::LimitList { items: vec![limit("minute", 9)] }),
            ..Default::default()
        };
        let changed = call!(desk, update_workspace, message.clone()).expect("changed");
        assert!(changed.effect.is_some());
        let subject = Subject::Workspace(workspace_id.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[subject]), None, "caches know");
        assert_eq!(desk.resolve(&key.secret).await.expect("a grant").workspace_limits[0].limit, 9);
        let get = wire::GetWorkspaceRequest { caller: Some(owner.clone()), workspace_id };
        let seen = call!(desk, get_workspace, get).expect("there").workspace.expect("a workspace");
        assert_eq!((seen.name.as_str(), seen.role.as_str(), seen.limits[0].limit), ("Acme", "owner", 9));
        assert_eq!(changed.workspace.expect("a workspace").role, "", "an operator is no member");

        let many = (0..5).map(|number| limit(&format!("n{number}"), 1)).collect();
        let wrong = wire::UpdateWorkspaceRequest { limits: Some(wire::LimitList { items: many }), name: Some(" ".into()), ..message };
        let fault = call!(desk, update_workspace, wrong).expect_err("refused");
        assert_eq!(pointers(&fault), ["/limits", "/name"]);
    }
}
