//! Keys come back as they went in, in order, by page and by filter.

use tollgate_kernel::Timestamp;
use tollgate_verify::Environment;

use super::{
    lists::{list_of, names_in},
    *,
};

async fn names(fixture: &Fixture, filter: KeyFilter) -> Vec<String> {
    names_in(fixture, filter, Order::NEWEST_FIRST).await
}

fn status(status: KeyStatus) -> KeyFilter {
    KeyFilter { status: Some(status), ..KeyFilter::default() }
}

fn part(text: &str) -> KeyFilter {
    KeyFilter { name_part: Some(text.to_owned()), ..KeyFilter::default() }
}

on_every_database! {
    async fn a_key_comes_back_whole(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let expires_at: Timestamp = "2026-06-01T12:34:56.789012Z".parse().expect("a time");
        let row = KeyRow { expires_at: Some(expires_at.into()), ..fixture.key_row("Ключ") };
        let id = fixture.insert(row.clone()).await;
        let (key, plan, last_used, _) = fixture.store.key_by_id(id).await.expect("read").expect("there");
        assert_eq!(format!("{key:?}"), format!("{row:?}"));
        assert_eq!((plan.name.as_str(), last_used), ("basic", None));
        let other = KeyId::new(&*fixture.clock, &ENTROPY);
        assert!(fixture.store.key_by_id(other).await.expect("read").is_none());
    }

    async fn public_ids_are_case_sensitive(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let row = fixture.key_row("a");
        let secret = SecretRow { public_id: "AbCdEfGhIjK1".to_owned(), ..fixture.secret_row(&row) };
        let digest = secret.digest.clone();
        fixture.store.key_insert(fixture.deed("key.create"), row, secret, None).await.expect("stored");
        for unknown in ["abcdefghijk1", "AbCdEfGhIjK2", "AbCdEfGhIjK", "%"] {
            assert!(fixture.store.key_by_public_id(unknown).await.expect("read").is_none(), "{unknown}");
        }
        let found = fixture.store.key_by_public_id("AbCdEfGhIjK1").await.expect("read").expect("there");
        assert_eq!((found.secret.digest, found.secret.retired_at, found.workspace.enabled), (digest, None, true));
    }

    async fn lists_are_newest_first_and_paged(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        for name in ["one", "two", "three", "four", "five"] {
            fixture.insert(fixture.key_row(name)).await;
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let all = KeyFilter::default();
            let list = list_of(&fixture, &all, Order::NEWEST_FIRST);
            let (ids, next) = fixture.store.keys_page(list, after.as_ref(), 2).await.expect("read");
            let rows = fixture.store.key_records(&ids).await.expect("read");
            seen.push(rows.into_iter().map(|(key, ..)| key.name).collect::<Vec<_>>().join(" "));
            // Made while somebody pages: it is newer, and does not shift what follows.
            fixture.insert(fixture.key_row("new")).await;
            if next.is_none() {
                break;
            }
            after = next;
        }
        assert_eq!(seen, ["five four", "three two", "one"]);
    }

    async fn a_key_has_one_status(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let now = fixture.clock.now();
        let past = Some(now.into());
        let rows = [
            ("active", true, None, None),
            ("expires later", true, Some((now + chrono::TimeDelta::days(1)).into()), None),
            ("disabled", false, None, None),
            ("expired", true, past, None),
            ("expired, disabled", false, past, None),
            ("revoked", true, None, past),
            ("revoked, expired, disabled", false, past, past),
        ];
        for (name, enabled, expires_at, revoked_at) in rows {
            let row = KeyRow { enabled, expires_at, revoked_at, ..fixture.key_row(name) };
            fixture.insert(row).await;
        }
        assert_eq!(names(&fixture, status(KeyStatus::Active)).await, ["expires later", "active"]);
        assert_eq!(names(&fixture, status(KeyStatus::Disabled)).await, ["disabled"]);
        assert_eq!(names(&fixture, status(KeyStatus::Expired)).await, ["expired, disabled", "expired"]);
        let revoked = names(&fixture, status(KeyStatus::Revoked)).await;
        assert_eq!(revoked, ["revoked, expired, disabled", "revoked"]);
        assert_eq!(names(&fixture, KeyFilter::default()).await.len(), rows.len());
    }

    async fn a_search_takes_its_text_literally(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        for name in ["100% Orange", "a_b", "aXb", "back\\slash", "ÉCLAIR"] {
            fixture.insert(fixture.key_row(name)).await;
        }
        assert_eq!(names(&fixture, part("orange")).await, ["100% Orange"]);
        assert_eq!(names(&fixture, part("0%")).await, ["100% Orange"]);
        assert_eq!(names(&fixture, part("a_b")).await, ["a_b"]);
        assert_eq!(names(&fixture, part("\\")).await, ["back\\slash"]);
        assert_eq!(names(&fixture, part("clair")).await, ["ÉCLAIR"]);
        assert_eq!(names(&fixture, part("éclair")).await, Vec::<String>::new(), "only ASCII is folded");
        assert_eq!(names(&fixture, part("' OR 1=1")).await, Vec::<String>::new());
    }

    async fn filters_narrow_together(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let test = KeyRow { environment: "test".to_owned(), ..fixture.key_row("my test") };
        fixture.insert(test).await;
        fixture.insert(fixture.key_row("my live")).await;
        let environment = Some(Environment::Test);
        assert_eq!(names(&fixture, KeyFilter { environment, ..KeyFilter::default() }).await, ["my test"]);
        assert_eq!(names(&fixture, KeyFilter { environment, ..part("my") }).await, ["my test"]);
        assert!(names(&fixture, KeyFilter { environment, ..part("live") }).await.is_empty());
    }
}
