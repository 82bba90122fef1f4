//! Every way to look for what was done reads along its own index: a list of a year is as quick as one of a day.

use diesel::{QueryableByName, debug_query, pg::Pg, sql_types::Text, sqlite::Sqlite};
use tollgate_db::Either;

use super::*;
use crate::{
    page::Page,
    store::{
        audit::{SLACK, events, first_id},
        schema::audit_events,
    },
};

/// A line of PostgreSQL's plan.
#[derive(QueryableByName)]
struct PgLine {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    line: String,
}

/// A line of SQLite's plan.
#[derive(QueryableByName)]
struct LiteLine {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// The statement without the values that are bound to it.
fn statement(debug: &str) -> String {
    debug.split(" -- binds:").next().expect("a text").to_owned()
}

async fn plan(store: &Store, filter: &EventFilter, page: Page) -> String {
    let place = |number: usize| format!("${number}");
    match store.db.writer().await.expect("a connection") {
        Either::Postgres(mut lease) => {
            let sql = statement(&debug_query::<Pg, _>(&events!(filter, page)).to_string());
            let values = (1..).take_while(|number| sql.contains(&place(*number))).map(|_| "NULL");
            let values = values.collect::<Vec<_>>().join(", ");
            let c = lease.connection();
            for setting in
                ["enable_seqscan = off", "enable_sort = off", "plan_cache_mode = force_generic_plan"]
            {
                diesel::sql_query(format!("SET {setting}")).execute(c).await.expect("set");
            }
            diesel::sql_query(format!("PREPARE asked AS {sql}")).execute(c).await.expect("prepared");
            let explain = diesel::sql_query(format!("EXPLAIN EXECUTE asked({values})"));
            let lines: Vec<PgLine> = explain.load(c).await.expect("a plan");
            diesel::sql_query("DEALLOCATE asked").execute(c).await.expect("forgotten");
            lines.into_iter().map(|it| it.line).collect::<Vec<_>>().join("\n")
        }
        Either::Sqlite(mut lease) => {
            let sql = statement(&debug_query::<Sqlite, _>(&events!(filter, page)).to_string());
            let explain = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}"));
            let lines: Vec<LiteLine> = explain.load(lease.connection()).await.expect("a plan");
            lines.into_iter().map(|it| it.detail).collect::<Vec<_>>().join("\n")
        }
    }
}

on_every_database! {
    async fn each_filter_has_its_index(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let now = fixture.clock.now();
        let any = EventFilter {
            workspace: fixture.workspace.into(), actor: None, action: None, target: None, from: None, to: None,
        };
        let page = Page::parse(None, &mut crate::input::Problems::default());
        let text = || Some("a".to_owned());
        for (filter, index) in [
            (any.clone(), "audit_events_by_workspace"),
            (EventFilter { actor: text(), ..any.clone() }, "audit_events_by_actor"),
            (EventFilter { action: text(), ..any.clone() }, "audit_events_by_action"),
            (EventFilter { target: text(), ..any.clone() }, "audit_events_by_target"),
        ] {
            // With a time, the databases may take the range of ids in any of them for the narrowest.
            let timed = EventFilter { from: Some(now), to: Some(now), ..filter.clone() };
            for (filter, needed) in [(filter, index), (timed, "audit_events_by_")] {
                let plan = plan(&fixture.store, &filter, page).await;
                assert!(plan.contains(needed), "{filter:?}: {plan}");
                let range = plan.replace(' ', "").contains("id>");
                assert_eq!(range, filter.from.is_some(), "{filter:?}: {plan}");
                for slow in ["Sort", "TEMP B-TREE", "Seq Scan", "SCAN"] {
                    assert!(!plan.contains(slow), "{filter:?}: {plan}");
                }
            }
        }
    }
}
