//! `tollgate keys import` and `export`: tables as people have them, by the program itself. And the same over HTTP.

mod http;
mod interrupted;
mod tables;

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_proto::{
    gate::VerifyKeyRequest,
    keys::{ImportKeysRequest, ImportRow, ImportedSecret, import_result::Outcome},
};

use crate::{
    actors::ServiceKey,
    app::TestApp,
    process::{Said, empty, run},
};

/// `tollgate keys …` by somebody who has this service key.
struct Desk {
    dir: TempDir,
    server: String,
    service_key: String,
}

impl Desk {
    fn of(app: &TestApp, service: &ServiceKey<'_>) -> Self {
        let server = format!("http://{}", app.gate_address());
        Self { dir: empty(), server, service_key: service.key.clone() }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).expect("it is there")
    }

    fn has(&self, name: &str) -> bool {
        Path::exists(&self.dir.path().join(name))
    }

    /// The command, to its end, with this line as its standard input.
    async fn told(&self, arguments: &[&str], line: &str) -> Said {
        let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
        let (dir, server) = (self.dir.path().to_owned(), self.server.clone());
        let (key, line) = (self.service_key.clone(), format!("{line}\n"));
        let work = move || {
            let mut all = vec!["keys", "--server", &server];
            all.extend(arguments.iter().map(String::as_str));
            run(&dir, &all, &[("TOLLGATE_SERVICE_KEY", &key)], &line)
        };
        tokio::task::spawn_blocking(work).await.expect("no panic")
    }

    async fn keys(&self, arguments: &[&str]) -> Said {
        self.told(arguments, "").await
    }

    /// What it says, if all is well.
    async fn fine(&self, arguments: &[&str]) -> String {
        let said = self.keys(arguments).await;
        assert_eq!(said.code, 0, "{} {}", said.out, said.err);
        said.out
    }
}

pub(crate) fn sha256(text: &str) -> String {
    let bytes = digest(&SHA256, text.as_bytes());
    bytes
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|it| char::from_digit(it.into(), 16))
        .map(Option::unwrap)
        .collect()
}

/// A key as somebody else's program makes it.
fn foreign(number: usize) -> String {
    format!("sk_live_{}", &sha256(&format!("foreign {number}"))[..40])
}

#[tokio::test]
async fn an_imported_key_passes_at_every_door() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.write", "keys.verify"]).await;
    let key = foreign(1);
    app.secret("an imported key", &key);
    assert_eq!(user.verify(&key).await, json!({ "valid": false, "code": "MALFORMED" }));
    app.get("/v1/whoami").api_key(&key).await.problem(401, "UNAUTHENTICATED");

    let row = ImportRow {
        secret: Some(ImportedSecret { hash: sha256(&key), ..Default::default() }),
        name: "theirs".into(),
        ..Default::default()
    };
    let request = ImportKeysRequest { rows: vec![row], ..Default::default() };
    let results =
        app.manage().await.import_keys(service.asks(request)).await.expect("taken").into_inner().results;
    assert_eq!(results[0].outcome(), Outcome::Created, "{results:?}");
    let id = &results[0].key_id;

    for call in [app.get("/v1/whoami").api_key(&key), app.get("/v1/whoami/key").bearer(&key)] {
        assert_eq!(call.await.json(200)["key_id"], json!(id));
    }
    assert_eq!(app.get("/v1/gate").api_key(&key).await.status, 200);
    assert_eq!(service.verify(&key).await["key_id"], json!(id));
    let question = VerifyKeyRequest { key: key.clone(), ..Default::default() };
    let verdict = app.gate().await.verify_key(service.asks(question)).await.expect("a verdict").into_inner();
    assert!(verdict.verdict.expect("a verdict").valid);
    let usage = user.get(&format!("/v1/keys/{id}/usage"));
    app.drain_usage().await;
    assert_eq!(usage.await.json(200)["total"], 5);

    let near = format!("{}x", &key[..key.len() - 1]);
    app.get("/v1/whoami").api_key(&near).await.problem(401, "UNAUTHENTICATED");
    assert_eq!(service.verify(&near).await["code"], "NOT_FOUND");
    assert_eq!(service.verify("tg_live_nonsense_of_some_length").await["code"], "MALFORMED");
    app.delete(&format!("/v1/keys/{id}")).bearer(&user.tokens.access).await.held();
    app.get("/v1/whoami").api_key(&key).await.problem(401, "UNAUTHENTICATED");
    assert_eq!(service.verify(&key).await["code"], "REVOKED");
    app.finish().await;
}

#[tokio::test]
async fn a_rotated_imported_key_gets_a_secret_of_ours_and_retires() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let desk = Desk::of(&app, &user.service_key(&["keys.write"]).await);
    let key = foreign(2);
    app.secret("an imported key", &key);
    desk.write("keys.ndjson", &json!({ "hash": sha256(&key), "name": "theirs" }).to_string());
    desk.fine(&["import", "keys.ndjson"]).await;
    let id = user.verify(&key).await["key_id"].as_str().unwrap().to_owned();
    let body = json!({ "grace_seconds": 60 });
    let rotated = user.post(&format!("/v1/keys/{id}/rotate"), &body).await.json(200);
    let ours = rotated["key"].as_str().unwrap();
    app.secret("a key", ours);
    assert!(ours.starts_with("tg_live_"));
    for key in [ours, &key] {
        assert_eq!(user.verify(key).await["key_id"], json!(id));
    }
    app.advance(60);
    assert_eq!(user.verify(&key).await["valid"], false);
    assert_eq!(user.verify(ours).await["code"], "VALID");
    app.finish().await;
}

#[tokio::test]
async fn what_is_exported_from_one_instance_lives_on_in_another() {
    let (here, there) = (TestApp::new().await, TestApp::new().await);
    let (user, other) = (here.user().await, there.user().await);
    let from = Desk::of(&here, &user.service_key(&["keys.export", "keys.write"]).await);
    let to = Desk::of(&there, &other.service_key(&["keys.write", "keys.read"]).await);
    let consumer = user.consumer(json!({ "name": "Acme", "external_id": "acme" })).await;
    let bound = user.key().with("allowed_ips", json!(["203.0.113.0/24"])).create().await;
    let limited = user.key().limit(2, 60).with("consumer_id", consumer["id"].clone()).create().await;
    there.secret("a key", &bound.key);
    there.secret("a key", &limited.key);
    let theirs = foreign(3);
    from.write(
        "keys.ndjson",
        &json!({ "hash": sha256(&theirs), "name": "theirs", "scopes": ["orders.read"] }).to_string(),
    );
    // Of a ceiling of nothing it may give nothing.
    assert_eq!(from.keys(&["import", "keys.ndjson"]).await.code, 1);
    from.write("keys.ndjson", &json!({ "hash": sha256(&theirs), "name": "theirs" }).to_string());
    from.fine(&["import", "keys.ndjson"]).await;
    let revoked = user.key().create().await;
    user.delete(&revoked.path()).await.held();

    for name in ["out.ndjson", "out.csv"] {
        from.fine(&["export", name]).await;
        let table = from.read(name);
        assert!(!table.contains(&limited.key) && !table.contains(&theirs));
        to.write(name, &table);
        let dry = to.fine(&["import", name, "--create-consumers", "--dry-run"]).await;
        let taken = to.fine(&["import", name, "--create-consumers"]).await;
        if name == "out.ndjson" {
            assert_eq!(
                (dry.as_str(), taken.as_str()),
                (
                    "3 would be created, 0 there already, 0 invalid\n",
                    "3 created, 0 there already, 0 invalid\n",
                )
            );
        } else {
            assert_eq!(taken, "0 created, 3 there already, 0 invalid\n", "one table is the other");
        }
    }
    let listed = to.fine(&["list"]).await;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    // Who exports makes no second file of the same name over the first.
    assert_eq!(from.keys(&["export", "out.ndjson"]).await.code, 1);

    let call = |key: &str| there.get("/v1/whoami/key").api_key(key);
    let passed = call(&limited.key).await.json(200);
    assert_eq!(passed["workspace_id"], json!(other.workspace_id));
    call(&limited.key).await.json(200);
    call(&limited.key).await.problem(429, "RATE_LIMITED");
    call(&bound.key).await.problem(403, "FORBIDDEN_IP");
    assert_eq!(call(&theirs).await.status, 200);
    call(&revoked.key).await.problem(401, "UNAUTHENTICATED");
    here.finish().await;
    there.finish().await;
}

#[tokio::test]
async fn who_may_not_import_or_export_is_told_so() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let desk = Desk::of(&app, &user.service_key(&["keys.read", "keys.verify"]).await);
    desk.write("keys.ndjson", &json!({ "hash": sha256(&foreign(4)), "name": "theirs" }).to_string());
    for arguments in [&["import", "keys.ndjson"][..], &["export"], &["export", "out.csv"], &["create", "a"]] {
        let said = desk.keys(arguments).await;
        assert_eq!(said.code, 1, "{arguments:?} {}", said.out);
        assert!(said.err.contains("may not do this"), "{}", said.err);
    }
    assert!(!desk.has("out.csv") && !desk.has("keys.ndjson.progress"));
    let stranger = Desk { service_key: "tg_svc_nonsense".into(), ..desk };
    assert_eq!(stranger.keys(&["list"]).await.code, 1);
    let nobody = Desk { service_key: String::new(), ..stranger };
    let said = nobody.keys(&["list"]).await;
    assert!(said.code == 1 && said.err.contains("--service-key-file"), "{}", said.err);
    app.finish().await;
}

#[tokio::test]
async fn keys_are_made_verified_and_revoked_by_the_program() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.read", "keys.write", "keys.verify"]).await;
    let desk = Desk::of(&app, &service);
    // Out of a file as well.
    desk.write("service_key", &format!("{}\n", service.key));
    let made =
        desk.fine(&["create", "by hand", "--environment", "test", "--service-key-file", "service_key"]).await;
    let key = made.trim();
    app.secret("a key", key);
    assert!(key.starts_with("tg_test_"), "{made}");
    let said = desk.told(&["verify"], key).await;
    assert_eq!((said.code, said.out.starts_with("VALID  key_")), (0, true), "{} {}", said.out, said.err);
    let id = said.out.split_whitespace().nth(1).expect("an id").to_owned();
    let listed = desk.fine(&["list"]).await;
    assert!(listed.contains(&id) && listed.contains("by hand") && !listed.contains(key), "{listed}");
    desk.fine(&["revoke", &id]).await;
    let said = desk.told(&["verify"], key).await;
    assert_eq!((said.code, said.out.as_str()), (1, format!("REVOKED  {id}\n").as_str()));
    assert_eq!(user.verify(key).await["code"], json!("REVOKED"));
    app.drain_usage().await;
    let usage: Value = user.get(&format!("/v1/keys/{id}/usage")).await.json(200);
    assert_eq!(usage["total"], 1, "what the program asks counts nothing");
    app.finish().await;
}
