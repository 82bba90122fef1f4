//! Whatever can be made is made once by those who say that they ask again.

use tollgate_proto::ratelimit::Limit;

use super::*;

/// What the tests do with each kind of thing that can be made: make it, under this name and with this idempotency key.
macro_rules! making {
    ($desk:expr, $rpc:ident, $request:ident, $caller:expr, $name:expr, $once:expr, $field:ident) => {
        call!(
            $desk,
            $rpc,
            wire::$request {
                caller: Some($caller.clone()),
                name: $name.into(),
                idempotency_key: $once.into(),
                ..Default::default()
            }
        )
        .map(|answer| answer.$field.expect("what was made"))
    };
}

macro_rules! is_made_once {
    ($database:expr, $rpc:ident, $request:ident, $field:ident, $action:literal) => {{
        let desk = Desk::new($database).await;
        let (owner, other) = (desk.user(), desk.user());
        let first = making!(desk, $rpc, $request, owner, "first", "once", $field).expect("made");
        let again = making!(desk, $rpc, $request, owner, "first", "once", $field).expect("known");
        assert_eq!(again, first);
        let fault =
            making!(desk, $rpc, $request, owner, "second", "once", $field).expect_err("another request");
        assert_eq!(fault.code(), Code::Conflict);
        let theirs = making!(desk, $rpc, $request, other, "first", "once", $field).expect("their own");
        assert_ne!(theirs.id, first.id);
        let fault = making!(desk, $rpc, $request, owner, "third", "a b", $field).expect_err("not a key");
        assert_eq!(pointers(&fault), ["/idempotency_key"]);
        assert_eq!(desk.service.store.audited().await.iter().filter(|it| *it == $action).count(), 2);
        // A day later it is another request.
        desk.clock.advance(std::time::Duration::from_hours(24));
        let later = making!(desk, $rpc, $request, owner, "second", "once", $field).expect("made");
        assert_ne!(later.id, first.id);
    }};
}

on_every_database! {
    async fn a_plan(database: TestDatabase) {
        is_made_once!(&database, create_plan, CreatePlanRequest, plan, "plan.create");
    }

    async fn a_consumer(database: TestDatabase) {
        is_made_once!(&database, create_consumer, CreateConsumerRequest, consumer, "consumer.create");
    }

    async fn a_role(database: TestDatabase) {
        is_made_once!(&database, create_role, CreateRoleRequest, role, "role.create");
    }

    async fn a_service_key_without_showing_it_again(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let message = wire::CreateServiceKeyRequest {
            caller: Some(owner),
            name: "a machine".into(),
            permissions: vec!["keys.read".into()],
            expires_in_days: 7,
            idempotency_key: "once".into(),
            ..Default::default()
        };
        let first = call!(desk, create_service_key, message.clone()).expect("made");
        assert!(first.secret.starts_with("tg_svc_"));
        desk.clock.advance(std::time::Duration::from_mins(1));
        let again = call!(desk, create_service_key, message.clone()).expect("known");
        assert_eq!((again.service_key, again.secret), (first.service_key, String::new()));
        let wider = wire::CreateServiceKeyRequest { permissions: vec!["keys.write".into()], ..message };
        assert_eq!(call!(desk, create_service_key, wider).expect_err("another request").code(), Code::Conflict);
    }

    async fn a_workspace_beside_the_personal_one(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let create = |name: &str| wire::CreateWorkspaceRequest {
            caller: Some(owner.clone()), name: name.into(), idempotency_key: "once".into(),
        };
        let first = call!(desk, create_workspace, create("first")).expect("made");
        assert_eq!(call!(desk, create_workspace, create("first")).expect("known"), first);
        assert_eq!(call!(desk, create_workspace, create("second")).expect_err("another request").code(), Code::Conflict);
        let made = desk.service.store.audited().await.iter().filter(|it| *it == "workspace.create").count();
        assert_eq!(made, 2, "the personal one, and this");
    }

    async fn an_invitation_without_showing_its_token_again(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let message = wire::CreateInvitationRequest {
            caller: Some(owner.clone()),
            workspace_id: desk.workspace_of(&owner).await,
            email: "ann@example.com".into(),
            role: "member".into(),
            idempotency_key: "once".into(),
            ..Default::default()
        };
        let first = call!(desk, create_invitation, message.clone()).expect("made");
        assert!(first.token.starts_with("tg_inv_"));
        let again = call!(desk, create_invitation, message.clone()).expect("known");
        assert_eq!((again.invitation, again.token), (first.invitation, String::new()));
        let wider = wire::CreateInvitationRequest { role: "owner".into(), ..message };
        assert_eq!(call!(desk, create_invitation, wider).expect_err("another request").code(), Code::Conflict);
    }

    async fn a_webhook_without_showing_its_secret_again_once_there_is_room(database: TestDatabase) {
        let desk = Desk::telling(&database).await;
        let owner = desk.user();
        let url = "https://example.com/hook";
        let mut last = String::new();
        for _ in 0..20 {
            last = desk.webhook(&owner, url, &["key.created"]).await.expect("made").webhook.expect("a webhook").id;
        }
        let message = wire::CreateWebhookRequest {
            caller: Some(owner.clone()),
            url: url.into(),
            events: vec!["key.created".into()],
            idempotency_key: "once".into(),
            ..Default::default()
        };
        assert_eq!(call!(desk, create_webhook, message.clone()).expect_err("full").code(), Code::Conflict);
        let delete = |webhook_id: String| wire::DeleteWebhookRequest { caller: Some(owner.clone()), webhook_id };
        call!(desk, delete_webhook, delete(last)).expect("deleted");
        let first = call!(desk, create_webhook, message.clone()).expect("made");
        assert!(first.secret.starts_with("whsec_"));
        let again = call!(desk, create_webhook, message.clone()).expect("known, though there is no room");
        assert_eq!((&again.webhook, again.secret.as_str()), (&first.webhook, ""));
        let other = wire::CreateWebhookRequest { enabled: Some(false), ..message.clone() };
        assert_eq!(call!(desk, create_webhook, other).expect_err("another request").code(), Code::Conflict);
        call!(desk, delete_webhook, delete(first.webhook.expect("a webhook").id)).expect("deleted");
        assert_eq!(call!(desk, create_webhook, message).expect_err("gone").code(), Code::Conflict);
    }

    async fn one_idempotency_key_is_of_one_kind(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        making!(desk, create_role, CreateRoleRequest, owner, "a", "once", role).expect("made");
        // Field by field these are the same bytes.
        let fault = making!(desk, create_plan, CreatePlanRequest, owner, "a", "once", plan).expect_err("another kind");
        assert_eq!(fault.code(), Code::Conflict);
    }

    async fn what_failed_may_be_tried_again(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let taken = making!(desk, create_role, CreateRoleRequest, owner, "a", "", role).expect("made");
        let fault = making!(desk, create_role, CreateRoleRequest, owner, "a", "once", role).expect_err("taken");
        assert_eq!(fault.code(), Code::Conflict);
        let delete = wire::DeleteRoleRequest { caller: Some(owner.clone()), role_id: taken.id.clone(), no_wait: false };
        call!(desk, delete_role, delete.clone()).expect("deleted");
        let made = making!(desk, create_role, CreateRoleRequest, owner, "a", "once", role).expect("made");
        assert_ne!(made.id, taken.id);
        // And what was made and deleted is not made again in secret.
        call!(desk, delete_role, wire::DeleteRoleRequest { role_id: made.id, ..delete }).expect("deleted");
        let fault = making!(desk, create_role, CreateRoleRequest, owner, "a", "once", role).expect_err("gone");
        assert_eq!(fault.code(), Code::Conflict);
    }

    async fn of_those_who_ask_at_once_one_makes_it(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        desk.workspace_of(&owner).await;
        let asked: Vec<_> = (0..8).map(|_| {
            let (desk, owner) = (desk.clone(), owner.clone());
            tokio::spawn(async move { making!(desk, create_consumer, CreateConsumerRequest, owner, "one", "once", consumer) })
        }).collect();
        let mut ids = std::collections::BTreeSet::new();
        for answer in asked {
            ids.insert(answer.await.expect("no panic").expect("an answer").id);
        }
        assert_eq!(ids.len(), 1);
    }

    async fn an_override_that_was_ended_does_not_come_back_by_a_retry(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let key_id = desk.key(&owner).await.key.expect("a key").id;
        let expires_at = Some(time::to_wire(desk.clock.now() + std::time::Duration::from_hours(1)));
        let wanted = |limit: u64| wire::PutKeyOverrideRequest {
            caller: Some(owner.clone()), key_id: key_id.clone(), idempotency_key: "once".into(),
            r#override: Some(wire::KeyOverride { name: "minute".into(), limit, expires_at }),
        };
        let list = || wire::ListKeyOverridesRequest { caller: Some(owner.clone()), key_id: key_id.clone() };
        let first = call!(desk, put_key_override, wanted(9)).expect("put");
        assert_eq!(call!(desk, list_key_overrides, list()).expect("a list").overrides.len(), 1);
        let delete = wire::DeleteKeyOverrideRequest { caller: Some(owner.clone()), key_id: key_id.clone(), name: "minute".into() };
        call!(desk, delete_key_override, delete).expect("ended");
        assert_eq!(call!(desk, put_key_override, wanted(9)).expect("known"), first);
        assert_eq!(call!(desk, list_key_overrides, list()).expect("a list").overrides, []);
        assert_eq!(call!(desk, put_key_override, wanted(8)).expect_err("another request").code(), Code::Conflict);
    }

    async fn a_plan_with_other_limits_is_another_request(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let message = wire::CreatePlanRequest { caller: Some(desk.user()), name: "a".into(), idempotency_key: "once".into(), ..Default::default() };
        call!(desk, create_plan, message.clone()).expect("made");
        let limits = vec![Limit { name: "minute".into(), limit: 1, window_seconds: 60, ..Default::default() }];
        let fault = call!(desk, create_plan, wire::CreatePlanRequest { limits, ..message }).expect_err("another request");
        assert_eq!(fault.code(), Code::Conflict);
    }
}
