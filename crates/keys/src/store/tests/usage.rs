//! Usage counts each batch once, and adds up by the minute, hour and day.

use std::collections::BTreeMap;

use super::*;

const WORKSPACE: &str = "ws_1";

fn calls(rows: &[(&str, i64, &str, i64)]) -> BTreeMap<Calls, i64> {
    let row = |(subject, minute, code, count): &(&str, i64, &str, i64)| {
        let (partition, subject, code) = (WORKSPACE.to_owned(), (*subject).to_owned(), (*code).to_owned());
        (Calls { partition, subject, minute: *minute, code }, *count)
    };
    rows.iter().map(row).collect()
}

impl Fixture {
    async fn add(&self, batch: &str, rows: &[(&str, i64, &str, i64)]) -> bool {
        let none = BTreeMap::new();
        self.store.usage_add(batch, &calls(rows), &none, self.clock.now()).await.expect("stored")
    }

    async fn usage(&self, subject: &str, minutes: std::ops::Range<i64>, step: Step) -> Vec<UsageRow> {
        self.store.usage_of(WORKSPACE, subject, minutes, step, 100).await.expect("read")
    }
}

fn row(minute: i64, code: &str, count: i64) -> UsageRow {
    (minute, code.to_owned(), count)
}

on_every_database! {
    async fn a_batch_counts_once(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let rows = [("key_1", 10, "VALID", 3), ("key_1", 10, "RATE_LIMITED", 1), ("usr_1", 10, "VALID", 9)];
        assert!(fixture.add("batch 1", &rows).await);
        assert!(!fixture.add("batch 1", &rows).await);
        assert!(fixture.add("batch 2", &rows[..1]).await);
        assert_eq!(
            fixture.usage("key_1", 0..100, Step::Minute).await,
            [row(10, "RATE_LIMITED", 1), row(10, "VALID", 6)]
        );
        assert!(fixture.usage("key_2", 0..100, Step::Minute).await.is_empty());
        let elsewhere = fixture.store.usage_of("ws_2", "key_1", 0..100, Step::Minute, 100).await;
        assert!(elsewhere.expect("read").is_empty());
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
    }

    async fn minutes_add_up_to_hours_and_days(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let day = 20_454 * 1440;
        fixture.add("batch", &[
            ("key_1", day, "VALID", 1),
            ("key_1", day + 59, "VALID", 2),
            ("key_1", day + 60, "VALID", 4),
            ("key_1", day + 60, "EXPIRED", 8),
            ("key_1", day + 1439, "VALID", 16),
            ("key_1", day + 1440, "VALID", 32),
        ]).await;
        let span = day..day + 1441;
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
        let all = fixture.store.usage_of(WORKSPACE, "key_1", 0..3000, Step::Day, 100).await.expect("read");
        assert_eq!(all, [row(0, "VALID", 2880), row(1440, "VALID", 2120)]);
    }

    async fn the_latest_call_stays_the_latest(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let key = fixture.insert(fixture.key_row("a")).await;
        let now = fixture.clock.now();
        let none = BTreeMap::new();
        let earlier = now - chrono::TimeDelta::seconds(5);
        for (batch, at) in [("1", earlier), ("2", now), ("3", earlier)] {
            let last = BTreeMap::from([(key, at)]);
            fixture.store.usage_add(batch, &none, &last, now).await.expect("stored");
        }
        let (_, _, last_used) = fixture.store.key_by_id(key).await.expect("read").expect("there");
        assert_eq!(last_used, Some(now.into()));
    }
}
