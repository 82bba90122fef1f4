//! Credentials that nobody should send: 401 or 400, whatever they are made of.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::app::TestApp;

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(part).expect("base64url")).expect("JSON")
}

fn encoded(part: &Value) -> String {
    BASE64.encode(part.to_string())
}

#[tokio::test]
async fn two_credentials_at_once_are_400() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    for path in ["/v1/whoami", "/v1/whoami/key", "/v1/whoami/user", "/v1/keys", "/v1/me", "/v1/gate"] {
        let both = app.get(path).api_key(&key.key).bearer(&user.tokens.access).await;
        both.problem(400, "BAD_REQUEST");
        let twice = app.get(path).api_key(&key.key).api_key(&key.key).await;
        twice.problem(400, "BAD_REQUEST");
        let bearers = app.get(path).bearer(&user.tokens.access).bearer(&user.tokens.access).await;
        bearers.problem(400, "BAD_REQUEST");
        app.get(path).api_key("").bearer(&user.tokens.access).await.problem(400, "BAD_REQUEST");
    }
    assert_eq!(user.usage(&key).await["total"], 0);
    app.finish().await;
}

#[tokio::test]
async fn nonsense_is_401() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await.key;
    let last = if key.ends_with('0') { '1' } else { '0' };
    let swapped = key.replace("tg_live_", "tg_test_");
    for wrong in [
        String::new(),
        "tg_live_".to_owned(),
        format!("{}{last}", &key[..key.len() - 1]),
        key[..key.len() - 1].to_owned(),
        format!("{key}x"),
        key.to_uppercase(),
        swapped,
        "x".repeat(9000),
        user.tokens.refresh.clone(),
        user.tokens.session_id.clone(),
        user.id.clone(),
    ] {
        for path in ["/v1/whoami", "/v1/whoami/key", "/v1/keys"] {
            app.get(path).api_key(&wrong).await.problem(401, "UNAUTHENTICATED");
            app.get(path).bearer(&wrong).await.problem(401, "UNAUTHENTICATED");
        }
    }
    for wrong in [&b"Bearer \xff\xfe"[..], b"Bearer", b"Basic YTpi", b"bearer\ttoken", b"Digest x", b"\x80"] {
        app.get("/v1/whoami").header("authorization", wrong).await.problem(401, "UNAUTHENTICATED");
    }
    app.get("/v1/whoami").header("x-api-key", b"\xff").await.problem(401, "UNAUTHENTICATED");
    app.get("/v1/whoami").api_key(&user.tokens.access).await.problem(401, "UNAUTHENTICATED");
    app.finish().await;
}

#[tokio::test]
async fn a_presenter_cannot_tell_unknown_from_revoked_from_foreign() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let key = user.key().create().await;
    user.delete(&format!("/v1/keys/{}", key.id)).await.held();
    let unknown = {
        use tollgate_kernel::{ExposeSecret as _, OsEntropy};
        tollgate_verify::mint(tollgate_verify::KeyKind::Live, &OsEntropy).key.expose_secret().to_owned()
    };
    app.secret("an unknown key", &unknown);
    let mut answers = Vec::new();
    for key in [key.key.as_str(), &unknown, "nonsense"] {
        let answer = app.get("/v1/whoami/key").api_key(key).await;
        let mut problem = answer.problem(401, "UNAUTHENTICATED");
        problem["request_id"].take();
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        answers.push((problem, names));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    app.finish().await;
}

#[tokio::test]
async fn a_forged_token_is_401() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let parts: Vec<_> = user.tokens.access.split('.').collect();
    let [head, body, signature] = parts[..] else { panic!("three parts") };
    let (header, claims) = (decoded(head), decoded(body));
    let with = |value: &Value, name: &str, to: Value| {
        let mut value = value.clone();
        value[name] = to;
        value
    };
    let jwks = app.get("/.well-known/jwks.json").await.text();
    let mut forged = vec![
        // No signature, in every spelling of none.
        format!("{}.{body}.", encoded(&with(&header, "alg", json!("none")))),
        format!("{}.{body}.{signature}", encoded(&with(&header, "alg", json!("none")))),
        format!("{}.{body}.", encoded(&with(&header, "alg", json!("NoNe")))),
        format!("{head}.{body}."),
        // Another key, algorithm or type.
        format!("{}.{body}.{signature}", encoded(&with(&header, "alg", json!("EdDSA")))),
        format!("{}.{body}.{signature}", encoded(&with(&header, "kid", json!("../../etc/passwd")))),
        format!("{}.{body}.{signature}", encoded(&with(&header, "kid", json!("k".repeat(10_000))))),
        format!("{}.{body}.{signature}", encoded(&with(&header, "typ", json!("JWT")))),
        format!("{}.{body}.{signature}", encoded(&with(&header, "crit", json!(["exp"])))),
        // Claims that were not signed.
        format!(
            "{head}.{}.{signature}",
            encoded(&with(&claims, "sub", json!("usr_00000000000000000000000001")))
        ),
        format!("{head}.{}.{signature}", encoded(&with(&claims, "exp", json!(4_000_000_000_u64)))),
        format!("{head}.{body}.{}", signature.chars().rev().collect::<String>()),
        "..".to_owned(),
        format!("{head}.{body}.{signature}.{signature}"),
        format!("{head} .{body}.{signature}"),
    ];
    // The public key as the secret of an HMAC: the classic swap of algorithms.
    let kid = header["kid"].as_str().map(str::to_owned);
    for secret in [jwks.as_bytes(), b"tollgate", b""] {
        let header = Header { kid: kid.clone(), typ: Some("at+jwt".into()), ..Header::new(Algorithm::HS256) };
        forged.push(
            jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).expect("a token"),
        );
    }
    for token in forged {
        for path in ["/v1/me", "/v1/whoami", "/v1/keys"] {
            let answer = app.get(path).bearer(&token).await;
            assert_eq!(answer.status, 401, "{path} {token}: {}", answer.text());
        }
    }
    user.get("/v1/me").await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn a_good_signature_of_a_strange_key_is_401() {
    let app = TestApp::new().await;
    let other = TestApp::new().await;
    let (user, stranger) = (app.user().await, other.user().await);
    if other.shape == crate::shape::Shape::Sqlite {
        // Each has a master key of its own; on shared settings each has a database of its own.
        other.get("/v1/me").bearer(&stranger.tokens.access).await.json(200);
    }
    app.get("/v1/me").bearer(&stranger.tokens.access).await.problem(401, "UNAUTHENTICATED");
    other.get("/v1/me").bearer(&user.tokens.access).await.problem(401, "UNAUTHENTICATED");
    app.finish().await;
    other.finish().await;
}
