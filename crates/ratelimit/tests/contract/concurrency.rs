//! Many at once get exactly what one after the other would get.

use std::sync::Arc;

use tokio::task::JoinSet;
use tollgate_proto::ratelimit::{Algorithm, CheckRequest};
use tollgate_ratelimit::RateLimitService;

use crate::reservations::ten;
use crate::support::{Role, call, charge, check, on_every_counter, tally};

/// How many of the calls, all in flight at once and dealt out to the services, pass.
async fn passed(services: &[Arc<RateLimitService>], calls: usize, request: &CheckRequest) -> usize {
    let mut tasks = JoinSet::new();
    for number in 0..calls {
        let (service, request) = (services[number % services.len()].clone(), request.clone());
        tasks.spawn(async move { check(&service, request).await.expect("decided").allowed });
    }
    tasks.join_all().await.into_iter().filter(|allowed| *allowed).count()
}

on_every_counter! {
    async fn a_thousand_at_once_share_ten(role: Role) {
        let request = call(vec![charge("minute", 10, 60)]);
        assert_eq!(passed(std::slice::from_ref(&role.service), 1000, &request).await, 10);
    }

    async fn four_processes_share_the_narrowest_limit(role: Role) {
        let services = [role.another(), role.another(), role.another(), role.another()];
        let charges = vec![charge("ten", 10, 60), charge("seven", 7, 60), charge("thousand", 1000, 60)];
        let mut request = call(charges);
        assert_eq!(passed(&services, 1000, &request).await, 7);
        request.peek = true;
        let used = role.check(request).await.limits.into_iter().map(|limit| limit.limit - limit.remaining);
        assert_eq!(used.collect::<Vec<_>>(), [7, 7, 7]);
    }

    async fn two_hundred_share_the_narrowest_of_three(role: Role) {
        two_hundred_share_the_narrowest_limit(role).await;
    }

    async fn leases_are_never_more_than_the_limit(role: Role) {
        let mut tasks = JoinSet::new();
        for number in 0..200 {
            let service = role.service.clone();
            let call = CheckRequest { request_id: number.to_string(), ..call(vec![ten(Algorithm::Concurrency, 1)]) };
            tasks.spawn(async move { check(&service, call).await.expect("decided").allowed });
        }
        assert_eq!(tasks.join_all().await.into_iter().filter(|allowed| *allowed).count(), 10);
    }

    async fn one_request_id_is_charged_once(role: Role) {
        let mut request = call(vec![charge("minute", 10, 60)]);
        request.request_id = "the same".into();
        request.tally = Some(tally("key"));
        assert_eq!(passed(&[role.another(), role.another()], 100, &request).await, 100);
        request.peek = true;
        assert_eq!(role.check(request).await.limits[0].remaining, 9);
        assert_eq!(role.drain().await.expect("a batch").rows[0].count, 1);
    }
}

/// Two hundred at once, 25 calls each, on four processes.
async fn two_hundred_share_the_narrowest_limit(role: Role) {
    let services = [role.another(), role.another(), role.another(), role.another()];
    let charges = vec![charge("ten", 10, 60), charge("seven", 7, 60), charge("thousand", 1000, 60)];
    let mut request = call(charges);
    let mut tasks = JoinSet::new();
    for number in 0..200 {
        let (service, request) = (services[number % services.len()].clone(), request.clone());
        tasks.spawn(async move {
            let mut passed = 0;
            for _ in 0..25 {
                let answer = check(&service, request.clone()).await.expect("decided");
                assert!(!answer.degraded);
                passed += usize::from(answer.allowed);
            }
            passed
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().sum::<usize>(), 7);
    request.peek = true;
    let used = role.check(request).await.limits.into_iter().map(|limit| limit.limit - limit.remaining);
    assert_eq!(used.collect::<Vec<_>>(), [7, 7, 7]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn two_hundred_share_the_narrowest_limit_of_a_cluster() {
    let cluster = tollgate_testkit::PrivateCluster::start(0).await;
    two_hundred_share_the_narrowest_limit(Role::at(cluster.url(), "tollgate:")).await;
}
