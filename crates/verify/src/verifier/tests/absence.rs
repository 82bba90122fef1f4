//! What a verifier believes of keys that do not exist, and for how long it goes on asking nothing.

use super::*;

impl Fixture {
    /// Neither key exists.
    fn without_keys() -> Self {
        let it = Self::new();
        it.roles.key.answers(keys::ResolveKeyResponse { grant: None });
        it.roles.service_key.answers(keys::ResolveServiceKeyResponse { grant: None });
        it
    }

    /// Whether the key, and the service key, are there.
    async fn finds(&self) -> [bool; 2] {
        let key = self.verifier.key(&presented(KeyKind::Live)).await.expect("asked");
        let service_key = self.verifier.service_key(&presented(KeyKind::Service)).await.expect("asked");
        [key.is_some(), service_key.is_some()]
    }

    fn key_calls(&self) -> [usize; 2] {
        [self.roles.key.calls(), self.roles.service_key.calls()]
    }
}

#[tokio::test]
async fn a_key_that_does_not_exist_is_asked_for_once_a_second() {
    let it = Fixture::without_keys();
    for _ in 0..100 {
        assert_eq!(it.finds().await, [false; 2]);
    }
    it.clock.advance(Duration::from_micros(999_999));
    assert_eq!(it.finds().await, [false; 2]);
    assert_eq!(it.key_calls(), [1, 1]);
    it.clock.advance(Duration::from_micros(1));
    assert_eq!(it.finds().await, [false; 2]);
    assert_eq!(it.key_calls(), [2, 2]);
}

#[tokio::test]
async fn a_key_that_was_asked_for_before_it_was_made_is_found_at_once() {
    let it = Fixture::without_keys();
    assert_eq!(it.finds().await, [false; 2]);
    it.set_up();
    it.changes.publish(Subject::Born);
    assert_eq!(it.finds().await, [true; 2]);
    assert_eq!(it.finds().await, [true; 2]);
    assert_eq!(it.key_calls(), [2, 2]);
}

#[tokio::test]
async fn a_key_that_was_made_while_it_was_asked_for_is_found_by_the_next_call() {
    let it = Fixture::without_keys();
    let key = presented(KeyKind::Live);
    it.roles.key.hold_next();
    let make = async {
        it.roles.key.read.notified().await; // it has read that there is no such key
        it.set_up();
        it.changes.publish(Subject::Born);
        it.roles.key.release.notify_one();
    };
    let (raced, ()) = tokio::join!(it.verifier.key(&key), make);
    assert_eq!(raced.expect("asked"), None, "it was so when that call came");
    assert_eq!(it.admits(&key).await, Ok(()));
    assert_eq!(it.roles.key.calls(), 2);
}

#[tokio::test]
async fn without_trust_a_key_that_does_not_exist_is_asked_for_each_time() {
    let it = Fixture::without_keys();
    it.trusts.store(false, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(it.finds().await, [false; 2]);
    }
    assert_eq!(it.key_calls(), [3, 3]);
}

#[tokio::test]
async fn the_absence_of_anything_else_is_not_held() {
    let it = Fixture::new();
    let token = it.sign("one");
    it.roles.session.answers(identity::ResolveSessionResponse { session: None });
    it.roles.member.answers(keys::ResolveMemberResponse { member: None });
    for calls in 1..=3 {
        assert_eq!(it.refusal(&token).await, Some(TokenRefusal::Revoked));
        assert_eq!(it.verifier.member(WORKSPACE, USER).await.expect("asked"), None);
        assert_eq!((it.roles.session.calls(), it.roles.member.calls()), (calls, calls));
    }
}
