//! A denial that is believed for a while is taken back by what frees units, at once in the process that does it.

use std::time::Duration;

use tollgate_kernel::Clock as _;
use tollgate_proto::{
    RateLimit as _,
    ratelimit::{CheckRequest, RefundRequest, ResetRequest},
};
use tonic::Request;

use crate::support::{Role, call, charge, check};

const LONGEST: Duration = Duration::from_millis(250);

fn one() -> CheckRequest {
    call(vec![charge("one", 1, 60)])
}

/// Redis, a unit of one that is taken by the request `taken`, and a denial that is believed.
async fn denied() -> Role {
    let role = Role::redis_behind(LONGEST);
    assert!(role.check(CheckRequest { request_id: "taken".to_owned(), ..one() }).await.allowed);
    for _ in 0..3 {
        assert!(!role.check(one()).await.allowed);
    }
    role
}

fn refund() -> RefundRequest {
    RefundRequest { partition: "workspace".to_owned(), request_id: "taken".to_owned() }
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_refund_is_heeded_at_once() {
    let role = denied().await;
    assert_eq!(role.refund(refund()).await.expect("refunded"), [1]);
    assert!(role.check(one()).await.allowed);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_reset_is_heeded_at_once() {
    let role = denied().await;
    role.reset("workspace", "key", vec!["one".to_owned()]).await.expect("reset");
    // What was forgotten leaves a moment in which nothing is counted.
    role.clock.advance(Duration::from_micros(1));
    assert!(role.check(one()).await.allowed);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn an_override_is_heeded_at_once_and_so_is_its_end() {
    let role = denied().await;
    let until = role.clock.now().timestamp_micros() + 30_000_000;
    role.put_override("workspace", "key", "one", 2, until).await.expect("put");
    assert!(role.check(one()).await.allowed);
    role.put_override("workspace", "key", "one", 1, until).await.expect("put");
    assert!(!role.check(one()).await.allowed);
    role.delete_override("workspace", "key", "one").await.expect("deleted");
    let wait = role.check(one()).await.retry_after_us;
    assert_eq!(wait, 60_000_000);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn what_another_process_gives_back_counts_a_little_later() {
    let role = denied().await;
    let other = role.another();
    other.refund(Request::new(refund())).await.expect("refunded");
    role.clock.advance(Duration::from_micros(249_999));
    assert!(!role.check(one()).await.allowed, "it is still believed");
    role.clock.advance(Duration::from_micros(1));
    assert!(role.check(one()).await.allowed);

    let names = vec!["one".to_owned()];
    let reset = ResetRequest { partition: "workspace".to_owned(), subject: "key".to_owned(), names };
    assert!(!role.check(one()).await.allowed);
    other.reset(Request::new(reset)).await.expect("reset");
    role.clock.advance(LONGEST);
    assert!(check(&role.service, one()).await.expect("decided").allowed);
}
