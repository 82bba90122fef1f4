//! Who is let in by what, and what a change does to it.

use tollgate_kernel::{Code, OsEntropy};
use tollgate_proto::{identity, keys};
use tonic::Status;

use super::*;
use crate::{
    Environment, KeyKind, Refusal, Subject, mint,
    verifier::fixture::{Fixture, KEY, SESSION, USER, grant, revoked},
};

const USER_IN: Identity = Identity::User { user_id: USER, session_id: SESSION, operator: true };

fn key(kind: KeyKind) -> String {
    mint(kind, &OsEntropy).key.expose_secret().to_owned()
}

async fn asked(it: &Fixture, text: &str, accepts: Accepts) -> Result<Identity, VerdictCode> {
    let credential = Credential::from_text(text).expect("usable");
    let admission = Admission::new(it.verifier.clone());
    admission.either(&credential, accepts, &Demand::default()).await.expect("asked")
}

#[tokio::test]
async fn each_kind_is_let_in_where_it_is_accepted() {
    let it = Fixture::new();
    for accepts in [Accepts::User, Accepts::Key, Accepts::Either] {
        let user = asked(&it, &it.sign("one"), accepts).await;
        assert_eq!(user == Ok(USER_IN), accepts != Accepts::Key, "{accepts:?}");
        let by_key = asked(&it, &key(KeyKind::Live), accepts).await;
        let let_in = matches!(&by_key, Ok(Identity::Key { grant }) if grant.key_id == KEY);
        assert_eq!(let_in, accepts != Accepts::User, "{accepts:?}");
        let service = asked(&it, &key(KeyKind::Service), accepts).await;
        assert_eq!(service, Err(VerdictCode::NotFound), "{accepts:?}");
    }
    assert_eq!(it.roles.service_key.calls(), 0);
}

#[tokio::test]
async fn what_is_not_accepted_is_not_looked_up() {
    let it = Fixture::new();
    let refused = asked(&it, &it.sign("one"), Accepts::Key).await.expect_err("refused");
    assert_eq!(refused.refusal(), Some(Refusal::WhoAreYou));
    asked(&it, &key(KeyKind::Live), Accepts::User).await.expect_err("refused");
    assert_eq!(it.calls(), [0; 5]);
}

#[tokio::test]
async fn a_key_must_have_what_the_call_demands() {
    let it = Fixture::new();
    let scoped = keys::Grant { scopes: vec!["read".into()], ..grant() };
    it.roles.key.answers(keys::ResolveKeyResponse { grant: Some(scoped) });
    let admission = Admission::new(it.verifier.clone());
    let presented = key(KeyKind::Live);
    let ask = async |scopes: &[String], environment| {
        let demand = Demand { scopes, expression: None, environment, client_ip: None };
        admission.key(&presented, &demand).await.expect("asked").err()
    };
    assert_eq!(ask(&["read".into()], Some(Environment::Live)).await, None);
    assert_eq!(ask(&["read".into(), "write".into()], None).await, Some(VerdictCode::InsufficientScope));
    assert_eq!(ask(&[], Some(Environment::Test)).await, Some(VerdictCode::WrongEnvironment));
}

#[tokio::test]
async fn a_published_change_refuses_the_next_call() {
    let it = Fixture::new();
    let (presented, token) = (key(KeyKind::Live), it.sign("one"));
    for text in [&presented, &token] {
        asked(&it, text, Accepts::Either).await.expect("let in");
    }
    it.roles.key.answers(revoked(&it.clock));
    it.changes.publish(Subject::Key(KEY));
    assert_eq!(asked(&it, &presented, Accepts::Either).await, Err(VerdictCode::Revoked));
    it.roles.session.answers(identity::ResolveSessionResponse { session: None });
    it.changes.publish(Subject::Session(SESSION));
    assert_eq!(asked(&it, &token, Accepts::Either).await, Err(VerdictCode::Revoked));
}

#[tokio::test]
async fn garbage_costs_no_call() {
    let it = Fixture::new();
    for text in ["tg_live_x", "a.b.c", "anything"] {
        assert_eq!(asked(&it, text, Accepts::Either).await, Err(VerdictCode::Malformed));
    }
    assert_eq!(it.calls(), [0; 5]);
}

#[tokio::test]
async fn a_role_that_cannot_be_asked_is_a_fault() {
    let it = Fixture::new();
    it.roles.key.fails(Status::unavailable("down"));
    let admission = Admission::new(it.verifier.clone());
    let fault = admission.key(&key(KeyKind::Live), &Demand::default()).await.expect_err("not a verdict");
    assert_eq!(fault.code(), Code::Unavailable);
}
