//! What is lost between the role and Redis: answers, and Redis itself in mid-load. Nothing is let pass that a limit forbids,
//! but what its failure policy says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};
use tollgate_kernel::Code;
use tollgate_proto::ratelimit::{CheckRequest, OnFailure};
use tollgate_testkit::{MockClock, PrivateRedis};

use crate::{
    faults::limited,
    support::{PATIENCE, Role, check, open, store, until, until_up},
};

/// Stands between the role and its Redis, and loses an answer when it is told to.
struct Between {
    port: u16,
    lose: Arc<AtomicBool>,
}

impl Between {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let lose = Arc::new(AtomicBool::new(false));
        let told = lose.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", to)).await.expect("Redis runs");
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(pass(near_in, far_out, Arc::default()));
                tokio::spawn(pass(far_in, near_out, told.clone()));
            }
        });
        Self { port, lose }
    }
}

/// Passes on what comes, until it is told to lose something: then that is lost, and the connection with it.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lose: Arc<AtomicBool>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if lose.swap(false, Ordering::SeqCst) || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// What is left of nine, after a call of which the first answer was lost.
async fn left_after_a_loss(request_id: &str) -> u64 {
    let redis = PrivateRedis::start().await;
    let between = Between::start(redis.port()).await;
    let url = format!("redis://127.0.0.1:{}", between.port);
    let service = open(store(url.into(), "tollgate:", PATIENCE), MockClock::new());
    until_up(&service, true).await;
    let peek = || CheckRequest { peek: true, ..limited(9, OnFailure::Deny) };
    check(&service, peek()).await.expect("decided");

    between.lose.store(true, Ordering::SeqCst);
    let request = CheckRequest { request_id: request_id.to_owned(), ..limited(9, OnFailure::Deny) };
    let answer = check(&service, request).await.expect("it is asked again");
    assert!(answer.allowed && !answer.degraded);
    assert!(!between.lose.load(Ordering::SeqCst), "an answer was lost");
    check(&service, peek()).await.expect("decided").limits[0].remaining
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_call_with_an_id_whose_answer_is_lost_is_charged_once() {
    assert_eq!(left_after_a_loss("the same").await, 8);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_call_without_an_id_whose_answer_is_lost_is_charged_too_much_rather_than_too_little() {
    assert_eq!(left_after_a_loss("").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_block_whose_release_is_not_answered_is_given_back_once() {
    const BLOCK: Duration = Duration::from_millis(100);
    let redis = PrivateRedis::start().await;
    let between = Between::start(redis.port()).await;
    let url = format!("redis://127.0.0.1:{}", between.port);
    let role = Role::at_ahead(url.into(), "tollgate:", BLOCK);
    until_up(&role.service, true).await;
    // A block that is released, so that the server knows the script.
    for _ in 1..=8 {
        let partition = "elsewhere".to_owned();
        role.check(CheckRequest { partition, ..limited(MANY, OnFailure::Deny) }).await;
    }
    role.clock.advance(BLOCK);
    for asked in 1..=8 {
        let answer = role.check(limited(MANY, OnFailure::Deny)).await;
        assert_eq!(answer.limits[0].remaining, MANY - asked);
    }
    let peek = || CheckRequest { peek: true, ..limited(MANY, OnFailure::Deny) };
    let other = role.another();
    let left = async || check(&other, peek()).await.expect("decided").limits[0].remaining;
    assert_eq!(left().await, MANY - 8 - 16, "there is a block");
    role.clock.advance(BLOCK);
    between.lose.store(true, Ordering::SeqCst);
    role.check(peek()).await;
    assert!(!between.lose.load(Ordering::SeqCst), "an answer was lost");
    assert_eq!(left().await, MANY - 8);
}

/// What became of many calls.
#[derive(Default)]
struct Tried {
    all: AtomicUsize,
    /// Passed by Redis.
    there: AtomicU64,
    /// Passed without it.
    here: AtomicU64,
    refused: AtomicU64,
}

const LIMIT: u64 = 200;
/// More than are counted one by one.
const MANY: u64 = 16_000;

/// Calls without pause while Redis is killed and started again.
async fn killed_in_mid_load(on_failure: OnFailure) -> Tried {
    let mut redis = PrivateRedis::start().await;
    let service = open(store(redis.url(), "tollgate:", PATIENCE), MockClock::new());
    until_up(&service, true).await;
    let (tried, done) = (Arc::new(Tried::default()), Arc::new(AtomicBool::new(false)));
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let (service, tried, done) = (service.clone(), tried.clone(), done.clone());
        calls.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let outcome = match check(&service, limited(LIMIT, on_failure)).await {
                    Ok(answer) if answer.allowed && answer.degraded => Some(&tried.here),
                    Ok(answer) if answer.allowed => Some(&tried.there),
                    Ok(_) => None,
                    Err(fault) => {
                        assert_eq!(fault.code(), Code::Unavailable);
                        Some(&tried.refused)
                    }
                };
                outcome.map(|outcome| outcome.fetch_add(1, Ordering::SeqCst));
                tried.all.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
    }
    until(async || tried.there.load(Ordering::SeqCst) >= 20).await;
    redis.kill();
    let at = tried.all.load(Ordering::SeqCst);
    until(async || tried.all.load(Ordering::SeqCst) >= at + 500).await;
    redis.restart().await;
    until_up(&service, true).await;
    let at = tried.all.load(Ordering::SeqCst);
    until(async || tried.all.load(Ordering::SeqCst) >= at + 1000).await;
    done.store(true, Ordering::SeqCst);
    calls.join_all().await;
    // It counts there again, and it has forgotten nothing: what passed twice is what was asked twice.
    let last = check(&service, limited(LIMIT, on_failure)).await.expect("decided");
    assert!(!last.degraded && !last.allowed, "{last:?}");
    Arc::into_inner(tried).expect("all calls have ended")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn killed_in_mid_load_a_local_limit_passes_once_there_and_once_here() {
    let tried = killed_in_mid_load(OnFailure::Local).await;
    let (there, here) = (tried.there.into_inner(), tried.here.into_inner());
    assert!(there <= LIMIT && (1..=LIMIT).contains(&here), "{there} there, {here} here");
    assert_eq!(tried.refused.into_inner(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn killed_in_mid_load_a_deny_limit_refuses() {
    let tried = killed_in_mid_load(OnFailure::Deny).await;
    assert!(tried.there.into_inner() <= LIMIT);
    assert_eq!(tried.here.into_inner(), 0);
    assert!(tried.refused.into_inner() > 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn killed_in_mid_load_an_allow_limit_lets_pass_only_in_the_meantime() {
    let tried = killed_in_mid_load(OnFailure::Allow).await;
    assert!(tried.there.into_inner() <= LIMIT);
    assert!(tried.here.into_inner() > 0);
    assert_eq!(tried.refused.into_inner(), 0);
}
