//! Lists of keys as callers see them: orders, cursors that are good for their own list only, and what is wrong with a request.

use super::*;

fn pair(name: &str, value: &str) -> wire::MetadataValue {
    wire::MetadataValue { name: name.into(), value: value.into() }
}

async fn page(desk: &Desk, message: &wire::ListKeysRequest) -> Result<(Vec<String>, Option<String>), Fault> {
    let answer = call!(desk, list_keys, message.clone())?;
    Ok((answer.keys.into_iter().map(|key| key.name).collect(), answer.next_cursor))
}

on_every_database! {
    async fn each_order_goes_both_ways(database: TestDatabase) {
        use wire::KeySort::{CreatedAt, ExpiresAt, LastUsedAt, Name, Unspecified};
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        for (name, days) in [("b", 3), ("C", 0), ("a", 1)] {
            let message = wire::CreateKeyRequest { name: name.into(), expires_in_days: days, ..Default::default() };
            let key = desk.create(&owner, message).await.expect("made").key.expect("a key");
            if name == "b" {
                desk.service.store.plant_last_use(&key.id, desk.clock.now()).await;
            }
            desk.clock.advance(std::time::Duration::from_secs(1));
        }
        for (sort, ascending, expected) in [
            (Unspecified, None, "aCb"),
            (CreatedAt, Some(true), "bCa"),
            (ExpiresAt, Some(true), "abC"),
            (ExpiresAt, None, "Cba"),
            (Name, None, "abC"),
            (Name, Some(false), "Cba"),
            (LastUsedAt, None, "baC"),
            (LastUsedAt, Some(true), "Cab"),
        ] {
            let page_of = |cursor: &str| wire::ListKeysRequest {
                caller: Some(owner.clone()),
                sort: sort.into(),
                ascending,
                page: Some(wire::Page { limit: 1, cursor: cursor.into() }),
                ..Default::default()
            };
            let (mut seen, mut cursor) = (String::new(), String::new());
            loop {
                let (names, next) = page(&desk, &page_of(&cursor)).await.expect("a page");
                seen.extend(names);
                let Some(next) = next else { break };
                cursor = next;
            }
            let (seen, expected): (Vec<char>, Vec<char>) = (seen.chars().collect(), expected.chars().collect());
            // Those that were never used are in the order of their ids, in which the random part may decide.
            let known = if sort == LastUsedAt { if ascending.is_some() { 2..3 } else { 0..1 } } else { 0..3 };
            assert_eq!(seen[known.clone()], expected[known], "{sort:?} {ascending:?}: {seen:?}");
        }
    }

    async fn a_cursor_is_good_for_its_own_list_only(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        for caller in [&owner, &owner, &owner, &other] {
            desk.key(caller).await;
        }
        let list = wire::ListKeysRequest {
            caller: Some(owner.clone()),
            page: Some(wire::Page { limit: 1, ..Default::default() }),
            ..Default::default()
        };
        let cursor = page(&desk, &list).await.expect("a page").1.expect("there is another");
        let on = |list: wire::ListKeysRequest, cursor: &str| wire::ListKeysRequest {
            page: Some(wire::Page { limit: 2, cursor: cursor.into() }), ..list
        };
        assert_eq!(page(&desk, &on(list.clone(), &cursor)).await.expect("the others").0.len(), 2, "the limit may change");
        let filter = wire::KeyFilter { q: "a".into(), ..Default::default() };
        let mut flipped = cursor.clone().into_bytes();
        flipped[3] = if flipped[3] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).expect("ASCII");
        for wrong in [
            on(wire::ListKeysRequest { caller: Some(other), ..list.clone() }, &cursor),
            on(wire::ListKeysRequest { filter: Some(filter), ..list.clone() }, &cursor),
            on(wire::ListKeysRequest { ascending: Some(true), ..list.clone() }, &cursor),
            on(wire::ListKeysRequest { sort: wire::KeySort::Name.into(), ..list.clone() }, &cursor),
            on(list.clone(), &flipped),
            on(list.clone(), &cursor[..cursor.len() - 1]),
            on(list.clone(), &format!("{cursor}A")),
            on(list, "nonsense"),
        ] {
            let fault = page(&desk, &wrong).await.expect_err("refused");
            assert_eq!(pointers(&fault), ["/cursor"], "{wrong:?}");
        }
    }

    async fn metadata_is_found_by_its_value_as_it_is(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let metadata = r#"{"customer":"4711","seats":5,"trial":true,"note":"ü","rate":0.5,"quote":"5' OR 1=1","long":"LONG"}"#
            .replace("LONG", &"x".repeat(255));
        let message = wire::CreateKeyRequest { name: "a".into(), metadata_json: metadata, ..Default::default() };
        desk.create(&owner, message).await.expect("made");
        desk.key(&owner).await;
        let long = "x".repeat(255);
        for (found, pairs) in [
            (true, vec![pair("customer", "4711")]),
            (true, vec![pair("customer", "4711"), pair("seats", "5"), pair("trial", "true")]),
            (true, vec![pair("note", "ü")]),
            (true, vec![pair("quote", "5' OR 1=1")]),
            (true, vec![pair("long", &long)]),
            (false, vec![pair("customer", "471")]),
            (false, vec![pair("Customer", "4711")]),
            (false, vec![pair("customer", "4711"), pair("seats", "6")]),
            (false, vec![pair("customer", "%")]),
            (false, vec![pair("rate", "0.5")]),
            (false, vec![pair("trial", "1")]),
        ] {
            let filter = Some(wire::KeyFilter { metadata: pairs.clone(), ..Default::default() });
            let list = wire::ListKeysRequest { caller: Some(owner.clone()), filter, ..Default::default() };
            assert_eq!(page(&desk, &list).await.expect("a page").0 == ["a"], found, "{pairs:?}");
        }
    }

    async fn what_is_wrong_is_named(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let many = (0..4).map(|number| pair(&format!("n{number}"), "a")).collect();
        for (metadata, expected) in [
            (many, 1),
            (vec![pair(&"n".repeat(101), "a")], 1),
            (vec![pair("n", &"a".repeat(256))], 1),
            (vec![pair("n", "a"), pair("n", "b")], 1),
            (vec![pair("", ""), pair("n", "\0")], 2),
        ] {
            let filter = Some(wire::KeyFilter { metadata, ..Default::default() });
            let list = wire::ListKeysRequest { caller: Some(desk.user()), filter, ..Default::default() };
            let fault = page(&desk, &list).await.expect_err("refused");
            assert_eq!(pointers(&fault), vec!["/metadata"; expected]);
        }
        let far = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
        let filter = wire::KeyFilter { unused_since: far, created_after: far, role: "A".into(), ..Default::default() };
        let page_of = Some(wire::Page { limit: 101, cursor: String::new() });
        let list = wire::ListKeysRequest { caller: Some(desk.user()), filter: Some(filter), sort: 9, page: page_of, ..Default::default() };
        let fault = page(&desk, &list).await.expect_err("refused");
        assert_eq!(pointers(&fault), ["/unused_since", "/created_after", "/role", "/sort", "/limit"]);
    }
}
