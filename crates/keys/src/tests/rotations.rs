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
