//! `GET /v1/keys` of many keys: filters and orders.

use serde_json::{Value, json};

use crate::app::TestApp;

fn names(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_filter_finds_what_it_says() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let (pro, consumer) =
        (user.plan("pro").await, user.consumer(json!({ "name": "Acme" })).await["id"].clone());
    user.post("/v1/roles", &json!({ "name": "reader", "scopes": ["orders.read"] })).await.json(201);
    user.key().with("name", json!("first")).with("plan_id", pro.clone()).create().await;
    app.advance(60);
    user.key().with("name", json!("second")).with("consumer_id", consumer.clone()).create().await;
    let third = user.key().with("name", json!("third")).with("roles", json!(["reader"])).create().await;
    user.key().with("name", json!("fourth")).with("expires_in_days", json!(3)).create().await;
    app.advance(60);
    user.key()
        .with("name", json!("fifth"))
        .with("metadata", json!({ "customer": "a b&c", "seats": 5 }))
        .create()
        .await;
    third.whoami().await.json(200);
    app.drain_usage().await;
    let all = vec!["fifth", "fourth", "third", "second", "first"];
    let without = |name: &str| all.iter().copied().filter(|it| *it != name).collect::<Vec<_>>();
    for (query, expected) in [
        (format!("plan_id={}", pro.as_str().unwrap()), vec!["first"]),
        (format!("consumer_id={}", consumer.as_str().unwrap()), vec!["second"]),
        ("role=reader".to_owned(), vec!["third"]),
        ("expiring_before=2026-01-04T00:02:00Z".to_owned(), vec!["fourth"]),
        ("expiring_before=2026-01-04T00:01:00Z".to_owned(), vec![]),
        ("unused_since=2026-01-01T00:02:00Z".to_owned(), without("third")),
        ("unused_since=2026-01-01T00:02:01Z".to_owned(), all.clone()),
        (
            "created_after=2026-01-01T00:01:00Z&created_before=2026-01-01T00:02:00Z".to_owned(),
            vec!["fourth", "third", "second"],
        ),
        ("metadata.customer=a%20b%26c".to_owned(), vec!["fifth"]),
        ("metadata.customer=a+b%26c&metadata.seats=5".to_owned(), vec!["fifth"]),
        ("metadata.customer=a".to_owned(), vec![]),
        ("sort=name".to_owned(), vec!["fifth", "first", "fourth", "second", "third"]),
        ("sort=name&order=desc".to_owned(), vec!["third", "second", "fourth", "first", "fifth"]),
        ("q=th&sort=name&status=active".to_owned(), vec!["fifth", "fourth", "third"]),
    ] {
        let page = user.get(&format!("/v1/keys?{query}")).await.json(200);
        let (mut found, mut expected) = (names(&page), expected);
        // What is made in one instant is in the order of ids that are partly random.
        if !query.contains("sort=name") {
            found.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(found, expected, "{query}");
    }
    let last_used = user.get("/v1/keys?sort=last_used_at").await.json(200);
    assert_eq!(names(&last_used)[0], "third");
    let soonest = user.get("/v1/keys?sort=expires_at&order=asc").await.json(200);
    assert_eq!(names(&soonest)[0], "fourth");
    app.finish().await;
}

#[tokio::test]
async fn a_cursor_is_of_one_list() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for name in ["a", "b", "c"] {
        user.key().with("name", json!(name)).create().await;
    }
    let first = user.get("/v1/keys?sort=name&limit=1&metadata.none=x").await.json(200);
    assert!(first["next_cursor"].is_null() && names(&first).is_empty());
    let first = user.get("/v1/keys?sort=name&limit=1").await.json(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = user.get(&format!("/v1/keys?sort=name&limit=2&cursor={cursor}")).await.json(200);
    assert_eq!((names(&first), names(&second)), (vec!["a"], vec!["b", "c"]));
    for other in
        ["", "sort=created_at&", "sort=name&order=desc&", "sort=name&q=a&", "sort=name&metadata.a=b&"]
    {
        user.get(&format!("/v1/keys?{other}cursor={cursor}")).await.violates(422, &["/cursor"]);
    }
    app.finish().await;
}

#[tokio::test]
async fn nonsense_is_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    for (query, pointer) in [
        ("sort=color", "/sort"),
        ("order=up", "/order"),
        ("plan_id=basic", "/plan_id"),
        ("role=No%20Role", "/role"),
        ("unused_since=yesterday", "/unused_since"),
        ("created_after=2026-01-01T00:00:00Z&created_after=2026-01-01T00:00:00Z", "/created_after"),
        ("metadata.=a", "/metadata"),
        ("metadata.a=1&metadata.a=2", "/metadata"),
        ("metadata.a=1&metadata.b=1&metadata.c=1&metadata.d=1", "/metadata"),
        ("metadata=a", "/metadata"),
        ("metadata.a=%00", "/metadata.a"),
    ] {
        user.get(&format!("/v1/keys?{query}")).await.violates(422, &[pointer]);
    }
    app.finish().await;
}
