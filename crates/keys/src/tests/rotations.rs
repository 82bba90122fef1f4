//! Planned rotation: announced in time, moved on by a rotation, and in earnest if the plan says so.

use std::time::Duration;

use super::{receiver::Receiver, *};

const DAY: Duration = Duration::from_hours(24);

impl Desk {
    async fn plan_rotation(
        &self,
        caller: &Caller,
        key: &str,
        every_days: u32,
        deadline_days: Option<u32>,
    ) -> Result<wire::KeyRotation, Fault> {
        let (caller, key_id) = (Some(caller.clone()), key.to_owned());
        let message = wire::PutKeyRotationRequest { caller, key_id, every_days, deadline_days };
        call!(self, put_key_rotation, message).map(|answer| answer.rotation.expect("a plan"))
    }

    async fn planned(&self, caller: &Caller, key: &str) -> Result<wire::KeyRotation, Fault> {
        let message = wire::GetKeyRotationRequest { caller: Some(caller.clone()), key_id: key.to_owned() };
        call!(self, get_key_rotation, message).map(|answer| answer.rotation.expect("a plan"))
    }

    async fn tend_rotations(&self) -> u64 {
        self.service.tend_rotations().await.expect("tended")
    }

    async fn limit_age(&self, owner: &Caller, days: u32) {
        let rule =
            wire::UpdateWorkspacePolicyRequest { max_secret_age_days: Some(days), ..Default::default() };
        self.set_policy(owner, rule).await;
    }

    /// When a key is due: as everything says that shows it.
    async fn due(&self, owner: &Caller, secret: &str, id: &str) -> Option<prost_types::Timestamp> {
        let message = wire::GetKeyRequest { caller: Some(owner.clone()), key_id: id.to_owned() };
        let key = call!(self, get_key, message).expect("there").key.expect("a key");
        let message = wire::ListKeysRequest { caller: Some(owner.clone()), ..Default::default() };
        let listed = call!(self, list_keys, message).expect("a list").keys.remove(0);
        let message = wire::UpdateKeyRequest {
            caller: Some(owner.clone()),
            key_id: id.to_owned(),
            ..Default::default()
        };
        let updated = call!(self, update_key, message).expect("the same").key.expect("a key");
        let granted = self.resolve(secret).await.expect("a grant").rotation_due_at;
        assert_eq!([listed.rotation_due_at, updated.rotation_due_at, granted], [key.rotation_due_at; 3]);
        key.rotation_due_at
    }

    async fn rotated(&self, caller: &Caller, key: &str) -> String {
        let (caller, key_id) = (Some(caller.clone()), key.to_owned());
        let message = wire::RotateKeyRequest { caller, key_id, ..Default::default() };
        call!(self, rotate_key, message).expect("rotated").secret
    }
}

on_every_database! {
    async fn it_is_announced_three_times_and_a_rotation_plans_the_next(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.rotation_due"]).await;
        let key = desk.key(&owner).await.key.expect("a key").id;
        let plan = desk.plan_rotation(&owner, &key, 30, None).await.expect("planned");
        let due = desk.clock.now() + chrono::TimeDelta::days(30);
        assert_eq!((plan.due_at, plan.due, plan.retires_at), (Some(time::to_wire(due)), false, None));
        let days = async |receiver: &mut Receiver| {
            desk.tell().await;
            receiver.all().iter().map(|it| it.json()["data"]["days"].as_i64().expect("days")).collect::<Vec<_>>()
        };
        assert_eq!(desk.tend_rotations().await, 0);
        for (wait, expected) in [(23, 7), (6, 1), (1, 0)] {
            desk.clock.advance(DAY * wait);
            assert_eq!((desk.tend_rotations().await, desk.tend_rotations().await), (1, 0), "{expected}");
            assert_eq!(days(&mut receiver).await, [expected]);
        }
        assert!(desk.planned(&owner, &key).await.expect("planned").due);
        desk.clock.advance(DAY);
        desk.service.forget_old().await.expect("forgotten");
        assert_eq!(desk.tend_rotations().await, 0, "what was announced stays announced");
        desk.rotated(&owner, &key).await;
        let due = desk.clock.now() + chrono::TimeDelta::days(30);
        let plan = desk.planned(&owner, &key).await.expect("planned");
        assert_eq!((plan.due_at, plan.due), (Some(time::to_wire(due)), false));
        desk.clock.advance(DAY * 25);
        assert_eq!(desk.tend_rotations().await, 1);
        assert_eq!(days(&mut receiver).await, [7]);
        let delete = wire::DeleteKeyRotationRequest { caller: Some(owner.clone()), key_id: key.clone() };
        call!(desk, delete_key_rotation, delete.clone()).expect("deleted");
        call!(desk, delete_key_rotation, delete).expect("deleted already");
        assert_eq!(desk.planned(&owner, &key).await.expect_err("none").code(), Code::NotFound);
        desk.clock.advance(DAY * 10);
        assert_eq!(desk.tend_rotations().await, 0);
    }

    async fn secrets_retire_after_the_deadline_and_a_rotation_brings_the_key_back(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.retired"]).await;
        let key = desk.key(&owner).await;
        let id = key.key.expect("a key").id;
        desk.clock.advance(DAY * 40);
        // Planned late: all of the deadline is left.
        let plan = desk.plan_rotation(&owner, &id, 30, Some(2)).await.expect("planned");
        let retires = desk.clock.now() + chrono::TimeDelta::days(2);
        assert_eq!((plan.due, plan.retires_at), (true, Some(time::to_wire(retires))));
        desk.clock.advance(Duration::from_secs(2 * 86_400 - 1));
        assert_eq!(desk.tend_rotations().await, 0);
        desk.clock.advance(Duration::from_secs(1));
        let before = desk.changes.sequence();
        let (other, _) = desk.replica(&database).await;
        assert_eq!(desk.tend_rotations().await, 1);
        assert_eq!(other.tend_rotations().await.expect("tended"), 0, "and by nobody else");
        let subject = Subject::Key(id.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[subject]), None, "caches know");
        let retired = desk.resolve(&key.secret).await.expect("a grant").secret.expect("a secret").retires_at;
        assert_eq!(retired, Some(time::to_wire(desk.clock.now())));
        desk.tell().await;
        assert_eq!(receiver.next().await.event(), "key.retired");
        assert_eq!(desk.tend_rotations().await, 0);
        let fresh = desk.rotated(&owner, &id).await;
        assert_eq!(desk.resolve(&fresh).await.expect("a grant").secret.expect("a secret").retires_at, None);
        assert!(desk.planned(&owner, &id).await.expect("planned").retires_at.is_some());
    }

    async fn every_view_of_a_key_says_when_it_is_due(database: TestDatabase) {
        let desk = Desk::telling(&database).await;
        let owner = desk.user();
        let made = desk.key(&owner).await;
        let id = made.key.expect("a key").id;
        assert_eq!(desk.due(&owner, &made.secret, &id).await, None, "nothing asks for it");
        let in_days = |days| Some(time::to_wire(desk.clock.now() + chrono::TimeDelta::days(days)));
        let (first, before) = (in_days(30), desk.changes.sequence());
        desk.plan_rotation(&owner, &id, 30, None).await.expect("planned");
        let subject = Subject::Key(id.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[subject]), None, "caches know");
        assert_eq!(desk.due(&owner, &made.secret, &id).await, first);
        // What is sooner counts; a policy that lets a secret be older than the plan does changes nothing.
        for (age, expected) in [(60, in_days(30)), (20, in_days(20)), (1, in_days(1))] {
            desk.limit_age(&owner, age).await;
            assert_eq!(desk.due(&owner, &made.secret, &id).await, expected, "{age}");
        }
        desk.limit_age(&owner, 20).await;
        desk.clock.advance(DAY * 5);
        let fresh = desk.rotated(&owner, &id).await;
        let (planned, aged) = (in_days(30), in_days(20));
        assert_eq!(desk.due(&owner, &fresh, &id).await, aged, "both begin again");
        let before = desk.changes.sequence();
        let clear = vec!["max_secret_age_days".to_owned()];
        desk.set_policy(&owner, wire::UpdateWorkspacePolicyRequest { clear, ..Default::default() }).await;
        let workspace = Subject::Workspace(desk.workspace_of(&owner).await.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[workspace]), None, "caches know");
        assert_eq!(desk.due(&owner, &fresh, &id).await, planned);
        let delete = wire::DeleteKeyRotationRequest { caller: Some(owner.clone()), key_id: id.clone() };
        call!(desk, delete_key_rotation, delete).expect("deleted");
        assert_eq!(desk.due(&owner, &fresh, &id).await, None);
    }

    async fn a_list_finds_what_is_due_by_plan_or_by_policy(database: TestDatabase) {
        let desk = Desk::telling(&database).await;
        let owner = desk.user();
        let names = async |days| {
            let before = Some(time::to_wire(desk.clock.now() + chrono::TimeDelta::days(days)));
            let filter = Some(wire::KeyFilter { rotation_due_before: before, ..Default::default() });
            let list = wire::ListKeysRequest { caller: Some(owner.clone()), filter, ..Default::default() };
            let keys = call!(desk, list_keys, list).expect("a list").keys;
            let mut names: Vec<_> = keys.into_iter().map(|key| key.name).collect();
            names.sort();
            names
        };
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            let message = wire::CreateKeyRequest { name: name.into(), ..Default::default() };
            ids.push(desk.create(&owner, message).await.expect("made").key.expect("a key").id);
            desk.clock.advance(DAY);
        }
        // Another workspace's policy and plans are its own.
        let other = desk.user();
        let foreign = desk.key(&other).await.key.expect("a key").id;
        desk.plan_rotation(&other, &foreign, 1, None).await.expect("planned");
        desk.limit_age(&other, 1).await;
        assert!(names(3650).await.is_empty());
        desk.plan_rotation(&owner, &ids[2], 5, None).await.expect("planned");
        assert_eq!((names(4).await, names(5).await), (vec![], vec!["c".to_owned()]), "before then, not then");
        desk.limit_age(&owner, 10).await;
        assert_eq!(names(8).await, ["a", "c"]);
        assert_eq!(names(9).await, ["a", "b", "c"]);
        // Many at once: those that are due, and no others.
        let filter = wire::KeyFilter {
            rotation_due_before: Some(time::to_wire(desk.clock.now() + chrono::TimeDelta::days(8))),
            ..Default::default()
        };
        let caller = Some(owner.clone());
        let revoke = wire::RevokeKeysRequest { caller, filter: Some(filter), dry_run: true, ..Default::default() };
        assert_eq!(call!(desk, revoke_keys, revoke).expect("counted").matched, 2);
    }

    async fn a_policy_announces_what_no_plan_makes_due_sooner_and_retires_nothing(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.rotation_due", "key.retired"]).await;
        let made = desk.key(&owner).await;
        let old = made.key.expect("a key").id;
        let planned = desk.key(&owner).await.key.expect("a key").id;
        desk.plan_rotation(&owner, &planned, 20, None).await.expect("planned");
        let later = desk.key(&owner).await.key.expect("a key").id;
        desk.plan_rotation(&owner, &later, 300, None).await.expect("planned");
        let revoked = desk.key(&owner).await.key.expect("a key").id;
        desk.revoke(&owner, &revoked).await.expect("revoked");
        desk.limit_age(&owner, 40).await;
        let told = async |receiver: &mut Receiver| {
            desk.tell().await;
            let all = receiver.all();
            let mut said: Vec<_> = all
                .iter()
                .map(|it| {
                    let data = &it.json()["data"];
                    let key = data["key"]["id"].as_str().expect("an id").to_owned();
                    (key, data["days"].as_i64(), data["rotation"]["every_days"].as_i64())
                })
                .collect();
            said.sort();
            said
        };
        assert_eq!(desk.tended().await, 0);
        for (wait, days) in [(33, 7), (6, 1), (1, 0)] {
            desk.clock.advance(DAY * wait);
            assert_eq!((desk.tended().await, desk.tended().await), (2, 0), "{days}");
            let mut expected: Vec<_> =
                [&old, &later].map(|it| (it.clone(), Some(days), Some(40))).into_iter().collect();
            expected.sort();
            assert_eq!(told(&mut receiver).await, expected);
        }
        desk.clock.advance(DAY * 29);
        desk.service.forget_old().await.expect("forgotten");
        assert_eq!(desk.tended().await, 0, "what was announced stays announced");
        let secret = desk.resolve(&made.secret).await.expect("a grant").secret.expect("a secret");
        assert_eq!(secret.retires_at, None);
        // A policy that is stricter than a threshold is long is announced when it is near.
        desk.rotated(&owner, &old).await;
        for key in [&planned, &later] {
            desk.revoke(&owner, key).await.expect("revoked");
        }
        desk.limit_age(&owner, 2).await;
        assert_eq!(desk.tended().await, 0);
        desk.clock.advance(DAY);
        assert_eq!(desk.tended().await, 1);
        assert_eq!(told(&mut receiver).await, [(old.clone(), Some(1), Some(2))]);
    }

    async fn who_may_change_the_key_may_plan(database: TestDatabase) {
        let desk = Desk::telling(&database).await;
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        let key = desk.key(&owner).await.key.expect("a key").id;
        let member = desk.member(&workspace, MemberRole::Member).await;
        let reader = desk.machine(&owner, &["keys.read"]).await;
        for (caller, plans, reads) in [
            (&member, Some(Code::Forbidden), Some(Code::NotFound)),
            (&reader, Some(Code::Forbidden), Some(Code::NotFound)),
            (&desk.user(), Some(Code::NotFound), Some(Code::NotFound)),
            (&desk.machine(&owner, &["keys.write"]).await, None, Some(Code::Forbidden)),
            (&member, Some(Code::Forbidden), None),
        ] {
            assert_eq!(desk.plan_rotation(caller, &key, 1, Some(1)).await.err().map(|it| it.code()), plans);
            assert_eq!(desk.planned(caller, &key).await.err().map(|it| it.code()), reads);
        }
        for (every, deadline, pointer) in
            [(0, None, "/every_days"), (3651, None, "/every_days"), (1, Some(0), "/deadline_days"), (1, Some(366), "/deadline_days")]
        {
            let fault = desk.plan_rotation(&owner, &key, every, deadline).await.expect_err("refused");
            assert_eq!(pointers(&fault), [pointer]);
        }
        desk.revoke(&owner, &key).await.expect("revoked");
        assert_eq!(desk.plan_rotation(&owner, &key, 1, None).await.expect_err("over").code(), Code::Conflict);
    }
}
