//! What is old goes, piece by piece; what is not stays.

use std::collections::BTreeMap;

use super::*;

async fn forget_all(fixture: &Fixture, what: Aged) -> usize {
    let mut deleted = 0;
    loop {
        let rows = fixture.store.forget(what, fixture.clock.now()).await.expect("deleted");
        if rows == 0 {
            return deleted;
        }
        deleted += rows;
    }
}

on_every_database! {
    async fn only_what_is_older_goes(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let minute = fixture.clock.now().timestamp() / 60;
        for (batch, at) in [("1", minute - 1), ("2", minute - 1), ("3", minute - 5), ("4", minute)] {
            let calls = Calls {
                partition: "ws_1".to_owned(),
                minute: at,
                subject: format!("key_{batch}"),
                consumer: String::new(),
                code: "VALID".to_owned(),
            };
            let calls = BTreeMap::from([(calls, 1)]);
            let now = fixture.clock.now();
            fixture.store.usage_add(batch, &calls, &BTreeMap::new(), now).await.expect("stored");
        }
        assert_eq!(forget_all(&fixture, Aged::Usage(Step::Minute)).await, 3);
        assert_eq!(forget_all(&fixture, Aged::UsageBatches).await, 0, "they are not older than now");
        assert_eq!(forget_all(&fixture, Aged::Audit).await, 0);
        fixture.clock.advance(Duration::from_mins(1));
        assert_eq!(forget_all(&fixture, Aged::Usage(Step::Minute)).await, 1);
        assert_eq!(forget_all(&fixture, Aged::UsageBatches).await, 4);
        assert_eq!(forget_all(&fixture, Aged::Audit).await, 1);
        assert!(fixture.audited().await.is_empty());
    }

    async fn each_grain_is_kept_for_its_own_time(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        // More rows than one piece has, all in one minute.
        let now = fixture.clock.now();
        let minute = now.timestamp() / 60;
        let call = |subject: i64| Calls {
            partition: "ws_1".to_owned(),
            minute,
            subject: format!("key_{subject}"),
            consumer: String::new(),
            code: "VALID".to_owned(),
        };
        let calls = (0..1500).map(|subject| (call(subject), 1)).collect();
        fixture.store.usage_add("1", &calls, &BTreeMap::new(), now).await.expect("stored");
        // A minute, an hour, a day has to end before it is old.
        for (minutes, step) in [(1, Step::Minute), (60, Step::Hour), (1440, Step::Day)] {
            let end = now + chrono::TimeDelta::minutes(minutes);
            let early = fixture.store.forget(Aged::Usage(step), end - chrono::TimeDelta::minutes(1)).await;
            assert_eq!(early.expect("deleted"), 0, "{step:?}");
            for rows in [1000, 500, 0] {
                let deleted = fixture.store.forget(Aged::Usage(step), end).await.expect("deleted");
                assert_eq!(deleted, rows, "{step:?}");
            }
        }
    }

    async fn retries_are_forgotten_and_their_keys_are_not(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let row = fixture.key_row("a");
        let (id, secret) = (row.id.typed(), fixture.secret_row(&row));
        let once = IdempotencyRow {
            id: vec![1],
            request_hash: vec![2],
            made: row.id,
            part: None,
            expires_at: (fixture.clock.now() + chrono::TimeDelta::seconds(1)).into(),
        };
        fixture.store.key_insert(fixture.deed("key.create"), row, secret, Some(once)).await.expect("stored");
        assert_eq!(forget_all(&fixture, Aged::Idempotency).await, 0);
        fixture.clock.advance(Duration::from_secs(2));
        assert_eq!(forget_all(&fixture, Aged::Idempotency).await, 1);
        assert!(fixture.store.key_by_id(id).await.expect("read").is_some());
    }
}
