//! What is reserved is settled or refunded once, and only what can still be given back is.

use std::{collections::HashMap, time::Duration};

use tollgate_kernel::{Clock as _, Code};
use tollgate_proto::ratelimit::{
    Algorithm, Calendar, Charge, CheckRequest, Limit, Period, RefundRequest, ReserveRequest, SettleRequest,
};

use crate::support::{Role, call, charge, on_every_counter, tally};

/// Ten units of a limit of this algorithm, a minute or a day long.
pub(crate) fn ten(algorithm: Algorithm, cost: u64) -> Charge {
    let mut charge = charge("ten", 10, 60);
    charge.cost = cost;
    let limit = charge.limit.as_mut().expect("set");
    limit.algorithm = algorithm.into();
    if algorithm == Algorithm::Calendar {
        let calendar = Calendar { period: Period::Day.into(), ..Default::default() };
        *limit = Limit { window_seconds: 0, calendar: Some(calendar), ..limit.clone() };
    }
    charge
}

pub(crate) const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::SlidingWindow, Algorithm::TokenBucket, Algorithm::Calendar, Algorithm::Concurrency];

fn reserve(id: &str, charges: Vec<Charge>) -> ReserveRequest {
    let call = CheckRequest { request_id: id.to_owned(), ..call(charges) };
    ReserveRequest { call: Some(call), hold_seconds: 0 }
}

fn settle(id: &str, costs: &[(&str, u64)]) -> SettleRequest {
    let costs: HashMap<_, _> = costs.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect();
    SettleRequest { partition: "workspace".to_owned(), request_id: id.to_owned(), costs }
}

fn refund(id: &str) -> RefundRequest {
    RefundRequest { partition: "workspace".to_owned(), request_id: id.to_owned() }
}

async fn remaining(role: &Role, algorithm: Algorithm) -> u64 {
    role.check(CheckRequest { peek: true, ..call(vec![ten(algorithm, 0)]) }).await.limits[0].remaining
}

on_every_counter! {
    async fn what_it_did_not_cost_is_given_back(role: Role) {
        for (number, algorithm) in ALGORITHMS.into_iter().enumerate() {
            let mut charge = ten(algorithm, 6);
            let name = format!("ten-{number}");
            charge.limit.as_mut().expect("set").name.clone_from(&name);
            let peek = CheckRequest { peek: true, ..call(vec![Charge { cost: 0, ..charge.clone() }]) };
            assert_eq!(role.reserve(reserve(&name, vec![charge])).await.expect("decided").limits[0].remaining, 4);
            let returned = role.settle(settle(&name, &[(&name, 2)])).await.expect("settled");
            // A lease ends whatever it cost.
            let lease = algorithm == Algorithm::Concurrency;
            assert_eq!(returned, [if lease { 6 } else { 4 }], "{algorithm:?}");
            assert_eq!(role.check(peek).await.limits[0].remaining, if lease { 10 } else { 8 });
        }
    }

    async fn a_settle_is_once(role: Role) {
        role.reserve(reserve("id", vec![ten(Algorithm::SlidingWindow, 6)])).await.expect("decided");
        for _ in 0..2 {
            assert_eq!(role.settle(settle("id", &[("ten", 1)])).await.expect("settled"), [5]);
            assert_eq!(remaining(&role, Algorithm::SlidingWindow).await, 9);
        }
        for other in [settle("id", &[("ten", 2)]), settle("id", &[])] {
            assert_eq!(role.settle(other).await.expect_err("other costs").code(), Code::Conflict);
        }
        assert_eq!(role.refund(refund("id")).await.expect_err("settled").code(), Code::Conflict);
        assert_eq!(remaining(&role, Algorithm::SlidingWindow).await, 9);
    }

    async fn a_refund_gives_back_all(role: Role) {
        role.reserve(reserve("id", vec![ten(Algorithm::Calendar, 6), charge("minute", 3, 60)])).await.expect("decided");
        for _ in 0..2 {
            assert_eq!(role.refund(refund("id")).await.expect("refunded"), [6, 1]);
        }
        assert_eq!(remaining(&role, Algorithm::Calendar).await, 10);
        let same = settle("id", &[("ten", 0), ("minute", 0)]);
        assert_eq!(role.settle(same).await.expect_err("it was refunded").code(), Code::Conflict);
    }

    async fn what_is_not_known_is_not_found(role: Role) {
        assert_eq!(role.settle(settle("id", &[])).await.expect_err("unknown").code(), Code::NotFound);
        role.reserve(ReserveRequest { hold_seconds: 5, ..reserve("id", vec![charge("minute", 3, 60)]) }).await.expect("decided");
        role.clock.advance(Duration::from_secs(5));
        assert_eq!(role.refund(refund("id")).await.expect_err("no longer held").code(), Code::NotFound);
        let retry = reserve("id", vec![charge("minute", 3, 60)]);
        assert_eq!(role.reserve(retry).await.expect("known still").limits[0].remaining, 2);
    }

    async fn a_denied_reservation_holds_nothing(role: Role) {
        role.reserve(reserve("one", vec![ten(Algorithm::Concurrency, 8)])).await.expect("decided");
        let denied = role.reserve(reserve("two", vec![ten(Algorithm::Concurrency, 3)])).await.expect("decided");
        assert_eq!((denied.allowed, denied.retry_after_us), (false, 60_000_000));
        assert_eq!(role.refund(refund("two")).await.expect_err("nothing to give back").code(), Code::NotFound);
    }

    async fn costs_are_of_the_call(role: Role) {
        role.reserve(reserve("id", vec![ten(Algorithm::SlidingWindow, 6)])).await.expect("decided");
        for (costs, pointer) in [([("ten", 7)], "/costs/ten"), ([("other", 0)], "/costs/other")] {
            let fault = role.settle(settle("id", &costs)).await.expect_err("refused");
            assert_eq!(fault.code(), Code::InvalidArgument);
            assert_eq!(fault.violated()[0].pointer, pointer);
        }
    }

    async fn a_reset_forgets_and_gives_nothing_back(role: Role) {
        role.reserve(reserve("id", vec![ten(Algorithm::SlidingWindow, 10)])).await.expect("decided");
        role.reset("workspace", "key", vec!["ten".to_owned(), "unknown".to_owned()]).await.expect("reset");
        assert!(role.check(call(vec![ten(Algorithm::SlidingWindow, 10)])).await.allowed);
        assert_eq!(role.refund(refund("id")).await.expect("settled"), [0]);
        assert_eq!(remaining(&role, Algorithm::SlidingWindow).await, 0);
    }

    async fn an_override_counts_until_it_ends(role: Role) {
        let now = role.clock.now().timestamp_micros();
        role.put_override("workspace", "key", "ten", 12, now + 5_000_000).await.expect("put");
        assert!(role.check(call(vec![ten(Algorithm::SlidingWindow, 10)])).await.allowed);
        let second = role.check(call(vec![ten(Algorithm::SlidingWindow, 1)])).await;
        assert_eq!((second.limits[0].limit, second.limits[0].remaining), (12, 1));
        assert_eq!(role.overrides("workspace").await.expect("listed"), [("ten".to_owned(), "key".to_owned(), 12, now + 5_000_000)]);
        role.clock.advance(Duration::from_secs(5));
        assert!(!role.check(call(vec![ten(Algorithm::SlidingWindow, 1)])).await.allowed);
        assert_eq!(role.overrides("workspace").await.expect("listed"), []);
        let late = role.put_override("workspace", "key", "ten", 12, now + 5_000_000).await.expect_err("in the past");
        assert_eq!(late.violated()[0].pointer, "/override/expires_at");
    }

    async fn a_quota_is_tallied_as_one(role: Role) {
        let asked = || CheckRequest { tally: Some(tally("key")), ..call(vec![ten(Algorithm::Calendar, 10)]) };
        role.check(asked()).await;
        assert_eq!(role.check(asked()).await.denied_by.as_deref(), Some("ten"));
        let mut codes: Vec<_> = role.drain().await.expect("a batch").rows.into_iter().map(|row| row.code).collect();
        codes.sort();
        assert_eq!(codes, ["QUOTA_EXCEEDED", "VALID"]);
    }

    async fn a_batch_decides_each_call_by_itself(role: Role) {
        let outcomes = role.batch(vec![
            call(vec![ten(Algorithm::SlidingWindow, 10)]),
            call(vec![ten(Algorithm::SlidingWindow, 11)]),
            call(vec![ten(Algorithm::SlidingWindow, 1)]),
        ]).await;
        let [Ok(first), Err((code, message)), Ok(third)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert!(first.allowed && !third.allowed);
        assert_eq!(*code, i32::from(tonic::Code::InvalidArgument));
        assert!(message.starts_with("/charges/0/cost "), "{message}");
    }

    async fn a_restart_forgets_nothing(mut role: Role) {
        role.reserve(reserve("id", vec![ten(Algorithm::Calendar, 10)])).await.expect("decided");
        role.restart().await;
        assert_eq!(remaining(&role, Algorithm::Calendar).await, 0);
        assert_eq!(role.refund(refund("id")).await.expect("refunded"), [10]);
    }
}
