//! Personal workspaces are made once, with their plans; lists show one's own.

use super::*;

on_every_database! {
    async fn of_twenty_calls_at_once_one_makes_the_workspace(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let caller = desk.user();
        let tasks: Vec<_> = (0..20).map(|_| {
            let (desk, caller) = (desk.clone(), caller.clone());
            tokio::spawn(async move { desk.workspace_of(&caller).await })
        }).collect();
        let mut ids = std::collections::BTreeSet::new();
        for task in tasks {
            ids.insert(task.await.expect("no panic"));
        }
        assert_eq!(ids.len(), 1);
        assert_eq!(desk.service.store.audited().await, ["workspace.create"]);
        let list = wire::ListWorkspacesRequest { caller: Some(caller), page: None };
        let list = call!(desk, list_workspaces, list).expect("a list");
        let [workspace] = list.workspaces.as_slice() else { panic!("one workspace: {list:?}") };
        assert_eq!((workspace.name.as_str(), workspace.role.as_str()), ("Personal", "owner"));
        assert_eq!(workspace.created_at, Some(time::to_wire(desk.clock.now())));
    }

    async fn a_workspace_starts_with_three_plans(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        // On first need: nobody made the workspace before.
        let list = wire::ListPlansRequest { caller: Some(desk.user()), ..Default::default() };
        let plans = call!(desk, list_plans, list).expect("a list").plans;
        let said: Vec<_> = plans.iter().map(|plan| {
            let limits = plan.limits.iter().map(|it| (it.name.as_str(), it.limit, it.window_seconds));
            (plan.name.as_str(), limits.collect::<Vec<_>>())
        }).collect();
        assert_eq!(said, [
            ("free", vec![("minute", 10, 60)]),
            ("basic", vec![("minute", 60, 60), ("day", 5000, 86_400)]),
            ("pro", vec![("minute", 600, 60), ("day", 100_000, 86_400)]),
        ]);
    }

    async fn lists_are_paged(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let me = desk.user();
        let mine = desk.workspace_of(&me).await;
        let Some(caller::Principal::User(user)) = &me.principal else { panic!("a user") };
        let mut expected = vec![mine];
        for _ in 0..3 {
            desk.clock.advance(std::time::Duration::from_secs(1));
            let theirs = desk.workspace_of(&desk.user()).await;
            let (id, user) = (theirs.parse().expect("an id"), user.user_id.parse().expect("an id"));
            desk.service.store.plant_member(id, user, MemberRole::Member).await;
            expected.insert(0, theirs);
        }
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = Some(wire::Page { limit: 3, cursor });
            let list = wire::ListWorkspacesRequest { caller: Some(me.clone()), page };
            let list = call!(desk, list_workspaces, list).expect("a list");
            seen.extend(list.workspaces.into_iter().map(|it| it.id));
            let Some(next) = list.next_cursor else { break };
            cursor = next;
        }
        assert_eq!(seen, expected);

        let page = Some(wire::Page { limit: 2, cursor: String::new() });
        let plans = wire::ListPlansRequest { caller: Some(me.clone()), page, ..Default::default() };
        let first = call!(desk, list_plans, plans).expect("a list");
        let page = Some(wire::Page { limit: 2, cursor: first.next_cursor.expect("there are more") });
        let plans = wire::ListPlansRequest { caller: Some(me), page, ..Default::default() };
        let second = call!(desk, list_plans, plans).expect("a list");
        assert_eq!((first.plans.len(), second.plans.len(), second.next_cursor), (2, 1, None));
        assert_eq!(second.plans[0].name, "pro");
    }

    async fn wrong_pages_are_refused(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let page = Some(wire::Page { limit: 101, cursor: "garbage".into() });
        let list = wire::ListPlansRequest { caller: Some(desk.user()), page, workspace_id: "ws_1".into() };
        let fault = call!(desk, list_plans, list).expect_err("refused");
        assert_eq!(pointers(&fault), ["/workspace_id", "/limit", "/cursor"]);
    }
}
