//! Plans are changed for all their keys at once, and stay while they are in use.

use super::{
    consumers::{limit, named},
    *,
};

impl Desk {
    async fn plan(&self, caller: &Caller, name: &str) -> Result<wire::Plan, Fault> {
        let message = wire::CreatePlanRequest {
            caller: Some(caller.clone()),
            name: name.into(),
            limits: vec![limit("minute", 3)],
            scopes: vec!["a".into()],
            ..Default::default()
        };
        call!(self, create_plan, message).map(|answer| answer.plan.expect("a plan"))
    }

    async fn change_plan(
        &self,
        caller: &Caller,
        plan: &wire::Plan,
        message: wire::UpdatePlanRequest,
    ) -> Result<wire::UpdatePlanResponse, Fault> {
        let (caller, plan_id) = (Some(caller.clone()), plan.id.clone());
        call!(self, update_plan, wire::UpdatePlanRequest { caller, plan_id, ..message })
    }

    async fn delete_plan(&self, caller: &Caller, plan: &wire::Plan) -> Result<(), Fault> {
        let (caller, plan_id) = (Some(caller.clone()), plan.id.clone());
        let message = wire::DeletePlanRequest { caller, plan_id, no_wait: false };
        call!(self, delete_plan, message).map(|answer| assert!(answer.effect.is_some()))
    }
}

async fn get(desk: &Desk, caller: &Caller, plan: &wire::Plan) -> Result<wire::Plan, Fault> {
    let message = wire::GetPlanRequest { caller: Some(caller.clone()), plan_id: plan.id.clone() };
    call!(desk, get_plan, message).map(|answer| answer.plan.expect("a plan"))
}

on_every_database! {
    async fn a_change_is_one_of_all_its_keys(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plan = desk.plan(&owner, "Gold 1").await.expect("made");
        assert_eq!(get(&desk, &owner, &plan).await.expect("there"), plan);
        let message = wire::CreateKeyRequest { name: "k".into(), plan_id: plan.id.clone(), ..Default::default() };
        let key = desk.create(&owner, message).await.expect("made");

        let before = desk.changes.sequence();
        let message = wire::UpdatePlanRequest {
            name: Some("Platinum".into()),
            limits: Some(wire::LimitList { items: vec![limit("minute", 5), limit("day", 9)] }),
            ..Default::default()
        };
        let changed = desk.change_plan(&owner, &plan, message).await.expect("changed");
        assert!(changed.effect.is_some());
        assert_eq!(changed.plan, Some(get(&desk, &owner, &plan).await.expect("there")));
        let subject = Subject::Plan(plan.id.parse().expect("an id"));
        assert_eq!(desk.changes.holds_until(before, &[subject]), None, "caches know");
        let grant = desk.resolve(&key.secret).await.expect("a grant");
        let limits: Vec<_> = grant.limits.iter().map(|it| (it.name.as_str(), it.limit)).collect();
        assert_eq!((grant.plan.as_str(), limits, &grant.scopes), ("Platinum", vec![("minute", 5), ("day", 9)], &plan.scopes));

        let clear = vec!["limits".into(), "scopes".into()];
        desk.change_plan(&owner, &plan, wire::UpdatePlanRequest { clear, ..Default::default() }).await.expect("changed");
        let grant = desk.resolve(&key.secret).await.expect("a grant");
        assert!(grant.limits.is_empty() && grant.scopes.is_empty());
        let nothing = desk.change_plan(&owner, &plan, wire::UpdatePlanRequest::default()).await.expect("nothing");
        assert_eq!(nothing.effect, None);
        assert_eq!(
            desk.service.store.audited().await,
            ["key.create", "plan.create", "plan.update", "plan.update", "workspace.create"]
        );
    }

    async fn a_name_is_taken_once_and_fits_into_a_header(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plan = desk.plan(&owner, "gold").await.expect("made");
        for name in ["gold", "basic"] {
            let fault = desk.plan(&owner, name).await.expect_err("taken");
            let expected = (Code::Conflict, "Another plan of the workspace has this name.");
            assert_eq!((fault.code(), fault.message()), expected);
        }
        desk.plan(&desk.user(), "gold").await.expect("another workspace");
        let rename = |name: &str| wire::UpdatePlanRequest { name: Some(name.into()), ..Default::default() };
        assert_eq!(desk.change_plan(&owner, &plan, rename("pro")).await.expect_err("taken").code(), Code::Conflict);
        desk.change_plan(&owner, &plan, rename("gold")).await.expect("it has it already");
        for wrong in ["", " ", " gold", "gold ", "gö", "a\nb", "a\"b", &"x".repeat(65)] {
            assert_eq!(pointers(&desk.plan(&owner, wrong).await.expect_err("refused")), ["/name"], "{wrong}");
        }
    }

    async fn what_breaks_a_rule_is_named(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plan = desk.plan(&owner, "gold").await.expect("made");
        let many: Vec<_> = (0..9).map(|number| limit(&format!("n{number}"), 1)).collect();
        let message = wire::CreatePlanRequest {
            caller: Some(owner.clone()),
            workspace_id: "ws_1".into(),
            limits: many.clone(),
            scopes: vec!["A".into()],
            ..Default::default()
        };
        let fault = call!(desk, create_plan, message).expect_err("refused");
        assert_eq!(pointers(&fault), ["/workspace_id", "/name", "/limits", "/scopes/0"]);
        for (message, pointer) in [
            (wire::UpdatePlanRequest { limits: Some(wire::LimitList { items: many }), ..Default::default() }, "/limits"),
            (wire::UpdatePlanRequest { clear: vec!["name".into()], ..Default::default() }, "/name"),
            (wire::UpdatePlanRequest {
                clear: vec!["scopes".into()],
                scopes: Some(wire::TextList::default()),
                ..Default::default()
            }, "/scopes"),
        ] {
            assert_eq!(pointers(&desk.change_plan(&owner, &plan, message).await.expect_err("refused")), [pointer]);
        }
        assert_eq!(get(&desk, &owner, &plan).await.expect("there"), plan);
    }

    async fn one_in_use_stays(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let plan = desk.plan(&owner, "gold").await.expect("made");
        let consumer = wire::CreateConsumerRequest { plan_id: plan.id.clone(), ..named("a") };
        let consumer = desk.consumer(&owner, consumer).await.expect("made");
        let fault = desk.delete_plan(&owner, &plan).await.expect_err("in use");
        let said = "The plan is in use: by 0 keys, of which some may be revoked, and by 1 consumers.";
        assert_eq!((fault.code(), fault.message()), (Code::Conflict, said));
        let message =
            wire::UpdateConsumerRequest { caller: Some(owner.clone()), consumer_id: consumer.id, clear: vec!["plan_id".into()], ..Default::default() };
        call!(desk, update_consumer, message).expect("changed");
        desk.delete_plan(&owner, &plan).await.expect("deleted");
        assert_eq!(desk.delete_plan(&owner, &plan).await.expect_err("gone").code(), Code::NotFound);
        let basic = desk.plans(&owner).await.remove(1);
        let key = desk.key(&owner).await.key.expect("a key").id;
        desk.revoke(&owner, &key).await.expect("revoked");
        assert_eq!(desk.delete_plan(&owner, &basic).await.expect_err("in use").code(), Code::Conflict);
    }
}
