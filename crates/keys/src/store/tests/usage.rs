//! Usage counts each batch once, and every grain of it tells the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use diesel::{
    debug_query,
    deserialize::QueryableByName,
    dsl::sql,
    pg::Pg,
    sql_types::{BigInt, Text},
    sqlite::Sqlite,
};

use tollgate_verify::Environment;

use super::{schema::usage, *};
// What the first of these expands to names the second.
use crate::store::usage::{usage_points, usage_rows};

const WORKSPACE: &str = "ws_1";
const DAY: i64 = 1440;

type Row<'a> = (&'a str, i64, &'a str, i64);

fn call(subject: &str, consumer: &str, minute: i64, code: &str) -> Calls {
    Calls {
        partition: WORKSPACE.to_owned(),
        minute,
        subject: subject.to_owned(),
        consumer: consumer.to_owned(),
        code: code.to_owned(),
    }
}

fn calls(rows: &[Row<'_>]) -> BTreeMap<Calls, i64> {
    rows.iter().map(|(subject, minute, code, count)| (call(subject, "", *minute, code), *count)).collect()
}

fn filter(minutes: Range<i64>, step: Step) -> UsageFilter {
    let partition = WORKSPACE.to_owned();
    let (subject, consumer, code, environment) = (None, None, None, None);
    UsageFilter { partition, subject, consumer, code, environment, minutes, step }
}

fn of_key(key: &str, filter: UsageFilter) -> UsageFilter {
    UsageFilter { subject: Some(key.to_owned()), ..filter }
}

impl Fixture {
    async fn add(&self, batch: &str, rows: &[Row<'_>]) -> bool {
        self.add_calls(batch, &calls(rows)).await
    }

    async fn add_calls(&self, batch: &str, calls: &BTreeMap<Calls, i64>) -> bool {
        self.store.usage_add(batch, calls, &BTreeMap::new(), self.clock.now()).await.expect("stored")
    }

    async fn points(&self, filter: UsageFilter) -> Vec<UsageRow> {
        self.store.usage_points(&filter, 100_000).await.expect("read")
    }

    async fn usage(&self, subject: &str, minutes: Range<i64>, step: Step) -> Vec<UsageRow> {
        self.points(of_key(subject, filter(minutes, step))).await
    }

    async fn forget_before(&self, step: Step, minute: i64) {
        let before = chrono::DateTime::from_timestamp(minute * 60, 0).expect("a time");
        while self.store.forget(Aged::Usage(step), before).await.expect("deleted") > 0 {}
    }
}

fn row(minute: i64, code: &str, count: i64) -> UsageRow {
    (minute, code.to_owned(), count)
}

/// Throws that are the same in every run.
struct Dice(u64);

impl Dice {
    /// Less than `sides`.
    fn throw(&mut self, sides: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    /// Some calls of the three days before `now`, which is in minutes.
    fn calls(&mut self, now: i64) -> BTreeMap<Calls, i64> {
        let mut calls = BTreeMap::new();
        for _ in 0..=self.throw(6) {
            let late = self.throw(3 * DAY.cast_unsigned()).cast_signed();
            let minute = if self.throw(2) == 0 { now - late } else { now };
            let code = ["VALID", "RATE_LIMITED", "EXPIRED"][usize::try_from(self.throw(3)).expect("small")];
            // A key that moves from one consumer to another, and to none.
            let consumer = ["", "con_1", "con_2"][usize::try_from(self.throw(3)).expect("small")];
            let key = format!("key_{}", self.throw(3));
            *calls.entry(call(&key, consumer, minute, code)).or_insert(0) += 1 + self.throw(9).cast_signed();
        }
        calls
    }
}

/// What should be stored: of each grain, all calls by the step they were in.
#[derive(Default)]
struct Model([BTreeMap<Calls, i64>; 3]);

impl Model {
    fn add(&mut self, calls: &BTreeMap<Calls, i64>) {
        for (step, held) in Step::ALL.into_iter().zip(&mut self.0) {
            for (call, count) in calls {
                let start = call.minute / step.minutes() * step.minutes();
                *held.entry(Calls { minute: start, ..call.clone() }).or_insert(0) += count;
            }
        }
    }

    fn forget_before(&mut self, step: Step, minute: i64) {
        let held = &mut self.0[Step::ALL.iter().position(|it| *it == step).expect("one of all")];
        held.retain(|call, _| call.minute + step.minutes() > minute);
    }

    fn points(&self, grain: usize, passes: impl Fn(&Calls) -> bool) -> Vec<UsageRow> {
        let mut sums = BTreeMap::new();
        for (call, count) in self.0[grain].iter().filter(|(call, _)| passes(call)) {
            *sums.entry((call.minute, call.code.clone())).or_insert(0) += count;
        }
        sums.into_iter().map(|((minute, code), count)| (minute, code, count)).collect()
    }
}

/// One line of a plan, whatever the database calls its column.
struct Line(String);

impl<DB: diesel::backend::Backend> QueryableByName<DB> for Line
where
    String: diesel::deserialize::FromSql<Text, DB>,
{
    fn build<'a>(row: &impl diesel::row::NamedRow<'a, DB>) -> diesel::deserialize::Result<Self> {
        use diesel::row::NamedRow;
        let line = NamedRow::get::<Text, String>(row, "QUERY PLAN");
        Ok(Self(line.or_else(|_| NamedRow::get::<Text, String>(row, "detail"))?))
    }
}

/// The statement with its values in their places.
fn filled(query: &str, filter: &UsageFilter) -> String {
    let (text, _) = query.split_once(" -- binds").expect("diesel says what it binds");
    let mut values = vec![format!("'{}'", filter.partition), filter.step.minutes().to_string()];
    values.extend([filter.minutes.start, filter.minutes.end].map(|minute| minute.to_string()));
    values.extend([&filter.subject, &filter.consumer].into_iter().flatten().map(|text| format!("'{text}'")));
    values.extend(filter.environment.map(|it| format!("'{it}'")));
    let mut text = text.to_owned();
    for (place, value) in values.iter().enumerate() {
        let numbered = format!("${}", place + 1);
        let mark = if text.contains(&numbered) { numbered.as_str() } else { "?" };
        text = text.replacen(mark, value, 1);
    }
    text
}

async fn plan(store: &Store, is_postgres: bool, filter: &UsageFilter) -> String {
    let query = if is_postgres {
        format!("EXPLAIN {}", filled(&debug_query::<Pg, _>(&usage_points!(filter)).to_string(), filter))
    } else {
        let query = debug_query::<Sqlite, _>(&usage_points!(filter)).to_string();
        format!("EXPLAIN QUERY PLAN {}", filled(&query, filter))
    };
    let lines = read_db!(store.db, |c| diesel::sql_query(query).load::<Line>(c).await).expect("a plan");
    lines.into_iter().map(|line| line.0).collect::<Vec<_>>().join("\n")
}

on_every_database! {
    async fn a_batch_counts_once(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let rows = [("key_1", 10, "VALID", 3), ("key_1", 10, "RATE_LIMITED", 1), ("usr_1", 10, "VALID", 9)];
        assert!(fixture.add("batch 1", &rows).await);
        assert!(!fixture.add("batch 1", &rows).await);
        assert!(fixture.add("batch 2", &rows[..1]).await);
        for step in Step::ALL {
            let start = step.of(10);
            let usage = fixture.usage("key_1", 0..100, step).await;
            assert_eq!(usage, [row(start, "RATE_LIMITED", 1), row(start, "VALID", 6)], "{step:?}");
        }
        assert!(fixture.usage("key_2", 0..100, Step::Minute).await.is_empty());
        let elsewhere = UsageFilter { partition: "ws_2".to_owned(), ..filter(0..100, Step::Minute) };
        assert!(fixture.points(elsewhere).await.is_empty());
    }

    async fn drains_at_once_count_each_batch_once(database: TestDatabase) {
        let fixture = Arc::new(Fixture::new(&database).await);
        let tasks: Vec<_> = (0..20).map(|n| {
            let fixture = fixture.clone();
            // Each batch comes from two drains at once, and all touch the same rows.
            let batch = format!("batch {}", n / 2);
            let rows = [("key_1", 10, "VALID", 1), ("key_1", 11, "VALID", 1), ("key_2", 10, "VALID", 1)];
            tokio::spawn(async move { fixture.add(&batch, &rows).await })
        }).collect();
        let mut added = 0;
        for task in tasks {
            added += usize::from(task.await.expect("no panic"));
        }
        assert_eq!(added, 10);
        let usage = fixture.usage("key_1", 0..100, Step::Minute).await;
        assert_eq!(usage, [row(10, "VALID", 10), row(11, "VALID", 10)]);
        assert_eq!(fixture.usage("key_1", 0..60, Step::Hour).await, [row(0, "VALID", 20)]);
        assert_eq!(fixture.usage("key_1", 0..DAY, Step::Day).await, [row(0, "VALID", 20)]);
    }

    async fn minutes_add_up_to_hours_and_days(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let day = 20_454 * DAY;
        fixture.add("batch", &[
            ("key_1", day, "VALID", 1),
            ("key_1", day + 59, "VALID", 2),
            ("key_1", day + 60, "VALID", 4),
            ("key_1", day + 60, "EXPIRED", 8),
            ("key_1", day + 1439, "VALID", 16),
            ("key_1", day + 1440, "VALID", 32),
        ]).await;
        let span = day..day + 2 * DAY;
        assert_eq!(fixture.usage("key_1", span.clone(), Step::Minute).await.len(), 6);
        assert_eq!(fixture.usage("key_1", span.clone(), Step::Hour).await, [
            row(day, "VALID", 3),
            row(day + 60, "EXPIRED", 8),
            row(day + 60, "VALID", 4),
            row(day + 1380, "VALID", 16),
            row(day + 1440, "VALID", 32),
        ]);
        assert_eq!(fixture.usage("key_1", span, Step::Day).await, [
            row(day, "EXPIRED", 8),
            row(day, "VALID", 23),
            row(day + 1440, "VALID", 32),
        ]);
        // The end is exclusive, the start is not.
        assert_eq!(fixture.usage("key_1", day + 59..day + 60, Step::Minute).await, [row(day + 59, "VALID", 2)]);
    }

    async fn a_large_batch_is_one_batch(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let rows: Vec<_> = (0..2500).map(|minute| ("key_1", minute, "VALID", 2)).collect();
        assert!(fixture.add("batch", &rows).await);
        let all = fixture.usage("key_1", 0..3000, Step::Day).await;
        assert_eq!(all, [row(0, "VALID", 2880), row(DAY, "VALID", 2120)]);
        assert_eq!(fixture.usage("key_1", 0..3000, Step::Minute).await.len(), 2500);
    }

    async fn every_grain_is_exact_whatever_comes_and_goes(database: TestDatabase) {
        let fixture = Arc::new(Fixture::new(&database).await);
        for seed in 1..=3_u64 {
            let (mut dice, mut model) = (Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)), Model::default());
            // Each seed has days of its own, far from the others'.
            let first = 20_000 * DAY * seed.cast_signed();
            let mut now = first + 4 * DAY;
            let mut stored: Vec<(String, BTreeMap<Calls, i64>)> = Vec::new();
            let mut all = 0;
            for turn in 0..40 {
                now += dice.throw(200).cast_signed();
                let calls = dice.calls(now);
                let batch = format!("{seed} {turn}");
                // Two replicas were handed the same batch, and one of them an older one, too.
                let again = (0..2).map(|_| {
                    let (fixture, batch, calls) = (fixture.clone(), batch.clone(), calls.clone());
                    tokio::spawn(async move { fixture.add_calls(&batch, &calls).await })
                });
                let again: Vec<_> = again.collect();
                let mut added = 0;
                for task in again {
                    added += u32::from(task.await.expect("no panic"));
                }
                assert_eq!(added, 1);
                if let Some((old, calls)) = stored.get(usize::try_from(dice.throw(40)).expect("small")) {
                    assert!(!fixture.add_calls(old, calls).await);
                }
                model.add(&calls);
                all += calls.values().sum::<i64>();
                stored.push((batch, calls));
                if dice.throw(4) == 0 {
                    for (step, kept) in [(Step::Minute, DAY), (Step::Hour, 2 * DAY)] {
                        fixture.forget_before(step, now - kept).await;
                        model.forget_before(step, now - kept);
                    }
                }
            }
            let span = first..now + DAY;
            for (grain, step) in Step::ALL.into_iter().enumerate() {
                let whole = filter(step.of(span.start)..step.of(span.end) + step.minutes(), step);
                assert_eq!(fixture.points(whole.clone()).await, model.points(grain, |_| true), "{step:?}");
                let key = of_key("key_1", whole.clone());
                assert_eq!(fixture.points(key).await, model.points(grain, |it| it.subject == "key_1"));
                let consumer = UsageFilter { consumer: Some("con_2".to_owned()), ..whole.clone() };
                assert_eq!(fixture.points(consumer).await, model.points(grain, |it| it.consumer == "con_2"));
                let code = UsageFilter { code: Some("EXPIRED".to_owned()), ..whole };
                assert_eq!(fixture.points(code).await, model.points(grain, |it| it.code == "EXPIRED"));
            }
            // Days are all there: they are all the calls that ever came.
            let days = fixture.points(filter(first..now + DAY, Step::Day)).await;
            assert_eq!(days.iter().map(|(_, _, count)| count).sum::<i64>(), all);
            // What no grain has forgotten is the same in all of them.
            let last = Step::Day.of(now);
            let last = last..last + DAY;
            let mut sums = BTreeSet::new();
            for step in Step::ALL {
                let rows = fixture.points(filter(last.clone(), step)).await;
                sums.insert(rows.iter().map(|(_, _, count)| count).sum::<i64>());
            }
            assert_eq!(sums.len(), 1, "{sums:?}");
        }
    }

    async fn groups_come_with_the_largest_first(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let rows = [
            (call("key_1", "con_1", 1, "VALID"), 5),
            (call("key_1", "con_2", 2, "VALID"), 7),
            (call("key_2", "", 1, "EXPIRED"), 30),
            (call("key_3", "con_2", 70, "VALID"), 5),
        ];
        fixture.add_calls("batch", &rows.into_iter().collect()).await;
        let groups = async |by, max| {
            let filter = filter(0..120, Step::Hour);
            fixture.store.usage_groups(&filter, by, max).await.expect("read")
        };
        let group = |name: &str, count| (name.to_owned(), count, 47);
        assert_eq!(groups(Grouping::Key, 9).await, [group("key_2", 30), group("key_1", 12), group("key_3", 5)]);
        assert_eq!(groups(Grouping::Consumer, 9).await, [group("", 30), group("con_2", 12), group("con_1", 5)]);
        assert_eq!(groups(Grouping::Code, 9).await, [group("EXPIRED", 30), group("VALID", 17)]);
        assert_eq!(groups(Grouping::Key, 1).await, [group("key_2", 30)], "of all groups, whatever is shown");
        let none = fixture.store.usage_groups(&filter(120..180, Step::Hour), Grouping::Key, 9).await;
        assert!(none.expect("read").is_empty());
    }

    async fn every_question_has_its_index(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        // Enough that an index is worth it: of 40 keys and 10 consumers, by the minute and by the hour.
        for first in (0..40_000).step_by(5_000) {
            let last = first + 4_999;
            let some = format!(
                "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) \
                INSERT INTO usage (partition, grain, minute, subject, consumer, code, count, environment) \
                SELECT 'ws_' || (i % 20), CASE WHEN i < 20000 THEN 1 ELSE 60 END, i / 2 * 60, 'key_' || (i % 40), \
                'con_' || (i % 10), 'VALID', 1, CASE WHEN i % 40 < 30 THEN 'live' ELSE 'test' END FROM n"
            );
            write_db!(fixture.store.db, |c| diesel::sql_query(some).execute(c).await).expect("stored");
        }
        write_db!(fixture.store.db, |c| diesel::sql_query("ANALYZE").execute(c).await).expect("analyzed");
        let is_postgres = matches!(fixture.store.db, Db::Postgres(_));
        let whole = filter(0..60_000, Step::Hour);
        let consumer = UsageFilter { consumer: Some("con_1".to_owned()), ..whole.clone() };
        let questions = [
            (of_key("key_1", whole.clone()), ["usage_by_subject"; 2]),
            (consumer, ["usage_by_consumer"; 2]),
            (whole, ["usage_pkey", "PRIMARY KEY"]),
        ];
        for (filter, indexes) in questions {
            let of_tests = UsageFilter { environment: Some(Environment::Test), ..filter.clone() };
            for filter in [filter, of_tests] {
                let plan = plan(&fixture.store, is_postgres, &filter).await;
                assert!(indexes.iter().any(|index| plan.contains(index)), "{indexes:?}: {plan}");
                assert!(!plan.contains("Seq Scan") && !plan.contains("SCAN usage"), "{plan}");
                // Where all that is read is in the index, no row is looked up beside it. The primary key is the table.
                let covered = is_postgres || plan.contains("COVERING") || plan.contains("PRIMARY KEY");
                assert!(covered, "{plan}");
            }
        }
    }

    async fn calls_are_of_the_environment_of_their_key(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let live = fixture.insert(fixture.key_row("live")).await;
        let test = KeyRow { environment: "test".to_owned(), ..fixture.key_row("test") };
        let test = fixture.insert(test).await;
        let now = fixture.clock.now();
        let minute = now.timestamp() / 60;
        let used = |network: &str| LastUse { at: now, network: Some(network.to_owned()), user_agent: None };
        let gone = KeyId::new(&*fixture.clock, &ENTROPY);
        let last = BTreeMap::from([live, test, gone].map(|id| (id, used("192.0.2.0/24"))));
        let rows = [
            (call(&live.to_string(), "con_1", minute, "VALID"), 1),
            (call(&test.to_string(), "con_1", minute, "VALID"), 2),
            (call(&test.to_string(), "", minute, "EXPIRED"), 4),
            (call(&gone.to_string(), "", minute, "VALID"), 8),
            (call("usr_1", "", minute, "VALID"), 16),
        ];
        let calls = rows.into_iter().collect();
        for batch in ["1", "2"] {
            assert!(fixture.store.usage_add(batch, &calls, &last, now).await.expect("stored"));
        }
        for step in Step::ALL {
            let whole = filter(step.of(minute)..step.of(minute) + step.minutes(), step);
            let of = async |environment, consumer: Option<&str>| {
                let consumer = consumer.map(str::to_owned);
                let points = fixture.points(UsageFilter { consumer, environment, ..whole.clone() }).await;
                points.into_iter().map(|(_, _, count)| count).sum::<i64>()
            };
            assert_eq!(of(None, None).await, 62, "{step:?}");
            assert_eq!(of(Some(Environment::Live), None).await, 2);
            assert_eq!(of(Some(Environment::Test), None).await, 12);
            assert_eq!(of(Some(Environment::Test), Some("con_1")).await, 4);
            let tests = UsageFilter { environment: Some(Environment::Test), ..whole.clone() };
            let groups = fixture.store.usage_groups(&tests, Grouping::Code, 9).await.expect("read");
            assert_eq!(groups, [("EXPIRED".to_owned(), 8, 12), ("VALID".to_owned(), 4, 12)]);
        }
    }

    async fn a_last_use_is_written_once_in_a_minute_and_never_goes_back(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let key = fixture.insert(fixture.key_row("a")).await;
        // The first second of a minute.
        let now = fixture.clock.now();
        let seconds = |seconds| now + chrono::TimeDelta::seconds(seconds);
        // Late ones, another of the same minute, and the next minute's.
        let uses = [(5, 5), (-60, 5), (3, 5), (50, 5), (60, 60), (59, 60), (110, 60), (200, 200)];
        for (batch, (at, shown)) in uses.into_iter().enumerate() {
            let network = Some(format!("192.0.{batch}.0/24"));
            let last = LastUse { at: seconds(at), network: network.clone(), user_agent: None };
            let (last, none) = (BTreeMap::from([(key, last)]), BTreeMap::new());
            fixture.store.usage_add(&batch.to_string(), &none, &last, now).await.expect("stored");
            let (_, _, stored, _) = fixture.store.key_by_id(key).await.expect("read").expect("there");
            let stored = stored.expect("a last use");
            assert_eq!(stored.at.0, seconds(shown), "{batch}");
            // All of it is of one call.
            assert_eq!(stored.network == network, at == shown, "{batch}: {stored:?}");
        }
    }

    async fn what_is_not_known_of_the_last_call_is_not_shown(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let key = fixture.insert(fixture.key_row("a")).await;
        let now = fixture.clock.now();
        let text = |text: &str| Some(text.to_owned());
        for (minute, network, user_agent) in [(0, text("192.0.2.0/24"), text("curl/8")), (1, None, None)] {
            let at = now + chrono::TimeDelta::minutes(minute);
            let last = LastUse { at, network: network.clone(), user_agent: user_agent.clone() };
            let (last, none) = (BTreeMap::from([(key, last)]), BTreeMap::new());
            fixture.store.usage_add(&minute.to_string(), &none, &last, now).await.expect("stored");
            let (_, _, stored, _) = fixture.store.key_by_id(key).await.expect("read").expect("there");
            assert_eq!(stored, Some(LastUsed { at: at.into(), network, user_agent }));
        }
    }
}
