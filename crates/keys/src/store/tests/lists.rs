//! Every filter and every order of a list, alone and together, against a list that is filtered and sorted by hand; and which indexes
//! answer it.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use tollgate_db::tx_db;
use tollgate_verify::Environment;

use super::*;
use crate::store::{
    Place,
    schema::{consumers, key_rotations, keys, last_used},
};

const SORTS: [Sort; 4] = [Sort::CreatedAt, Sort::ExpiresAt, Sort::LastUsedAt, Sort::Name];

pub(super) fn list_of<'a>(fixture: &Fixture, filter: &'a KeyFilter, order: Order) -> KeyList<'a> {
    KeyList { workspace: fixture.workspace, filter, order, now: fixture.clock.now() }
}

/// All pages of a list, by name.
pub(super) async fn names_in(fixture: &Fixture, filter: KeyFilter, order: Order) -> Vec<String> {
    let ids = all_pages(fixture, &filter, order, 100).await;
    let rows = fixture.store.key_records(&ids).await.expect("read");
    rows.into_iter().map(|(key, ..)| key.name).collect()
}

async fn all_pages(fixture: &Fixture, filter: &KeyFilter, order: Order, limit: usize) -> Vec<DbId> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let list = list_of(fixture, filter, order);
        let (ids, next) = fixture.store.keys_page(list, after.as_ref(), limit).await.expect("read");
        assert!(ids.len() <= limit);
        all.extend(ids);
        if next.is_none() {
            return all;
        }
        assert_ne!(next, after, "a list gets on");
        after = next;
    }
}

/// What was stored of a key, when it was used last, and when it is due by its plan.
type Known = (KeyRow, Option<Timestamp>, Option<Timestamp>);

/// Keys that differ in all that lists look at, and often agree in some of it.
async fn plant(fixture: &Fixture, count: usize) -> Vec<Known> {
    let plans: Vec<DbId> = read_db!(fixture.store.db, |c| schema::plans::table
        .select(schema::plans::id)
        .order(schema::plans::id)
        .load(c)
        .await)
    .expect("read");
    let consumers: Vec<DbId> = (0..3).map(|_| DbId::from(KeyId::new(&*fixture.clock, &ENTROPY))).collect();
    let start = fixture.clock.now();
    let day = |days: usize| DbTime(start + TimeDelta::days(i64::try_from(days).expect("few")));
    let mut known = Vec::new();
    for number in 0..count {
        let row = KeyRow {
            plan_id: plans[number % plans.len()],
            environment: if number % 7 == 0 { "test" } else { "live" }.to_owned(),
            expires_at: (number % 3 == 0).then(|| day(number % 5)),
            revoked_at: (number % 11 == 0).then(|| day(0)),
            enabled: number % 6 != 0,
            consumer_id: (number % 4 == 0).then(|| consumers[number % 3]),
            roles: if number % 5 == 0 { vec!["reader".to_owned()] } else { vec![] }.into(),
            secret_made_at: day(number % 6),
            metadata:
                json!({ "customer": format!("c{}", number % 9), "tier": number % 2, "paid": number % 3 == 0,
                "deep": { "tier": 1 }, "rate": 1.5, "gone": null, "list": ["a"] })
                .into(),
            ..fixture.key_row(&format!("Key {} of {}", number % 13, number % 2))
        };
        let used = (number % 3 == 1).then(|| day(number % 4).0);
        let due = (number % 9 == 2).then(|| day(number % 5).0);
        known.push((row, used, due));
    }
    for id in consumers {
        let row = ConsumerRow {
            id,
            workspace_id: fixture.workspace.into(),
            name: "c".to_owned(),
            name_folded: "c".to_owned(),
            external_id: None,
            plan_id: None,
            limits: json!([]).into(),
            metadata: json!({}).into(),
            enabled: true,
            created_by: "usr_1".to_owned(),
            created_at: start.into(),
        };
        let insert = diesel::insert_into(consumers::table).values(row);
        write_db!(fixture.store.db, |c| insert.execute(c).await).expect("stored");
    }
    for some in known.chunks(100) {
        let some = some.to_vec();
        let stored: Result<(), tollgate_db::Error> = tx_db!(fixture.store.db, |c| {
            for (row, used, due) in some {
                diesel::insert_into(keys::table).values(&row).execute(c).await?;
                if let Some(due) = due {
                    let plan = RotationRow {
                        key_id: row.id,
                        workspace_id: row.workspace_id,
                        every_days: 1,
                        deadline_days: None,
                        due_at: due.into(),
                        retires_at: None,
                    };
                    diesel::insert_into(key_rotations::table).values(&plan).execute(c).await?;
                }
                // First as one who was used, and then as one who was used again.
                for at in used.into_iter().flat_map(|at| [start, at]) {
                    let use_of = (last_used::key_id.eq(row.id), last_used::at.eq(DbTime(at)));
                    diesel::insert_into(last_used::table)
                        .values(use_of)
                        .on_conflict(last_used::key_id)
                        .do_update()
                        .set(last_used::at.eq(DbTime(at)))
                        .execute(c)
                        .await?;
                }
            }
            Ok(())
        });
        stored.expect("stored");
    }
    known
}

/// Whether a key fits, said in Rust.
fn fits((key, used, due): &Known, filter: &KeyFilter, now: Timestamp) -> bool {
    let ended = key.expires_at.is_some_and(|at| at.0 <= now);
    let status = if key.revoked_at.is_some() {
        KeyStatus::Revoked
    } else if ended {
        KeyStatus::Expired
    } else if key.enabled {
        KeyStatus::Active
    } else {
        KeyStatus::Disabled
    };
    let metadata = |(name, value): &(String, String)| match &key.metadata.0[name] {
        serde_json::Value::String(text) => text == value,
        serde_json::Value::Number(it) => it.as_i64().is_some_and(|it| value.parse() == Ok(it)),
        serde_json::Value::Bool(it) => value.parse() == Ok(*it),
        _ => false,
    };
    let aged = |before| filter.max_secret_age.is_some_and(|age| key.secret_made_at.0 + age < before);
    filter.status.is_none_or(|it| it == status)
        && filter.environment.is_none_or(|it| it.as_str() == key.environment)
        && filter.name_part.as_ref().is_none_or(|part| key.name_folded.contains(part))
        && filter.consumer.is_none_or(|it| key.consumer_id == Some(it))
        && filter.plan.is_none_or(|it| key.plan_id == it)
        && filter.role.as_ref().is_none_or(|it| key.roles.0.contains(it))
        && filter.expiring_before.is_none_or(|before| key.expires_at.is_some_and(|at| at.0 < before))
        && filter.unused_since.is_none_or(|since| used.is_none_or(|at| at < since))
        && filter.created_after.is_none_or(|after| key.created_at.0 >= after)
        && filter.created_before.is_none_or(|before| key.created_at.0 < before)
        && filter.rotation_due_before.is_none_or(|before| due.is_some_and(|at| at < before) || aged(before))
        && filter.metadata.iter().all(metadata)
        && !(filter.unrevoked && key.revoked_at.is_some())
}

fn by_hand(known: &[Known], filter: &KeyFilter, order: Order, now: Timestamp) -> Vec<DbId> {
    let never = Timestamp::from_timestamp_micros(253_402_300_799_999_999).expect("a time");
    let mut rows: Vec<&Known> = known.iter().filter(|it| fits(it, filter, now)).collect();
    rows.sort_by_key(|(key, used, _)| {
        let (time, text) = match order.sort {
            Sort::CreatedAt => (key.created_at.0, String::new()),
            Sort::ExpiresAt => (key.expires_at.map_or(never, |at| at.0), String::new()),
            Sort::LastUsedAt => (used.unwrap_or(Timestamp::UNIX_EPOCH), String::new()),
            Sort::Name => (never, key.name_folded.clone()),
        };
        (time, text, key.id)
    });
    if !order.ascending {
        rows.reverse();
    }
    rows.into_iter().map(|(key, ..)| key.id).collect()
}

/// Each filter alone.
fn filters(known: &[Known], now: Timestamp) -> Vec<KeyFilter> {
    let none = KeyFilter::default;
    let consumer = known.iter().find_map(|(key, ..)| key.consumer_id);
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let statuses = [KeyStatus::Active, KeyStatus::Disabled, KeyStatus::Expired, KeyStatus::Revoked];
    let mut all: Vec<KeyFilter> = statuses.map(|it| KeyFilter { status: Some(it), ..none() }).to_vec();
    all.extend([
        KeyFilter { environment: Some(Environment::Test), ..none() },
        KeyFilter { name_part: Some("ey 1".to_owned()), ..none() },
        KeyFilter { consumer, ..none() },
        KeyFilter { plan: Some(known[1].0.plan_id), ..none() },
        KeyFilter { role: Some("reader".to_owned()), ..none() },
        KeyFilter { expiring_before: Some(now + TimeDelta::days(2)), ..none() },
        KeyFilter { unused_since: Some(now), ..none() },
        KeyFilter { created_after: Some(known[known.len() / 2].0.created_at.0), ..none() },
        KeyFilter { created_before: Some(known[known.len() / 2].0.created_at.0), ..none() },
        KeyFilter { rotation_due_before: Some(now + TimeDelta::days(2)), ..none() },
        KeyFilter {
            rotation_due_before: Some(now + TimeDelta::days(3)),
            max_secret_age: Some(TimeDelta::days(2)),
            ..none()
        },
        KeyFilter { metadata: vec![label("customer", "c4")], ..none() },
        KeyFilter { metadata: vec![label("tier", "1")], ..none() },
        KeyFilter {
            metadata: vec![label("paid", "false"), label("customer", "c4"), label("tier", "0")],
            ..none()
        },
        KeyFilter { unrevoked: true, ..none() },
    ]);
    all
}

/// One that is as narrow as both.
fn both(one: &KeyFilter, other: &KeyFilter) -> KeyFilter {
    let (one, other) = (one.clone(), other.clone());
    KeyFilter {
        status: one.status.or(other.status),
        environment: one.environment.or(other.environment),
        name_part: one.name_part.or(other.name_part),
        consumer: one.consumer.or(other.consumer),
        plan: one.plan.or(other.plan),
        role: one.role.or(other.role),
        expiring_before: one.expiring_before.or(other.expiring_before),
        unused_since: one.unused_since.or(other.unused_since),
        created_after: one.created_after.or(other.created_after),
        created_before: one.created_before.or(other.created_before),
        rotation_due_before: one.rotation_due_before.or(other.rotation_due_before),
        max_secret_age: one.max_secret_age.or(other.max_secret_age),
        metadata: if one.metadata.is_empty() { other.metadata } else { one.metadata },
        unrevoked: one.unrevoked || other.unrevoked,
    }
}

on_every_database! {
    async fn every_filter_in_every_order_is_what_it_is_by_hand(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let known = plant(&fixture, 150).await;
        let now = fixture.clock.now();
        let filters = filters(&known, now);
        for filter in filters.iter().chain([&KeyFilter::default()]) {
            for sort in SORTS {
                for ascending in [true, false] {
                    let order = Order { sort, ascending };
                    let expected = by_hand(&known, filter, order, now);
                    assert!(!expected.is_empty(), "{filter:?} fits some");
                    assert_eq!(all_pages(&fixture, filter, order, 7).await, expected, "{filter:?} {order:?}");
                    let list = list_of(&fixture, filter, order);
                    assert_eq!(fixture.store.walk_all(list, 7).await, expected, "walked: {filter:?} {order:?}");
                }
            }
        }
    }

    async fn filters_together_and_far_walks_are_what_they_are_by_hand(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let known = plant(&fixture, 150).await;
        let now = fixture.clock.now();
        let filters = filters(&known, now);
        for (place, one) in filters.iter().enumerate() {
            let (other, third) = (&filters[(place * 5 + 3) % filters.len()], &filters[(place + 7) % filters.len()]);
            let (filter, order) = (both(&both(one, other), third), Order { sort: SORTS[place % 4], ascending: place % 2 == 0 });
            let expected = by_hand(&known, &filter, order, now);
            assert_eq!(all_pages(&fixture, &filter, order, 10).await, expected, "{filter:?} {order:?}");
            let pair = both(one, other);
            let expected = by_hand(&known, &pair, order, now);
            assert_eq!(fixture.store.walk_all(list_of(&fixture, &pair, order), 10).await, expected, "{pair:?} {order:?}");
        }
    }

    async fn a_page_that_looked_far_enough_says_where_to_go_on(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        plant(&fixture, 60).await;
        let filter = KeyFilter { name_part: Some("there is no such name".to_owned()), ..KeyFilter::default() };
        let list = list_of(&fixture, &filter, Order::NEWEST_FIRST);
        let (mut pages, mut after) = (0, None);
        loop {
            let (ids, next) = fixture.store.walk(list, after.as_ref(), 10, 25).await;
            assert!(ids.is_empty());
            pages += 1;
            if next.is_none() {
                break;
            }
            after = next;
        }
        assert_eq!(pages, 3, "60 keys are 25, 25 and 10");
    }

    async fn a_walk_begins_where_the_first_key_can_be_that_fits(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let known = plant(&fixture, 60).await;
        let (middle, none) = (known[30].0.created_at.0, KeyFilter::default);
        for (filter, order, skipped) in [
            (KeyFilter { created_before: Some(middle), ..none() }, Order::NEWEST_FIRST, 30),
            (KeyFilter { created_after: Some(middle), ..none() }, Order::OLDEST_FIRST, 30),
        ] {
            let ours = by_hand(&known, &filter, order, fixture.clock.now());
            assert_eq!(ours.len(), skipped);
            let (ids, next) = fixture.store.walk(list_of(&fixture, &filter, order), None, 10, 12).await;
            assert_eq!(ids, ours[..10], "{order:?}: not one of the others was walked past");
            assert!(next.is_some());
        }
    }

    async fn a_list_is_stable_while_it_is_written(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let known = plant(&fixture, 40).await;
        let there: BTreeSet<DbId> = known.iter().map(|(key, ..)| key.id).collect();
        for sort in SORTS {
            for ascending in [true, false] {
                let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
                loop {
                    let filter = KeyFilter::default();
                    let list = list_of(&fixture, &filter, Order { sort, ascending });
                    let (ids, next) = fixture.store.keys_page(list, after.as_ref(), 6).await.expect("read");
                    seen.extend(ids);
                    pages += 1;
                    // Not for ever: those that are made at the end of the list would never let it end.
                    for name in ["aaa", "key 7 of 0", "zzz"].into_iter().filter(|_| pages <= 5) {
                        let expires_at = Some((fixture.clock.now() + TimeDelta::days(1)).into());
                        fixture.insert(KeyRow { expires_at, ..fixture.key_row(name) }).await;
                    }
                    if next.is_none() {
                        break;
                    }
                    after = next;
                }
                let unique: BTreeSet<DbId> = seen.iter().copied().collect();
                assert_eq!(unique.len(), seen.len(), "none comes twice: {sort:?} {ascending}");
                assert!(unique.is_superset(&there), "none is left out: {sort:?} {ascending}");
            }
        }
    }

    async fn another_workspace_s_keys_are_in_no_list(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let known = plant(&fixture, 60).await;
        let now = fixture.clock.now();
        let other = WorkspaceId::new(&*fixture.clock, &ENTROPY);
        for filter in filters(&known, now) {
            for sort in SORTS {
                let order = Order { sort, ascending: true };
                let list = KeyList { workspace: other, filter: &filter, order, now };
                let (ids, next) = fixture.store.keys_page(list, None, 100).await.expect("read");
                assert_eq!((ids.len(), next), (0, None), "{filter:?}");
                assert!(fixture.store.walk_all(list, 100).await.is_empty(), "{filter:?}");
            }
        }
    }

    async fn what_a_key_is_found_by_changes_with_it(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let known = plant(&fixture, 12).await;
        let key = known[2].0.clone();
        let found = async |name: &str, value: &str| {
            let filter = KeyFilter { metadata: vec![(name.to_owned(), value.to_owned())], ..KeyFilter::default() };
            all_pages(&fixture, &filter, Order::OLDEST_FIRST, 100).await.contains(&key.id)
        };
        assert!(found("customer", "c2").await);
        for nested in ["deep", "rate", "gone", "list"] {
            assert!(!found(nested, "1").await && !found(nested, "1.5").await && !found(nested, "null").await, "{nested}");
        }
        let changed = KeyRow { metadata: json!({ "customer": "other" }).into(), roles: vec!["writer".to_owned()].into(), ..key.clone() };
        fixture.store.key_update(fixture.cuts_off(key.id.typed()), changed).await.expect("changed");
        assert!(found("customer", "other").await && !found("customer", "c2").await && !found("tier", "0").await);
        let filter = KeyFilter { role: Some("writer".to_owned()), ..KeyFilter::default() };
        assert_eq!(all_pages(&fixture, &filter, Order::OLDEST_FIRST, 100).await, [key.id]);
    }

    async fn every_filter_and_order_is_answered_by_an_index(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let known = plant(&fixture, 1_000).await;
        // Others have keys too, as a rule: a workspace's own are few among all.
        plant(&Fixture::new(&database).await, 2_000).await;
        fixture.store.analyze().await;
        let now = fixture.clock.now();
        for filter in filters(&known, now).into_iter().chain([KeyFilter::default()]) {
            for sort in SORTS {
                for ascending in [true, false] {
                    let list = list_of(&fixture, &filter, Order { sort, ascending });
                    for (what, expected, plan) in fixture.store.explained(list).await {
                        let scans = |line: &&String| line.contains("Seq Scan") || line.trim_start().starts_with("SCAN ") && !line.contains("SCAN few");
                        assert_eq!(plan.iter().find(scans), None, "{what}: {filter:?} {sort:?}: {plan:#?}");
                        assert!(plan.iter().any(|line| line.contains(expected)), "{what} by {expected}: {filter:?} {sort:?}: {plan:#?}");
                    }
                }
            }
        }
    }

    async fn walks_along_times_pass_each_key_once(database: TestDatabase) {
        let fixture = Fixture::new(&database).await;
        let known = plant(&fixture, 1_300).await;
        let (from, until) = (fixture.clock.now(), fixture.clock.now() + TimeDelta::days(3));
        let of_workspace = DbId::from(fixture.workspace);
        let mut seen = Vec::new();
        let mut place = Some(Place { at: from.into(), key: None });
        while let Some(after) = place {
            let walked = fixture.store.ages_after(of_workspace, after, until).await.expect("read");
            place = walked.last().copied();
            seen.extend(walked.into_iter().filter_map(|it| it.key));
        }
        let made = known.iter().filter(|(key, ..)| from < key.secret_made_at.0 && key.secret_made_at.0 <= until);
        let mut expected: Vec<_> = made.map(|(key, ..)| (key.secret_made_at, key.id)).collect();
        expected.sort_unstable();
        assert!(expected.len() > 600, "more than one piece, of few times");
        assert_eq!(seen, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }
}
