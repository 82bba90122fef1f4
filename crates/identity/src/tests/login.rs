//! Logging in: what it gives, and what it does not tell.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tollgate_kernel::{Code, Fault};
use tollgate_testkit::{TestDatabase, on_every_database};
use tollgate_verify::{KeySet, access_token};

use super::support::{IP, Log, PASSWORD, World, config, master, rules, seen};

const WRONG: &str = "wrong horse battery";

async fn fail(world: &World, email: &str, password: &str) -> Fault {
    world.try_log_in(email, password, IP).await.unwrap_err()
}

/// The parts of a JWT, unverified.
fn decoded(token: &str) -> Vec<Value> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let parts = token.split('.').take(2);
    parts.map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()).collect()
}

on_every_database! {
    async fn a_login_gives_tokens_that_verify(database: TestDatabase) {
        let world = World::new(database).await;
        let user = world.sign_up("ann@example.com").await;
        let tokens = world.log_in("ANN@example.com").await;
        assert_eq!((tokens.expires_in, tokens.refresh_expires_in), (900, 604_800));

        let keys = KeySet::parse(&world.identity.keys.key_set().await.unwrap()).unwrap();
        let claims = access_token(&tokens.access_token, &keys, &rules(), world.now()).unwrap();
        assert_eq!(claims.user_id.to_string(), user.id);
        assert_eq!(claims.session_id.to_string(), tokens.session_id);
        assert_eq!((claims.expires_at - claims.issued_at).num_seconds(), 900);

        let session = world.resolve(&tokens.session_id).await.unwrap();
        assert_eq!((session.user_id, session.operator), (user.id, false));
        assert_eq!(session.expires_at.unwrap().seconds - world.now().timestamp(), 2_592_000);
    }

    async fn nobody_can_tell_a_user_from_a_stranger(database: TestDatabase) {
        let world = World::new(database).await;
        world.sign_up("ann@example.com").await;
        let gone = world.sign_up("gone@example.com").await;
        world.disable(&gone).await;
        let mut answers = Vec::new();
        for (email, password) in
            [("ann@example.com", WRONG), ("nobody@example.com", WRONG), ("gone@example.com", PASSWORD)]
        {
            let before = world.identity.hasher.computed();
            answers.push(seen(&fail(&world, email, password).await));
            assert_eq!(world.identity.hasher.computed() - before, 1, "{email}: one hash of work");
        }
        assert_eq!(answers[0].0, Code::Unauthenticated);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        let reasons = world.identity.store.failures().await;
        assert_eq!(reasons, ["disabled", "unknown_user", "wrong_password"]);
    }

    async fn an_outdated_hash_is_replaced_at_the_next_login(database: TestDatabase) {
        let world = World::new(database).await;
        world.sign_up("ann@example.com").await;
        let mut newer = config();
        newer.password = serde_json::from_value(json!({"memory_kib": 8192, "passes": 1})).unwrap();
        let newer = World { identity: world.replica(newer, &master("00")).await.unwrap(), ..world };
        let stored = async || {
            let user = newer.identity.store.user_by_email("ann@example.com").await.unwrap();
            user.unwrap().password_hash
        };
        assert!(stored().await.contains("m=7168"));
        fail(&newer, "ann@example.com", WRONG).await;
        assert!(stored().await.contains("m=7168"), "a wrong password changes nothing");
        newer.log_in("ann@example.com").await;
        let replaced = stored().await;
        assert!(replaced.contains("m=8192"));
        newer.log_in("ann@example.com").await;
        assert_eq!(stored().await, replaced, "once is enough");
    }
}

#[tokio::test]
async fn the_token_is_of_rfc_9068() {
    let world = World::new(TestDatabase::sqlite().await).await;
    let (first, second) = (world.session().await, world.log_in("ann@example.com").await);
    let [header, claims] = decoded(&first.access_token).try_into().unwrap();
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    assert_eq!(header["kid"].as_str().unwrap().len(), 43);
    let mut names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "client_id", "exp", "iat", "iss", "jti", "sid", "sub"]);
    assert_eq!(claims["client_id"], "tollgate");
    assert_ne!(claims["jti"], decoded(&second.access_token)[1]["jti"]);
    assert_ne!(first.session_id, second.session_id, "every login is a session of its own");
}

#[tokio::test]
async fn one_pair_of_address_and_place_may_try_ten_times() {
    let world = World::new(TestDatabase::sqlite().await).await;
    world.sign_up("ann@example.com").await;
    // Known or not, the throttle is the same and comes first.
    for email in ["ann@example.com", "nobody@example.com"] {
        for _ in 0..10 {
            assert_eq!(fail(&world, email, WRONG).await.code(), Code::Unauthenticated);
        }
        let before = world.identity.hasher.computed();
        let fault = fail(&world, &email.to_uppercase(), PASSWORD).await;
        assert_eq!((fault.code(), fault.wait().unwrap().as_secs()), (Code::RateLimited, 300));
        assert_eq!(world.identity.hasher.computed(), before, "nothing was looked up or computed");
    }
    assert!(world.try_log_in("ann@example.com", PASSWORD, "192.0.2.2").await.is_ok());
    world.wait(300);
    world.log_in("ann@example.com").await;
}

#[tokio::test]
async fn one_address_may_be_tried_a_hundred_times_from_everywhere() {
    let world = World::new(TestDatabase::sqlite().await).await;
    for n in 0..100 {
        let ip = format!("198.51.100.{n}");
        let fault = world.try_log_in("ann@example.com", WRONG, &ip).await.unwrap_err();
        assert_eq!(fault.code(), Code::Unauthenticated);
    }
    let fault = world.try_log_in("ann@example.com", WRONG, "203.0.113.1").await.unwrap_err();
    assert_eq!((fault.code(), fault.wait().unwrap().as_secs()), (Code::RateLimited, 3600));
    let other = world.try_log_in("bob@example.com", WRONG, "203.0.113.1").await.unwrap_err();
    assert_eq!(other.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn one_place_may_try_a_hundred_times() {
    let world = World::new(TestDatabase::sqlite().await).await;
    for n in 0..100 {
        // Addresses of one /64 are one place.
        let ip = format!("2001:db8::{n:x}");
        world.try_log_in(&format!("user{n}@example.com"), WRONG, &ip).await.unwrap_err();
    }
    let fault = world.try_log_in("one.more@example.com", WRONG, "2001:db8::ffff").await.unwrap_err();
    assert_eq!(fault.code(), Code::RateLimited);
    let other = world.try_log_in("one.more@example.com", WRONG, "2001:db8:0:1::1").await.unwrap_err();
    assert_eq!(other.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn no_counter_is_named_after_an_address() {
    let world = World::new(TestDatabase::sqlite().await).await;
    world.session().await;
    let names = world.limits.names();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(!names.iter().any(|name| name.contains("ann") || name.contains("example")), "{names:?}");
}

#[tokio::test]
async fn without_the_limiter_nobody_gets_in() {
    let world = World::new(TestDatabase::sqlite().await).await;
    world.sign_up("ann@example.com").await;
    world.limits.down.store(true, Ordering::SeqCst);
    let before = world.identity.hasher.computed();
    assert_eq!(fail(&world, "ann@example.com", PASSWORD).await.code(), Code::Unavailable);
    let fault = world.try_sign_up("bob@example.com", PASSWORD).await.unwrap_err();
    assert_eq!((fault.code(), world.identity.hasher.computed()), (Code::Unavailable, before));
    world.limits.down.store(false, Ordering::SeqCst);
    world.log_in("ann@example.com").await;
}

#[tokio::test]
async fn bad_input_says_where() {
    let world = World::new(TestDatabase::sqlite().await).await;
    let long = "x".repeat(257);
    for (email, password, ip, pointer) in [
        ("", PASSWORD, IP, "/email"),
        ("ann\0@example.com", PASSWORD, IP, "/email"),
        ("ann@example.com", "correct horse\0battery", IP, "/password"),
        ("ann@example.com", &long, IP, "/password"),
        ("ann@example.com", PASSWORD, "nowhere", "/ip"),
    ] {
        let fault = world.try_log_in(email, password, ip).await.unwrap_err();
        assert_eq!((fault.code(), &*fault.violated()[0].pointer), (Code::InvalidArgument, pointer));
    }
    // A password that is too short to be chosen today is wrong, not malformed.
    assert_eq!(fail(&world, "ann@example.com", "").await.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn logins_are_logged_without_secrets() {
    let world = World::new(TestDatabase::sqlite().await).await;
    let log = Log::start();
    let tokens = world.session().await;
    fail(&world, "ann@example.com", WRONG).await;
    fail(&world, "nobody@example.com", WRONG).await;
    let text = log.text();
    for line in ["WARN", "login failed", "wrong_password", "unknown_user", IP, " INFO", &tokens.session_id] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    for secret in [PASSWORD, WRONG, "example.com", &tokens.access_token, &tokens.refresh_token] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}
