//! Whatever is asked, whenever: both counters answer as the oracle does, in every field.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use tollgate_kernel::{Clock, Code};
use tollgate_proto::ratelimit::{Charge, CheckRequest, Limit};

use crate::{
    oracle::Oracle,
    support::{Role, check},
};

/// The clock is moved, then a call is made.
#[derive(Debug, Clone)]
struct Step {
    moved: i64,
    request: CheckRequest,
}

/// The windows of the limits `a`, `b` and `c`, in seconds.
const WINDOWS: [(&str, u32); 3] = [("a", 1), ("b", 2), ("c", 60)];

/// Standing still, a little, to the edges of the windows, far beyond, and back: never by more than a minute in one run.
fn moves() -> impl Strategy<Value = i64> {
    let edges = [
        0,
        0,
        0,
        1,
        -1,
        7,
        999_999,
        1_000_000,
        1_000_001,
        1_999_999,
        2_000_000,
        59_999_999,
        60_000_000,
        599_999_999,
        600_000_000,
        700_000_000,
        -500_000,
        -1_000_000,
    ];
    prop_oneof![3 => select(edges.to_vec()), 1 => 0..2_500_000_i64]
}

fn charges() -> impl Strategy<Value = Vec<Charge>> {
    let some = select(WINDOWS.to_vec()).prop_flat_map(|(name, window_seconds)| {
        let subject = select(vec!["s", "t"]);
        // The limit's number changes from call to call, as it does when a plan is changed.
        (1..=6_u64, subject).prop_flat_map(move |(limit, subject)| {
            let limit = Limit { name: name.to_owned(), limit, window_seconds, ..Default::default() };
            (0..=limit.limit).prop_map(move |cost| Charge {
                limit: Some(limit.clone()),
                subject: subject.to_owned(),
                cost,
            })
        })
    });
    vec(some, 0..=4).prop_map(|mut charges| {
        let name = |charge: &Charge| (charge.subject.clone(), charge.limit.clone().map(|limit| limit.name));
        let mut seen = std::collections::HashSet::new();
        charges.retain(|charge| seen.insert(name(charge)));
        charges
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request_id = prop_oneof![8 => Just(""), 1 => Just("first"), 1 => Just("second")];
    let step = (moves(), charges(), prop::bool::weighted(0.15), request_id);
    let step = step.prop_map(|(moved, charges, peek, request_id)| {
        let request_id = request_id.to_owned();
        Step { moved, request: CheckRequest { charges, peek, request_id, ..Default::default() } }
    });
    vec(step, 1..50)
}

async fn follow(role: &Role, partition: &str, steps: Vec<Step>) {
    let mut oracle = Oracle::default();
    for (number, step) in steps.into_iter().enumerate() {
        match step.moved {
            back @ ..0 => role.clock.turn_back(Duration::from_micros(back.unsigned_abs())),
            on => role.clock.advance(Duration::from_micros(on.unsigned_abs())),
        }
        let request = CheckRequest { partition: partition.to_owned(), ..step.request };
        let expected = oracle.check(&request, role.clock.now().timestamp_micros());
        match check(&role.service, request.clone()).await {
            Ok(answer) => assert_eq!(Some(answer), expected, "step {number}: {request:?}"),
            Err(fault) => {
                assert_eq!(fault.code(), Code::InvalidArgument);
                assert_eq!(expected, None, "step {number}: {request:?}");
            }
        }
    }
}

fn lockstep(open: impl Fn() -> Role, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let role = runtime.block_on(async { open() });
    let mut partitions = 0..;
    let partitions = std::cell::RefCell::new(&mut partitions);
    let next =
        || partitions.borrow_mut().next().map(|number: u64| format!("case-{number}")).expect("endless");
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        let followed = std::panic::AssertUnwindSafe(|| runtime.block_on(follow(&role, &next(), steps)));
        followed();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn memory_agrees_with_the_oracle() {
    lockstep(Role::memory, 500);
}

#[test]
#[ignore = "needs Redis"]
fn redis_agrees_with_the_oracle() {
    lockstep(Role::redis, 200);
}
