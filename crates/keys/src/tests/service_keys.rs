//! Service keys are made and ended by people, and do what they were given.

use super::*;

async fn resolve(desk: &Desk, secret: &str) -> Option<wire::ServiceGrant> {
    let presented = PresentedKey::parse(secret).expect("a key");
    let (public_id, digest) = (presented.public_id, presented.digest.to_vec());
    let message = wire::ResolveServiceKeyRequest { public_id, digest };
    call!(desk, resolve_service_key, message).expect("an answer").grant
}

async fn revoke(desk: &Desk, caller: &Caller, id: &str) -> Result<(), Fault> {
    let message = wire::RevokeServiceKeyRequest {
        caller: Some(caller.clone()),
        service_key_id: id.to_owned(),
        no_wait: false,
    };
    call!(desk, revoke_service_key, message).map(|wire::RevokeServiceKeyResponse { .. }| ())
}

on_every_database! {
    async fn a_service_key_resolves_until_it_is_revoked(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        let made = desk.service_key(&owner, &["keys.verify", "keys.read"]).await;
        let key = made.service_key.expect("a service key");
        assert!(made.secret.starts_with("tg_svc_") && made.secret.starts_with(&key.start));
        let grant = resolve(&desk, &made.secret).await.expect("it resolves");
        assert_eq!((&grant.service_key_id, &grant.workspace_id), (&key.id, &workspace));
        assert_eq!((grant.permissions, grant.expires_at), (key.permissions.clone(), None));
        let before = desk.changes.sequence();
        revoke(&desk, &owner, &key.id).await.expect("revoked");
        revoke(&desk, &owner, &key.id).await.expect("revoked already");
        let id: ServiceKeyId = key.id.parse().expect("an id");
        assert_eq!(desk.changes.holds_until(before, &[Subject::ServiceKey(id)]), None, "caches know");
        assert_eq!(resolve(&desk, &made.secret).await, None);
        assert_eq!(
            desk.service.store.audited().await,
            ["service_key.create", "service_key.revoke", "workspace.create"]
        );
        for nothing in ["svc_1", "svc_00000000000000000000000001"] {
            assert_eq!(revoke(&desk, &owner, nothing).await.expect_err("nothing").code(), Code::NotFound);
        }
    }

    async fn an_expired_service_key_is_nobody(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let message = wire::CreateServiceKeyRequest {
            caller: Some(owner.clone()),
            name: "short".into(),
            permissions: vec!["keys.read".into()],
            expires_at: Some(time::to_wire(desk.clock.now() + chrono::TimeDelta::hours(1))),
            ..Default::default()
        };
        let made = call!(desk, create_service_key, message).expect("made");
        let caller = machine(made.service_key.expect("a service key").id);
        let list = || wire::ListKeysRequest { caller: Some(caller.clone()), ..Default::default() };
        assert!(resolve(&desk, &made.secret).await.is_some());
        call!(desk, list_keys, list()).expect("it may");
        desk.clock.advance(std::time::Duration::from_hours(1));
        assert_eq!(resolve(&desk, &made.secret).await, None);
        assert_eq!(call!(desk, list_keys, list()).expect_err("no more").code(), Code::Unauthenticated);
    }

    async fn lists_are_newest_first_and_hold_no_secret(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let mut expected = Vec::new();
        for permission in ["keys.read", "keys.write", "usage.read"] {
            let made = desk.service_key(&owner, &[permission]).await;
            expected.insert(0, made.service_key.expect("a service key"));
            desk.clock.advance(std::time::Duration::from_secs(1));
        }
        let page = |cursor| Some(wire::Page { limit: 2, cursor });
        let message = |cursor| wire::ListServiceKeysRequest {
            caller: Some(owner.clone()),
            page: page(cursor),
            ..Default::default()
        };
        let first = call!(desk, list_service_keys, message(String::new())).expect("a list");
        assert_eq!(first.service_keys, expected[..2]);
        let second = call!(desk, list_service_keys, message(first.next_cursor.expect("more"))).expect("a list");
        assert_eq!((second.service_keys.as_slice(), second.next_cursor), (&expected[2..], None));
    }

    async fn wrong_service_keys_are_refused(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let message = wire::CreateServiceKeyRequest {
            caller: Some(desk.user()),
            workspace_id: "x".into(),
            name: "\n".into(),
            permissions: vec!["keys.read".into(), "everything".into()],
            expires_at: Some(time::to_wire(desk.clock.now())),
            scopes: vec!["a*".into()],
            ..Default::default()
        };
        let fault = call!(desk, create_service_key, message).expect_err("refused");
        assert_eq!(pointers(&fault), ["/workspace_id", "/name", "/name", "/permissions/1", "/scopes/0", "/expires_at"]);
    }
}
