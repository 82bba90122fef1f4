//! A primary that its Sentinels fail over to a replica, whose clock is behind.

use std::time::Duration;

use tollgate_proto::ratelimit::OnFailure;
use tollgate_testkit::{MockClock, PrivateSentinels};

use crate::{
    faults::limited,
    support::{PATIENCE, check, open, store, until_up},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_failover_to_a_slower_clock_lets_nothing_pass_too_early() {
    let mut servers = PrivateSentinels::start().await;
    let clock = MockClock::new();
    let service = open(store(servers.url(), "tollgate:", PATIENCE), clock.clone());
    until_up(&service, true).await;
    for _ in 0..2 {
        assert!(check(&service, limited(2, OnFailure::Deny)).await.expect("decided").allowed);
    }
    servers.caught_up().await;
    servers.primary.kill();
    assert!(check(&service, limited(2, OnFailure::Local)).await.expect("decided").degraded);
    // What the clock of the other server says, and goes into its scripts in place of its own.
    clock.turn_back(Duration::from_secs(30));
    servers.failed_over().await;
    until_up(&service, true).await;

    let refused = check(&service, limited(2, OnFailure::Deny)).await.expect("decided");
    assert_eq!((refused.allowed, refused.degraded), (false, false));
    assert_eq!(refused.retry_after_us, 90_000_000, "its window, and as much as the clock is behind");
    clock.advance(Duration::from_micros(refused.retry_after_us - 1));
    assert!(!check(&service, limited(2, OnFailure::Deny)).await.expect("decided").allowed);
    clock.advance(Duration::from_micros(1));
    assert!(check(&service, limited(2, OnFailure::Deny)).await.expect("decided").allowed);

    // The old primary comes back, and is a replica as soon as the Sentinels have seen it.
    servers.primary.restart().await;
    assert!(!check(&service, limited(2, OnFailure::Deny)).await.expect("decided").degraded);
}
