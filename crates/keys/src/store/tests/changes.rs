//! The write path: audit in the same transaction, publication after it, retries that find what was made.

use tollgate_db::{DbId, DbTime, Error, write_db};

use super::*;

type AuditColumns = (String, Option<String>, String, DbId, DbTime);

fn once(fixture: &Fixture, id: &str, hash: &str, row: &KeyRow) -> IdempotencyRow {
    IdempotencyRow {
        id: id.as_bytes().to_vec(),
        request_hash: hash.as_bytes().to_vec(),
        made: row.id,
        part: None,
        expires_at: (fixture.clock.now() + chrono::TimeDelta::hours(24)).into(),
    }
}

async fn create_once(fixture: &Fixture, hash: &str) -> Created {
    let row = fixture.key_row("a");
    let (once, secret) = (once(fixture, "id", hash, &row), fixture.secret_row(&row));
    fixture.store.key_insert(fixture.deed("key.create"), row, secret, Some(once)).await.expect("stored")
}

async fn key_count(fixture: &Fixture) -> i64 {
    read_db!(fixture.store.db, |c| schema::keys::table.count().get_result(c).await).expect("read")
}

on_every_database! {
    async fn every_change_is_audited_once(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let key = fixture.insert(fixture.key_row("a")).await;
        let first = fixture.clock.now();
        for _ in 0..3 {
            fixture.store.key_revoke(fixture.cuts_off(key), key, fixture.clock.now()).await.expect("revoked");
            fixture.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(fixture.audited().await, ["key.create", "key.revoke", "workspace.create"]);
        let (row, ..) = fixture.store.key_by_id(key).await.expect("read").expect("there");
        assert_eq!(row.revoked_at, Some(first.into()), "the first revocation counts");
    }

    async fn an_audit_row_says_who_and_from_where(database: TestDatabase) {
        use schema::audit_events::dsl::{actor, at, audit_events, ip, target, workspace_id};
        let fixture = Fixture::new(&database).await;
        let row: Result<AuditColumns, _> = read_db!(fixture.store.db, |c| audit_events
            .select((actor, ip, target, workspace_id, at)).first(c).await);
        let workspace = fixture.workspace;
        assert_eq!(row.expect("read"), (
            fixture.caller.principal.to_string(),
            Some("192.0.2.1".to_owned()),
            workspace.to_string(),
            workspace.into(),
            fixture.clock.now().into(),
        ));
    }

    async fn a_change_that_fails_leaves_nothing(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let row = fixture.key_row("a");
        let secret = fixture.secret_row(&row);
        fixture.insert(row.clone()).await;
        let again = fixture.store.key_insert(fixture.deed("key.create"), row, secret, None).await;
        assert_eq!(again.expect_err("the id is taken").code(), tollgate_kernel::Code::Internal);
        let stranger = KeyRow { plan_id: KeyId::new(&*fixture.clock, &ENTROPY).into(), ..fixture.key_row("b") };
        let secret = fixture.secret_row(&stranger);
        let refused = fixture.store.key_insert(fixture.deed("key.create"), stranger, secret, None).await;
        assert!(refused.is_err(), "there is no such plan");
        assert_eq!(fixture.audited().await, ["key.create", "workspace.create"]);
        assert_eq!(key_count(&fixture).await, 1);
    }

    async fn audit_events_cannot_be_rewritten(database: TestDatabase) {
        use schema::audit_events::dsl::{action, audit_events};
        let fixture = Fixture::new(&database).await;
        let rewrite = diesel::update(audit_events).set(action.eq("nothing"));
        let refused = write_db!(fixture.store.db, |c| rewrite.clone().execute(c).await);
        assert!(matches!(refused, Err(Error::Other(_))), "{refused:?}");
        assert_eq!(fixture.audited().await, ["workspace.create"]);
    }

    async fn what_is_made_and_what_cuts_off_is_published_and_what_grants_is_not(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        assert_eq!(fixture.changes.sequence(), 0, "it has a workspace by now");
        let key = fixture.insert(fixture.key_row("a")).await;
        let other = fixture.insert(fixture.key_row("b")).await;
        assert_eq!(fixture.changes.holds_until(0, &[Subject::Born]), None);
        assert!(fixture.changes.holds_until(0, &[Subject::Key(key), Subject::Key(other)]).is_some());
        fixture.store.key_revoke(fixture.cuts_off(key), key, fixture.clock.now()).await.expect("revoked");
        assert_eq!(fixture.changes.holds_until(0, &[Subject::Key(key)]), None);
        assert!(fixture.changes.holds_until(0, &[Subject::Key(other)]).is_some());
        let before = fixture.changes.sequence();
        // Also when there was nothing to do: the one who did it may have died before it could publish.
        fixture.store.key_revoke(fixture.cuts_off(key), key, fixture.clock.now()).await.expect("revoked");
        assert_eq!(fixture.changes.holds_until(before, &[Subject::Key(key)]), None);
    }

    async fn a_revocation_that_nobody_waits_for_is_published(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let key = fixture.insert(fixture.key_row("a")).await;
        let before = fixture.changes.sequence();
        {
            let revoking = fixture.store.key_revoke(fixture.cuts_off(key), key, fixture.clock.now());
            let mut revoking = std::pin::pin!(revoking);
            // Polled once, then dropped: the client hung up.
            assert!(poll_once(revoking.as_mut()).await.is_none());
        }
        while fixture.changes.holds_until(before, &[Subject::Key(key)]).is_some() {
            tokio::task::yield_now().await;
        }
        let (row, ..) = fixture.store.key_by_id(key).await.expect("read").expect("there");
        assert!(row.revoked_at.is_some());
    }

    async fn a_retry_finds_what_was_made(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        assert_eq!(create_once(&fixture, "hash").await, Created::New);
        let Created::Before(_) = create_once(&fixture, "hash").await else { panic!("made twice") };
        assert_eq!(create_once(&fixture, "other").await, Created::Mismatch);
        fixture.clock.advance(Duration::from_hours(24));
        assert_eq!(create_once(&fixture, "other").await, Created::New, "a day later it is forgotten");
        assert_eq!(key_count(&fixture).await, 2);
        assert_eq!(fixture.audited().await.len(), 3);
    }

    async fn of_twenty_retries_at_once_one_makes_the_key(database: TestDatabase) {
        let fixture = Arc::new(Fixture::new(&database).await);
        let tasks: Vec<_> = (0..20).map(|_| {
            let fixture = fixture.clone();
            tokio::spawn(async move { create_once(&fixture, "hash").await })
        }).collect();
        let mut made = 0;
        for task in tasks {
            made += usize::from(task.await.expect("no panic") == Created::New);
        }
        assert_eq!((made, key_count(&fixture).await), (1, 1));
    }
}

/// Polls once.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
