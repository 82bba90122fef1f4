//! Overrides go to the role that counts, under the key's name and its workspace's, and into the audit.

use std::time::Duration;

use super::*;

impl Desk {
    async fn put(&self, caller: &Caller, key_id: &str, wanted: wire::KeyOverride) -> Result<(), Fault> {
        let (caller, key_id) = (Some(caller.clone()), key_id.to_owned());
        let message = wire::PutKeyOverrideRequest {
            caller,
            key_id,
            r#override: Some(wanted.clone()),
            ..Default::default()
        };
        call!(self, put_key_override, message).map(|answer| assert_eq!(answer.r#override, Some(wanted)))
    }

    async fn overrides(&self, caller: &Caller, key_id: &str) -> Vec<(String, u64)> {
        let (caller, key_id) = (Some(caller.clone()), key_id.to_owned());
        let answer = call!(self, list_key_overrides, wire::ListKeyOverridesRequest { caller, key_id });
        let overrides = answer.expect("a list").overrides;
        overrides.into_iter().map(|it| (it.name, it.limit)).collect()
    }

    fn wanted(&self, name: &str, limit: u64, seconds: u64) -> wire::KeyOverride {
        let expires_at = Some(time::to_wire(self.clock.now() + Duration::from_secs(seconds)));
        wire::KeyOverride { name: name.into(), limit, expires_at }
    }
}

on_every_database! {
    async fn an_override_is_put_listed_and_ended(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let key = desk.key(&owner).await.key.expect("a key").id;
        let other = desk.key(&owner).await.key.expect("a key").id;
        desk.put(&owner, &key, desk.wanted("minute", 500, 60)).await.expect("put");
        desk.put(&owner, &key, desk.wanted("day", 7, 60)).await.expect("put");
        desk.put(&owner, &key, desk.wanted("minute", 600, 60)).await.expect("replaced");
        desk.put(&owner, &other, desk.wanted("minute", 1, 60)).await.expect("put");
        let expected = [("day".to_owned(), 7), ("minute".to_owned(), 600)];
        assert_eq!(desk.overrides(&owner, &key).await, expected);
        for name in ["minute", "minute", "never-was"] {
            let message = wire::DeleteKeyOverrideRequest {
                caller: Some(owner.clone()),
                key_id: key.clone(),
                name: name.into(),
            };
            call!(desk, delete_key_override, message).expect("ended");
        }
        assert_eq!(desk.overrides(&owner, &key).await, expected[..1]);
        assert_eq!(desk.overrides(&owner, &other).await, [("minute".to_owned(), 1)]);
        let audited = desk.service.store.audited().await;
        let count = |action: &str| audited.iter().filter(|it| *it == action).count();
        assert_eq!((count("key.override"), count("key.override.delete")), (4, 3));
    }

    async fn what_breaks_a_rule_is_named(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let key = desk.key(&owner).await.key.expect("a key").id;
        let until = 400 * 86_400;
        desk.put(&owner, &key, desk.wanted("minute", 1_000_000_000, until)).await.expect("put");
        let absent = wire::KeyOverride { expires_at: None, ..desk.wanted("minute", 1, 1) };
        for (wanted, pointer) in [
            (desk.wanted("hour", 1, 1), "/name"),
            (desk.wanted("minute", 0, 1), "/limit"),
            (desk.wanted("minute", 1_000_000_001, 1), "/limit"),
            (desk.wanted("minute", 1, 0), "/expires_at"),
            (desk.wanted("minute", 1, until + 1), "/expires_at"),
            (absent, "/expires_at"),
        ] {
            assert_eq!(pointers(&desk.put(&owner, &key, wanted).await.expect_err("refused")), [pointer]);
        }
        assert_eq!(desk.overrides(&owner, &key).await, [("minute".to_owned(), 1_000_000_000)]);
        let message = wire::DeleteKeyOverrideRequest { caller: Some(owner.clone()), key_id: key, name: "{}".into() };
        assert_eq!(call!(desk, delete_key_override, message).expect_err("nothing").code(), Code::NotFound);
    }
}
