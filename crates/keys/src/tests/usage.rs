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

impl Used {
    async fn new(database: &TestDatabase) -> Self {
        let desk = Desk::new(database).await;
        let owner = desk.user();
        let key = desk.key(&owner).await.key.expect("a key");
        Self { desk, owner, key }
    }

    async fn calls(&self, calls: &[(Timestamp, &str, u64)]) {
        let row = |(at, code, count): &(Timestamp, &str, u64)| TallyRow {
            partition: self.key.workspace_id.clone(),
            subject: self.key.id.clone(),
            minute: Some(time::to_wire(*at)),
            code: (*code).into(),
            count: *count,
            last_at: Some(time::to_wire(*at)),
        };
        self.desk.counter.give("batch", calls.iter().map(row).collect());
        self.desk.service.drain().await.expect("drained");
    }

    fn question(&self) -> wire::GetUsageRequest {
        let (caller, key_id) = (Some(self.owner.clone()), self.key.id.clone());
        wire::GetUsageRequest { caller, key_id, ..Default::default() }
    }

    async fn ask(&self, question: wire::GetUsageRequest) -> Result<wire::GetUsageResponse, Fault> {
        call!(self.desk, get_usage, question)
    }
}

fn said(answer: &wire::GetUsageResponse) -> Vec<(String, &str, u64)> {
    let point = |point: &wire::UsagePoint| time::from_wire(point.at.expect("a time"), "").expect("a time");
    let points = answer.points.iter();
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
        assert_eq!(said(&answer), [
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
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let hours = |hours| Some(time::to_wire(now + TimeDelta::hours(hours)));
        used.calls(&[
            (now, "VALID", 1),
            (now + TimeDelta::minutes(59), "VALID", 2),
            (now + TimeDelta::minutes(60), "VALID", 4),
            (now + TimeDelta::hours(24), "VALID", 8),
        ]).await;
        let question = wire::GetUsageRequest { from: hours(0), to: hours(25), ..used.question() };
        let by_hour = wire::GetUsageRequest { granularity: wire::Granularity::Hour.into(), ..question.clone() };
        assert_eq!(said(&used.ask(by_hour).await.expect("usage")), [
            ("01 00:00".to_owned(), "VALID", 3), ("01 01:00".to_owned(), "VALID", 4), ("02 00:00".to_owned(), "VALID", 8),
        ]);
        let by_day = wire::GetUsageRequest { granularity: wire::Granularity::Day.into(), ..question.clone() };
        assert_eq!(said(&used.ask(by_day).await.expect("usage")), [
            ("01 00:00".to_owned(), "VALID", 7), ("02 00:00".to_owned(), "VALID", 8),
        ]);
        // `to` is exclusive; `from` within a minute includes the minute.
        let late = Some(time::to_wire(now + TimeDelta::seconds(30)));
        let part = wire::GetUsageRequest { from: late, to: hours(1), ..question };
        assert_eq!(used.ask(part).await.expect("usage").total, 3);
    }

    async fn what_cannot_be_answered_is_refused(database: TestDatabase) {
        let used = Used::new(&database).await;
        let now = used.desk.clock.now();
        let at = |minutes| Some(time::to_wire(now + TimeDelta::minutes(minutes)));
        let span = |from, to| wire::GetUsageRequest { from: at(from), to: at(to), ..used.question() };
        for backwards in [span(1, 0), span(1, 1)] {
            assert_eq!(pointers(&used.ask(backwards).await.expect_err("refused")), ["/from"]);
        }
        used.ask(span(0, 10_000)).await.expect("as long as may be");
        assert_eq!(pointers(&used.ask(span(0, 10_001)).await.expect_err("refused")), ["/granularity"]);
        let nonsense = prost_types::Timestamp { seconds: i64::MIN, nanos: 0 };
        let wrong =
            wire::GetUsageRequest { from: Some(nonsense), to: Some(nonsense), granularity: 9, ..used.question() };
        let fault = used.ask(wrong).await.expect_err("refused");
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
        let to = Some(time::to_wire(now + TimeDelta::minutes(4000)));
        let question = wire::GetUsageRequest { from: Some(time::to_wire(now)), to, ..used.question() };
        assert_eq!(pointers(&used.ask(question.clone()).await.expect_err("refused")), ["/granularity"]);
        let by_hour = wire::GetUsageRequest { granularity: wire::Granularity::Hour.into(), ..question };
        assert_eq!(used.ask(by_hour).await.expect("usage").total, 10_002);
    }
}
