//! Keys that were found in public: revoked if GitHub says so, and by nobody else's word.

use std::fmt::Write as _;

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    receiver::{Arrived, Receiver},
    *,
};

const NAME: &str = "a-key-of-github";

/// Whoever signs reports: GitHub, as far as this installation knows.
struct Github {
    pair: EcdsaKeyPair,
    dir: TempDir,
}

impl Github {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let github = Self { pair: pair(), dir };
        github.publish();
        github
    }

    fn publish(&self) {
        let document = json!({ "public_keys": [
            { "key_identifier": "another", "key": pem(&pair()), "is_current": false },
            { "key_identifier": NAME, "key": pem(&self.pair), "is_current": true },
        ]});
        std::fs::write(self.file(), document.to_string()).expect("written");
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("keys.json")
    }

    fn config(&self) -> Config {
        let keys = self.file().display().to_string();
        Config { github_secret_scanning_keys: keys, ..super::webhooks::config() }
    }

    fn report(&self, tokens: &[&str]) -> wire::ReportLeaksRequest {
        let found = |token: &&str| json!({ "token": token, "type": "tollgate_key", "url": "https://example.com/leak", "source": "commit" });
        self.signed(&Value::from(tokens.iter().map(found).collect::<Vec<_>>()).to_string())
    }

    fn signed(&self, body: &str) -> wire::ReportLeaksRequest {
        let signature = self.pair.sign(&SystemRandom::new(), body.as_bytes()).expect("signed");
        wire::ReportLeaksRequest {
            body: body.as_bytes().to_vec(),
            key_identifier: NAME.into(),
            signature: STANDARD.encode(signature),
        }
    }
}

fn pair() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a pair")
}

fn pem(pair: &EcdsaKeyPair) -> String {
    // RFC 5480 §2: the algorithm and the curve, then the point.
    let head = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    let byte = |place| u8::from_str_radix(&head[place..place + 2], 16).expect("hex");
    let head: Vec<u8> = (0..head.len()).step_by(2).map(byte).collect();
    let text = STANDARD.encode([&head[..], pair.public_key().as_ref()].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &text[..64], &text[64..])
}

fn hash(token: &str) -> String {
    let mut text = String::new();
    for byte in digest(&SHA256, token.as_bytes()).as_ref() {
        write!(text, "{byte:02x}").expect("written");
    }
    text
}

impl Desk {
    async fn reported(&self, report: wire::ReportLeaksRequest) -> Result<Vec<wire::LeakVerdict>, Fault> {
        call!(self, report_leaks, report).map(|answer| answer.verdicts)
    }

    async fn is_revoked(&self, secret: &str) -> bool {
        self.resolve(secret).await.expect("a grant").revoked_at.is_some()
    }
}

on_every_database! {
    async fn what_was_found_is_revoked_and_told(database: TestDatabase) {
        let (github, mut receiver) = (Github::new(), Receiver::new().await);
        let desk = Desk::with(&database, github.config(), Counter::new()).await;
        let owner = desk.user();
        desk.hooked(&owner, &receiver, &["key.leaked", "key.revoked"]).await;
        let (leaked, kept) = (desk.key(&owner).await, desk.key(&owner).await);
        let service = desk.service_key(&owner, &["keys.verify"]).await;
        let mut wrong = kept.secret.clone();
        wrong.replace_range(30..31, if wrong.as_bytes()[30] == b'a' { "b" } else { "a" });
        let never = tollgate_verify::mint(KeyKind::Live, &OsEntropy).key;
        let never = tollgate_kernel::ExposeSecret::expose_secret(&never).to_owned();
        let tokens = [&leaked.secret, "some_token", &service.secret, &never, &wrong];
        let verdicts = desk.reported(github.report(&tokens)).await.expect("believed");
        let expected: Vec<_> = tokens
            .iter()
            .zip([true, false, true, false, false])
            .map(|(token, ours)| wire::LeakVerdict { token_hash: hash(token), token_type: "tollgate_key".into(), ours })
            .collect();
        assert_eq!(verdicts, expected);
        assert!(desk.is_revoked(&leaked.secret).await && !desk.is_revoked(&kept.secret).await);
        let presented = PresentedKey::parse(&service.secret).expect("a key");
        let resolve = wire::ResolveServiceKeyRequest {
            public_id: presented.public_id, digest: presented.digest.to_vec(),
        };
        assert_eq!(call!(desk, resolve_service_key, resolve).expect("an answer").grant, None);

        desk.tell().await;
        let arrived = receiver.all();
        let mut events: Vec<_> = arrived.iter().map(Arrived::event).collect();
        events.sort();
        assert_eq!(events, ["key.leaked", "key.leaked", "key.revoked"]);
        for it in &arrived {
            let said = it.json();
            assert_eq!(said["data"]["leak"]["url"], "https://example.com/leak", "{said}");
            for token in tokens.iter().filter(|token| token.len() > 40) {
                assert!(!it.body.contains(&token[12..]), "{}", it.body);
            }
        }
        // Again: the same answer, and nothing happens.
        assert_eq!(desk.reported(github.report(&tokens)).await.expect("believed"), expected);
        assert_eq!(desk.tell().await, 0);
    }

    async fn nobody_else_is_believed(database: TestDatabase) {
        let github = Github::new();
        let desk = Desk::with(&database, github.config(), Counter::new()).await;
        let key = desk.key(&desk.user()).await;
        let good = github.report(&[&key.secret]);
        let mut other_body = good.clone();
        other_body.body.push(b' ');
        let other_signer = Github::new().report(&[&key.secret]);
        let unknown = wire::ReportLeaksRequest { key_identifier: "unknown".into(), ..good.clone() };
        let another = wire::ReportLeaksRequest { key_identifier: "another".into(), ..good.clone() };
        let unsigned = wire::ReportLeaksRequest { signature: String::new(), ..good.clone() };
        let garbage = wire::ReportLeaksRequest { signature: "not base64".into(), ..good.clone() };
        for (place, wrong) in
            [other_body, other_signer, unknown, another, unsigned, garbage].into_iter().enumerate()
        {
            let fault = desk.reported(wrong).await.expect_err("refused");
            assert_eq!(fault.code(), Code::Unauthenticated, "{place}");
        }
        assert!(!desk.is_revoked(&key.secret).await);
        desk.reported(good).await.expect("believed");
        assert!(desk.is_revoked(&key.secret).await);
    }

    async fn it_is_switched_off_until_it_is_configured(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let fault = desk.reported(Github::new().report(&["x"])).await.expect_err("refused");
        assert_eq!(fault.code(), Code::NotFound);
    }

    async fn keys_are_read_again_once_in_a_while(database: TestDatabase) {
        let mut github = Github::new();
        let desk = Desk::with(&database, github.config(), Counter::new()).await;
        desk.reported(github.report(&["x"])).await.expect("believed");
        // GitHub signs with another key from now on. Of an unknown name the keys are read again, but not more than once a minute.
        let before = github.pair;
        github = Github { pair: pair(), dir: github.dir };
        let document = json!({ "public_keys": [{ "key_identifier": "new", "key": pem(&github.pair) }] });
        std::fs::write(github.file(), document.to_string()).expect("written");
        let named = wire::ReportLeaksRequest { key_identifier: "new".into(), ..github.report(&["x"]) };
        assert_eq!(desk.reported(named.clone()).await.expect_err("too early").code(), Code::Unauthenticated);
        desk.clock.advance(std::time::Duration::from_mins(1));
        desk.reported(named).await.expect("believed");
        let old = Github { pair: before, dir: github.dir };
        assert_eq!(desk.reported(old.report(&["x"])).await.expect_err("over").code(), Code::Unauthenticated);
        // What cannot be read is not a wrong signature.
        std::fs::remove_file(old.file()).expect("removed");
        desk.clock.advance(std::time::Duration::from_hours(25));
        assert_eq!(desk.reported(old.report(&["x"])).await.expect_err("unknown").code(), Code::Unavailable);
        assert_eq!(desk.reported(old.report(&["x"])).await.expect_err("unknown").code(), Code::Unavailable);
    }

    async fn a_secret_that_has_ended_takes_no_other_with_it(database: TestDatabase) {
        let github = Github::new();
        let desk = Desk::with(&database, github.config(), Counter::new()).await;
        let owner = desk.user();
        let key = desk.key(&owner).await;
        let id = key.key.expect("a key").id;
        let rotate = wire::RotateKeyRequest {
            caller: Some(owner.clone()), key_id: id, grace_seconds: Some(60), ..Default::default()
        };
        let rotated = call!(desk, rotate_key, rotate).expect("rotated");
        desk.clock.advance(std::time::Duration::from_mins(1));
        let verdicts = desk.reported(github.report(&[&key.secret])).await.expect("believed");
        assert!(verdicts[0].ours, "it was ours");
        assert!(!desk.is_revoked(&rotated.secret).await);
        desk.reported(github.report(&[&rotated.secret])).await.expect("believed");
        assert!(desk.is_revoked(&rotated.secret).await);
    }

    async fn what_is_reported_is_bounded(database: TestDatabase) {
        let github = Github::new();
        let desk = Desk::with(&database, github.config(), Counter::new()).await;
        for body in ["", "{}", "[1]", r#"[{"type":"t"}]"#, "[", &format!("[{}]", "[".repeat(10_000))] {
            let fault = desk.reported(github.signed(body)).await.expect_err("refused");
            assert_eq!(fault.code(), Code::InvalidArgument, "{body:.20}");
        }
        let many = vec!["x"; 501];
        assert_eq!(desk.reported(github.report(&many)).await.expect_err("refused").code(), Code::InvalidArgument);
        assert_eq!(desk.reported(github.report(&many[1..])).await.expect("believed").len(), 500);
        let long = github.signed(&format!("[{}]", " ".repeat(1_000_000)));
        assert_eq!(desk.reported(long).await.expect_err("refused").code(), Code::InvalidArgument);
        let bare = desk.reported(github.signed(r#"[{"token":"x","more":1}]"#)).await.expect("believed");
        assert_eq!(bare[0].token_type, "");
    }
}
