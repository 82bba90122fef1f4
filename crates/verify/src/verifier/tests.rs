//! What a verifier believes, and when it asks again.

mod absence;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use tollgate_kernel::{Code, ExposeSecret, KeyId, OsEntropy};
use tollgate_proto::time;
use tonic::Status;

use super::{fixture::*, *};
use crate::{Permission, VerdictCode, mint};

#[tokio::test]
async fn everything_is_asked_for_once() {
    let it = Fixture::new();
    it.ask_all().await;
    it.ask_all().await;
    it.clock.advance(Duration::from_secs(59));
    it.ask_all().await;
    assert_eq!(it.calls(), [1, 1, 1, 1, 1]);
}

#[tokio::test]
async fn answers_are_what_the_roles_say() {
    let it = Fixture::new();
    let grant = it.verifier.key(&presented(KeyKind::Live)).await.expect("asked").expect("known");
    assert_eq!((grant.key_id, grant.workspace_id), (KEY, WORKSPACE));
    let service = it.verifier.service_key(&presented(KeyKind::Service)).await.expect("asked").expect("known");
    assert!(service.allows(Permission::KeysVerify, it.clock.now()));
    assert_eq!(it.verifier.member(WORKSPACE, USER).await.expect("asked"), Some(MemberRole::Admin));
    let live = it.verifier.token(&it.sign("one")).await.expect("asked").expect("live");
    assert_eq!((live.claims.user_id, live.claims.session_id, live.operator), (USER, SESSION, true));
}

#[tokio::test]
async fn a_published_change_makes_the_next_call_ask_again() {
    let stranger = UserId::from_uuid(uuid(99));
    for (subject, again) in [
        (Subject::Key(KEY), [2, 1, 1, 1, 1]),
        (Subject::Workspace(WORKSPACE), [2, 2, 2, 1, 1]),
        (Subject::ServiceKey(SERVICE_KEY), [1, 2, 1, 1, 1]),
        (Subject::Member(WORKSPACE, USER), [1, 1, 2, 1, 1]),
        (Subject::Session(SESSION), [1, 1, 1, 2, 1]),
        (Subject::User(USER), [1, 1, 2, 2, 1]),
        (Subject::User(stranger), [1, 1, 1, 1, 1]),
        (Subject::Member(WORKSPACE, stranger), [1, 1, 1, 1, 1]),
        (Subject::Key(KeyId::from_uuid(uuid(99))), [1, 1, 1, 1, 1]),
    ] {
        let it = Fixture::new();
        it.ask_all().await;
        it.changes.publish(subject);
        it.ask_all().await;
        assert_eq!(it.calls(), again, "{subject:?}");
    }
}

#[tokio::test]
async fn without_trust_everything_is_asked_for_each_time() {
    let it = Fixture::new();
    it.ask_all().await;
    it.trusts.store(false, std::sync::atomic::Ordering::SeqCst);
    it.ask_all().await;
    it.ask_all().await;
    assert_eq!(it.calls(), [3, 3, 3, 3, 1], "signing keys have an age of their own");
}

#[tokio::test]
async fn a_read_that_raced_a_revoke_is_never_served() {
    let it = Fixture::new();
    let key = presented(KeyKind::Live);
    it.roles.key.hold_next();
    let revoke = async {
        it.roles.key.read.notified().await; // it has read the grant as it was
        it.roles.key.answers(revoked(&it.clock));
        it.changes.publish(Subject::Key(KEY));
        it.roles.key.release.notify_one();
    };
    let (raced, ()) = tokio::join!(it.admits(&key), revoke);
    assert_eq!(raced, Err(VerdictCode::Revoked));
    assert_eq!(it.admits(&key).await, Err(VerdictCode::Revoked));
    assert_eq!(it.roles.key.calls(), 2, "the raced one and one after it");
}

#[tokio::test]
async fn who_comes_after_a_revoke_does_not_join_a_read_from_before_it() {
    let it = Fixture::new();
    let key = presented(KeyKind::Live);
    it.roles.key.hold_next();
    let after = async {
        it.roles.key.read.notified().await;
        it.roles.key.answers(revoked(&it.clock));
        it.changes.publish(Subject::Key(KEY));
        let release = async { it.roles.key.release.notify_one() };
        tokio::join!(it.admits(&key), release).0
    };
    let (before, after) = tokio::join!(it.admits(&key), after);
    assert_eq!((before, after), (Err(VerdictCode::Revoked), Err(VerdictCode::Revoked)));
}

#[tokio::test]
async fn a_logout_that_raced_a_token_ends_it() {
    let it = Fixture::new();
    let token = it.sign("one");
    it.roles.session.hold_next();
    let logout = async {
        it.roles.session.read.notified().await;
        it.roles.session.answers(identity::ResolveSessionResponse { session: None });
        it.changes.publish(Subject::Session(SESSION));
        it.roles.session.release.notify_one();
    };
    let (raced, ()) = tokio::join!(it.refusal(&token), logout);
    assert_eq!(raced, Some(TokenRefusal::Revoked));
    assert_eq!(it.refusal(&token).await, Some(TokenRefusal::Revoked));
}

#[tokio::test]
async fn fifty_misses_at_once_are_one_call() {
    let it = Fixture::new();
    let key = presented(KeyKind::Live);
    it.roles.key.hold_next();
    let all = join_all((0..50).map(|_| it.admits(&key)));
    let (all, ()) = tokio::join!(all, async { it.roles.key.release.notify_one() });
    assert_eq!(all, [Ok(()); 50]);
    assert_eq!(it.roles.key.calls(), 1);
}

#[tokio::test]
async fn a_fault_is_shared_by_those_who_wait_and_not_kept() {
    let it = Fixture::new();
    let key = presented(KeyKind::Live);
    it.roles.key.fails(Status::unavailable("down"));
    it.roles.key.hold_next();
    it.roles.key.hold_next();
    let release = async {
        for _ in 0..2 {
            it.roles.key.read.notified().await;
            it.roles.key.release.notify_one();
        }
    };
    let all = join_all((0..50).map(|_| it.verifier.key(&key)));
    let (all, ()) = tokio::join!(all, release);
    assert!(all.iter().all(|answer| answer.as_ref().is_err_and(|fault| fault.code() == Code::Unavailable)));
    assert_eq!(it.roles.key.calls(), 2, "the first, and one for those who came while it was under way");
    it.set_up();
    assert_eq!(it.admits(&key).await, Ok(()));
}

#[tokio::test]
async fn who_comes_after_a_key_is_made_finds_it() {
    let it = Fixture::new();
    let key = presented(KeyKind::Live);
    it.roles.key.answers(keys::ResolveKeyResponse { grant: None });
    it.roles.key.hold_next();
    let after = async {
        it.roles.key.read.notified().await; // it has read that there is no such key
        it.set_up();
        let release = async { it.roles.key.release.notify_one() };
        tokio::join!(it.verifier.key(&key), release).0
    };
    let (before, after) = tokio::join!(it.verifier.key(&key), after);
    assert_eq!(before.expect("asked"), None);
    assert!(after.expect("asked").is_some());
}

#[tokio::test]
async fn expiry_is_exact_even_from_the_cache() {
    let it = Fixture::new();
    let key = presented(KeyKind::Live);
    let soon = it.clock.now() + Duration::from_secs(10);
    let grant = keys::Grant { expires_at: Some(time::to_wire(soon)), ..grant() };
    it.roles.key.answers(keys::ResolveKeyResponse { grant: Some(grant) });
    assert_eq!(it.admits(&key).await, Ok(()));
    it.clock.set(soon - Duration::from_micros(1));
    assert_eq!(it.admits(&key).await, Ok(()));
    it.clock.set(soon);
    assert_eq!(it.admits(&key).await, Err(VerdictCode::Expired));
    assert_eq!(it.roles.key.calls(), 1);
}

#[tokio::test]
async fn a_service_key_is_gone_the_instant_it_expires() {
    let it = Fixture::new();
    let key = presented(KeyKind::Service);
    let soon = it.clock.now() + Duration::from_secs(10);
    let grant = keys::ServiceGrant {
        service_key_id: SERVICE_KEY.to_string(),
        workspace_id: WORKSPACE.to_string(),
        permissions: vec![],
        expires_at: Some(time::to_wire(soon)),
    };
    it.roles.service_key.answers(keys::ResolveServiceKeyResponse { grant: Some(grant) });
    it.clock.set(soon - Duration::from_micros(1));
    assert!(it.verifier.service_key(&key).await.expect("asked").is_some());
    it.clock.set(soon);
    assert!(it.verifier.service_key(&key).await.expect("asked").is_none());
}

#[tokio::test]
async fn a_cached_session_ends_when_it_ends() {
    let it = Fixture::new();
    let token = it.sign("one");
    it.clock.advance(Duration::from_micros(599_999_999));
    assert_eq!(it.refusal(&token).await, None);
    it.clock.advance(Duration::from_micros(1));
    assert_eq!(it.refusal(&token).await, Some(TokenRefusal::Revoked));
    assert_eq!(it.roles.session.calls(), 1);
}

#[tokio::test]
async fn a_session_is_believed_no_longer_than_an_access_token_lives() {
    let it = Fixture::new();
    let expires_at = Some(time::to_wire(it.clock.now() + Duration::from_hours(24)));
    let session = identity::Session { expires_at, ..it.session() };
    it.roles.session.answers(identity::ResolveSessionResponse { session: Some(session) });
    assert_eq!(it.refusal(&it.sign("one")).await, None);
    it.clock.advance(Duration::from_micros(899_999_999));
    assert_eq!(it.refusal(&it.sign("one")).await, None);
    assert_eq!(it.roles.session.calls(), 1, "a newer token of the same session");
    it.clock.advance(Duration::from_micros(1));
    assert_eq!(it.refusal(&it.sign("one")).await, None);
    assert_eq!(it.roles.session.calls(), 2);
}

#[tokio::test]
async fn a_session_of_another_user_is_not_this_token_s() {
    let it = Fixture::new();
    let user_id = UserId::from_uuid(uuid(99)).to_string();
    let session = identity::Session { user_id, ..it.session() };
    it.roles.session.answers(identity::ResolveSessionResponse { session: Some(session) });
    assert_eq!(it.refusal(&it.sign("one")).await, Some(TokenRefusal::Revoked));
}

#[tokio::test]
async fn a_key_under_another_prefix_is_unknown() {
    let it = Fixture::new();
    assert!(it.verifier.key(&presented(KeyKind::Live)).await.expect("asked").is_some());
    assert!(it.verifier.key(&presented(KeyKind::Test)).await.expect("asked").is_none());
    let calls = it.calls();
    assert!(it.verifier.key(&presented(KeyKind::Service)).await.expect("asked").is_none());
    assert!(it.verifier.service_key(&presented(KeyKind::Live)).await.expect("asked").is_none());
    assert_eq!(it.calls(), calls, "a key that cannot exist costs no call");
}

#[tokio::test]
async fn a_wrong_secret_does_not_find_the_right_one_s_grant() {
    let it = Fixture::new();
    assert!(it.verifier.key(&presented(KeyKind::Live)).await.expect("asked").is_some());
    it.roles.key.answers(keys::ResolveKeyResponse { grant: None });
    let mut wrong = presented(KeyKind::Live);
    wrong.digest[31] ^= 1;
    assert!(it.verifier.key(&wrong).await.expect("asked").is_none());
    let other =
        PresentedKey::parse(mint(KeyKind::Live, &OsEntropy).key.expose_secret()).expect("well-formed");
    assert!(it.verifier.key(&other).await.expect("asked").is_none());
    assert!(it.verifier.key(&presented(KeyKind::Live)).await.expect("asked").is_some());
}

#[tokio::test]
async fn a_token_that_cannot_be_good_costs_no_call() {
    let it = Fixture::new();
    for token in ["", "a.b.c", "tg_live_0AZaz9123456", &"x".repeat(100_000)] {
        assert_eq!(it.refusal(token).await, Some(TokenRefusal::Malformed));
    }
    assert_eq!(it.calls(), [0; 5]);
}

#[tokio::test]
async fn a_forged_or_expired_token_costs_no_look_at_the_session() {
    let it = Fixture::new();
    let token = it.sign("one");
    let (message, _) = token.rsplit_once('.').expect("three parts");
    let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64]));
    assert_eq!(it.refusal(&forged).await, Some(TokenRefusal::Malformed));
    it.clock.advance(Duration::from_mins(15));
    assert_eq!(it.refusal(&token).await, Some(TokenRefusal::Expired));
    assert_eq!(it.roles.session.calls(), 0);
}

#[tokio::test]
async fn unknown_kids_make_it_ask_every_five_seconds_at_most() {
    let it = Fixture::new();
    for _ in 0..10 {
        assert_eq!(it.refusal(&it.sign("two")).await, Some(TokenRefusal::Malformed));
    }
    assert_eq!(it.roles.signing_keys.calls(), 1);
    it.publish_signing_keys(&["one", "two"]);
    it.clock.advance(Duration::from_micros(4_999_999));
    assert_eq!(it.refusal(&it.sign("two")).await, Some(TokenRefusal::Malformed));
    it.clock.advance(Duration::from_micros(1));
    assert_eq!(it.refusal(&it.sign("two")).await, None);
    for number in 0..10 {
        assert_eq!(it.refusal(&it.sign(&number.to_string())).await, Some(TokenRefusal::Malformed));
        assert_eq!(it.refusal(&it.sign("one")).await, None);
    }
    assert_eq!(it.roles.signing_keys.calls(), 2);
}

#[tokio::test]
async fn a_withdrawn_signing_key_is_forgotten_within_a_minute() {
    let it = Fixture::new();
    let token = it.sign("one");
    assert_eq!(it.refusal(&token).await, None);
    it.publish_signing_keys(&["two"]);
    it.clock.advance(Duration::from_mins(1));
    assert_eq!(it.refusal(&token).await, Some(TokenRefusal::Malformed));
}

#[tokio::test]
async fn an_unreachable_identity_is_a_fault_and_known_keys_go_on() {
    let it = Fixture::new();
    it.roles.signing_keys.fails(Status::unavailable("down"));
    let fault = it.verifier.token(&it.sign("one")).await.expect_err("nothing is known");
    assert_eq!(fault.code(), Code::Unavailable);
    it.set_up();
    assert_eq!(it.refusal(&it.sign("one")).await, None);
    it.roles.signing_keys.fails(Status::unavailable("down"));
    it.clock.advance(Duration::from_secs(10));
    assert!(it.verifier.token(&it.sign("two")).await.is_err(), "whether it is known cannot be said");
    assert_eq!(it.refusal(&it.sign("one")).await, None);
}

#[tokio::test]
async fn nonsense_from_a_role_is_a_fault() {
    let it = Fixture::new();
    let grant = keys::Grant { key_id: "nonsense".into(), ..grant() };
    it.roles.key.answers(keys::ResolveKeyResponse { grant: Some(grant) });
    let session = identity::Session { expires_at: None, ..it.session() };
    it.roles.session.answers(identity::ResolveSessionResponse { session: Some(session) });
    let member = Some(keys::Member { role: "king".into() });
    it.roles.member.answers(keys::ResolveMemberResponse { member });
    let key = it.verifier.key(&presented(KeyKind::Live)).await.expect_err("nonsense");
    let token = it.verifier.token(&it.sign("one")).await.expect_err("nonsense");
    let member = it.verifier.member(WORKSPACE, USER).await.expect_err("nonsense");
    assert_eq!([key, token, member].map(|fault| fault.code()), [Code::Internal; 3]);
}
