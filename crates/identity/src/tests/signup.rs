//! Signing up, and making operators.

use tollgate_kernel::{Code, Fault};
use tollgate_proto::{
    Identity,
    fault::from_status,
    identity::{GetUserRequest, SignupRequest, User},
    kernel::{
        Caller,
        caller::{self, Principal},
    },
};
use tollgate_testkit::on_every_database;
use tonic::Request;

use super::support::{IP, PASSWORD, World};

async fn get_user(world: &World, principal: impl Into<Option<Principal>>) -> Result<User, Fault> {
    let caller = Some(Caller { principal: principal.into(), ip: IP.to_owned() });
    let answer = world.identity.get_user(Request::new(GetUserRequest { caller })).await;
    Ok(answer.map_err(from_status)?.into_inner().user.unwrap())
}

fn as_user(id: &str) -> Principal {
    Principal::User(caller::User { user_id: id.to_owned(), ..Default::default() })
}

async fn create_operator(world: &World, email: &str, password: &str) -> Result<String, Fault> {
    Ok(world.identity.create_operator(email, &password.into()).await?.to_string())
}

on_every_database! {
    async fn a_user_signs_up_and_sees_itself(database: TestDatabase) {
        let world = World::new(database).await;
        let user = world.sign_up("Ann@Example.com").await;
        assert_eq!((user.email.as_str(), user.operator), ("Ann@Example.com", false));
        assert_eq!(get_user(&world, as_user(&user.id)).await.unwrap(), user);
        assert_eq!(world.identity.store.actions().await, ["signing_key.created", "user.signup"]);
    }

    async fn an_address_is_taken_in_any_case(database: TestDatabase) {
        let world = World::new(database).await;
        world.sign_up("Ann@Example.com").await;
        let fault = world.try_sign_up("aNN@example.COM", "another long password").await.unwrap_err();
        assert_eq!((fault.code(), fault.message()), (Code::Conflict, "This e-mail address is taken."));
        assert!(world.try_log_in("ann@example.com", PASSWORD, IP).await.is_ok());
    }

    async fn fifteen_sign_up_at_once_and_one_gets_the_address(database: TestDatabase) {
        let world = World::new(database).await;
        let all = (0..15).map(|_| world.try_sign_up("ann@example.com", PASSWORD));
        let all = futures_util::future::join_all(all).await;
        assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1);
        assert!(all.iter().filter_map(|one| one.as_ref().err()).all(|fault| fault.code() == Code::Conflict));
    }

    async fn an_operator_is_made_once(database: TestDatabase) {
        let world = World::new(database).await;
        let id = create_operator(&world, "root@example.com", PASSWORD).await.unwrap();
        assert_eq!(create_operator(&world, "Root@example.com", PASSWORD).await.unwrap(), id);
        let tokens = world.log_in("root@example.com").await;
        assert!(world.resolve(&tokens.session_id).await.unwrap().operator);
        let actions = world.identity.store.actions().await;
        assert_eq!(actions, ["operator.created", "session.login", "signing_key.created"]);
    }

    async fn a_user_is_promoted_by_its_own_password_only(database: TestDatabase) {
        let world = World::new(database).await;
        let user = world.sign_up("ann@example.com").await;
        let tokens = world.log_in("ann@example.com").await;
        let verifier = world.verifier();
        assert!(!verifier.token(&tokens.access_token).await.unwrap().unwrap().operator);

        let fault = create_operator(&world, "ann@example.com", "somebody else's idea").await.unwrap_err();
        assert_eq!(fault.code(), Code::Conflict);
        assert!(!get_user(&world, as_user(&user.id)).await.unwrap().operator);

        assert_eq!(create_operator(&world, "ann@example.com", PASSWORD).await.unwrap(), user.id);
        assert!(get_user(&world, as_user(&user.id)).await.unwrap().operator);
        // At once, also where the session is cached; and the password is what it was.
        assert!(verifier.token(&tokens.access_token).await.unwrap().unwrap().operator);
        world.log_in("ann@example.com").await;
    }

    async fn a_disabled_user_is_not_promoted(database: TestDatabase) {
        let world = World::new(database).await;
        let user = world.sign_up("ann@example.com").await;
        world.disable(&user).await;
        let fault = create_operator(&world, "ann@example.com", PASSWORD).await.unwrap_err();
        assert_eq!(fault.code(), Code::Conflict);
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_at_once() {
    let world = World::new(tollgate_testkit::TestDatabase::sqlite().await).await;
    let request = SignupRequest {
        email: "no address".to_owned(),
        password: "short".to_owned(),
        name: Some("line\nbreak".to_owned()),
        ip: "somewhere".to_owned(),
    };
    let fault = from_status(world.identity.signup(Request::new(request)).await.unwrap_err());
    assert_eq!(fault.code(), Code::InvalidArgument);
    let pointers: Vec<_> = fault.violated().iter().map(|wrong| wrong.pointer.to_string()).collect();
    assert_eq!(pointers, ["/email", "/password", "/name", "/ip"]);
}

#[tokio::test]
async fn a_name_is_kept_within_its_bounds() {
    let world = World::new(tollgate_testkit::TestDatabase::sqlite().await).await;
    let sign_up = async |email: &str, name: String| {
        let (email, password) = (email.to_owned(), PASSWORD.to_owned());
        let request = SignupRequest { email, password, name: Some(name), ip: String::new() };
        world
            .identity
            .signup(Request::new(request))
            .await
            .map(|answer| answer.into_inner().user.unwrap().name)
    };
    assert_eq!(sign_up("a@b", "é".repeat(200)).await.unwrap(), Some("é".repeat(200)));
    for wrong in [String::new(), "é".repeat(201), "a\0b".to_owned()] {
        let fault = from_status(sign_up("c@d", wrong).await.unwrap_err());
        assert_eq!(fault.violated()[0].pointer, "/name");
    }
}

#[tokio::test]
async fn sign_ups_from_one_place_are_throttled() {
    let world = World::new(tollgate_testkit::TestDatabase::sqlite().await).await;
    for n in 0..20 {
        world.sign_up(&format!("user{n}@example.com")).await;
    }
    let before = world.identity.hasher.computed();
    let fault = world.try_sign_up("one.more@example.com", PASSWORD).await.unwrap_err();
    assert_eq!((fault.code(), fault.wait().unwrap().as_secs()), (Code::RateLimited, 3600));
    assert_eq!(world.identity.hasher.computed(), before);
    world.wait(3600);
    world.sign_up("one.more@example.com").await;
}

#[tokio::test]
async fn only_users_have_a_user() {
    let world = World::new(tollgate_testkit::TestDatabase::sqlite().await).await;
    let user = world.sign_up("ann@example.com").await;
    let service_key = Principal::ServiceKey(caller::ServiceKey::default());
    let missing = as_user("usr_00000000000000000000000001");
    for (principal, code) in
        [(None, Code::Unauthenticated), (Some(service_key), Code::Forbidden), (Some(missing), Code::NotFound)]
    {
        assert_eq!(get_user(&world, principal).await.unwrap_err().code(), code);
    }
    world.disable(&user).await;
    assert_eq!(get_user(&world, as_user(&user.id)).await.unwrap_err().code(), Code::NotFound);
}
