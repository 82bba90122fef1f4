//! Refresh and logout, and what verifiers hear of it.

use std::{collections::HashSet, future::Future, pin::pin, task::Poll};

use tollgate_kernel::Code;
use tollgate_proto::{Identity, fault::from_status, identity::ResolveSessionRequest};
use tollgate_testkit::{TestDatabase, on_every_database};
use tollgate_verify::{Subject, TokenRefusal};
use tonic::Request;

use super::support::{Log, World, seen};
use crate::store::{Action, EndReason};

const DAY: u64 = 86_400;

on_every_database! {
    async fn a_refresh_token_is_good_for_one_exchange(database: TestDatabase) {
        let world = World::new(database).await;
        let first = world.session().await;
        world.wait(60);
        let second = world.refresh(&first.refresh_token).await.unwrap();
        assert_ne!(second.refresh_token, first.refresh_token);
        assert_eq!(second.session_id, first.session_id);
        assert!(world.verifier().token(&second.access_token).await.unwrap().is_ok());
        let third = world.refresh(&second.refresh_token).await.unwrap();
        assert_ne!(third.refresh_token, second.refresh_token);
    }

    async fn a_retry_within_the_grace_gets_the_same_successor(database: TestDatabase) {
        let world = World::new(database).await;
        let first = world.session().await;
        let second = world.refresh(&first.refresh_token).await.unwrap();
        world.wait(10);
        let again = world.refresh(&first.refresh_token).await.unwrap();
        assert_eq!(again.refresh_token, second.refresh_token);
        assert_ne!(again.access_token, second.access_token, "the access token is fresh");
        assert_eq!(again.refresh_expires_in, second.refresh_expires_in - 10);
        assert!(world.refresh(&again.refresh_token).await.is_ok());
    }

    async fn fifty_at_once_get_one_successor(database: TestDatabase) {
        let world = World::new(database).await;
        let first = world.session().await;
        let all = (0..50).map(|_| {
            let (identity, token) = (world.identity.clone(), first.refresh_token.clone());
            tokio::spawn(async move { identity.exchange(&token, None).await })
        });
        let mut successors = HashSet::new();
        for one in all.collect::<Vec<_>>() {
            let tokens = one.await.unwrap().unwrap();
            successors.insert(tollgate_kernel::ExposeSecret::expose_secret(&tokens.refresh).to_owned());
        }
        assert_eq!(successors.len(), 1);
        let session = first.session_id.parse().unwrap();
        let (row, _) = world.identity.store.session_by_id(session).await.unwrap().unwrap();
        assert_eq!(row.generation, 1);
    }

    async fn reuse_ends_the_session_and_no_other(database: TestDatabase) {
        let world = World::new(database).await;
        let (first, other) = (world.session().await, world.log_in("ann@example.com").await);
        let second = world.refresh(&first.refresh_token).await.unwrap();
        let verifier = world.verifier();
        assert!(verifier.token(&second.access_token).await.unwrap().is_ok());
        world.wait(11);

        let fault = world.refresh(&first.refresh_token).await.unwrap_err();
        assert_eq!(fault.code(), Code::Unauthenticated);
        // Nothing of the family works any more, also where it was cached a moment ago.
        let revoked = verifier.token(&second.access_token).await.unwrap();
        assert_eq!(revoked.unwrap_err(), TokenRefusal::Revoked);
        assert_eq!(seen(&world.refresh(&second.refresh_token).await.unwrap_err()), seen(&fault));
        assert!(world.resolve(&first.session_id).await.is_none());
        assert!(world.refresh(&other.refresh_token).await.is_ok());
        assert!(world.identity.store.actions().await.contains(&"session.refresh_reused".to_owned()));
    }

    async fn the_grace_ends_with_the_first_use_of_the_successor(database: TestDatabase) {
        let world = World::new(database).await;
        let first = world.session().await;
        let second = world.refresh(&first.refresh_token).await.unwrap();
        world.refresh(&second.refresh_token).await.unwrap();
        assert!(world.refresh(&first.refresh_token).await.is_err());
        assert!(world.resolve(&first.session_id).await.is_none());
    }

    async fn an_idle_session_ends(database: TestDatabase) {
        let world = World::new(database).await;
        let first = world.session().await;
        world.wait(7 * DAY - 1);
        let second = world.refresh(&first.refresh_token).await.unwrap();
        world.wait(7 * DAY);
        assert!(world.resolve(&first.session_id).await.is_none());
        assert_eq!(world.refresh(&second.refresh_token).await.unwrap_err().code(), Code::Unauthenticated);
    }

    async fn use_never_prolongs_a_session_past_its_absolute_end(database: TestDatabase) {
        let world = World::new(database).await;
        let mut tokens = world.session().await;
        for _ in 0..5 {
            world.wait(6 * DAY - 60);
            tokens = world.refresh(&tokens.refresh_token).await.unwrap();
        }
        // Five minutes are left, of the session and so of its tokens.
        assert_eq!((tokens.expires_in, tokens.refresh_expires_in), (300, 300));
        world.wait(300);
        assert!(world.refresh(&tokens.refresh_token).await.is_err());
        assert!(world.verifier().token(&tokens.access_token).await.unwrap().is_err());
    }

    async fn logout_ends_the_session_for_every_verifier_at_once(database: TestDatabase) {
        let world = World::new(database).await;
        let (tokens, other) = (world.session().await, world.log_in("ann@example.com").await);
        let verifier = world.verifier();
        assert!(verifier.token(&tokens.access_token).await.unwrap().is_ok());
        world.log_out(&tokens.refresh_token, false).await.unwrap();
        let revoked = verifier.token(&tokens.access_token).await.unwrap();
        assert_eq!(revoked.unwrap_err(), TokenRefusal::Revoked);
        assert!(world.refresh(&tokens.refresh_token).await.is_err());
        assert!(world.resolve(&tokens.session_id).await.is_none());
        assert!(world.refresh(&other.refresh_token).await.is_ok());
        // Again, and it is recorded once.
        world.log_out(&tokens.refresh_token, false).await.unwrap();
        let actions = world.identity.store.actions().await;
        assert_eq!(actions.iter().filter(|action| *action == "session.logout").count(), 1);
    }

    async fn logout_takes_any_genuine_token_of_the_session(database: TestDatabase) {
        let world = World::new(database).await;
        let first = world.session().await;
        world.refresh(&first.refresh_token).await.unwrap();
        world.wait(60);
        world.log_out(&first.refresh_token, false).await.unwrap();
        assert!(world.resolve(&first.session_id).await.is_none());

        let expired = world.log_in("ann@example.com").await;
        world.wait(40 * DAY);
        world.log_out(&expired.refresh_token, false).await.unwrap();
        world.identity.maintain().await;
        world.wait(40 * DAY);
        world.identity.maintain().await;
        world.log_out(&expired.refresh_token, false).await.unwrap();
    }

    async fn logout_of_all_ends_every_session_of_the_user(database: TestDatabase) {
        let world = World::new(database).await;
        world.sign_up("bob@example.com").await;
        let bob = world.log_in("bob@example.com").await;
        let sessions = [world.session().await, world.log_in("ann@example.com").await];
        let verifier = world.verifier();
        for tokens in sessions.iter().chain([&bob]) {
            assert!(verifier.token(&tokens.access_token).await.unwrap().is_ok());
        }
        world.log_out(&sessions[0].refresh_token, true).await.unwrap();
        for tokens in &sessions {
            let revoked = verifier.token(&tokens.access_token).await.unwrap();
            assert_eq!(revoked.unwrap_err(), TokenRefusal::Revoked);
            assert!(world.refresh(&tokens.refresh_token).await.is_err());
        }
        assert!(verifier.token(&bob.access_token).await.unwrap().is_ok());
        assert!(world.refresh(&bob.refresh_token).await.is_ok());
    }

    async fn a_disabled_user_has_no_live_session(database: TestDatabase) {
        let world = World::new(database).await;
        let user = world.sign_up("ann@example.com").await;
        let tokens = world.log_in("ann@example.com").await;
        world.disable(&user).await;
        assert!(world.resolve(&tokens.session_id).await.is_none());
        assert_eq!(world.refresh(&tokens.refresh_token).await.unwrap_err().code(), Code::Unauthenticated);
    }

    async fn refresh_and_logout_at_once_leave_nothing_alive(database: TestDatabase) {
        let world = World::new(database).await;
        let mut tokens = world.session().await;
        for _ in 0..5 {
            let (refreshed, ended) = tokio::join!(
                world.refresh(&tokens.refresh_token),
                world.log_out(&tokens.refresh_token, false),
            );
            ended.unwrap();
            assert!(world.resolve(&tokens.session_id).await.is_none());
            if let Ok(late) = refreshed {
                let verified = world.verifier().token(&late.access_token).await.unwrap();
                assert_eq!(verified.unwrap_err(), TokenRefusal::Revoked);
                assert!(world.refresh(&late.refresh_token).await.is_err());
            }
            world.wait(300);
            tokens = world.log_in("ann@example.com").await;
        }
    }
}

#[tokio::test]
async fn garbage_is_refused_alike() {
    let world = World::new(TestDatabase::sqlite().await).await;
    let tokens = world.session().await;
    let cut = &tokens.refresh_token[..tokens.refresh_token.len() - 1];
    for garbage in ["", "tg_rt_", "garbage", "a\0b", cut, &tokens.access_token] {
        let (refresh, logout) = (world.refresh(garbage).await, world.log_out(garbage, true).await);
        assert_eq!(refresh.unwrap_err().code(), Code::Unauthenticated, "{garbage}");
        assert_eq!(logout.unwrap_err().code(), Code::Unauthenticated, "{garbage}");
    }
    assert!(world.resolve(&tokens.session_id).await.is_some());
}

#[tokio::test]
async fn a_session_id_is_no_secret_and_opens_nothing() {
    let world = World::new(TestDatabase::sqlite().await).await;
    let tokens = world.session().await;
    assert!(world.refresh(&tokens.session_id).await.is_err());
    assert!(world.resolve("ses_00000000000000000000000001").await.is_none());
    let request = ResolveSessionRequest { session_id: "usr_00000000000000000000000001".to_owned() };
    let fault = from_status(world.identity.resolve_session(Request::new(request)).await.unwrap_err());
    assert_eq!(fault.violated()[0].pointer, "/session_id");
}

#[tokio::test]
async fn reuse_is_logged_with_ids_and_without_tokens() {
    let world = World::new(TestDatabase::sqlite().await).await;
    let first = world.session().await;
    let second = world.refresh(&first.refresh_token).await.unwrap();
    world.wait(11);
    let log = Log::start();
    world.refresh(&first.refresh_token).await.unwrap_err();
    let text = log.text();
    assert!(text.contains("WARN") && text.contains("reused") && text.contains(&first.session_id), "{text}");
    assert!(text.contains("usr_"), "{text}");
    assert!(!text.contains(&first.refresh_token) && !text.contains(&second.refresh_token), "{text}");
}

/// A client that hangs up during its logout does not keep verifiers from hearing of it.
#[tokio::test]
async fn a_change_that_nobody_waits_for_is_made_known() {
    let world = World::new(TestDatabase::sqlite().await).await;
    let tokens = world.session().await;
    let (verifier, id) = (world.verifier(), tokens.session_id.parse().unwrap());
    assert!(verifier.token(&tokens.access_token).await.unwrap().is_ok());
    let event = world.identity.event(Action::Logout);
    let subject = Subject::Session(id);
    let entry = tollgate_changes::Entry::new(subject, world.now(), &tollgate_kernel::OsEntropy);
    world.identity.store.session_end(id, entry, EndReason::Logout, world.now(), &event).await.unwrap();
    assert!(verifier.token(&tokens.access_token).await.unwrap().is_ok(), "it has not heard of it");

    let (commit, committed) = tokio::sync::oneshot::channel::<()>();
    {
        let work = async {
            committed.await.map_err(|closed| tollgate_db::Error::Other(closed.into()))?;
            Ok(((), None))
        };
        let cut = Some(tollgate_changes::Cut { subject, wait: true });
        let mut change = pin!(world.identity.feed.carry_out(cut, work));
        let once = std::future::poll_fn(|context| Poll::Ready(change.as_mut().poll(context)));
        assert!(once.await.is_pending());
    }
    commit.send(()).unwrap();
    // The task that was left behind is next in the only thread's queue.
    tokio::task::yield_now().await;
    let revoked = verifier.token(&tokens.access_token).await.unwrap();
    assert_eq!(revoked.unwrap_err(), TokenRefusal::Revoked);
}
