//! Usage answers for the span that is asked for, and refuses what is too long.

use chrono::TimeDelta;
use tollgate_kernel::Timestamp;
use tollgate_proto::ratelimit::TallyRow;

use super::*;

struct Used {
    desk: Desk,
    owner: Caller,
    key: wire::Key,
}

/// A call: by this key, which was this consumer's, at this time, ended so.
fn called(key: &wire::Key, consumer: &str, at: Timestamp, code: &str, count: u64) -> TallyRow {
    TallyRow {
        partition: key.workspace_id.clone(),
        subject: key.id.clone(),
        group: consumer.into(),
        minute: Some(time::to_wire(at)),
        code: code.into(),
        count,
        last_at: Some(time::to_wire(at)),
        ..TallyRow::default()
    }
}

fn span(from: Timestamp, to: Timestamp, granularity: wire::Granularity) -> wire::UsageSpan {
    let (from, to) = (Some(time::to_wire(from)), Some(time::to_wire(to)));
    wire::UsageSpan { from, to, granularity: granularity.into() }
}

impl Used {
    async fn new(database: &TestDatabase) -> Self {
        let desk = Desk::new(database).await;
        let owner = desk.user();
        let key = desk.key(&owner).await.key.expect("a key");
        Self { desk, owner, key }
    }

    async fn calls(&self, calls: &[(Timestamp, &str, u64)]) {
        let row = |(at, code, count): &(Timestamp, &str, u64)| called(&self.key, "", *at, code, *count);
        self.store("batch", calls.iter().map(row).collect()).await;
    }

    async fn store(&self, batch: &str, rows: Vec<TallyRow>) {
        self.desk.counter.give(batch, rows);
        self.desk.service.drain().await.expect("drained");
    }

    fn of_workspace(&self) -> wire::GetWorkspaceUsageRequest {
        wire::GetWorkspaceUsageRequest { caller: Some(self.owner.clone()), ..Default::default() }
    }

    async fn ask_workspace(
        &self,
        question: wire::GetWorkspaceUsageRequest,
    ) -> Result<wire::GetWorkspaceUsageResponse, Fault> {
        call!(self.desk, get_workspace_usage, question)
    }

    async fn consumer(&self, name: &str) -> String {
        let caller = Some(self.owner.clone());
        let message = wire::CreateConsumerRequest { caller, name: name.into(), ..Default::default() };
        call!(self.desk, create_consumer, message).expect("made").consumer.expect("a consumer").id
    }

    fn question(&self) -> wire::GetUsageRequest {
        let (caller, key_id) = (Some(self.owner.clone()), self.key.id.clone());
        wire::GetUsageRequest { caller, key_id, ..Default::default() }
    }

    async fn ask(&self, question: wire::GetUsageRequest) -> Result<wire::GetUsageResponse, Fault> {
        call!(self.desk, get_usage, question)
    }
}

fn said(points: &[wire::UsagePoint]) -> Vec<(String, &str, u64)> {
    let point = |point: &wire::UsagePoint| time::from_wire(point.at.expect("a time"), "").expect("a time");
    let points = points.iter();
    points.map(|it| (point(it).format("%d %H:%M").to_string(), it.code.as_str(), it.count)).collect()
}

on_every_database! {
    async fn the_last_day_by_the_minute_if_nothing_is_said(database: TestDatabase) {
        let used = Used::new(&database).await;
        let nothing = used.ask(used.question()).await.expect("usage");
        assert_eq!(nothing, wire::GetUsageResponse::default());
        // Exactly at a minute's start: a call at this very moment is part of "until now".
        let now = used.desk.clock.now();
        used.calls(&[
            (now - TimeDelta::hours(25), "VALID", 1),
            (now - TimeDelta::hours(24), "VALID", 2),
            (now - TimeDelta::seconds(1), "RATE_LIMITED", 4),
            (now - TimeDelta::seconds(1), "VALID", 8),
            (now, "VALID", 16),
        ]).await;
        let answer = used.ask(used.question()).await.expect("usage");
        assert_eq!(said(&answer.points), [
            ("31 00:00".to_owned(), "VALID", 2),
            ("31 23:59".to_owned(), "RATE_LIMITED", 4),
            ("31 23:59".to_owned(), "VALID", 8),
            ("01 00:00".to_owned(), "VALID", 16),
        ]);
        assert_eq!((answer.total, answer.last_used_at), (30, Some(time::to_wire(now))));
        let message = wire::GetKeyRequest { caller: Some(used.owner.clone()), key_id: used.key.id.clone() };
        let key = call!(used.desk, get_key, message).expect("there").key.expect("a key");
        assert_eq!(key.last_used_at, Some(time::to_wire(now)));
    }

    async fn spans_and_granularities(database: TestDatabase) {
        use wire::Granularity::{Day, Hour, Minute};
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let at = |minutes| now + TimeDelta::minutes(minutes);
        used.calls(&[(now, "VALID", 1), (at(59), "VALID", 2), (at(60), "VALID", 4), (at(1440), "VALID", 8)]).await;
        let ask = async |span| {
            let answer = used.ask(wire::GetUsageRequest { span: Some(span), ..used.question() }).await.expect("usage");
            (said(&answer.points).into_iter().map(|(at, _, count)| (at, count)).collect::<Vec<_>>(), answer.total)
        };
        let point = |at: &str, count| (at.to_owned(), count);
        let (by_hour, _) = ask(span(now, at(1500), Hour)).await;
        assert_eq!(by_hour, [point("01 00:00", 3), point("01 01:00", 4), point("02 00:00", 8)]);
        assert_eq!(ask(span(now, at(1500), Day)).await.0, [point("01 00:00", 7), point("02 00:00", 8)]);
        // `to` is exclusive. A step that the span touches counts whole.
        let late = now + TimeDelta::seconds(30);
        assert_eq!(ask(span(late, at(60), Minute)).await.1, 3);
        assert_eq!(ask(span(at(59), at(60), Hour)).await, (vec![point("01 00:00", 3)], 3));
        assert_eq!(ask(span(at(59), at(61), Hour)).await.1, 7);
        assert_eq!(ask(span(at(1439), at(1440), Day)).await.1, 7);
    }

    async fn hours_and_days_outlive_the_minutes(database: TestDatabase) {
        use wire::Granularity::{Day, Hour, Minute};
        let used = Used::new(&database).await;
        let start = used.desk.clock.now();
        used.calls(&[(start, "VALID", 3), (start + TimeDelta::minutes(61), "EXPIRED", 4)]).await;
        // By default: 30 days by the minute, 400 by the hour, five years by the day.
        for (days, there) in [(31, [0, 7, 7]), (402, [0, 0, 7]), (1832, [0, 0, 0])] {
            used.desk.clock.set(start + TimeDelta::days(days));
            used.desk.service.forget_old().await.expect("forgotten");
            let end = start + TimeDelta::days(5);
            for (granularity, total) in [Minute, Hour, Day].into_iter().zip(there) {
                let question = wire::GetUsageRequest { span: Some(span(start, end, granularity)), ..used.question() };
                assert_eq!(used.ask(question).await.expect("usage").total, total, "{days} {granularity:?}");
            }
        }
    }

    async fn a_consumer_has_the_calls_of_its_keys_at_that_time(database: TestDatabase) {
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let (one, two) = (used.consumer("one").await, used.consumer("two").await);
        // The key moves from nobody to one, and then to two.
        let earlier = now - TimeDelta::minutes(1);
        used.store("1", vec![
            called(&used.key, "", earlier, "VALID", 1),
            called(&used.key, &one, earlier, "VALID", 2),
            called(&used.key, &one, now, "RATE_LIMITED", 4),
            called(&used.key, &two, now, "VALID", 8),
        ]).await;
        let ask = async |caller: &Caller, consumer: &str| {
            let (caller, consumer_id) = (Some(caller.clone()), consumer.to_owned());
            let message = wire::GetConsumerUsageRequest { caller, consumer_id, ..Default::default() };
            call!(used.desk, get_consumer_usage, message)
        };
        let of_one = ask(&used.owner, &one).await.expect("usage");
        assert_eq!(said(&of_one.points), [
            ("31 23:59".to_owned(), "VALID", 2), ("01 00:00".to_owned(), "RATE_LIMITED", 4),
        ]);
        assert_eq!((of_one.total, ask(&used.owner, &two).await.expect("usage").total), (6, 8));
        assert_eq!(used.ask(used.question()).await.expect("usage").total, 15, "and the key has them all");
        // Hidden from strangers, forbidden to machines without the permission.
        let reader = used.desk.machine(&used.owner, &["keys.read"]).await;
        assert_eq!(ask(&reader, &one).await.expect_err("refused").code(), Code::Forbidden);
        let counter = used.desk.machine(&used.owner, &["usage.read"]).await;
        assert_eq!(ask(&counter, &one).await.expect("usage").total, 6);
        let stranger = used.desk.user();
        let hidden = ask(&stranger, &one).await.expect_err("refused");
        let missing = ask(&used.owner, "con_00000000000000000000000001").await.expect_err("refused");
        assert_eq!((hidden.code(), hidden.to_string()), (Code::NotFound, missing.to_string()));
    }

    async fn a_workspace_is_asked_by_key_consumer_and_code(database: TestDatabase) {
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let other = used.desk.key(&used.owner).await.key.expect("a key");
        let consumer = used.consumer("one").await;
        used.store("1", vec![
            called(&used.key, "", now, "VALID", 1),
            called(&used.key, &consumer, now, "VALID", 2),
            called(&other, &consumer, now, "VALID", 4),
            called(&other, &consumer, now, "EXPIRED", 8),
        ]).await;
        // What is somebody else's is not in it, whatever its names.
        let mut foreign = called(&used.key, &consumer, now, "VALID", 100);
        foreign.partition = "ws_00000000000000000000000001".into();
        used.store("2", vec![foreign]).await;
        let total = async |question| used.ask_workspace(question).await.expect("usage").total;
        let base = used.of_workspace();
        assert_eq!(total(base.clone()).await, 15);
        assert_eq!(total(wire::GetWorkspaceUsageRequest { key_id: used.key.id.clone(), ..base.clone() }).await, 3);
        let of_consumer = wire::GetWorkspaceUsageRequest { consumer_id: consumer.clone(), ..base.clone() };
        assert_eq!(total(of_consumer.clone()).await, 14);
        let valid = wire::GetWorkspaceUsageRequest { code: "VALID".into(), ..of_consumer.clone() };
        assert_eq!(total(valid.clone()).await, 6);
        let answer = used.ask_workspace(wire::GetWorkspaceUsageRequest { key_id: other.id.clone(), ..valid }).await;
        assert_eq!(said(&answer.expect("usage").points), [("01 00:00".to_owned(), "VALID", 4)]);

        let groups = async |by: wire::UsageGrouping, limit, question: &wire::GetWorkspaceUsageRequest| {
            let question = wire::GetWorkspaceUsageRequest { group_by: by.into(), limit, ..question.clone() };
            let answer = used.ask_workspace(question).await.expect("usage");
            assert!(answer.points.is_empty());
            (answer.groups.into_iter().map(|it| (it.name, it.count)).collect::<Vec<_>>(), answer.total)
        };
        let (by_key, all) = groups(wire::UsageGrouping::Key, 0, &base).await;
        assert_eq!((by_key, all), (vec![(other.id.clone(), 12), (used.key.id.clone(), 3)], 15));
        assert_eq!(groups(wire::UsageGrouping::Key, 1, &base).await, (vec![(other.id.clone(), 12)], 15));
        let by_consumer = vec![(consumer.clone(), 14), (String::new(), 1)];
        assert_eq!(groups(wire::UsageGrouping::Consumer, 0, &base).await, (by_consumer, 15));
        let by_code = vec![("EXPIRED".to_owned(), 8), ("VALID".to_owned(), 6)];
        assert_eq!(groups(wire::UsageGrouping::Code, 0, &of_consumer).await, (by_code, 14));
        let of_tests = wire::Environment::Test.into();
        let tests = wire::GetWorkspaceUsageRequest { environment: of_tests, ..base.clone() };
        assert_eq!((total(tests.clone()).await, groups(wire::UsageGrouping::Key, 0, &tests).await.1), (0, 0));
        let message = wire::CreateKeyRequest { name: "t".into(), environment: of_tests, ..Default::default() };
        let test = used.desk.create(&used.owner, message).await.expect("made").key.expect("a key");
        used.store("3", vec![called(&test, &consumer, now, "VALID", 16), called(&test, "", now, "VALID", 32)]).await;
        assert_eq!(total(tests.clone()).await, 48);
        let live = wire::GetWorkspaceUsageRequest { environment: wire::Environment::Live.into(), ..base.clone() };
        assert_eq!(total(live).await, 15);
        assert_eq!(groups(wire::UsageGrouping::Key, 0, &tests).await, (vec![(test.id.clone(), 48)], 48));
        let caller = Some(used.owner.clone());
        let of_consumer = wire::GetConsumerUsageRequest {
            caller, consumer_id: consumer.clone(), environment: of_tests, span: None,
        };
        assert_eq!(call!(used.desk, get_consumer_usage, of_consumer.clone()).expect("usage").total, 16);
        let wrong = wire::GetConsumerUsageRequest { environment: 9, ..of_consumer };
        let fault = call!(used.desk, get_consumer_usage, wrong).expect_err("refused");
        assert_eq!(pointers(&fault), ["/environment"]);
        let none = wire::GetWorkspaceUsageRequest { code: "REVOKED".into(), ..base };
        assert_eq!(groups(wire::UsageGrouping::Code, 0, &none).await, (vec![], 0));
    }

    async fn what_is_no_key_is_for_operators(database: TestDatabase) {
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let unknown = |code| TallyRow {
            partition: tollgate_verify::INSTANCE.into(),
            subject: tollgate_verify::INSTANCE.into(),
            ..called(&used.key, "", now, code, 5)
        };
        used.store("1", vec![unknown("NOT_FOUND"), unknown("MALFORMED"), called(&used.key, "", now, "VALID", 1)]).await;
        let scope = wire::UsageScope::Instance.into();
        let of_instance = wire::GetWorkspaceUsageRequest { scope, ..used.of_workspace() };
        let refused = used.ask_workspace(of_instance.clone()).await.expect_err("refused");
        assert_eq!(refused.code(), Code::Forbidden);
        let machine = Some(used.desk.machine(&used.owner, &["usage.read"]).await);
        let refused = used.ask_workspace(wire::GetWorkspaceUsageRequest { caller: machine, ..of_instance.clone() }).await;
        assert_eq!(refused.expect_err("refused").code(), Code::Forbidden);
        let operator = wire::GetWorkspaceUsageRequest { caller: Some(used.desk.operator()), ..of_instance };
        let answer = used.ask_workspace(operator.clone()).await.expect("usage");
        assert_eq!(said(&answer.points), [
            ("01 00:00".to_owned(), "MALFORMED", 5), ("01 00:00".to_owned(), "NOT_FOUND", 5),
        ]);
        let id = "01jd3t9y2ve5rbq2m8xg7kz4hn";
        let wrong = wire::GetWorkspaceUsageRequest {
            workspace_id: format!("ws_{id}"),
            key_id: format!("key_{id}"),
            consumer_id: format!("con_{id}"),
            group_by: wire::UsageGrouping::Consumer.into(),
            environment: wire::Environment::Live.into(),
            ..operator
        };
        let fault = used.ask_workspace(wrong).await.expect_err("refused");
        assert_eq!(pointers(&fault), ["/workspace_id", "/key_id", "/consumer_id", "/environment", "/group_by"]);
    }

    async fn what_is_no_question_about_a_workspace_is_refused(database: TestDatabase) {
        let used = Used::new(&database).await;
        let base = || used.of_workspace();
        for (wrong, expected) in [
            (wire::GetWorkspaceUsageRequest { code: "valid".into(), ..base() }, "/code"),
            (wire::GetWorkspaceUsageRequest { code: "V".repeat(65), ..base() }, "/code"),
            (wire::GetWorkspaceUsageRequest { code: "' OR 1=1".into(), ..base() }, "/code"),
            (wire::GetWorkspaceUsageRequest { key_id: "con_1".into(), ..base() }, "/key_id"),
            (wire::GetWorkspaceUsageRequest { limit: 1, ..base() }, "/limit"),
            (wire::GetWorkspaceUsageRequest { limit: 101, group_by: 1, ..base() }, "/limit"),
            (wire::GetWorkspaceUsageRequest { group_by: 9, ..base() }, "/group_by"),
            (wire::GetWorkspaceUsageRequest { scope: 9, ..base() }, "/scope"),
            (wire::GetWorkspaceUsageRequest { environment: 9, ..base() }, "/environment"),
        ] {
            assert_eq!(pointers(&used.ask_workspace(wrong).await.expect_err("refused")), [expected]);
        }
        let stranger = Some(used.desk.user());
        let workspace_id = used.key.workspace_id.clone();
        let theirs = wire::GetWorkspaceUsageRequest { caller: stranger, workspace_id, ..base() };
        assert_eq!(used.ask_workspace(theirs).await.expect_err("refused").code(), Code::NotFound);
    }

    async fn a_key_shows_who_called_last(database: TestDatabase) {
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let from = |at, network: &str, user_agent: &str| TallyRow {
            network: network.into(),
            user_agent: user_agent.into(),
            ..called(&used.key, "", at, "VALID", 1)
        };
        let shown = async || {
            let message = wire::GetKeyRequest { caller: Some(used.owner.clone()), key_id: used.key.id.clone() };
            let key = call!(used.desk, get_key, message).expect("there").key.expect("a key");
            let message = wire::ListKeysRequest { caller: Some(used.owner.clone()), ..Default::default() };
            let listed = call!(used.desk, list_keys, message).expect("a list").keys.remove(0);
            assert_eq!(listed, key);
            (key.last_used_ip.unwrap_or_default(), key.last_user_agent.unwrap_or_default())
        };
        let minute = |n| now + TimeDelta::minutes(n);
        // The latest of a batch, whatever its order.
        used.store("1", vec![from(minute(1), "192.0.2.0/24", "new"), from(now, "198.51.100.0/24", "old")]).await;
        assert_eq!(shown().await, ("192.0.2.0/24".to_owned(), "new".to_owned()));
        // A batch that comes late.
        used.store("2", vec![from(now, "198.51.100.0/24", "older")]).await;
        assert_eq!(shown().await, ("192.0.2.0/24".to_owned(), "new".to_owned()));
        used.store("3", vec![from(minute(2), "", "")]).await;
        assert_eq!(shown().await, (String::new(), String::new()));
    }

    async fn what_cannot_be_answered_is_refused(database: TestDatabase) {
        use wire::Granularity::Minute;
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let at = |minutes| now + TimeDelta::minutes(minutes);
        let asked = |from, to| wire::GetUsageRequest { span: Some(span(at(from), at(to), Minute)), ..used.question() };
        for backwards in [asked(1, 0), asked(1, 1)] {
            assert_eq!(pointers(&used.ask(backwards).await.expect_err("refused")), ["/from"]);
        }
        used.ask(asked(0, 10_000)).await.expect("as long as may be");
        assert_eq!(pointers(&used.ask(asked(0, 10_001)).await.expect_err("refused")), ["/granularity"]);
        let nonsense = Some(prost_types::Timestamp { seconds: i64::MIN, nanos: 0 });
        let wrong = Some(wire::UsageSpan { from: nonsense, to: nonsense, granularity: 9 });
        let fault = used.ask(wire::GetUsageRequest { span: wrong, ..used.question() }).await.expect_err("refused");
        assert_eq!(pointers(&fault), ["/granularity", "/to", "/from"]);
    }

    async fn too_many_codes_are_too_many_points(database: TestDatabase) {
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let codes = ["VALID", "RATE_LIMITED", "EXPIRED"];
        let calls: Vec<_> = (0..3334)
            .flat_map(|minute| codes.map(|code| (now + TimeDelta::minutes(minute), code, 1)))
            .collect();
        used.calls(&calls).await;
        let asked = |granularity| {
            let span = span(now, now + TimeDelta::minutes(4000), granularity);
            used.ask(wire::GetUsageRequest { span: Some(span), ..used.question() })
        };
        let refused = asked(wire::Granularity::Minute).await.expect_err("refused");
        assert_eq!(pointers(&refused), ["/granularity"]);
        assert_eq!(asked(wire::Granularity::Hour).await.expect("usage").total, 10_002);
    }
}
