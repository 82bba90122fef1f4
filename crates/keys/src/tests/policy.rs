//! What policies ask to be done from time to time is done to the keys that they are about, and to no others.

use std::time::Duration;

use super::*;

const DAY: Duration = Duration::from_hours(24);

impl Desk {
    pub(super) async fn set_policy(&self, owner: &Caller, message: wire::UpdateWorkspacePolicyRequest) {
        let workspace_id = self.workspace_of(owner).await;
        let message =
            wire::UpdateWorkspacePolicyRequest { caller: Some(owner.clone()), workspace_id, ..message };
        call!(self, update_workspace_policy, message).expect("changed");
    }

    async fn switch(&self, owner: &Caller, key_id: &str, enabled: bool) -> Result<(), Fault> {
        let message = wire::UpdateKeyRequest {
            caller: Some(owner.clone()),
            key_id: key_id.to_owned(),
            enabled: Some(enabled),
            ..Default::default()
        };
        call!(self, update_key, message).map(|_| ())
    }

    async fn status_of(&self, owner: &Caller, key_id: &str) -> (bool, bool) {
        let message = wire::GetKeyRequest { caller: Some(owner.clone()), key_id: key_id.to_owned() };
        let key = call!(self, get_key, message).expect("there").key.expect("a key");
        assert_eq!(key.enabled, key.disabled_at.is_none());
        (key.enabled, key.revoked_at.is_some())
    }

    pub(super) async fn tended(&self) -> u64 {
        self.service.tend().await.expect("tended")
    }
}

on_every_database! {
    async fn unused_keys_are_disabled(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let elsewhere = desk.key(&other).await.key.expect("a key").id;
        let unused = desk.key(&owner).await.key.expect("a key").id;
        let used = desk.key(&owner).await.key.expect("a key").id;
        let revoked = desk.key(&owner).await.key.expect("a key").id;
        desk.revoke(&owner, &revoked).await.expect("revoked");
        let message = wire::CreateKeyRequest {
            name: "begins later".into(),
            not_before: Some(time::to_wire(desk.clock.now() + chrono::TimeDelta::days(3))),
            ..Default::default()
        };
        let later = desk.create(&owner, message).await.expect("made").key.expect("a key").id;
        let rule = wire::UpdateWorkspacePolicyRequest { auto_disable_unused_days: Some(2), ..Default::default() };
        desk.set_policy(&owner, rule).await;
        desk.clock.advance(DAY);
        desk.service.store.plant_last_use(&used, desk.clock.now()).await;
        desk.clock.advance(DAY);
        assert_eq!(desk.tended().await, 0, "not before the days are over");
        let before = desk.changes.sequence();
        desk.clock.advance(Duration::from_secs(1));
        assert_eq!(desk.tended().await, 1);
        assert_eq!(desk.tended().await, 0, "once");
        assert_eq!(desk.status_of(&owner, &unused).await, (false, false));
        assert_eq!(desk.status_of(&owner, &used).await, (true, false));
        assert_eq!(desk.status_of(&other, &elsewhere).await, (true, false));
        let subject = Subject::Key(unused.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[subject]), None, "caches know");
        assert_eq!(desk.service.store.actors_of("key.disable").await, ["system"]);
        // Whoever switches it on again has it for as long as after a call.
        desk.switch(&owner, &unused, true).await.expect("enabled");
        desk.clock.advance(DAY);
        assert_eq!(desk.tended().await, 1, "the one that was used a day ago then");
        assert_eq!(desk.status_of(&owner, &unused).await, (true, false));
        desk.clock.advance(DAY + Duration::from_secs(1));
        assert_eq!(desk.tended().await, 1);
        assert_eq!(desk.status_of(&owner, &unused).await, (false, false));
        assert_eq!(desk.status_of(&owner, &later).await, (true, false), "it has begun a day ago");
        desk.clock.advance(DAY);
        assert_eq!(desk.tended().await, 1);
        assert_eq!(desk.status_of(&owner, &later).await, (false, false));
    }

    async fn keys_that_stay_disabled_are_revoked(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let made = desk.key(&owner).await;
        let key = made.key.expect("a key").id;
        let enabled = desk.key(&owner).await.key.expect("a key").id;
        desk.switch(&owner, &key, false).await.expect("disabled");
        desk.clock.advance(DAY * 100);
        assert_eq!(desk.tended().await, 0, "without a rule it stays for ever");
        let rule = wire::UpdateWorkspacePolicyRequest { undelete_days: Some(101), ..Default::default() };
        desk.set_policy(&owner, rule).await;
        assert_eq!(desk.tended().await, 0);
        desk.clock.advance(DAY + Duration::from_secs(1));
        let late = desk.switch(&owner, &key, true).await.expect_err("refused");
        assert_eq!(late.code(), Code::Conflict, "also before the job has run");
        assert_eq!(desk.tended().await, 1);
        assert_eq!(desk.status_of(&owner, &key).await, (false, true));
        assert_eq!(desk.status_of(&owner, &enabled).await, (true, false));
        assert_eq!(desk.service.store.actors_of("key.revoke").await, ["system"]);
        assert!(desk.resolve(&made.secret).await.expect("it resolves").revoked_at.is_some());
        assert_eq!(desk.tended().await, 0);
        // A rule that is gone asks for nothing.
        let clear = vec!["undelete_days".to_owned()];
        desk.set_policy(&owner, wire::UpdateWorkspacePolicyRequest { clear, ..Default::default() }).await;
        desk.switch(&owner, &enabled, false).await.expect("disabled");
        desk.clock.advance(DAY * 200);
        assert_eq!(desk.tended().await, 0);
    }

    async fn more_keys_than_one_piece_are_tended(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        for _ in 0..103 {
            desk.key(&owner).await;
        }
        let rule = wire::UpdateWorkspacePolicyRequest { auto_disable_unused_days: Some(1), ..Default::default() };
        desk.set_policy(&owner, rule).await;
        desk.clock.advance(DAY + Duration::from_secs(1));
        assert_eq!(desk.tended().await, 103);
        assert_eq!(desk.tended().await, 0);
    }
}
