//! Keys that were made elsewhere come in by their hashes, are found by what people hold, and go out again.

use std::collections::BTreeSet;

use tollgate_proto::ratelimit::Limit;
use tollgate_verify::{ImportedKey, VerdictCode};
use wire::import_result::Outcome;

use super::{receiver::Receiver, *};

const KEY: &str = "0123456789abcdef";
/// Of [`KEY`], by tools that are not ours.
const SHA256: &str = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
const BASE64: &str = "n59REfeyengfHx3d5evC3St5a/xzZcnCi1SOVkF2kp8=";
const BASE64URL: &str = "n59REfeyengfHx3d5evC3St5a_xzZcnCi1SOVkF2kp8";
const SHA512: &str = "1c043fbe4bca7c7920dae536c680fd44c15d71ec12cd82a2a9491b0043b57f4d\
                      0b8905985e85ad13831ee6d39e55a54e8f808cc82c41a0582931bbc0c0221d60";
const BCRYPT: &str = "$2b$04$srQK6z8g2R3vQfa0qk7EUO4NPioSRWDt6ZV6/GU267gFlDK9/a8Nm";
const ARGON2: &str =
    "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$MNRFs/xNeJIs4KSw0SYrzKYAVci8NkuT//QDSlhN+gY";
const PBKDF2: &str = "pbkdf2_sha256$1000$somesalt12345678$geTLHw8IwZzSRslqGe8l7pCCUdvH3K4QRWywIVhDACk=";

fn row(hash: &str) -> wire::ImportRow {
    let secret = wire::ImportedSecret { hash: hash.into(), prefix: "012345".into(), ..Default::default() };
    wire::ImportRow { secret: Some(secret), name: "from elsewhere".into(), ..Default::default() }
}

fn numbered(number: usize) -> wire::ImportRow {
    row(&format!("{number:064x}"))
}

impl Desk {
    async fn import(&self, caller: &Caller, rows: Vec<wire::ImportRow>) -> Vec<wire::ImportResult> {
        let message = wire::ImportKeysRequest { caller: Some(caller.clone()), rows, ..Default::default() };
        call!(self, import_keys, message).expect("an answer").results
    }

    async fn outcomes(&self, caller: &Caller, rows: Vec<wire::ImportRow>) -> Vec<Outcome> {
        self.import(caller, rows).await.iter().map(wire::ImportResult::outcome).collect()
    }

    async fn find(&self, credential: &str) -> Option<wire::Grant> {
        let message = wire::ResolveImportedKeyRequest { credential: credential.into() };
        call!(self, resolve_imported_key, message).expect("an answer").grant
    }

    async fn any_imports(&self) -> bool {
        call!(self, get_imports, wire::GetImportsRequest {}).expect("an answer").any
    }

    async fn export(&self, caller: &Caller, limit: u32) -> Result<Vec<wire::ImportRow>, Fault> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let caller = Some(caller.clone());
            let message = wire::ExportKeysRequest { caller, limit, cursor, ..Default::default() };
            let answer = call!(self, export_keys, message)?;
            rows.extend(answer.rows);
            match answer.next_cursor {
                Some(next) => cursor = next,
                None => return Ok(rows),
            }
        }
    }

    /// All that is stored of keys.
    async fn dump(&self) -> String {
        let store = &self.service.store;
        format!("{} {}", store.everything().await, store.imports_and_deeds().await)
    }

    async fn revoke_all(&self, caller: &Caller) {
        let message = wire::ListKeysRequest { caller: Some(caller.clone()), ..Default::default() };
        for key in call!(self, list_keys, message).expect("a list").keys {
            self.revoke(caller, &key.id).await.expect("revoked");
        }
    }
}

/// What is wrong with a row, by its pointers.
fn wrong(result: &wire::ImportResult) -> Vec<&str> {
    result.problems.iter().map(|it| it.pointer.as_str()).collect()
}

on_every_database! {
    async fn a_key_is_found_by_whichever_hash_it_came_with(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        assert!(!desk.any_imports().await);
        for hash in [SHA256, BASE64, BASE64URL, SHA512, BCRYPT, ARGON2, &format!("argon2{ARGON2}"), PBKDF2] {
            let owner = desk.user();
            // Each in its own workspace, one after the other: a key has one owner.
            let results = desk.import(&owner, vec![row(hash)]).await;
            assert_eq!(results[0].outcome(), Outcome::Created, "{hash} {results:?}");
            assert!(desk.any_imports().await);
            let grant = desk.find(KEY).await.expect("found");
            assert_eq!(grant.key_id, results[0].key_id, "{hash}");
            assert_eq!(desk.find("0123456789abcdeX").await, None, "{hash}");
            let checks = desk.counter.checks();
            assert_eq!(desk.find(KEY).await.expect("found").key_id, results[0].key_id, "{hash}");
            assert_eq!(desk.counter.checks(), checks, "the second time no hash is computed that takes long");
            assert_eq!(desk.outcomes(&owner, vec![row(hash)]).await, [Outcome::Exists], "{hash}");
            assert!(!desk.dump().await.contains(KEY), "the key itself is nowhere");
            desk.service.store.forget_imports().await;
        }
    }

    async fn the_first_use_replaces_a_hash_and_is_audited(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        desk.import(&owner, vec![row(BCRYPT)]).await;
        assert!(desk.dump().await.contains(BCRYPT));
        assert_eq!(desk.find("0123456789abcdeX").await, None);
        assert!(desk.dump().await.contains(BCRYPT), "that was no use of it");
        desk.find(KEY).await.expect("found");
        let after = desk.dump().await;
        assert!(!after.contains(BCRYPT) && after.contains("key.rehash"));
        let exported = desk.export(&owner, 0).await.expect("exported");
        assert_eq!(exported[0].secret.clone().expect("one").hash, SHA256);
        assert_eq!(desk.outcomes(&owner, vec![row(BCRYPT), row(SHA256)]).await, [Outcome::Exists; 2]);
    }

    async fn of_first_uses_at_once_all_find_it(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        desk.import(&desk.user(), vec![row(BCRYPT)]).await;
        let uses: Vec<_> = (0..8).map(|_| {
            let desk = desk.clone();
            tokio::spawn(async move { desk.find(KEY).await.is_some() })
        }).collect();
        for one in uses {
            assert!(one.await.expect("no panic"));
        }
        assert_eq!(desk.dump().await.matches("key.rehash").count(), 1);
    }

    async fn what_is_imported_is_what_was_asked_for(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let day = |day: u32| time::to_wire(format!("2025-03-{day:02}T00:00:00Z").parse().expect("a time"));
        let wanted = wire::ImportRow {
            description: "as it was".into(),
            environment: "test".into(),
            scopes: vec!["orders.read".into()],
            allowed_ips: vec!["10.0.0.0/8".into()],
            metadata_json: r#"{"external_id":"17"}"#.into(),
            limits_json: r#"[{"name":"minute","limit":7,"algorithm":"sliding_window","window_seconds":60,"on_failure":"local","shadow":false}]"#.into(),
            consumer: Some("acme".into()),
            created_at: Some(day(1)),
            last_used_at: Some(day(2)),
            enabled: Some(false),
            ..row(SHA256)
        };
        let unknown = desk.import(&owner, vec![wanted.clone()]).await;
        assert_eq!(wrong(&unknown[0]), ["/consumer"]);
        let message = wire::ImportKeysRequest {
            caller: Some(owner.clone()), rows: vec![wanted], create_consumers: true, ..Default::default()
        };
        let made = call!(desk, import_keys, message).expect("an answer").results;
        assert_eq!(made[0].outcome(), Outcome::Created, "{made:?}");
        let message = wire::GetKeyRequest { caller: Some(owner.clone()), key_id: made[0].key_id.clone() };
        let key = call!(desk, get_key, message).expect("there").key.expect("a key");
        assert_eq!((key.description.as_str(), key.enabled, key.start.as_str()), ("as it was", false, "012345"));
        assert_eq!((key.created_at, key.last_used_at), (Some(day(1)), Some(day(2))));
        assert_eq!((key.allowed_ips, key.metadata_json.as_str()), (vec!["10.0.0.0/8".into()], r#"{"external_id":"17"}"#));
        assert!(key.limits.iter().any(|it| (it.name.as_str(), it.limit) == ("minute", 7)));
        assert_eq!(key.environment, i32::from(wire::Environment::Test));
        let message = wire::GetConsumerRequest { caller: Some(owner), consumer_id: key.consumer_id };
        let consumer = call!(desk, get_consumer, message).expect("there").consumer.expect("one");
        assert_eq!(consumer.external_id.as_deref(), Some("acme"));
    }

    async fn a_dry_run_says_the_same_and_changes_nothing(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        desk.import(&owner, vec![numbered(1)]).await;
        let before = desk.dump().await;
        let rows = vec![numbered(1), numbered(2), row("nonsense"), numbered(2)];
        let message = wire::ImportKeysRequest {
            caller: Some(owner.clone()), rows: rows.clone(), dry_run: true, create_consumers: true, ..Default::default()
        };
        let said = call!(desk, import_keys, message).expect("an answer").results;
        let outcomes: Vec<_> = said.iter().map(wire::ImportResult::outcome).collect();
        assert_eq!(outcomes, [Outcome::Exists, Outcome::Created, Outcome::Invalid, Outcome::Exists]);
        assert!(said.iter().all(|it| it.key_id.is_empty()));
        assert_eq!(desk.dump().await, before);
        assert_eq!(desk.outcomes(&owner, rows).await, outcomes);
    }

    async fn each_key_that_comes_in_is_announced_and_what_is_there_is_not(database: TestDatabase) {
        let (desk, mut receiver) = (Desk::telling(&database).await, Receiver::new().await);
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.created", "key.revoked"]).await;
        let message = wire::ImportKeysRequest {
            caller: Some(owner.clone()), rows: vec![numbered(0)], dry_run: true, ..Default::default()
        };
        call!(desk, import_keys, message).expect("an answer");
        assert_eq!(desk.tell().await, 0, "a dry run makes nothing");
        // More than are written together.
        let results = desk.import(&owner, (0..250).map(numbered).collect()).await;
        let mut made: BTreeSet<_> = results.into_iter().map(|it| it.key_id).collect();
        assert_eq!(made.len(), 250);
        while desk.tell().await > 0 {}
        for arrived in receiver.all() {
            let said = arrived.json();
            assert_eq!(said["type"], "key.created", "{said}");
            assert_eq!(said["data"]["workspace_id"], desk.workspace_of(&owner).await);
            assert!(made.remove(said["data"]["key"]["id"].as_str().expect("an id")), "told once: {said}");
            assert!(!arrived.body.contains("0000000000"), "no hash: {said}");
        }
        assert!(made.is_empty(), "not told: {made:?}");
        let results = desk.import(&owner, vec![numbered(1), numbered(250), row("nonsense")]).await;
        assert_eq!(desk.tell().await, 1);
        assert_eq!(receiver.next().await.json()["data"]["key"]["id"], results[1].key_id);
    }

    async fn limits_are_said_once_in_either_way(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let limit = |name: &str| Limit { name: name.into(), limit: 7, window_seconds: 60, ..Default::default() };
        let rows = vec![
            wire::ImportRow { limits: vec![limit("minute")], ..numbered(1) },
            wire::ImportRow { limits: vec![limit("a b")], ..numbered(2) },
            wire::ImportRow { limits: vec![limit("minute")], limits_json: "[]".into(), ..numbered(3) },
            wire::ImportRow { limits: (0..9).map(|it| limit(&format!("n{it}"))).collect(), ..numbered(4) },
        ];
        let results = desk.import(&owner, rows).await;
        let pointers: Vec<_> = results.iter().map(wrong).collect();
        assert_eq!(pointers, [vec![], vec!["/limits/0/name"], vec!["/limits"], vec!["/limits"]]);
        let exported = desk.export(&owner, 0).await.expect("exported");
        assert!(exported[0].limits.is_empty(), "which would be twice");
        assert!(exported[0].limits_json.contains(r#""limit":7"#), "{}", exported[0].limits_json);
    }

    async fn a_row_that_breaks_a_rule_is_left_out_and_said(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let future = Some(time::to_wire(desk.clock.now() + chrono::TimeDelta::days(1)));
        let never = wire::ImportedSecret {
            hash: SHA512.into(),
            retires_at: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            ..Default::default()
        };
        let without_prefix = |hash: &str| {
            let secret = wire::ImportedSecret { hash: hash.into(), ..Default::default() };
            wire::ImportRow { secret: Some(secret), ..row("") }
        };
        let table = [
            (wire::ImportRow { secret: None, ..row("") }, vec!["/hash"]),
            (row("4032af8d61035123906e58e067140cc5"), vec!["/hash"]),
            (wire::ImportRow { name: " ".into(), plan: "none".into(), ..numbered(1) }, vec!["/name", "/plan"]),
            (wire::ImportRow { scopes: vec!["A".into()], environment: "prod".into(), ..numbered(2) }, vec!["/environment", "/scopes/0"]),
            (wire::ImportRow { created_at: future, last_used_at: future, ..numbered(3) }, vec!["/created_at", "/last_used_at"]),
            (wire::ImportRow { metadata_json: "[]".into(), limits_json: "{}".into(), ..numbered(4) }, vec!["/limits", "/metadata"]),
            (wire::ImportRow { roles: vec!["none".into()], allowed_ips: vec!["x".into()], ..numbered(5) }, vec!["/allowed_ips/0", "/roles/0"]),
            (without_prefix(BCRYPT), vec!["/prefix"]),
            (wire::ImportRow { retiring: vec![never], ..numbered(6) }, vec!["/retiring/0/retires_at"]),
        ];
        let mut rows: Vec<_> = table.iter().map(|(row, _)| row.clone()).collect();
        rows.push(without_prefix(SHA256));
        let results = desk.import(&owner, rows).await;
        for (result, (_, expected)) in results.iter().zip(&table) {
            assert_eq!(&wrong(result), expected);
        }
        assert_eq!(results.last().expect("the last").outcome(), Outcome::Created);
        for rows in [vec![], (0..501).map(numbered).collect()] {
            let message = wire::ImportKeysRequest { caller: Some(owner.clone()), rows, ..Default::default() };
            assert_eq!(pointers(&call!(desk, import_keys, message).expect_err("refused")), ["/rows"]);
        }
    }

    async fn who_may_import_and_export_and_what_they_may_give(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let workspace = desk.workspace_of(&owner).await;
        let import = async |caller: &Caller| {
            let message = wire::ImportKeysRequest {
                caller: Some(caller.clone()),
                workspace_id: workspace.clone(),
                rows: vec![wire::ImportRow { scopes: vec!["orders.read".into()], ..row(SHA256) }],
                ..Default::default()
            };
            call!(desk, import_keys, message).map(|answer| answer.results[0].clone())
        };
        let export = async |caller: &Caller| {
            let caller = Some(caller.clone());
            let message = wire::ExportKeysRequest { caller, workspace_id: workspace.clone(), ..Default::default() };
            call!(desk, export_keys, message).map(|answer| answer.rows.len())
        };
        let code = |fault: Fault| fault.code();
        for (caller, expected) in [
            (desk.member(&workspace, MemberRole::Member).await, Code::Forbidden),
            (desk.machine(&owner, &["keys.read", "keys.verify", "usage.read"]).await, Code::Forbidden),
            (desk.user(), Code::NotFound),
        ] {
            assert_eq!(import(&caller).await.map_err(code), Err(expected));
            assert_eq!(export(&caller).await.map_err(code), Err(expected));
        }
        let admin = desk.member(&workspace, MemberRole::Admin).await;
        assert_eq!(export(&admin).await.map_err(code), Err(Code::Forbidden));
        let message = wire::CreateServiceKeyRequest {
            caller: Some(admin.clone()), workspace_id: workspace.clone(), name: "a way around".into(),
            permissions: vec!["keys.export".into()], ..Default::default()
        };
        assert_eq!(call!(desk, create_service_key, message).map_err(code).err(), Some(Code::Forbidden));
        // Nobody gives to an imported key what it may not give to one that it makes.
        let machine = desk.machine(&owner, &["keys.write"]).await;
        assert_eq!(wrong(&import(&machine).await.expect("an answer")), ["/scopes"]);
        assert_eq!(export(&machine).await.map_err(code), Err(Code::Forbidden));
        assert_eq!(import(&admin).await.expect("an answer").outcome(), Outcome::Created);
        for caller in [owner.clone(), desk.operator(), desk.machine(&owner, &["keys.export"]).await] {
            assert_eq!(export(&caller).await.map_err(code), Ok(1));
        }
        let audited = desk.service.store.imports_and_deeds().await;
        assert_eq!((audited.matches("key.export").count(), audited.matches("key.import").count()), (3, 1));
    }

    async fn a_hash_has_one_owner_in_the_instance(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (first, second) = (desk.user(), desk.user());
        let made = desk.key(&first).await;
        let exported = desk.export(&first, 0).await.expect("exported");
        assert_eq!(desk.outcomes(&first, vec![row(SHA256), row(SHA512)]).await, [Outcome::Created; 2]);
        let results = desk.import(&second, vec![row(SHA256), row(SHA512), exported[0].clone()]).await;
        for result in &results {
            assert_eq!(wrong(result), ["/hash"], "{result:?}");
        }
        assert_eq!(desk.outcomes(&first, exported).await, [Outcome::Exists]);
        let workspace = desk.workspace_of(&first).await;
        assert_eq!(desk.find(KEY).await.expect("found").workspace_id, workspace);
        assert!(desk.resolve(&made.secret).await.is_some());
    }

    async fn no_more_than_eight_unused_keys_begin_alike(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, other) = (desk.user(), desk.user());
        let salted = |number: usize| row(&PBKDF2.replace("somesalt", &format!("salt{number:04}")));
        assert_eq!(desk.outcomes(&owner, (0..8).map(salted).collect()).await, [Outcome::Created; 8]);
        let results = desk.import(&other, vec![salted(8)]).await;
        assert_eq!(wrong(&results[0]), ["/prefix"]);
        // A longer beginning is looked at first, whatever others have brought in.
        let mut longer = row(BCRYPT);
        longer.secret.as_mut().expect("one").prefix = "01234567".into();
        assert_eq!(desk.outcomes(&other, vec![longer]).await, [Outcome::Created]);
        let workspace = desk.workspace_of(&other).await;
        assert_eq!(desk.find(KEY).await.expect("found").workspace_id, workspace);
    }

    async fn two_imports_of_the_same_keys_at_once_make_each_once(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        desk.workspace_of(&owner).await;
        let imports: Vec<_> = (0..4).map(|_| {
            let (desk, owner) = (desk.clone(), owner.clone());
            tokio::spawn(async move {
                let rows = (0..20).map(|it| wire::ImportRow { consumer: Some(format!("c{}", it % 3)), ..numbered(it) });
                let message = wire::ImportKeysRequest {
                    caller: Some(owner), rows: rows.collect(), create_consumers: true, ..Default::default()
                };
                let results = call!(desk, import_keys, message).expect("an answer").results;
                results.iter().filter(|it| it.outcome() == Outcome::Created).count()
            })
        }).collect();
        let mut created = 0;
        for import in imports {
            created += import.await.expect("no panic");
        }
        assert_eq!(created, 20);
        assert_eq!(desk.export(&owner, 7).await.expect("exported").len(), 20);
        let message = wire::ListConsumersRequest { caller: Some(owner), ..Default::default() };
        assert_eq!(call!(desk, list_consumers, message).expect("a list").consumers.len(), 3);
    }

    async fn a_verifier_that_asked_before_finds_it_when_the_import_returns(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, verifier) = (desk.user(), desk.verifier());
        let said = async |text: &str| verifier.presented(text).await.expect("asked").err();
        assert_eq!(said(KEY).await, Some(VerdictCode::Malformed), "there are none");
        desk.import(&owner, vec![numbered(1)]).await;
        assert_eq!(said(KEY).await, Some(VerdictCode::NotFound));
        desk.import(&owner, vec![row(BCRYPT)]).await;
        assert_eq!(said(KEY).await, None);
        let imported = ImportedKey::parse(KEY).expect("could be one");
        let grant = verifier.imported(&imported).await.expect("asked").expect("known");
        desk.revoke_all(&owner).await;
        assert!(verifier.imported(&imported).await.expect("asked").expect("known").revoked_at.is_some());
        assert!(grant.revoked_at.is_none());
    }

    async fn rotating_an_imported_key_gives_it_a_secret_of_ours(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let made = desk.import(&owner, vec![row(SHA256)]).await;
        let message = wire::RotateKeyRequest {
            caller: Some(owner.clone()), key_id: made[0].key_id.clone(), grace_seconds: Some(60), ..Default::default()
        };
        let rotated = call!(desk, rotate_key, message).expect("rotated");
        let ours = desk.resolve(&rotated.secret).await.expect("found");
        let theirs = desk.find(KEY).await.expect("found");
        assert_eq!((&ours.key_id, &theirs.key_id), (&made[0].key_id, &made[0].key_id));
        let end = time::to_wire(desk.clock.now() + chrono::TimeDelta::seconds(60));
        assert_eq!(theirs.secret.expect("one").retires_at, Some(end));
        assert_eq!(ours.secret.expect("one").retires_at, None);
        // Both go out together, and come in together.
        let exported = desk.export(&owner, 0).await.expect("exported");
        let first = exported[0].secret.clone().expect("one");
        assert!(first.hash.starts_with("tollgate$"));
        assert_eq!((exported[0].retiring[0].hash.as_str(), exported[0].retiring[0].retires_at), (SHA256, Some(end)));
        desk.service.store.forget_imports().await;
        let taken = wire::ImportRow { secret: Some(row(SHA512).secret.expect("one")), ..exported[0].clone() };
        assert_eq!(desk.outcomes(&owner, vec![taken]).await, [Outcome::Created]);
        assert_eq!(desk.find(KEY).await.expect("found").secret.expect("one").retires_at, Some(end));
    }

    async fn a_key_that_was_revoked_elsewhere_is_revoked_here(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let past = Some(time::to_wire("2025-01-01T00:00:00Z".parse().expect("a time")));
        let rows = vec![
            wire::ImportRow { revoked: true, ..row(SHA256) },
            wire::ImportRow { expires_at: past, ..numbered(1) },
        ];
        assert_eq!(desk.outcomes(&owner, rows).await, [Outcome::Created; 2]);
        assert!(desk.find(KEY).await.expect("found").revoked_at.is_some());
        let exported = desk.export(&owner, 0).await.expect("exported");
        assert_eq!(exported.len(), 1, "what is revoked stays");
        assert_eq!(exported[0].expires_at, past);
    }
}
