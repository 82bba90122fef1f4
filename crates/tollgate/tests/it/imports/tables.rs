//! The tables of the usual tutorials: each comes in by one command.

use serde_json::{Value, json};

use super::*;

/// As `djangorestframework-api-key` 3.1 has written it: two keys that live, one that is revoked.
const DJANGO: &str = "\
created,name,revoked,expiry_date,hashed_key,prefix,id
2025-11-22 20:00:19.637805,billing,0,,sha512$$90e6a3737cbc6d6088d412e0612817f2706495051fa8c017560b149faadd4cb1230a08765bc9ecfe24c6ce383936ff54b6c5b0d848cf35b604bc9fb0667d9b88,zeg4NyrV,zeg4NyrV.sha512$$90e6a3737cbc6d6088d412e0612817f2706495051fa8c017560b149faadd4cb1230a08765bc9ecfe24c6ce383936ff54b6c5b0d848cf35b604bc9fb0667d9b88
2025-11-22 20:00:19.639057,old,1,,sha512$$f56a6e86ee0b316916f12ee05acf03e4833954ae240c1817f9774e52024e96c442d8fb83832f00f09be6e0e7ee9533d5c56d79dd7498d653d554bd56fd4beea7,NFGfNfeV,NFGfNfeV.sha512$$f56a6e86ee0b316916f12ee05acf03e4833954ae240c1817f9774e52024e96c442d8fb83832f00f09be6e0e7ee9533d5c56d79dd7498d653d554bd56fd4beea7
2025-11-22 20:00:19.640195,ends,0,2030-01-01 00:00:00,sha512$$5c343c9ffbe9b058b93ec6eb2913b327afe57940580e1bdea7d869ff1656b192daddd49585c350377de5c0df6f35f9458c8035234a3d335da32faf638ff0b8e9,J1I7U4Vp,J1I7U4Vp.sha512$$5c343c9ffbe9b058b93ec6eb2913b327afe57940580e1bdea7d869ff1656b192daddd49585c350377de5c0df6f35f9458c8035234a3d335da32faf638ff0b8e9
";
const DJANGO_KEYS: [&str; 3] = [
    "zeg4NyrV.9CAEVWPFQDzvpjnoi7YqEsNtnFD5VXZn",
    "NFGfNfeV.4FsgAJ0IdJbcGrAqbF3RVgCA1N6D1t4P",
    "J1I7U4Vp.YhWZCqthWlqX7kEJqC0SsYgHjdoWdBRp",
];

/// `0123456789abcdef`, by the bcrypt of Python and the Argon2 of argon2-cffi.
const SLOW: &str = "0123456789abcdef";
const BCRYPT: &str = "$2b$04$srQK6z8g2R3vQfa0qk7EUO4NPioSRWDt6ZV6/GU267gFlDK9/a8Nm";
const ARGON2: &str =
    "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$MNRFs/xNeJIs4KSw0SYrzKYAVci8NkuT//QDSlhN+gY";

#[tokio::test]
async fn a_table_of_a_fastapi_tutorial() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let desk = Desk::of(&app, &user.service_key(&["keys.write"]).await);
    let keys: Vec<String> = (10..13).map(foreign).collect();
    // SQLAlchemy: id, user_id, key_hash = sha256(key).hexdigest(), name, created_at, expires_at, is_active
    let table = format!(
        "id,user_id,key_hash,name,created_at,expires_at,is_active\n\
         1,42,{},laptop,2025-03-01 12:00:00.123456,,t\n\
         2,42,{},\"ci, nightly\",2025-03-02 12:00:00+00,2030-01-01 00:00:00+00,t\n\
         3,7,{},old,2025-03-03T12:00:00Z,,f\n",
        sha256(&keys[0]),
        sha256(&keys[1]),
        sha256(&keys[2]),
    );
    desk.write("api_keys.csv", &table);
    assert_eq!(desk.fine(&["import", "api_keys.csv"]).await, "3 created, 0 there already, 0 invalid\n");
    for (key, code) in keys.iter().zip(["VALID", "VALID", "DISABLED"]) {
        app.secret("an imported key", key);
        let verdict = user.verify(key).await;
        assert_eq!(verdict["code"], code);
    }
    let verdict = user.verify(&keys[1]).await;
    assert_eq!(verdict["metadata"], json!({ "external_id": "2", "user_id": "42" }));
    assert_eq!(verdict["expires_at"], "2030-01-01T00:00:00Z");
    let key = user.get(&format!("/v1/keys/{}", verdict["key_id"].as_str().unwrap())).await.json(200);
    assert_eq!((&key["name"], &key["created_at"]), (&json!("ci, nightly"), &json!("2025-03-02T12:00:00Z")));
    assert_eq!(desk.fine(&["import", "api_keys.csv"]).await, "0 created, 3 there already, 0 invalid\n");
    app.finish().await;
}

#[tokio::test]
async fn a_column_may_name_the_consumer() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let desk = Desk::of(&app, &user.service_key(&["keys.write"]).await);
    let table: String = ["user_id,digest,key\n".to_owned()]
        .into_iter()
        .chain((14..17).map(|it| format!("u{},{},unused\n", it % 2, sha256(&foreign(it)))))
        .collect();
    desk.write("api_keys.csv", &table);
    let said = desk.keys(&["import", "api_keys.csv"]).await;
    assert!(said.code == 1 && said.err.contains("--map key=-"), "{}", said.err);
    let map = ["import", "api_keys.csv", "--map", "user_id=consumer,digest=hash,key=-"];
    let said = desk.keys(&map).await;
    assert_eq!(said.code, 1);
    assert!(
        said.out.starts_with("0 created, 0 there already, 3 invalid\n  line 2: consumer "),
        "{}",
        said.out
    );
    let all = [&map[..], &["--create-consumers", "--environment", "test"]].concat();
    assert_eq!(desk.fine(&all).await, "3 created, 0 there already, 0 invalid\n");
    let consumers = user.get("/v1/consumers").await.json(200);
    let mut names: Vec<_> =
        consumers["data"].as_array().unwrap().iter().map(|it| &it["external_id"]).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, [&json!("u0"), &json!("u1")]);
    let verdict = user.verify(&foreign(14)).await;
    assert_eq!((&verdict["code"], &verdict["environment"]), (&json!("VALID"), &json!("test")));
    assert!(verdict["consumer_id"].is_string());
    app.finish().await;
}

#[tokio::test]
async fn the_table_of_djangorestframework_api_key() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let desk = Desk::of(&app, &user.service_key(&["keys.write"]).await);
    desk.write("apikeys.csv", DJANGO);
    assert_eq!(desk.fine(&["import", "apikeys.csv"]).await, "3 created, 0 there already, 0 invalid\n");
    for (key, code) in DJANGO_KEYS.into_iter().zip(["VALID", "REVOKED", "VALID"]) {
        app.secret("an imported key", key);
        let verdict = user.verify(key).await;
        assert_eq!((&verdict["code"], &verdict["metadata"]), (&json!(code), &json!({})), "{verdict}");
    }
    // The second time they are found by the hash that the first use has left.
    assert_eq!(user.verify(DJANGO_KEYS[0]).await["code"], "VALID");
    assert_eq!(desk.fine(&["import", "apikeys.csv"]).await, "0 created, 3 there already, 0 invalid\n");
    let keys = user.get("/v1/keys").await.json(200);
    let starts: Vec<_> =
        keys["data"].as_array().unwrap().iter().map(|it| it["start"].as_str().unwrap()).collect();
    assert!(starts.contains(&"zeg4NyrV"), "{starts:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_collection_of_an_express_tutorial() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let desk = Desk::of(&app, &user.service_key(&["keys.write"]).await);
    // createHash('sha256').update(key).digest('base64url'), and bcrypt.hash(key, 10) with the key's beginning
    let key = foreign(20);
    let documents = [
        json!({ "id": "665f", "keyHash": sha256(&key), "name": "web", "userId": 7, "scopes": [], "createdAt": "2025-03-01T12:00:00.000Z" }),
        json!({ "id": "6660", "keyHash": BCRYPT, "keyPrefix": &SLOW[..8], "name": "mobile", "isActive": true }),
        json!({ "id": "6661", "keyHash": ARGON2.replace("MNRF", "MNRG"), "keyPrefix": &SLOW[..6] }),
        json!({ "id": "6662", "keyHash": "4032af8d61035123906e58e067140cc5" }),
        json!(["no", "object"]),
    ];
    let lines: Vec<String> = documents.iter().map(Value::to_string).collect();
    desk.write("keys.ndjson", &(lines.join("\n") + "\n"));
    let said = desk.keys(&["import", "keys.ndjson", "--report", "report.ndjson"]).await;
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("3 created, 0 there already, 2 invalid\n"), "{}", said.out);
    assert!(said.err.contains("2 rows were not taken"), "{}", said.err);
    let report: Vec<Value> =
        desk.read("report.ndjson").lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let mut outcomes: Vec<_> =
        report.iter().map(|it| (it["line"].as_u64().unwrap(), it["outcome"].as_str().unwrap())).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [(1, "created"), (2, "created"), (3, "created"), (4, "invalid"), (5, "invalid")]);
    let fourth = report.iter().find(|it| it["line"] == 4).unwrap();
    assert_eq!(fourth["problems"][0]["pointer"], "/hash");
    for key in [key.as_str(), SLOW] {
        app.secret("an imported key", key);
        for _ in 0..2 {
            assert_eq!(user.verify(key).await["code"], "VALID");
        }
    }
    assert_eq!(user.verify(SLOW).await["metadata"], json!({ "external_id": "6660" }));
    assert_eq!(user.verify("0123456789abcdeX").await["code"], "NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_wrong_files_are_named() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let desk = Desk::of(&app, &user.service_key(&["keys.write"]).await);
    desk.write(
        "keys.csv",
        &format!("\u{feff}key_hash,name\n{},a\nnonsense,b\n{}\n", sha256(&foreign(30)), sha256("x")),
    );
    let said = desk.keys(&["import", "keys.csv", "--dry-run"]).await;
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("1 would be created, 0 there already, 2 invalid\n"), "{}", said.out);
    assert!(said.out.contains("line 3: hash ") && said.out.contains("line 4: has 1 cells"), "{}", said.out);
    assert_eq!(user.get("/v1/keys").await.json(200)["data"], json!([]));
    assert!(!desk.has("keys.csv.progress"));
    desk.write("keys.txt", "a");
    desk.write("plain.csv", "api_key,name\nsk_live_abc,a\n");
    for (arguments, words) in [
        (&["import", "keys.txt"][..], "--format"),
        (&["import", "none.csv"], "none.csv cannot be read"),
        (&["import", "plain.csv"], "may be the keys themselves"),
        (&["import", "keys.csv", "--map", "none=hash"], "the column `none`"),
        (&["import", "keys.csv", "--map", "name=burn"], "--map name=burn"),
    ] {
        let said = desk.keys(arguments).await;
        assert!(said.code == 1 && said.err.contains(words), "{arguments:?} {}", said.err);
    }
    app.finish().await;
}
