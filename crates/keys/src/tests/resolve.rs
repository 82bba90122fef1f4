//! What a verifier gets for what was presented.

use super::*;

async fn refused(desk: &Desk, public_id: &str, digest: &[u8]) -> Vec<String> {
    let (public_id, digest) = (public_id.to_owned(), digest.to_vec());
    let message = wire::ResolveKeyRequest { public_id: public_id.clone(), digest: digest.clone() };
    let fault = call!(desk, resolve_key, message).expect_err("refused");
    let message = wire::ResolveServiceKeyRequest { public_id, digest };
    let service = call!(desk, resolve_service_key, message).expect_err("refused");
    assert_eq!(pointers(&service), pointers(&fault));
    pointers(&fault).into_iter().map(str::to_owned).collect()
}

on_every_database! {
    async fn a_grant_says_all_that_verify_needs(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let made = desk.key(&owner).await;
        let key = made.key.expect("a key");
        let grant = desk.resolve(&made.secret).await.expect("it resolves");
        assert_eq!(grant, wire::Grant {
            key_id: key.id.clone(),
            workspace_id: key.workspace_id.clone(),
            environment: wire::Environment::Live.into(),
            plan: "basic".into(),
            scopes: vec![],
            limits: key.limits.clone(),
            allowed_ips: vec![],
            metadata_json: "{}".into(),
            expires_at: None,
            revoked_at: None,
            enabled: true,
            workspace_enabled: true,
            created_by: key.created_by.clone(),
            plan_id: key.plan_id.clone(),
            not_before: None,
            consumer: None,
            workspace_limits: vec![],
            secret: Some(wire::SecretGrant {
                secret_id: grant.secret.as_ref().expect("a secret").secret_id.clone(),
                retires_at: None,
                revoked_at: None,
            }),
            credit_account_id: String::new(),
            rotation_due_at: None,
        });
        tollgate_verify::Grant::try_from(grant).expect("verify reads it");
    }

    async fn a_wrong_secret_and_an_unknown_id_are_absent(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (mine, other) = (desk.key(&desk.user()).await, desk.key(&desk.user()).await);
        let mine = PresentedKey::parse(&mine.secret).expect("a key");
        let other = PresentedKey::parse(&other.secret).expect("a key");
        let swapped_case: String = mine.public_id.chars().map(|letter| {
            if letter.is_ascii_uppercase() { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
        }).collect();
        for (public_id, digest) in
            [(&mine.public_id, &other.digest), (&swapped_case, &mine.digest), (&"0".repeat(12), &mine.digest)]
        {
            let message = wire::ResolveKeyRequest { public_id: public_id.clone(), digest: digest.to_vec() };
            assert_eq!(call!(desk, resolve_key, message).expect("an answer").grant, None);
            let message = wire::ResolveServiceKeyRequest { public_id: public_id.clone(), digest: digest.to_vec() };
            assert_eq!(call!(desk, resolve_service_key, message).expect("an answer").grant, None);
        }
    }

    async fn a_key_that_is_ended_resolves_and_says_so(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let message = wire::CreateKeyRequest { name: "a".into(), expires_in_days: 1, ..Default::default() };
        let made = desk.create(&owner, message).await.expect("made");
        let key = made.key.expect("a key");
        desk.clock.advance(std::time::Duration::from_hours(48));
        desk.revoke(&owner, &key.id).await.expect("revoked");
        desk.service.store.disable(&key.id, &key.workspace_id).await;
        let grant = desk.resolve(&made.secret).await.expect("it resolves");
        assert_eq!((grant.enabled, grant.workspace_enabled), (false, false));
        assert_eq!(grant.revoked_at, Some(time::to_wire(desk.clock.now())));
        assert_eq!(grant.expires_at, key.expires_at);
    }

    async fn a_retired_secret_resolves_and_says_so(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let made = desk.key(&desk.user()).await;
        let key = made.key.expect("a key");
        let at = desk.clock.now() + chrono::TimeDelta::seconds(10);
        desk.service.store.retire_secrets(&key.id, at).await;
        let grant = desk.resolve(&made.secret).await.expect("it resolves");
        assert_eq!(grant.secret.expect("a secret").retires_at, Some(time::to_wire(at)));
    }

    async fn own_scopes_replace_the_plans(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        desk.service.store.give_plans_a_scope(&workspace, "of.plan").await;
        let plain = desk.key(&owner).await;
        assert_eq!(desk.resolve(&plain.secret).await.expect("it resolves").scopes, ["of.plan"]);
        let message =
            wire::CreateKeyRequest { name: "a".into(), scopes: vec!["own".into()], ..Default::default() };
        let own = desk.create(&owner, message).await.expect("made");
        assert_eq!(desk.resolve(&own.secret).await.expect("it resolves").scopes, ["own"]);
        assert_eq!(plain.key.expect("a key").scopes, Vec::<String>::new());
    }

    async fn shapes_are_checked_first(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        for public_id in ["", "12345678901", "1234567890123", "12345678901é", "12345678901\0"] {
            assert_eq!(refused(&desk, public_id, &[0; 32]).await, ["/public_id"]);
        }
        assert_eq!(refused(&desk, "123456789012", &[0; 31]).await, ["/digest"]);
        assert_eq!(refused(&desk, "", &[]).await, ["/public_id", "/digest"]);
    }

    async fn members_have_their_role(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        let ask = |caller: &Caller| {
            let Some(caller::Principal::User(user)) = &caller.principal else { panic!("a user") };
            wire::ResolveMemberRequest { workspace_id: workspace.clone(), user_id: user.user_id.clone() }
        };
        for role in [MemberRole::Admin, MemberRole::Member] {
            let member = desk.member(&workspace, role).await;
            let found = call!(desk, resolve_member, ask(&member)).expect("an answer").member;
            assert_eq!(found.expect("a member").role, role.as_str());
        }
        let found = call!(desk, resolve_member, ask(&owner)).expect("an answer").member;
        assert_eq!(found.expect("a member").role, "owner");
        assert_eq!(call!(desk, resolve_member, ask(&desk.user())).expect("an answer").member, None);
        let wrong = wire::ResolveMemberRequest { workspace_id: "ws".into(), ..ask(&owner) };
        assert_eq!(pointers(&call!(desk, resolve_member, wrong).expect_err("refused")), ["/workspace_id"]);
    }
}
