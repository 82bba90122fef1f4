//! `/v1/secret-scanning/github`: what GitHub has found in public is revoked at once.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    app::TestApp,
    http::Call,
    webhooks::{Receiver, SETTINGS},
};

/// Whoever signs reports.
struct Github {
    pair: EcdsaKeyPair,
    dir: TempDir,
}

impl Github {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let head = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").unwrap();
        let text = STANDARD.encode([&head[..], pair.public_key().as_ref()].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
        let keys = json!({ "public_keys": [{ "key_identifier": "k1", "key": pem, "is_current": true }] });
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keys.json"), keys.to_string()).unwrap();
        Self { pair, dir }
    }

    fn setting(&self) -> String {
        self.dir.path().join("keys.json").display().to_string()
    }

    fn report(&self, app: &TestApp, body: &str) -> Call {
        let signature = self.pair.sign(&SystemRandom::new(), body.as_bytes()).unwrap();
        app.post("/v1/secret-scanning/github")
            .header("content-type", "application/json")
            .header("github-public-key-identifier", "k1")
            .header("github-public-key-signature", STANDARD.encode(signature))
            .body(body.to_owned())
    }
}

fn found(tokens: &[&str]) -> String {
    let one = |token: &&str| json!({ "token": token, "type": "t", "url": "https://github.com/a/b", "source": "commit" });
    Value::from(tokens.iter().map(one).collect::<Vec<_>>()).to_string()
}

#[tokio::test]
async fn what_was_found_is_revoked_told_and_not_repeated() {
    let github = Github::new();
    let keys = github.setting();
    let settings: Vec<_> =
        SETTINGS.into_iter().chain([("TOLLGATE__KEYS__GITHUB_SECRET_SCANNING_KEYS", &*keys)]).collect();
    let app = TestApp::with(&settings).await;
    let (user, mut receiver) = (app.user().await, Receiver::new().await);
    receiver.hook(&user, &["key.leaked"]).await;
    let (leaked, kept) = (user.key().create().await, user.key().create().await);
    let machine = user.service_key(&["keys.verify"]).await;
    leaked.whoami().await.json(200);
    assert_eq!(machine.verify(&kept.key).await["code"], "VALID");

    let body = found(&[&leaked.key, "not a key", &machine.key]);
    let wrong = github.report(&app, &body).header("github-public-key-signature", "AA==").await;
    wrong.problem(401, "UNAUTHENTICATED");
    let unsigned = app.post("/v1/secret-scanning/github").json(&json!([])).await;
    unsigned.problem(401, "UNAUTHENTICATED");
    Github::new().report(&app, &body).await.problem(401, "UNAUTHENTICATED");
    leaked.whoami().await.json(200);

    let said = github.report(&app, &body).await.json(200);
    let labels: Vec<_> = said.as_array().unwrap().iter().map(|it| it["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["true_positive", "false_positive", "true_positive"]);
    assert_eq!(said[0]["token_type"], "t");
    assert_eq!(said[0]["token_hash"].as_str().unwrap().len(), 64);
    assert!(!said.to_string().contains(&leaked.key), "{said}");
    assert_eq!(user.verify(&leaked.key).await["code"], "REVOKED");
    assert_eq!(user.verify(&kept.key).await["code"], "VALID");
    machine.post("/v1/keys/verify", &json!({ "key": kept.key })).await.problem(401, "UNAUTHENTICATED");
    for _ in 0..2 {
        let told = receiver.next().await.json();
        assert_eq!(
            (&told["type"], &told["data"]["leak"]["url"]),
            (&json!("key.leaked"), &json!("https://github.com/a/b"))
        );
        assert!(!told.to_string().contains(&leaked.key[12..]), "{told}");
    }
    assert_eq!(github.report(&app, &body).await.json(200), said, "again changes nothing");

    github.report(&app, &found(&vec!["x"; 501])).await.problem(422, "INVALID_ARGUMENT");
    github.report(&app, "{").await.problem(422, "INVALID_ARGUMENT");
    github.report(&app, &" ".repeat(1_000_001)).await.problem(413, "CONTENT_TOO_LARGE");
    app.finish().await;
}

#[tokio::test]
async fn it_is_off_until_it_is_configured() {
    let app = TestApp::new().await;
    Github::new().report(&app, "[]").await.problem(404, "NOT_FOUND");
    app.finish().await;
}
