//! Every management call, made by everybody.

use super::*;

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

/// What is in the workspace that everybody tries to get at.
#[derive(Clone)]
struct Target {
    workspace: String,
    key: String,
    service_key: String,
}

impl Desk {
    /// One letter per call, in this order.
    async fn try_all(&self, caller: Option<&Caller>, at: &Target) -> String {
        let caller = caller.cloned();
        let workspace_id = at.workspace.clone();
        let (key_id, service_key_id) = (at.key.clone(), at.service_key.clone());
        let list_plans =
            wire::ListPlansRequest { caller: caller.clone(), workspace_id: workspace_id.clone(), page: None };
        let list_keys = wire::ListKeysRequest {
            caller: caller.clone(),
            workspace_id: workspace_id.clone(),
            ..Default::default()
        };
        let create_key = wire::CreateKeyRequest {
            caller: caller.clone(),
            workspace_id: workspace_id.clone(),
            name: "tried".into(),
            ..Default::default()
        };
        let get_key = wire::GetKeyRequest { caller: caller.clone(), key_id: key_id.clone() };
        let get_usage =
            wire::GetUsageRequest { caller: caller.clone(), key_id: key_id.clone(), ..Default::default() };
        let update_key =
            wire::UpdateKeyRequest { caller: caller.clone(), key_id: key_id.clone(), ..Default::default() };
        let rotate_key =
            wire::RotateKeyRequest { caller: caller.clone(), key_id: key_id.clone(), ..Default::default() };
        let list_key_secrets = wire::ListKeySecretsRequest { caller: caller.clone(), key_id: key_id.clone() };
        let get_policy =
            wire::GetWorkspacePolicyRequest { caller: caller.clone(), workspace_id: workspace_id.clone() };
        let update_policy = wire::UpdateWorkspacePolicyRequest {
            caller: caller.clone(),
            workspace_id: workspace_id.clone(),
            ..Default::default()
        };
        let revoke_key = wire::RevokeKeyRequest { caller: caller.clone(), key_id, no_wait: false };
        let list_service_keys = wire::ListServiceKeysRequest {
            caller: caller.clone(),
            workspace_id: workspace_id.clone(),
            page: None,
        };
        let create_service_key = wire::CreateServiceKeyRequest {
            caller: caller.clone(),
            workspace_id,
            name: "tried".into(),
            permissions: vec!["keys.verify".into()],
            ..Default::default()
        };
        let revoke_service_key = wire::RevokeServiceKeyRequest { caller, service_key_id, no_wait: false };
        [
            letter(call!(self, list_plans, list_plans)),
            letter(call!(self, list_keys, list_keys)),
            letter(call!(self, create_key, create_key)),
            letter(call!(self, get_key, get_key)),
            letter(call!(self, get_usage, get_usage)),
            letter(call!(self, get_workspace_policy, get_policy)),
            letter(call!(self, update_workspace_policy, update_policy)),
            letter(call!(self, list_key_secrets, list_key_secrets)),
            letter(call!(self, update_key, update_key)),
            letter(call!(self, rotate_key, rotate_key)),
            letter(call!(self, revoke_key, revoke_key)),
            letter(call!(self, list_service_keys, list_service_keys)),
            letter(call!(self, create_service_key, create_service_key)),
            letter(call!(self, revoke_service_key, revoke_service_key)),
        ]
        .into_iter()
        .collect()
    }

    async fn target(&self, owner: &Caller) -> Target {
        Target {
            workspace: self.workspace_of(owner).await,
            key: self.key(owner).await.key.expect("a key").id,
            service_key: self.service_key(owner, &["keys.read"]).await.service_key.expect("one").id,
        }
    }
}

const ALL: [&str; 4] = ["keys.verify", "keys.read", "keys.write", "usage.read"];

on_every_database! {
    async fn everybody_may_what_the_table_says(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let at = desk.target(&owner).await;
        desk.target(&other).await;
        let everybody = [
            ("admin", desk.member(&at.workspace, MemberRole::Admin).await, "AAAAAAAAAAAAAA"),
            ("member", desk.member(&at.workspace, MemberRole::Member).await, "AAAAAFFAFFFFFF"),
            ("operator", desk.operator(), "AAAAAAAAAAAAAA"),
            ("stranger", desk.user(), "NNNNNNNNNNNNNN"),
            ("service key without a right", desk.machine(&owner, &ALL[..1]).await, "FFFFFFFFFFFFFF"),
            ("service key that reads keys", desk.machine(&owner, &ALL[1..2]).await, "AAFAFFFAFFFFFF"),
            ("service key that writes keys", desk.machine(&owner, &ALL[2..3]).await, "AFAFFFFFAAAFFF"),
            ("service key that reads usage", desk.machine(&owner, &ALL[3..]).await, "FFFFAFFFFFFFFF"),
            ("service key with all rights", desk.machine(&owner, &ALL).await, "AAAAAFFAAAAFFF"),
            ("another workspace's service key", desk.machine(&other, &ALL).await, "NNNNNNNNNNNNNN"),
            ("another workspace's owner", other.clone(), "NNNNNNNNNNNNNN"),
            ("owner", owner.clone(), "AAAAAAAAAAAAAA"),
        ];
        for (who, caller, expected) in everybody {
            // What one of them revokes, the next could not change.
            let at = Target { key: desk.key(&owner).await.key.expect("a key").id, ..at.clone() };
            let before = desk.service.store.audited().await.len();
            assert_eq!(desk.try_all(Some(&caller), &at).await, expected, "{who}");
            let left = desk.service.store.audited().await.len() > before;
            assert_eq!(left, expected.contains('A') && expected != "FFFFAFFFFFFFFF" && expected != "AAFAFFFAFFFFFF", "{who}");
        }
    }

    async fn nobody_may_nothing(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.target(&owner).await;
        let revoked = desk.machine(&owner, &ALL).await;
        let Some(caller::Principal::ServiceKey(key)) = revoked.principal.clone() else { panic!("a machine") };
        let service_key_id = key.service_key_id;
        let message = wire::RevokeServiceKeyRequest { caller: Some(owner.clone()), service_key_id, no_wait: false };
        call!(desk, revoke_service_key, message).expect("revoked");
        for caller in [None, Some(Caller::default()), Some(machine("svc_1".into())), Some(revoked)] {
            assert_eq!(desk.try_all(caller.as_ref(), &at).await, "UUUUUUUUUUUUUU", "{caller:?}");
        }
        let message = wire::EnsurePersonalWorkspaceRequest { caller: None };
        assert_eq!(letter(call!(desk, ensure_personal_workspace, message)), 'U');
        let message = wire::ListWorkspacesRequest { caller: None, page: None };
        assert_eq!(letter(call!(desk, list_workspaces, message)), 'U');
    }

    async fn a_machine_is_no_member(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let caller = Some(desk.machine(&desk.user(), &ALL).await);
        let message = wire::EnsurePersonalWorkspaceRequest { caller: caller.clone() };
        assert_eq!(letter(call!(desk, ensure_personal_workspace, message)), 'F');
        let message = wire::ListWorkspacesRequest { caller, page: None };
        assert_eq!(letter(call!(desk, list_workspaces, message)), 'F');
    }

    async fn one_revokes_what_one_has_made(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace_id = desk.workspace_of(&owner).await;
        let member = desk.member(&workspace_id, MemberRole::Member).await;
        let colleague = desk.member(&workspace_id, MemberRole::Member).await;
        let message = wire::CreateKeyRequest { workspace_id, name: "a".into(), ..Default::default() };
        let key = desk.create(&member, message).await.expect("made").key.expect("a key").id;
        assert_eq!(letter(desk.revoke(&colleague, &key).await), 'F');
        assert_eq!(letter(desk.revoke(&member, &key).await), 'A');
    }

    async fn a_machine_works_in_its_own_workspace(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        let caller = desk.machine(&owner, &ALL).await;
        let key = desk.key(&caller).await.key.expect("a key");
        assert_eq!(key.workspace_id, workspace);
        assert!(key.created_by.starts_with("svc_"));
        let all = wire::ListKeysRequest { caller: Some(caller.clone()), ..Default::default() };
        assert_eq!(call!(desk, list_keys, all).expect("a list").keys, [key]);
        let service_keys = wire::ListServiceKeysRequest { caller: Some(caller), ..Default::default() };
        assert_eq!(letter(call!(desk, list_service_keys, service_keys)), 'F');
    }

    async fn what_does_not_exist_is_not_found_for_an_operator_either(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let at = Target {
            workspace: "ws_00000000000000000000000001".into(),
            key: "key_00000000000000000000000001".into(),
            service_key: "svc_00000000000000000000000001".into(),
        };
        assert_eq!(desk.try_all(Some(&desk.operator()), &at).await, "NNNNNNNNNNNNNN");
    }
}
