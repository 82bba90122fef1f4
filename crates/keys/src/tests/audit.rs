//! The list of what was done.

use std::time::Duration;

use super::{members::id_of, *};

impl Desk {
    async fn events(&self, caller: &Caller, message: wire::ListAuditEventsRequest) -> Vec<wire::AuditEvent> {
        let message = wire::ListAuditEventsRequest { caller: Some(caller.clone()), ..message };
        call!(self, list_audit_events, message).expect("a list").events
    }

    async fn actions(&self, caller: &Caller, message: wire::ListAuditEventsRequest) -> Vec<String> {
        self.events(caller, message).await.into_iter().map(|event| event.action).collect()
    }
}

fn any() -> wire::ListAuditEventsRequest {
    wire::ListAuditEventsRequest::default()
}

on_every_database! {
    async fn what_was_done_is_found_by_who_what_whom_and_when(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let at = desk.workspace_of(&owner).await;
        let mut times = vec![desk.clock.now()];
        let tick = || {
            desk.clock.advance(Duration::from_mins(1));
            desk.clock.now()
        };
        times.push(tick());
        let key = desk.key(&owner).await.key.expect("a key").id;
        times.push(tick());
        let machine = desk.machine(&owner, &["keys.write"]).await;
        let other = desk.key(&machine).await.key.expect("a key").id;
        times.push(tick());
        desk.revoke(&owner, &key).await.expect("revoked");
        desk.workspace_of(&desk.user()).await;

        let all = desk.events(&owner, any()).await;
        let first = &all[0];
        assert!(first.id.starts_with("aud_"));
        assert_eq!((&first.workspace_id, &*first.action, &first.target), (&at, "key.revoke", &key));
        assert_eq!((&first.actor, first.at), (&id_of(&owner), Some(time::to_wire(times[3]))));
        assert_eq!(first.ip.as_deref(), Some("192.0.2.1"));
        assert!(first.session.as_deref().is_some_and(|session| session.starts_with("ses_")));
        assert_eq!(all.len(), 5, "and nothing of another's workspace");

        let Some(caller::Principal::ServiceKey(service)) = &machine.principal else { panic!("a machine") };
        let by = wire::ListAuditEventsRequest { actor: service.service_key_id.clone(), ..any() };
        let [made] = &desk.events(&owner, by).await[..] else { panic!("one") };
        assert_eq!((&*made.action, &made.target, &made.session), ("key.create", &other, &None));
        let what = wire::ListAuditEventsRequest { action: "key.create".into(), ..any() };
        assert_eq!(desk.actions(&owner, what.clone()).await.len(), 2);
        let whom = wire::ListAuditEventsRequest { target: key.clone(), ..any() };
        assert_eq!(desk.actions(&owner, whom).await, ["key.revoke", "key.create"]);
        let when = |from: usize, to: usize| wire::ListAuditEventsRequest {
            from: Some(time::to_wire(times[from])),
            to: Some(time::to_wire(times[to])),
            ..any()
        };
        assert_eq!(desk.actions(&owner, when(0, 1)).await, ["workspace.create"]);
        assert_eq!(desk.actions(&owner, when(1, 3)).await.len(), 3, "the end is not in it");
        assert_eq!(desk.actions(&owner, when(3, 1)).await, [""; 0]);
        let both = wire::ListAuditEventsRequest { from: when(2, 3).from, ..what };
        assert_eq!(desk.actions(&owner, both).await.len(), 1);
        let nothing = wire::ListAuditEventsRequest { action: "' OR 1=1 --".into(), ..any() };
        assert_eq!(desk.actions(&owner, nothing).await, [""; 0]);
    }

    async fn it_is_paged_and_for_those_above(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace_id = desk.workspace_of(&owner).await;
        for _ in 0..4 {
            desk.clock.advance(Duration::from_secs(1));
            desk.key(&owner).await;
        }
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = wire::ListAuditEventsRequest {
                caller: Some(owner.clone()), limit: 2, cursor, action: "key.create".into(), ..any()
            };
            let page = call!(desk, list_audit_events, page).expect("a list");
            seen.extend(page.events.into_iter().map(|event| event.id));
            let Some(next) = page.next_cursor else { break };
            cursor = next;
        }
        let mut sorted = seen.clone();
        sorted.sort_by(|a, b| b.cmp(a));
        assert_eq!((seen.len(), &seen), (4, &sorted), "the newest first");

        let named = wire::ListAuditEventsRequest { workspace_id: workspace_id.clone(), ..any() };
        for (caller, code) in [
            (desk.member(&workspace_id, MemberRole::Admin).await, None),
            (desk.operator(), None),
            (desk.member(&workspace_id, MemberRole::Member).await, Some(Code::Forbidden)),
            (desk.machine(&owner, &["keys.read", "usage.read"]).await, Some(Code::Forbidden)),
            (desk.user(), Some(Code::NotFound)),
        ] {
            let list = wire::ListAuditEventsRequest { caller: Some(caller), ..named.clone() };
            let said = call!(desk, list_audit_events, list);
            assert_eq!(said.map_err(|fault| fault.code()).err(), code);
        }
        let wrong = wire::ListAuditEventsRequest {
            caller: Some(owner),
            actor: "a".repeat(101),
            action: "a\0".into(),
            target: "\n".into(),
            from: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            cursor: "nonsense".into(),
            ..any()
        };
        let fault = call!(desk, list_audit_events, wrong).expect_err("refused");
        assert_eq!(pointers(&fault), ["/cursor", "/actor", "/action", "/target", "/from"]);
    }
}
