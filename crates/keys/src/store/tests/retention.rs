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
                subject: format!("key_{batch}"),
                minute: at,
                code: "VALID".to_owned(),
            };
            let calls = BTreeMap::from([(calls, 1)]);
            let now = fixture.clock.now();
            fixture.store.usage_add(batch, &calls, &BTreeMap::new(), now).await.expect("stored");
        }
        assert_eq!(forget_all(&fixture, Aged::Usage).await, 3);
        assert_eq!(forget_all(&fixture, Aged::UsageBatches).await, 0, "they are not older than now");
        assert_eq!(forget_all(&fixture, Aged::Audit).await, 0);
        fixture.clock.advance(Duration::from_mins(1));
        assert_eq!(forget_all(&fixture, Aged::Usage).await, 1);
        assert_eq!(forget_all(&fixture, Aged::UsageBatches).await, 4);
        assert_eq!(forget_all(&fixture, Aged::Audit).await, 1);
        assert!(fixture.audited().await.is_empty());
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
