//! Many keys are revoked at once, as it was said, by those who may.

use tollgate_kernel::WorkspaceId;

use super::*;

const ALL: [&str; 4] = ["keys.verify", "keys.read", "keys.write", "usage.read"];

fn named(part: &str) -> wire::KeyFilter {
    wire::KeyFilter { q: part.into(), ..Default::default() }
}

fn revoke(caller: &Caller, filter: wire::KeyFilter) -> wire::RevokeKeysRequest {
    wire::RevokeKeysRequest { caller: Some(caller.clone()), filter: Some(filter), ..Default::default() }
}

impl Desk {
    /// So many keys, a second apart; the first of them is the oldest.
    async fn keys_named(&self, caller: &Caller, name: &str, count: usize) -> Vec<wire::CreateKeyResponse> {
        let mut made = Vec::new();
        for number in 0..count {
            let message = wire::CreateKeyRequest { name: format!("{name} {number}"), ..Default::default() };
            made.push(self.create(caller, message).await.expect("made"));
            self.clock.advance(std::time::Duration::from_secs(1));
        }
        made
    }

    async fn live(&self, keys: &[wire::CreateKeyResponse]) -> usize {
        let mut live = 0;
        for key in keys {
            let grant = self.resolve(&key.secret).await.expect("a grant");
            live += usize::from(grant.revoked_at.is_none());
        }
        live
    }

    async fn deeds(&self, action: &str) -> usize {
        self.service.store.audited().await.iter().filter(|it| *it == action).count()
    }
}

fn subject(key: &wire::CreateKeyResponse) -> Subject {
    Subject::Key(key.key.as_ref().expect("a key").id.parse().expect("an id"))
}

on_every_database! {
    async fn a_dry_run_says_what_and_does_nothing(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let keys = desk.keys_named(&owner, "old", 12).await;
        desk.keys_named(&owner, "new", 1).await;
        let before = desk.service.store.audited().await;
        let message = wire::RevokeKeysRequest { dry_run: true, ..revoke(&owner, named("old")) };
        let said = call!(desk, revoke_keys, message).expect("said");
        assert_eq!((said.matched, said.revoked, said.more, said.effect), (12, 0, false, None));
        let sample: Vec<_> = said.sample.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(sample, (0..10).map(|number| format!("old {number}")).collect::<Vec<_>>(), "the oldest");
        assert_eq!(desk.live(&keys).await, 12);
        assert_eq!(desk.service.store.audited().await, before);
    }

    async fn few_are_cut_off_each_by_itself(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let (keys, others) = (desk.keys_named(&owner, "old", 3).await, desk.keys_named(&owner, "new", 2).await);
        let workspace: WorkspaceId = desk.workspace_of(&owner).await.parse().expect("an id");
        let since = desk.changes.sequence();
        let message = wire::RevokeKeysRequest { expected_count: Some(3), reason: "stolen".into(), ..revoke(&owner, named("old")) };
        let done = call!(desk, revoke_keys, message.clone()).expect("revoked");
        assert_eq!((done.matched, done.revoked, done.more), (3, 3, false));
        assert!(done.effect.is_some());
        assert_eq!((desk.live(&keys).await, desk.live(&others).await), (0, 2));
        for key in &keys {
            assert_eq!(desk.changes.holds_until(since, &[subject(key)]), None, "caches know");
        }
        let untouched = [subject(&others[0]), subject(&others[1]), Subject::Workspace(workspace)];
        assert!(desk.changes.holds_until(since, &untouched).is_some(), "nothing else is read again");
        assert_eq!(desk.deeds("key.revoke").await, 3);
        assert_eq!(desk.service.store.reasons_of("key.revoke").await, ["stolen", "stolen", "stolen"].map(|it| Some(it.to_owned())));

        // Those that are revoked fit no more.
        let again = wire::RevokeKeysRequest { expected_count: None, ..message };
        let again = call!(desk, revoke_keys, again).expect("nothing to do");
        assert_eq!((again.matched, again.revoked, again.effect), (0, 0, None));
        assert_eq!(desk.deeds("key.revoke").await, 3);
    }

    async fn many_are_cut_off_with_their_workspace_and_audited_each(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let keys = desk.keys_named(&owner, "old", 60).await;
        let workspace: WorkspaceId = desk.workspace_of(&owner).await.parse().expect("an id");
        let since = desk.changes.sequence();
        let done = call!(desk, revoke_keys, revoke(&owner, named("OLD"))).expect("revoked");
        assert_eq!((done.matched, done.revoked, done.sample.len()), (60, 60, 10));
        assert!(done.effect.is_some());
        assert_eq!(desk.live(&keys).await, 0);
        assert_eq!(desk.changes.holds_until(since, &[Subject::Workspace(workspace)]), None, "caches know");
        let mut targets = desk.service.store.targets_of("key.revoke").await;
        let mut expected: Vec<_> = keys.iter().map(|it| it.key.as_ref().expect("a key").id.clone()).collect();
        targets.sort();
        expected.sort();
        assert_eq!(targets, expected);
    }

    async fn what_is_not_as_expected_is_not_done(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let keys = desk.keys_named(&owner, "old", 3).await;
        for expected in [0, 2, 4, 10_000] {
            for dry_run in [true, false] {
                let message = wire::RevokeKeysRequest { expected_count: Some(expected), dry_run, ..revoke(&owner, named("old")) };
                assert_eq!(call!(desk, revoke_keys, message).expect_err("refused").code(), Code::Conflict, "{expected}");
            }
        }
        assert_eq!((desk.live(&keys).await, desk.deeds("key.revoke").await), (3, 0));
    }

    async fn everything_is_revoked_by_saying_so_only(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let (keys, others) = (desk.keys_named(&owner, "a", 3).await, desk.keys_named(&other, "a", 1).await);
        let empty = wire::KeyFilter::default();
        let nothing = wire::RevokeKeysRequest { caller: Some(owner.clone()), ..Default::default() };
        for message in [nothing.clone(), revoke(&owner, empty.clone())] {
            let fault = call!(desk, revoke_keys, message).expect_err("refused");
            assert_eq!(pointers(&fault), ["/filter"]);
        }
        let twice = wire::RevokeKeysRequest { all: true, ..revoke(&owner, named("a")) };
        assert_eq!(pointers(&call!(desk, revoke_keys, twice).expect_err("refused")), ["/all"]);
        assert_eq!(desk.live(&keys).await, 3);
        let all = wire::RevokeKeysRequest { all: true, ..nothing };
        assert_eq!(call!(desk, revoke_keys, all).expect("revoked").revoked, 3);
        assert_eq!((desk.live(&keys).await, desk.live(&others).await), (0, 1), "nobody else's");
    }

    async fn what_is_wrong_is_said_where_it_is(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let pair = |name: &str, value: &str| wire::MetadataValue { name: name.into(), value: value.into() };
        let filter = wire::KeyFilter {
            consumer_id: "con".into(), plan_id: "pln".into(), role: "No Role".into(), status: 9, q: "x".repeat(101),
            metadata: vec![pair("", "a"), pair("b", "1"), pair("b", "2"), pair("c", "3")],
            ..Default::default()
        };
        let message = wire::RevokeKeysRequest {
            workspace_id: "ws".into(), expected_count: Some(10_001), reason: "x".repeat(501), ..revoke(&owner, filter)
        };
        let fault = call!(desk, revoke_keys, message).expect_err("refused");
        assert_eq!(pointers(&fault), [
            "/workspace_id", "/filter/consumer_id", "/filter/plan_id", "/filter/role", "/filter/status", "/filter/q",
            "/filter/metadata", "/filter/metadata", "/filter/metadata", "/expected_count", "/reason",
        ]);
    }

    async fn only_those_may_who_may_revoke_each_key(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let workspace_id = desk.workspace_of(&owner).await;
        let keys = desk.keys_named(&owner, "old", 2).await;
        let member = desk.member(&workspace_id, MemberRole::Member).await;
        desk.create(&member, wire::CreateKeyRequest { workspace_id: workspace_id.clone(), name: "its own old".into(), ..Default::default() })
            .await
            .expect("made");
        let refused = [
            (member, Code::Forbidden),
            (desk.machine(&owner, &ALL[..2]).await, Code::Forbidden),
            (desk.machine(&other, &ALL).await, Code::NotFound),
            (other, Code::NotFound),
            (Caller::default(), Code::Unauthenticated),
        ];
        for (caller, code) in refused {
            for dry_run in [true, false] {
                let message = wire::RevokeKeysRequest { workspace_id: workspace_id.clone(), dry_run, ..revoke(&caller, named("old")) };
                assert_eq!(call!(desk, revoke_keys, message).expect_err("refused").code(), code, "{caller:?}");
            }
        }
        assert_eq!(desk.live(&keys).await, 2);
        for caller in [desk.member(&workspace_id, MemberRole::Admin).await, desk.operator(), desk.machine(&owner, &ALL[2..3]).await] {
            let message = wire::RevokeKeysRequest { workspace_id: workspace_id.clone(), dry_run: true, ..revoke(&caller, named("old")) };
            assert_eq!(call!(desk, revoke_keys, message).expect("may").matched, 3);
        }
    }

    async fn two_at_once_revoke_each_key_once(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let keys = desk.keys_named(&owner, "old", 55).await;
        let one = async { call!(desk, revoke_keys, revoke(&owner, named("old"))).expect("revoked").revoked };
        let other = async { call!(desk, revoke_keys, revoke(&owner, named("old"))).expect("revoked").revoked };
        let (one, other) = tokio::join!(one, other);
        assert_eq!((one + other, desk.live(&keys).await, desk.deeds("key.revoke").await), (55, 0, 55));
    }
}
