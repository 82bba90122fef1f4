//! What is old goes, piece by piece; what is not stays.

use std::collections::BTreeMap;

use tollgate_db::tx_db;
use tollgate_kernel::CreditAccountId;

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

    async fn movements_go_piece_by_piece_and_balances_stay(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let account = AccountRow {
            id: CreditAccountId::new(&*fixture.clock, &ENTROPY).into(),
            workspace_id: fixture.workspace.into(),
            owner_id: KeyId::new(&*fixture.clock, &ENTROPY).into(),
            owner_kind: "key".to_owned(),
            balance: 1_501,
            refill: json!(null).into(),
            next_refill_at: None,
            revision: 1_501,
            step: 0,
            epoch: 0,
            lent_at: None,
            created_at: fixture.clock.now().into(),
            closed_at: None,
        };
        let id = account.id;
        let now = fixture.clock.now();
        let rows: Vec<_> = (1..=1_501)
            .map(|number| LedgerRow {
                account_id: id,
                number,
                // Many of one moment, and the last a second later.
                at: (now + chrono::TimeDelta::seconds(i64::from(number > 1_500))).into(),
                kind: "grant".to_owned(),
                amount: 1,
                balance: number,
                request_id: number.to_string(),
                actor: "usr_1".to_owned(),
            })
            .collect();
        let insert = diesel::insert_into(schema::credit_accounts::table).values(account);
        write_db!(fixture.store.db, |c| insert.execute(c).await).expect("stored");
        for some in rows.chunks(100) {
            let some = some.to_vec();
            let stored: Result<(), tollgate_db::Error> = tx_db!(fixture.store.db, |c| {
                for row in some {
                    diesel::insert_into(schema::credit_ledger::table).values(&row).execute(c).await?;
                }
                Ok(())
            });
            stored.expect("stored");
        }
        let forget = async |before| fixture.store.forget(Aged::CreditLedger, before).await.expect("deleted");
        assert_eq!(forget(now).await, 0, "not older than that");
        for rows in [1_000, 500, 0] {
            assert_eq!(forget(now + chrono::TimeDelta::milliseconds(1)).await, rows);
        }
        let (stays, _) = fixture.store.credits_by_id(id.typed()).await.expect("read").expect("there");
        assert_eq!((stays.balance, stays.revision), (1_501, 1_501));
        let page = crate::page::Page::parse(None, &mut crate::input::Problems::default());
        let left = fixture.store.credit_ledger(id, page).await.expect("read");
        assert_eq!(left.iter().map(|it| (it.number, it.balance)).collect::<Vec<_>>(), [(1_501, 1_501)]);
    }
}
