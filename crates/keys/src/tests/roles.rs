//! Roles give their scopes to the keys that have them, and stay while there are such keys.

use super::*;

impl Desk {
    async fn role(&self, caller: &Caller, name: &str, scopes: &[&str]) -> Result<wire::Role, Fault> {
        let message = wire::CreateRoleRequest {
            caller: Some(caller.clone()),
            name: name.into(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        call!(self, create_role, message).map(|answer| answer.role.expect("a role"))
    }

    async fn key_with(&self, caller: &Caller, roles: &[&str]) -> Result<wire::CreateKeyResponse, Fault> {
        let roles = roles.iter().map(ToString::to_string).collect();
        let message = wire::CreateKeyRequest {
            name: "k".into(),
            scopes: vec!["own".into()],
            roles,
            ..Default::default()
        };
        self.create(caller, message).await
    }

    async fn change_role(
        &self,
        caller: &Caller,
        role: &wire::Role,
        message: wire::UpdateRoleRequest,
    ) -> Result<wire::UpdateRoleResponse, Fault> {
        let (caller, role_id) = (Some(caller.clone()), role.id.clone());
        call!(self, update_role, wire::UpdateRoleRequest { caller, role_id, ..message })
    }

    async fn delete_role(&self, caller: &Caller, role: &wire::Role) -> Result<(), Fault> {
        let (caller, role_id) = (Some(caller.clone()), role.id.clone());
        let message = wire::DeleteRoleRequest { caller, role_id, no_wait: false };
        call!(self, delete_role, message).map(|answer| assert!(answer.effect.is_some()))
    }

    async fn scopes(&self, secret: &str) -> Vec<String> {
        self.resolve(secret).await.expect("a grant").scopes
    }
}

on_every_database! {
    async fn a_change_is_one_of_all_keys_that_have_it(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let reader = desk.role(&owner, "reader", &["orders.read", "own"]).await.expect("made");
        desk.role(&owner, "writer", &["orders.write"]).await.expect("made");
        let key = desk.key_with(&owner, &["writer", "reader", "writer"]).await.expect("made");
        assert_eq!(key.key.as_ref().expect("a key").roles, ["writer", "reader"]);
        assert_eq!(desk.scopes(&key.secret).await, ["own", "orders.read", "orders.write"]);

        let before = desk.changes.sequence();
        let scopes = Some(wire::TextList { items: vec!["orders.list".into()] });
        let message = wire::UpdateRoleRequest { scopes, ..Default::default() };
        let changed = desk.change_role(&owner, &reader, message).await.expect("changed");
        assert!(changed.effect.is_some());
        assert_eq!(changed.role.as_ref().expect("a role").scopes, ["orders.list"]);
        let workspace = Subject::Workspace(desk.workspace_of(&owner).await.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[workspace]), None, "caches know");
        assert_eq!(desk.scopes(&key.secret).await, ["own", "orders.list", "orders.write"]);
        let clear = wire::UpdateRoleRequest { clear: vec!["scopes".into()], ..Default::default() };
        desk.change_role(&owner, &reader, clear).await.expect("changed");
        assert_eq!(desk.scopes(&key.secret).await, ["own", "orders.write"]);
        let nothing = desk.change_role(&owner, &reader, wire::UpdateRoleRequest::default()).await.expect("nothing");
        assert_eq!(nothing.effect, None);
    }

    async fn an_unknown_role_is_refused(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        desk.role(&owner, "reader", &[]).await.expect("made");
        desk.role(&other, "writer", &[]).await.expect("made");
        let fault = desk.key_with(&owner, &["reader", "writer"]).await.expect_err("refused");
        assert_eq!(pointers(&fault), ["/roles/1"]);
        assert_eq!(pointers(&desk.key_with(&owner, &["Reader"]).await.expect_err("refused")), ["/roles/0"]);
        assert_eq!(pointers(&desk.key_with(&owner, &["reader"; 17]).await.expect_err("refused")), ["/roles"]);
    }

    async fn a_name_is_taken_once(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        desk.role(&owner, "reader", &[]).await.expect("made");
        desk.role(&desk.user(), "reader", &[]).await.expect("another workspace");
        let fault = desk.role(&owner, "reader", &[]).await.expect_err("taken");
        let expected = (Code::Conflict, "Another role of the workspace has this name.");
        assert_eq!((fault.code(), fault.message()), expected);
        assert_eq!(pointers(&desk.role(&owner, "a b", &["A"]).await.expect_err("refused")), ["/name", "/scopes/0"]);
    }

    async fn one_in_use_stays(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let role = desk.role(&owner, "read", &["a"]).await.expect("made");
        // One name is a part of the other.
        desk.role(&owner, "reader", &["b"]).await.expect("made");
        let other = desk.key_with(&owner, &["reader"]).await.expect("made");
        let key = desk.key_with(&owner, &["reader", "read"]).await.expect("made").key.expect("a key").id;
        let fault = desk.delete_role(&owner, &role).await.expect_err("in use");
        let said = "Keys that are not revoked have the role: 1.";
        assert_eq!((fault.code(), fault.message()), (Code::Conflict, said));
        desk.revoke(&owner, &key).await.expect("revoked");
        desk.delete_role(&owner, &role).await.expect("deleted");
        assert_eq!(desk.delete_role(&owner, &role).await.expect_err("gone").code(), Code::NotFound);
        assert_eq!(desk.scopes(&other.secret).await, ["own", "b"]);
    }

    async fn lists_are_paged(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        for name in ["a", "b", "c"] {
            desk.role(&owner, name, &[]).await.expect("made");
            desk.clock.advance(std::time::Duration::from_secs(1));
        }
        let page = |cursor| Some(wire::Page { limit: 2, cursor });
        let all = wire::ListRolesRequest { caller: Some(owner), page: page(String::new()), ..Default::default() };
        let first = call!(desk, list_roles, all.clone()).expect("a list");
        let page = page(first.next_cursor.expect("there are more"));
        let second = call!(desk, list_roles, wire::ListRolesRequest { page, ..all }).expect("a list");
        let names: Vec<_> = first.roles.iter().chain(&second.roles).map(|role| role.name.as_str()).collect();
        assert_eq!((names, second.next_cursor), (vec!["a", "b", "c"], None));
    }
}
