//! Keys are changed and rotated by those who may, one change at a time, and each change is audited and seen by caches.

use std::time::Duration;

use super::*;

impl Desk {
    async fn update(&self, caller: &Caller, message: wire::UpdateKeyRequest) -> Result<wire::Key, Fault> {
        let message = wire::UpdateKeyRequest { caller: Some(caller.clone()), ..message };
        call!(self, update_key, message).map(|answer| answer.key.expect("a key"))
    }

    async fn rotate(&self, caller: &Caller, key_id: &str) -> Result<wire::RotateKeyResponse, Fault> {
        let key_id = key_id.to_owned();
        let message = wire::RotateKeyRequest { caller: Some(caller.clone()), key_id, ..Default::default() };
        call!(self, rotate_key, message)
    }
}

fn of(key_id: &str) -> wire::UpdateKeyRequest {
    wire::UpdateKeyRequest { key_id: key_id.to_owned(), ..Default::default() }
}

fn texts(items: &[&str]) -> wire::TextList {
    wire::TextList { items: items.iter().map(ToString::to_string).collect() }
}

on_every_database! {
    async fn a_change_is_audited_and_seen(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let made = desk.key(&owner).await;
        let key = made.key.expect("a key");
        let before = desk.changes.sequence();
        desk.clock.advance(Duration::from_secs(1));
        let message = wire::UpdateKeyRequest {
            name: Some("Renamed".into()),
            description: Some("for the shop".into()),
            enabled: Some(false),
            scopes: Some(texts(&["a.*"])),
            metadata_json: Some(r#"{"a":1}"#.into()),
            not_before: Some(time::to_wire(desk.clock.now())),
            ..of(&key.id)
        };
        let changed = desk.update(&owner, message).await.expect("changed");
        let expected = wire::Key {
            name: "Renamed".into(),
            description: "for the shop".into(),
            enabled: false,
            scopes: vec!["a.*".into()],
            metadata_json: r#"{"a":1}"#.into(),
            not_before: Some(time::to_wire(desk.clock.now())),
            disabled_at: Some(time::to_wire(desk.clock.now())),
            ..key.clone()
        };
        assert_eq!(changed, expected);
        let id = key.id.parse().expect("an id");
        assert_eq!(desk.changes.holds_until(before, &[Subject::Key(id)]), None, "caches know");
        let grant = desk.resolve(&made.secret).await.expect("it resolves");
        assert_eq!((grant.enabled, grant.scopes), (false, vec!["a.*".to_owned()]));
        assert_eq!(desk.service.store.audited().await, ["key.create", "key.update", "workspace.create"]);
        // A search finds the new name, and the moment of the disabling stays.
        desk.clock.advance(Duration::from_secs(1));
        let again = desk.update(&owner, wire::UpdateKeyRequest { enabled: Some(false), ..of(&key.id) }).await;
        assert_eq!(again.expect("changed").disabled_at, expected.disabled_at);
        let part = wire::ListKeysRequest { caller: Some(owner), filter: Some(wire::KeyFilter { q: "renam".into(), ..Default::default() }), ..Default::default() };
        assert_eq!(call!(desk, list_keys, part).expect("a list").keys.len(), 1);
    }

    async fn what_is_cleared_is_what_a_new_key_has(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plain = desk.key(&owner).await.key.expect("a key");
        let message = wire::UpdateKeyRequest {
            description: Some("d".into()),
            scopes: Some(texts(&["a"])),
            allowed_ips: Some(texts(&["10.0.0.0/8"])),
            metadata_json: Some(r#"{"a":1}"#.into()),
            expires_at: Some(time::to_wire(desk.clock.now() + chrono::TimeDelta::days(1))),
            not_before: Some(time::to_wire(desk.clock.now())),
            ..of(&plain.id)
        };
        assert_ne!(desk.update(&owner, message).await.expect("changed"), plain);
        let names = ["description", "consumer_id", "scopes", "roles", "limits", "allowed_ips", "metadata", "expires_at", "not_before"];
        let clear = names.map(ToOwned::to_owned).to_vec();
        let message = wire::UpdateKeyRequest { clear, ..of(&plain.id) };
        assert_eq!(desk.update(&owner, message).await.expect("changed"), plain);
        let message = wire::UpdateKeyRequest { clear: vec!["name".into(), "enabled".into()], ..of(&plain.id) };
        let fault = desk.update(&owner, message).await.expect_err("refused");
        assert_eq!(pointers(&fault), ["/name", "/enabled"]);
    }

    async fn of_two_changes_at_once_both_hold_or_one_is_refused(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let key = desk.key(&owner).await.key.expect("a key");
        let named = |n: u32| wire::UpdateKeyRequest { name: Some(format!("name {n}")), ..of(&key.id) };
        let described = |n: u32| wire::UpdateKeyRequest { description: Some(format!("text {n}")), ..of(&key.id) };
        let (mut name, mut description) = (key.name.clone(), String::new());
        for n in 0..10 {
            let (a, b) = tokio::join!(desk.update(&owner, named(n)), desk.update(&owner, described(n)));
            for (result, field, value) in
                [(&a, &mut name, format!("name {n}")), (&b, &mut description, format!("text {n}"))]
            {
                match result {
                    Ok(_) => *field = value,
                    Err(fault) => assert_eq!(fault.code(), Code::Conflict),
                }
            }
            assert!(a.is_ok() || b.is_ok(), "one of them is the first");
        }
        let message = wire::GetKeyRequest { caller: Some(owner), key_id: key.id };
        let found = call!(desk, get_key, message).expect("there").key.expect("a key");
        assert_eq!((found.name, found.description), (name, description), "no change is lost");
    }

    async fn rotations_at_once_leave_one_latest_secret_each(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let made = desk.key(&owner).await;
        let key = made.key.expect("a key");
        let (a, b) = tokio::join!(desk.rotate(&owner, &key.id), desk.rotate(&owner, &key.id));
        let mut latest = 0;
        for rotated in [&a, &b].into_iter().flatten() {
            let grant = desk.resolve(&rotated.secret).await.expect("it resolves");
            assert_eq!(grant.key_id, key.id);
            latest += u32::from(grant.secret.expect("a secret").retires_at.is_none());
        }
        assert_eq!(latest, 1, "{a:?} {b:?}");
        let old = desk.resolve(&made.secret).await.expect("it resolves").secret.expect("a secret");
        assert_eq!(old.retires_at, Some(time::to_wire(desk.clock.now() + chrono::TimeDelta::days(1))));
    }

    async fn a_member_changes_its_own_and_gives_no_more_than_the_plan(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace_id = desk.workspace_of(&owner).await;
        desk.service.store.give_plans_a_scope(&workspace_id, "orders.*").await;
        let member = desk.member(&workspace_id, MemberRole::Member).await;
        let create = |scopes: &[&str]| wire::CreateKeyRequest {
            workspace_id: workspace_id.clone(),
            name: "a".into(),
            scopes: texts(scopes).items,
            ..Default::default()
        };
        let refused = desk.create(&member, create(&["users.read"])).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Forbidden);
        let key = desk.create(&member, create(&["orders.read"])).await.expect("made").key.expect("a key");
        let scoped = |scopes: &[&str]| wire::UpdateKeyRequest { scopes: Some(texts(scopes)), ..of(&key.id) };
        desk.update(&member, scoped(&["orders.*"])).await.expect("narrower than the plan");
        for scopes in [&["*"][..], &["orders.read", "users.read"]] {
            let refused = desk.update(&member, scoped(scopes)).await.expect_err("refused");
            assert_eq!(refused.code(), Code::Forbidden);
        }
        // What an admin has given may stay, and may be given back.
        desk.update(&owner, scoped(&["orders.read", "users.*"])).await.expect("an owner gives any");
        desk.update(&member, scoped(&["users.read"])).await.expect("less than it has");
        desk.rotate(&member, &key.id).await.expect("it made the key");

        let others = desk.create(&owner, create(&[])).await.expect("made").key.expect("a key");
        let refused = desk.update(&member, of(&others.id)).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Forbidden);
        let refused = desk.rotate(&member, &others.id).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Forbidden);
    }

    async fn no_secret_is_printed_or_stored(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let key = desk.key(&owner).await.key.expect("a key");
        let rotated = desk.rotate(&owner, &key.id).await.expect("rotated");
        let hidden = &rotated.secret[rotated.secret.len() - 49..rotated.secret.len() - 6];
        assert!(!format!("{rotated:?}").contains(hidden));
        let everything = desk.service.store.everything().await;
        assert!(everything.contains(&rotated.secret[8..20]) && !everything.contains(hidden));
    }
}
