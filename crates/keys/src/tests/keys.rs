//! Keys are shown once, stored as digests, found again, and ended for good.

use std::time::Duration;

use tollgate_kernel::{ExposeSecret, SecretString};
use tollgate_proto::ratelimit::Limit;

use super::*;

fn named(name: &str) -> wire::CreateKeyRequest {
    wire::CreateKeyRequest { name: name.into(), ..Default::default() }
}

fn limit(name: &str, limit: u64) -> Limit {
    Limit { name: name.into(), limit, window_seconds: 60, ..Default::default() }
}

async fn get(desk: &Desk, caller: &Caller, key_id: &str) -> Result<wire::Key, Fault> {
    let message = wire::GetKeyRequest { caller: Some(caller.clone()), key_id: key_id.into() };
    call!(desk, get_key, message).map(|answer| answer.key.expect("a key"))
}

async fn list(desk: &Desk, message: wire::ListKeysRequest) -> Vec<String> {
    let answer = call!(desk, list_keys, message).expect("a list");
    answer.keys.into_iter().map(|key| key.name).collect()
}

on_every_database! {
    async fn a_key_is_what_was_asked_for(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        let now = desk.clock.now();
        let message = wire::CreateKeyRequest {
            environment: wire::Environment::Test.into(),
            scopes: vec!["orders.read".into()],
            limits: vec![limit("minute", 7), limit("burst", 2)],
            expires_in_days: 30,
            allowed_ips: vec!["10.1.2.3/8".into(), "::1".into()],
            metadata_json: r#"{ "b": 1, "a": "x" }"#.into(),
            ..named("My key")
        };
        let made = desk.create(&owner, message).await.expect("made");
        let key = made.key.expect("a key");
        assert!(made.secret.starts_with(&key.start) && key.start.starts_with("tg_test_"));
        assert_eq!(PresentedKey::parse(&made.secret).expect("a key").kind, KeyKind::Test);
        assert_eq!(get(&desk, &owner, &key.id).await.expect("there"), key);
        let in_force: Vec<_> = key.limits.iter().map(|it| (it.name.as_str(), it.limit)).collect();
        assert_eq!(in_force, [("minute", 7), ("day", 5000), ("burst", 2)]);
        let Some(caller::Principal::User(user)) = owner.principal else { panic!("a user") };
        let expected = wire::Key {
            id: key.id.clone(),
            workspace_id: workspace,
            name: "My key".into(),
            environment: wire::Environment::Test.into(),
            plan_id: key.plan_id.clone(),
            start: key.start.clone(),
            scopes: vec!["orders.read".into()],
            limits: key.limits.clone(),
            allowed_ips: vec!["10.0.0.0/8".into(), "::1/128".into()],
            metadata_json: r#"{"a":"x","b":1}"#.into(),
            enabled: true,
            expires_at: Some(time::to_wire(now + chrono::TimeDelta::days(30))),
            revoked_at: None,
            last_used_at: None,
            last_used_ip: None,
            last_user_agent: None,
            rotation_due_at: None,
            created_by: user.user_id,
            created_at: Some(time::to_wire(now)),
            description: String::new(),
            not_before: None,
            consumer_id: String::new(),
            roles: vec![],
            disabled_at: None,
        };
        assert_eq!(key, expected);
    }

    async fn only_the_digest_is_stored(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let secret = SecretString::from(desk.key(&desk.user()).await.secret);
        let machine = SecretString::from(desk.service_key(&desk.user(), &["keys.read"]).await.secret);
        for key in [secret, machine] {
            // prefix + public id | secret | check digits
            let text = key.expose_secret();
            let hidden = &text[text.len() - 49..text.len() - 6];
            let everything = desk.service.store.everything().await;
            assert!(everything.contains(&text[..11]), "the dump holds the beginning, so it would hold the rest");
            assert!(!everything.contains(hidden));
        }
    }

    async fn all_that_is_wrong_is_said_at_once(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let message = wire::CreateKeyRequest {
            workspace_id: "ws".into(),
            plan_id: "pln".into(),
            environment: 5,
            scopes: vec!["A".into()],
            limits: vec![limit("minute", 1_000_000_001)],
            expires_at: Some(time::to_wire(desk.clock.now())),
            allowed_ips: vec!["x".into()],
            metadata_json: "[]".into(),
            idempotency_key: "a b".into(),
            ..named("")
        };
        let fault = desk.create(&desk.user(), message).await.expect_err("refused");
        assert_eq!(pointers(&fault), [
            "/workspace_id", "/name", "/environment", "/plan_id", "/scopes/0", "/limits/0/limit",
            "/expires_at", "/allowed_ips/0", "/metadata", "/idempotency_key",
        ]);
    }

    async fn a_plan_is_of_the_same_workspace(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let plans = |caller: &Caller| wire::ListPlansRequest { caller: Some(caller.clone()), ..Default::default() };
        let mine = call!(desk, list_plans, plans(&owner)).expect("a list").plans.remove(2);
        let theirs = call!(desk, list_plans, plans(&other)).expect("a list").plans.remove(2);
        let made = desk.create(&owner, wire::CreateKeyRequest { plan_id: mine.id.clone(), ..named("a") }).await;
        assert_eq!(made.expect("made").key.expect("a key").plan_id, mine.id);
        let fault = desk.create(&owner, wire::CreateKeyRequest { plan_id: theirs.id, ..named("a") }).await;
        assert_eq!(pointers(&fault.expect_err("refused")), ["/plan_id"]);
    }

    async fn a_retry_gets_the_record_and_not_the_secret(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let message = |name| wire::CreateKeyRequest {
            idempotency_key: "once".into(),
            expires_in_days: 30,
            ..named(name)
        };
        let first = desk.create(&owner, message("a")).await.expect("made");
        desk.clock.advance(Duration::from_hours(1));
        let elsewhere = Caller { ip: "198.51.100.7".into(), ..owner.clone() };
        let second = desk.create(&elsewhere, message("a")).await.expect("found");
        assert_eq!((second.key, second.secret), (first.key.clone(), String::new()));
        let fault = desk.create(&owner, message("b")).await.expect_err("refused");
        assert_eq!(fault.code(), Code::Conflict);
        // Another caller's idempotency keys are its own.
        let others = desk.create(&other, message("a")).await.expect("made");
        assert!(!others.secret.is_empty() && others.key != first.key);
        desk.clock.advance(Duration::from_hours(23));
        let third = desk.create(&owner, message("a")).await.expect("made");
        assert!(!third.secret.is_empty(), "a day later it is another request");
    }

    async fn lists_show_what_fits(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        for name in ["Alpha", "Beta", "Gamma"] {
            desk.create(&owner, named(name)).await.expect("made");
            desk.clock.advance(Duration::from_secs(1));
        }
        let test = wire::CreateKeyRequest { environment: wire::Environment::Test.into(), ..named("Delta") };
        let delta = desk.create(&owner, test).await.expect("made").key.expect("a key");
        desk.revoke(&owner, &delta.id).await.expect("revoked");
        let all = wire::ListKeysRequest { caller: Some(owner), ..Default::default() };
        assert_eq!(list(&desk, all.clone()).await, ["Delta", "Gamma", "Beta", "Alpha"]);
        let part = wire::ListKeysRequest { filter: Some(wire::KeyFilter { q: "MM".into(), ..Default::default() }), ..all.clone() };
        assert_eq!(list(&desk, part).await, ["Gamma"]);
        let live = wire::ListKeysRequest { filter: Some(wire::KeyFilter { environment: wire::Environment::Live.into(), ..Default::default() }), ..all.clone() };
        assert_eq!(list(&desk, live).await, ["Gamma", "Beta", "Alpha"]);
        let revoked = wire::ListKeysRequest { filter: Some(wire::KeyFilter { status: wire::KeyStatus::Revoked.into(), ..Default::default() }), ..all.clone() };
        assert_eq!(list(&desk, revoked).await, ["Delta"]);
        let wrong = wire::ListKeysRequest { filter: Some(wire::KeyFilter { status: 9, environment: 9, q: "a\0".into(), ..Default::default() }), ..all };
        let fault = call!(desk, list_keys, wrong).expect_err("refused");
        assert_eq!(pointers(&fault), ["/status", "/environment", "/q"]);
    }

    async fn a_revoked_key_stays_revoked(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let key = desk.key(&owner).await.key.expect("a key");
        let id = key.id.parse().expect("an id");
        let (before, first) = (desk.changes.sequence(), desk.clock.now());
        desk.revoke(&owner, &key.id).await.expect("revoked");
        assert_eq!(desk.changes.holds_until(before, &[Subject::Key(id)]), None, "caches know");
        desk.clock.advance(Duration::from_secs(1));
        desk.revoke(&owner, &key.id).await.expect("revoked already");
        let revoked_at = get(&desk, &owner, &key.id).await.expect("visible").revoked_at;
        assert_eq!(revoked_at, Some(time::to_wire(first)));
        assert_eq!(desk.service.store.audited().await, ["key.create", "key.revoke", "workspace.create"]);
    }

    async fn what_is_no_key_is_not_found(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        for id in ["", "key_1", "usr_00000000000000000000000001", "key_00000000000000000000000001", "' OR 1=1"] {
            assert_eq!(get(&desk, &owner, id).await.expect_err("nothing").code(), Code::NotFound, "{id}");
            assert_eq!(desk.revoke(&owner, id).await.expect_err("nothing").code(), Code::NotFound, "{id}");
        }
    }
}
