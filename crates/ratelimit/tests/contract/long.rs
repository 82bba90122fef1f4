//! Long logs, of which Redis reads only the beginning if that decides: each answer is that of the counter that reads all.

use std::{panic::AssertUnwindSafe, time::Duration};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use tollgate_proto::ratelimit::{Algorithm, Charge, CheckRequest, Limit, RefundRequest};

use crate::support::{Role, call};

/// As many units as make a long log, and not so many that several share an entry.
const UNITS: u64 = 300;
/// The length of a window, and of a lease.
const WINDOW: u32 = 6;

#[derive(Debug, Clone)]
struct Step {
    /// Microseconds.
    moved: u64,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    /// So many calls one after the other, a microsecond apart, each of a limit of this number and of this cost.
    Calls { calls: u64, number: u64, cost: u64, shadow: bool, peek: bool },
    /// What a call was charged is given back.
    Refund(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let moves = select(vec![0_u64, 1, 3, 50, 400, 1_000_000, 5_999_700, 5_999_999, 6_000_000]);
    let (calls, number) =
        (select(vec![1_u64, 2, 5, 70, 330]), select(vec![UNITS, UNITS, UNITS, 256, 310, 9]));
    let cost = select(vec![0_u64, 1, 1, 1, 1, 2, 4, 5, 60, 299, 300]);
    let calls = (calls, number, cost, prop::bool::weighted(0.05), prop::bool::weighted(0.1)).prop_map(
        |(calls, number, cost, shadow, peek)| {
            let cost = cost.min(number);
            Action::Calls { calls, number, cost, shadow, peek }
        },
    );
    let action = prop_oneof![4 => calls, 1 => (0..1000_usize).prop_map(Action::Refund)];
    vec((moves, action).prop_map(|(moved, action)| Step { moved, action }), 1..14)
}

/// Both counters, with the same said to them.
struct Both {
    roles: [Role; 2],
    algorithm: Algorithm,
    calls: usize,
}

impl Both {
    fn pass(&self, micros: u64) {
        for role in &self.roles {
            role.clock.advance(Duration::from_micros(micros));
        }
    }

    async fn check(&mut self, number: u64, cost: u64, shadow: bool, peek: bool) {
        self.calls += 1;
        let limit = |name: &str, algorithm: Algorithm| Limit {
            name: name.to_owned(),
            limit: number,
            window_seconds: WINDOW,
            algorithm: algorithm.into(),
            shadow,
            ..Limit::default()
        };
        let charge = |limit, cost| Charge { limit: Some(limit), subject: "key".to_owned(), cost };
        // The other is short, and read whole.
        let other = Limit { shadow: true, ..limit("bucket", Algorithm::TokenBucket) };
        let charges = vec![charge(limit("long", self.algorithm), cost), charge(other, 1)];
        let request = CheckRequest { peek, request_id: self.calls.to_string(), ..call(charges) };
        let [memory, redis] = &self.roles;
        let answers = (memory.try_check(request.clone()).await, redis.try_check(request).await);
        match answers {
            (Ok(memory), Ok(redis)) => assert_eq!(redis, memory),
            (memory, redis) => panic!("{memory:?}, {redis:?}"),
        }
    }

    async fn follow(&mut self, steps: Vec<Step>) {
        for Step { moved, action } in steps {
            self.pass(moved);
            match action {
                Action::Calls { calls, number, cost, shadow, peek } => {
                    for _ in 0..calls {
                        self.check(number, cost, shadow, peek).await;
                        self.pass(1);
                    }
                }
                Action::Refund(which) => {
                    let request_id = (which % (self.calls + 1)).to_string();
                    let refund = RefundRequest { partition: "workspace".to_owned(), request_id };
                    let [memory, redis] = &self.roles;
                    let (memory, redis) = (memory.refund(refund.clone()).await, redis.refund(refund).await);
                    assert_eq!(redis.ok(), memory.ok());
                }
            }
        }
    }
}

fn agree(algorithm: Algorithm) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        let followed = AssertUnwindSafe(|| {
            runtime.block_on(async {
                let roles = [Role::memory(), Role::redis()];
                Both { roles, algorithm, calls: 0 }.follow(steps).await;
            });
        });
        followed();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
#[ignore = "needs Redis"]
fn a_long_window_is_decided_by_its_beginning_as_by_all_of_it() {
    agree(Algorithm::SlidingWindow);
}

#[test]
#[ignore = "needs Redis"]
fn many_leases_are_decided_by_the_first_of_them_as_by_all() {
    agree(Algorithm::Concurrency);
}
