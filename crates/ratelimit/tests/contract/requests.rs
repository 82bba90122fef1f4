//! A retry of an accepted call is answered, and not charged again.

use std::time::Duration;

use tollgate_kernel::{Clock, Code};
use tollgate_proto::ratelimit::{CheckRequest, ReserveRequest};

use crate::support::{Role, call, charge, check, on_every_counter, tally};

fn request(id: &str) -> CheckRequest {
    let (request_id, tally) = (id.to_owned(), Some(tally("key")));
    CheckRequest { request_id, tally, ..call(vec![charge("minute", 2, 60)]) }
}

on_every_counter! {
    async fn a_retry_gets_the_same_answer(role: Role) {
        let first = role.check(request("one")).await;
        role.clock.advance(Duration::from_secs(5));
        role.check(request("two")).await;
        role.clock.advance(Duration::from_secs(5));
        assert_eq!(role.check(request("one")).await, first);
        let batch = role.drain().await.expect("a batch");
        assert_eq!(batch.rows.iter().map(|row| row.count).sum::<u64>(), 2, "a retry is not tallied");
    }

    async fn a_denied_call_is_asked_anew(role: Role) {
        role.check(request("one")).await;
        role.check(request("two")).await;
        assert!(!role.check(request("three")).await.allowed);
        role.clock.advance(Duration::from_mins(1));
        assert!(role.check(request("three")).await.allowed);
    }

    async fn an_id_is_remembered_for_ten_minutes(role: Role) {
        let first = role.check(request("one")).await;
        role.clock.advance(Duration::from_micros(599_999_999));
        assert_eq!(role.check(request("one")).await, first);
        role.check(request("two")).await;
        role.clock.advance(Duration::from_micros(1));
        assert_eq!(role.check(request("one")).await.limits[0].remaining, 0, "charged again");
    }

    async fn an_id_is_of_one_call_and_one_partition(role: Role) {
        role.check(request("one")).await;
        let mut other = request("one");
        other.charges[0].cost = 2;
        let fault = check(&role.service, other.clone()).await.expect_err("refused");
        assert_eq!(fault.code(), Code::InvalidArgument);
        assert_eq!(fault.violated()[0].pointer, "/request_id");
        other.partition = "elsewhere".into();
        assert_eq!(role.check(other).await.limits[0].remaining, 0);
    }

    async fn a_cost_that_could_never_pass_is_no_wait(role: Role) {
        let of = |cost: u64| {
            let mut request = request("");
            request.charges[0].cost = cost;
            request
        };
        let never = async |request: CheckRequest| {
            let fault = check(&role.service, request).await.expect_err("refused");
            assert_eq!((fault.code(), &*fault.violated()[0].pointer), (Code::InvalidArgument, "/charges/0/cost"));
        };
        never(of(3)).await;
        never(CheckRequest { peek: true, ..of(3) }).await;
        let reserved = role.reserve(ReserveRequest { call: Some(CheckRequest { request_id: "r".into(), ..of(3) }), hold_seconds: 0 });
        assert_eq!(reserved.await.expect_err("refused").violated()[0].pointer, "/call/charges/0/cost");
        assert_eq!(role.drain().await, None, "it is counted nowhere");

        // An override allows it, for as long as it is in force and not used up.
        let end = role.clock.now().timestamp_micros() + 90_000_000;
        role.put_override("workspace", "key", "minute", 5, end).await.expect("put");
        assert_eq!(role.check(of(3)).await.limits[0].remaining, 2);
        assert_eq!(role.check(of(4)).await.retry_after_us, 60_000_000);
        role.clock.advance(Duration::from_secs(31));
        assert_eq!(role.check(of(2)).await.limits[0].remaining, 0);
        never(of(4)).await;
        assert_eq!(role.check(of(2)).await.retry_after_us, 29_000_000);
        role.clock.advance(Duration::from_secs(59));
        never(of(3)).await;

        // One below the limit's own number is a wait.
        let end = role.clock.now().timestamp_micros() + 90_000_000;
        role.put_override("workspace", "key", "minute", 1, end).await.expect("put");
        assert_eq!(role.check(of(2)).await.retry_after_us, 90_000_000);
        // What is only watched is in nobody's way.
        let mut watched = of(3);
        watched.charges[0].limit.as_mut().expect("set").shadow = true;
        let answer = role.check(watched).await;
        assert!(answer.allowed && answer.limits[0].exceeded);
    }

    async fn a_call_without_limits_is_remembered_too(role: Role) {
        let tallied = || CheckRequest { charges: Vec::new(), ..request("one") };
        assert!(role.check(tallied()).await.allowed);
        assert!(role.check(tallied()).await.allowed);
        assert_eq!(role.drain().await.expect("a batch").rows[0].count, 1);
    }
}
