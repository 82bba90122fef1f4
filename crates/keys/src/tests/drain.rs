//! Tallies become usage exactly once, whatever happens to the acknowledgements.

use tokio_util::sync::CancellationToken;
use tollgate_proto::ratelimit::TallyRow;

use super::{counter::Mishap, *};

/// A workspace with one key.
struct Used {
    desk: Desk,
    owner: Caller,
    workspace: String,
    key: String,
}

impl Used {
    async fn new(desk: Desk) -> Self {
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        let key = desk.key(&owner).await.key.expect("a key").id;
        Self { desk, owner, workspace, key }
    }

    fn row(&self, code: &str, count: u64) -> TallyRow {
        let now = Some(time::to_wire(self.desk.clock.now()));
        TallyRow {
            partition: self.workspace.clone(),
            subject: self.key.clone(),
            minute: now,
            code: code.into(),
            count,
            last_at: now,
            ..TallyRow::default()
        }
    }

    /// By the minute, and so by the hour and the day.
    async fn total(&self) -> u64 {
        let by = [wire::Granularity::Minute, wire::Granularity::Hour, wire::Granularity::Day];
        let [minutes, hours, days] = by.map(async |by| {
            let message = wire::GetUsageRequest {
                caller: Some(self.owner.clone()),
                key_id: self.key.clone(),
                span: Some(wire::UsageSpan { granularity: by.into(), ..Default::default() }),
            };
            call!(self.desk, get_usage, message).expect("usage").total
        });
        let (minutes, hours, days) = (minutes.await, hours.await, days.await);
        assert_eq!((hours, days), (minutes, minutes));
        minutes
    }
}

on_every_database! {
    async fn a_drain_takes_all_there_is(database: TestDatabase) {
        let used = Used::new(Desk::new(&database).await).await;
        used.desk.counter.give("1", vec![used.row("VALID", 2), used.row("EXPIRED", 1)]);
        for partition in ["usr_1", "usr_2"] {
            let row = |code| TallyRow { partition: partition.into(), ..used.row(code, 1) };
            used.desk.counter.give(partition, vec![row("VALID"), row("EXPIRED")]);
        }
        assert_eq!(used.desk.service.drain().await.expect("drained"), 6);
        assert_eq!((used.total().await, used.desk.counter.left()), (3, 0));
        assert_eq!(used.desk.service.drain().await.expect("drained"), 0);
    }

    async fn a_lost_acknowledgement_counts_nothing_twice(database: TestDatabase) {
        let used = Used::new(Desk::new(&database).await).await;
        for (round, mishap) in [Mishap::Lost, Mishap::Unanswered].into_iter().enumerate() {
            used.desk.counter.give(&format!("batch {round}"), vec![used.row("VALID", 5)]);
            used.desk.counter.mishap(mishap);
            let fault = used.desk.service.drain().await.expect_err("not acknowledged");
            assert_eq!(fault.code(), Code::Unavailable);
            assert_eq!(used.desk.service.drain().await.expect("drained"), 0, "{mishap:?}");
        }
        assert_eq!((used.total().await, used.desk.counter.left()), (10, 0));
    }

    async fn replicas_that_drain_at_once_count_nothing_twice(database: TestDatabase) {
        let used = Used::new(Desk::new(&database).await).await;
        for batch in 0..20 {
            used.desk.counter.give(&batch.to_string(), vec![used.row("VALID", 1)]);
        }
        let mut replicas = Vec::new();
        for _ in 0..4 {
            let counter = used.desk.counter.clone();
            let replica = Desk::with(&database, Config::default(), counter.clone()).await;
            replicas.push(tokio::spawn(async move {
                let mut rows = 0;
                while counter.left() > 0 {
                    rows += replica.service.drain().await.expect("drained");
                }
                rows
            }));
        }
        let mut rows = 0;
        for replica in replicas {
            rows += replica.await.expect("no panic");
        }
        assert_eq!((rows, used.total().await, used.desk.counter.left()), (20, 20, 0));
    }

    async fn a_run_ends_though_there_is_always_more(database: TestDatabase) {
        let used = Used::new(Desk::new(&database).await).await;
        let minute = |n: u64| {
            let at = used.desk.clock.now() - chrono::TimeDelta::minutes(n.cast_signed());
            TallyRow { minute: Some(time::to_wire(at)), ..used.row("VALID", 1) }
        };
        // A full batch says that its partition has more; the two after it say twice that it is empty.
        used.desk.counter.give("full", (0..crate::drain::FULL_BATCH as u64).map(minute).collect());
        for batch in ["rest", "again", "and again"] {
            used.desk.counter.give(batch, vec![used.row("EXPIRED", 1)]);
        }
        assert_eq!(used.desk.service.drain().await.expect("drained"), 5002);
        assert_eq!(used.desk.counter.left(), 1);
        assert_eq!(used.desk.service.drain().await.expect("drained"), 1);
    }

    async fn nonsense_does_not_stop_the_drain(database: TestDatabase) {
        let used = Used::new(Desk::new(&database).await).await;
        let stranger = "key_00000000000000000000000001".to_owned();
        used.desk.counter.give("1", vec![
            TallyRow { subject: "key\0".into(), ..used.row("VALID", 1) },
            TallyRow { subject: stranger, ..used.row("VALID", 1) },
            used.row("VALID", 1),
        ]);
        assert_eq!(used.desk.service.drain().await.expect("drained"), 2);
        assert_eq!((used.total().await, used.desk.counter.left()), (1, 0));
    }

    async fn it_drains_by_itself_and_once_more_at_the_end(database: TestDatabase) {
        let config = Config { drain_interval_ms: 1.try_into().expect("not zero"), ..Config::default() };
        let used = Used::new(Desk::with(&database, config, Counter::new()).await).await;
        let stop = CancellationToken::new();
        used.desk.counter.give("1", vec![used.row("VALID", 1)]);
        // It goes on after a fault.
        used.desk.counter.mishap(Mishap::Lost);
        let running = {
            let (service, stop) = (used.desk.service.clone(), stop.clone());
            tokio::spawn(async move { service.run(stop).await })
        };
        used.desk.counter.acknowledged.notified().await;
        assert_eq!(used.total().await, 1);
        used.desk.counter.give("2", vec![used.row("VALID", 1)]);
        stop.cancel();
        running.await.expect("it ends");
        assert_eq!((used.total().await, used.desk.counter.left()), (2, 0));
    }
}
