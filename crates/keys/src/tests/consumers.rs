//! Consumers are kept as they were said, changed field by field, and hold their keys.

use tollgate_proto::ratelimit::Limit;

use super::*;

pub(super) fn named(name: &str) -> wire::CreateConsumerRequest {
    wire::CreateConsumerRequest { name: name.into(), ..Default::default() }
}

pub(super) fn limit(name: &str, limit: u64) -> Limit {
    Limit { name: name.into(), limit, window_seconds: 60, ..Default::default() }
}

impl Desk {
    pub(super) async fn consumer(
        &self,
        caller: &Caller,
        message: wire::CreateConsumerRequest,
    ) -> Result<wire::Consumer, Fault> {
        let message = wire::CreateConsumerRequest { caller: Some(caller.clone()), ..message };
        call!(self, create_consumer, message).map(|answer| answer.consumer.expect("a consumer"))
    }

    async fn change(
        &self,
        caller: &Caller,
        consumer_id: &str,
        message: wire::UpdateConsumerRequest,
    ) -> Result<wire::UpdateConsumerResponse, Fault> {
        let (caller, consumer_id) = (Some(caller.clone()), consumer_id.to_owned());
        call!(self, update_consumer, wire::UpdateConsumerRequest { caller, consumer_id, ..message })
    }

    async fn delete(&self, caller: &Caller, consumer_id: &str) -> Result<(), Fault> {
        let (caller, consumer_id) = (Some(caller.clone()), consumer_id.to_owned());
        let message = wire::DeleteConsumerRequest { caller, consumer_id, no_wait: false };
        call!(self, delete_consumer, message).map(|answer| assert!(answer.effect.is_some()))
    }

    async fn key_of(&self, caller: &Caller, consumer: &wire::Consumer) -> wire::CreateKeyResponse {
        let (name, consumer_id) = ("its key".into(), consumer.id.clone());
        self.create(caller, wire::CreateKeyRequest { name, consumer_id, ..Default::default() })
            .await
            .expect("made")
    }

    pub(super) async fn plans(&self, caller: &Caller) -> Vec<wire::Plan> {
        let message = wire::ListPlansRequest { caller: Some(caller.clone()), ..Default::default() };
        call!(self, list_plans, message).expect("a list").plans
    }
}

async fn get(desk: &Desk, caller: &Caller, consumer_id: &str) -> Result<wire::Consumer, Fault> {
    let message = wire::GetConsumerRequest { caller: Some(caller.clone()), consumer_id: consumer_id.into() };
    call!(desk, get_consumer, message).map(|answer| answer.consumer.expect("a consumer"))
}

async fn list(desk: &Desk, message: wire::ListConsumersRequest) -> Vec<String> {
    let answer = call!(desk, list_consumers, message).expect("a list");
    answer.consumers.into_iter().map(|consumer| consumer.name).collect()
}

on_every_database! {
    async fn a_consumer_is_what_was_asked_for(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plan = desk.plans(&owner).await.remove(2);
        let message = wire::CreateConsumerRequest {
            external_id: Some("Order-7".into()),
            plan_id: plan.id.clone(),
            limits: vec![limit("month", 100)],
            metadata_json: r#"{ "b": 1 }"#.into(),
            enabled: Some(false),
            ..named("The web shop")
        };
        let made = desk.consumer(&owner, message).await.expect("made");
        let Some(caller::Principal::User(user)) = owner.principal.clone() else { panic!("a user") };
        let expected = wire::Consumer {
            id: made.id.clone(),
            workspace_id: desk.workspace_of(&owner).await,
            name: "The web shop".into(),
            external_id: Some("Order-7".into()),
            plan_id: plan.id,
            limits: made.limits.clone(),
            metadata_json: r#"{"b":1}"#.into(),
            enabled: false,
            created_by: user.user_id,
            created_at: Some(time::to_wire(desk.clock.now())),
        };
        assert_eq!(made, expected);
        assert_eq!((made.limits[0].name.as_str(), made.limits[0].limit), ("month", 100));
        assert_eq!(get(&desk, &owner, &made.id).await.expect("there"), expected);
        let plain = desk.consumer(&owner, named("plain")).await.expect("made");
        assert_eq!((plain.enabled, plain.plan_id.as_str(), plain.external_id), (true, "", None));
    }

    async fn a_change_keeps_clears_or_sets(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plan_id = desk.plans(&owner).await.remove(0).id;
        let message = wire::CreateConsumerRequest {
            external_id: Some("7".into()),
            limits: vec![limit("a", 1)],
            metadata_json: r#"{"a":1}"#.into(),
            ..named("before")
        };
        let made = desk.consumer(&owner, message).await.expect("made");
        let nothing = desk.change(&owner, &made.id, wire::UpdateConsumerRequest::default()).await.expect("nothing");
        assert_eq!((nothing.consumer.as_ref(), nothing.effect), (Some(&made), None));

        let message = wire::UpdateConsumerRequest { name: Some("after".into()), ..Default::default() };
        let named = desk.change(&owner, &made.id, message).await.expect("changed");
        let renamed = wire::Consumer { name: "after".into(), ..made.clone() };
        assert_eq!((named.consumer, named.effect), (Some(renamed.clone()), None), "no verdict depends on a name");

        let message = wire::UpdateConsumerRequest {
            plan_id: Some(plan_id.clone()),
            limits: Some(wire::LimitList { items: vec![limit("b", 2)] }),
            clear: vec!["external_id".into(), "metadata".into()],
            ..Default::default()
        };
        let changed = desk.change(&owner, &made.id, message).await.expect("changed");
        let consumer = changed.consumer.expect("a consumer");
        assert!(changed.effect.is_some());
        assert_eq!((consumer.plan_id.as_str(), consumer.limits[0].name.as_str()), (plan_id.as_str(), "b"));
        assert_eq!((consumer.external_id, consumer.metadata_json.as_str(), consumer.name.as_str()), (None, "{}", "after"));

        let message = wire::UpdateConsumerRequest { clear: vec!["plan_id".into(), "limits".into()], ..Default::default() };
        let bare = desk.change(&owner, &made.id, message).await.expect("changed").consumer.expect("a consumer");
        assert_eq!((bare.plan_id.as_str(), bare.limits.len()), ("", 0));
        assert_eq!(
            desk.service.store.audited().await,
            ["consumer.create", "consumer.update", "consumer.update", "consumer.update", "workspace.create"]
        );
    }

    async fn what_breaks_a_rule_is_named(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let foreign = desk.plans(&other).await.remove(0).id;
        let message = wire::CreateConsumerRequest {
            external_id: Some(String::new()),
            plan_id: "gold".into(),
            limits: vec![limit("consumer.a", 1)],
            metadata_json: "[]".into(),
            workspace_id: "ws_1".into(),
            ..named(" ")
        };
        let fault = desk.consumer(&owner, message).await.expect_err("refused");
        let expected = ["/workspace_id", "/name", "/external_id", "/plan_id", "/limits/0/name", "/metadata"];
        assert_eq!(pointers(&fault), expected);
        let many = (0..5).map(|number| limit(&format!("n{number}"), 1)).collect();
        for (message, pointer) in [
            (wire::CreateConsumerRequest { plan_id: foreign.clone(), ..named("a") }, "/plan_id"),
            (wire::CreateConsumerRequest { limits: many, ..named("a") }, "/limits"),
            (wire::CreateConsumerRequest { external_id: Some("x".repeat(256)), ..named("a") }, "/external_id"),
            (wire::CreateConsumerRequest { external_id: Some("a\0".into()), ..named("a") }, "/external_id"),
        ] {
            assert_eq!(pointers(&desk.consumer(&owner, message).await.expect_err("refused")), [pointer]);
        }
        let made = desk.consumer(&owner, named("a")).await.expect("made");
        for (message, pointer) in [
            (wire::UpdateConsumerRequest { plan_id: Some(foreign), ..Default::default() }, "/plan_id"),
            (wire::UpdateConsumerRequest { plan_id: Some(String::new()), ..Default::default() }, "/plan_id"),
            (wire::UpdateConsumerRequest { name: Some(String::new()), ..Default::default() }, "/name"),
            (wire::UpdateConsumerRequest { clear: vec!["name".into()], ..Default::default() }, "/name"),
            (wire::UpdateConsumerRequest { clear: vec!["created_by".into()], ..Default::default() }, "/created_by"),
        ] {
            assert_eq!(pointers(&desk.change(&owner, &made.id, message).await.expect_err("refused")), [pointer]);
        }
        assert_eq!(get(&desk, &owner, &made.id).await.expect("there"), made, "nothing of it had an effect");
    }

    async fn an_external_id_names_one_consumer(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let called = |text: &str| wire::CreateConsumerRequest { external_id: Some(text.into()), ..named("a") };
        let first = desk.consumer(&owner, called("shop")).await.expect("made");
        desk.consumer(&owner, called("Shop")).await.expect("case matters");
        desk.consumer(&other, called("shop")).await.expect("another workspace");
        desk.consumer(&owner, named("without")).await.expect("made");
        let second = desk.consumer(&owner, named("without, too")).await.expect("made");
        let fault = desk.consumer(&owner, called("shop")).await.expect_err("taken");
        assert_eq!(
            (fault.code(), fault.message()),
            (Code::Conflict, "Another consumer of the workspace has this `external_id`.")
        );
        let take = wire::UpdateConsumerRequest { external_id: Some("shop".into()), ..Default::default() };
        assert_eq!(desk.change(&owner, &second.id, take.clone()).await.expect_err("taken").code(), Code::Conflict);
        desk.change(&owner, &first.id, take.clone()).await.expect("it has it already");
        desk.delete(&owner, &first.id).await.expect("deleted");
        desk.change(&owner, &second.id, take).await.expect("free again");
    }

    async fn lists_show_what_fits(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plan_id = desk.plans(&owner).await.remove(0).id;
        for (name, external_id, plan_id, enabled) in [
            ("Alpha", Some("1"), "", true), ("Beta", None, &*plan_id, true), ("Alpine_", Some("2"), &*plan_id, false),
        ] {
            let external_id = external_id.map(str::to_owned);
            let message = wire::CreateConsumerRequest { external_id, plan_id: plan_id.into(), enabled: Some(enabled), ..named(name) };
            desk.consumer(&owner, message).await.expect("made");
            desk.clock.advance(std::time::Duration::from_secs(1));
        }
        desk.consumer(&desk.user(), named("Alien")).await.expect("made elsewhere");
        let all = wire::ListConsumersRequest { caller: Some(owner), ..Default::default() };
        for (message, expected) in [
            (all.clone(), vec!["Alpine_", "Beta", "Alpha"]),
            (wire::ListConsumersRequest { q: "AL".into(), ..all.clone() }, vec!["Alpine_", "Alpha"]),
            (wire::ListConsumersRequest { q: "_".into(), ..all.clone() }, vec!["Alpine_"]),
            (wire::ListConsumersRequest { external_id: Some("1".into()), ..all.clone() }, vec!["Alpha"]),
            (wire::ListConsumersRequest { external_id: Some("3".into()), ..all.clone() }, vec![]),
            (wire::ListConsumersRequest { plan_id, ..all.clone() }, vec!["Alpine_", "Beta"]),
            (wire::ListConsumersRequest { enabled: Some(true), ..all.clone() }, vec!["Beta", "Alpha"]),
            (wire::ListConsumersRequest { enabled: Some(false), q: "al".into(), ..all.clone() }, vec!["Alpine_"]),
        ] {
            assert_eq!(list(&desk, message.clone()).await, expected, "{message:?}");
        }
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = Some(wire::Page { limit: 2, cursor });
            let answer = call!(desk, list_consumers, wire::ListConsumersRequest { page, ..all.clone() }).expect("a list");
            seen.extend(answer.consumers.into_iter().map(|it| it.name));
            let Some(next) = answer.next_cursor else { break };
            cursor = next;
        }
        assert_eq!(seen, ["Alpine_", "Beta", "Alpha"]);
    }

    async fn disabled_all_its_keys_are(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plan = desk.plans(&owner).await.remove(0);
        let message = wire::CreateConsumerRequest { plan_id: plan.id.clone(), limits: vec![limit("minute", 3)], ..named("a") };
        let consumer = desk.consumer(&owner, message).await.expect("made");
        let key = desk.key_of(&owner, &consumer).await;
        assert_eq!(key.key.as_ref().expect("a key").consumer_id, consumer.id);
        let granted = desk.resolve(&key.secret).await.expect("a grant").consumer.expect("a consumer");
        assert!(granted.enabled);
        assert_eq!((granted.consumer_id.as_str(), granted.plan_id), (consumer.id.as_str(), plan.id));
        let in_force: Vec<_> = granted.limits.iter().map(|it| (it.name.as_str(), it.limit)).collect();
        assert_eq!(in_force, [("minute", 3)], "its own replaces its plan's");

        let before = desk.changes.sequence();
        let message = wire::UpdateConsumerRequest { enabled: Some(false), ..Default::default() };
        let changed = desk.change(&owner, &consumer.id, message).await.expect("changed");
        assert!(changed.effect.is_some() && !changed.consumer.expect("a consumer").enabled);
        let subject = Subject::Consumer(consumer.id.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[subject]), None, "caches know");
        assert!(!desk.resolve(&key.secret).await.expect("a grant").consumer.expect("a consumer").enabled);
    }

    async fn one_with_keys_stays(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let consumer = desk.consumer(&owner, named("a")).await.expect("made");
        let keys = [desk.key_of(&owner, &consumer).await, desk.key_of(&owner, &consumer).await];
        let ids = keys.map(|made| made.key.expect("a key").id);
        let all = wire::ListKeysRequest { caller: Some(owner.clone()), ..Default::default() };
        desk.key(&owner).await;
        let its = wire::ListKeysRequest { filter: Some(wire::KeyFilter { consumer_id: consumer.id.clone(), ..Default::default() }), ..all.clone() };
        assert_eq!(call!(desk, list_keys, its).expect("a list").keys.len(), 2);

        desk.revoke(&owner, &ids[0]).await.expect("revoked");
        let fault = desk.delete(&owner, &consumer.id).await.expect_err("in use");
        assert_eq!(
            (fault.code(), fault.message()),
            (Code::Conflict, "The consumer has keys that are not revoked: 1. Revoke them first.")
        );
        desk.revoke(&owner, &ids[1]).await.expect("revoked");
        desk.delete(&owner, &consumer.id).await.expect("deleted");
        assert_eq!(get(&desk, &owner, &consumer.id).await.expect_err("gone").code(), Code::NotFound);
        assert_eq!(desk.delete(&owner, &consumer.id).await.expect_err("gone").code(), Code::NotFound);
        let left = call!(desk, list_keys, all).expect("a list").keys;
        assert!(left.len() == 3 && left.iter().all(|key| key.consumer_id.is_empty()));
        let message = wire::CreateKeyRequest { name: "late".into(), consumer_id: consumer.id, ..Default::default() };
        assert_eq!(pointers(&desk.create(&owner, message).await.expect_err("refused")), ["/consumer_id"]);
    }

    async fn a_key_that_comes_between_is_a_conflict_and_no_mistake(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let consumer = desk.consumer(&owner, named("a")).await.expect("made");
        let makers: Vec<_> = (0..8).map(|_| {
            let (desk, owner, consumer_id) = (desk.clone(), owner.clone(), consumer.id.clone());
            tokio::spawn(async move {
                desk.create(&owner, wire::CreateKeyRequest { name: "k".into(), consumer_id, ..Default::default() }).await
            })
        }).collect();
        let deleted = desk.delete(&owner, &consumer.id).await;
        assert!(deleted.as_ref().err().is_none_or(|fault| fault.code() == Code::Conflict), "{deleted:?}");
        for maker in makers {
            match maker.await.expect("no panic") {
                Ok(_) => assert!(deleted.is_err(), "a key of a consumer that is gone"),
                Err(fault) => assert!([Code::Conflict, Code::InvalidArgument].contains(&fault.code()), "{fault:?}"),
            }
        }
    }

    async fn a_foreign_consumer_is_not_there(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let theirs = desk.consumer(&other, named("a")).await.expect("made");
        let message = wire::CreateKeyRequest { name: "a".into(), consumer_id: theirs.id, ..Default::default() };
        assert_eq!(pointers(&desk.create(&owner, message).await.expect_err("refused")), ["/consumer_id"]);
        for id in ["", "con_1", "key_00000000000000000000000001", "con_00000000000000000000000001"] {
            assert_eq!(get(&desk, &owner, id).await.expect_err("nothing").code(), Code::NotFound, "{id}");
        }
    }
}
