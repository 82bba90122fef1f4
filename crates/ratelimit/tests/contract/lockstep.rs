//! Whatever is asked, whenever, and whatever is restarted meanwhile: every counter answers as the oracle does, in every
//! field.

use std::{collections::HashMap, time::Duration};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use tollgate_kernel::{Clock, Code};
use tollgate_proto::ratelimit::{
    AccountState, Algorithm, Calendar, Charge, CheckRequest, CheckResponse, Credit, DepositRequest, Limit,
    Period, RefundRequest, ReserveRequest, SettleRequest, WithdrawRequest,
};

use crate::{oracle::Oracle, support::Role};

/// The clock is moved, then something is done.
#[derive(Debug, Clone)]
struct Step {
    moved: i64,
    action: Action,
}

#[derive(Debug, Clone)]
enum Action {
    Check(CheckRequest),
    /// With how long it is held, in seconds.
    Reserve(CheckRequest, u32),
    Settle(&'static str, HashMap<String, u64>),
    Refund(&'static str),
    Reset(&'static str, Vec<String>),
    /// With how long it is in force, in microseconds.
    Put(&'static str, &'static str, u64, i64),
    Delete(&'static str, &'static str),
    List,
    Restart,
    Deposit(DepositRequest),
    Withdraw(WithdrawRequest),
}

/// What an action ended with.
#[derive(Debug, PartialEq)]
enum Reply {
    Decided(CheckResponse),
    Returned(Vec<u64>),
    Overrides(Vec<(String, String, u64, i64)>),
    Account(AccountState),
    Done,
}

/// Standing still, a little, to the edges of the windows, far beyond, and back: never by more than a minute in one run, which
/// is how much longer than it counts a state is kept.
fn moves() -> impl Strategy<Value = i64> {
    let edges = [
        0,
        0,
        0,
        0,
        1,
        -1,
        7,
        333_333,
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
        43_200_000_000,
        -500_000,
        -1_000_000,
    ];
    prop_oneof![4 => Just(0), 3 => select(edges.to_vec()), 1 => 0..2_500_000_i64]
}

const NAMES: [&str; 7] = ["second", "minute", "bucket", "day", "leases", "coarse", "changing"];
const SUBJECTS: [&str; 2] = ["s", "t"];
const ACCOUNTS: [&str; 2] = ["one", "other"];
const IDS: [&str; 4] = ["first", "second", "third", "fourth"];

/// A limit of this name. Its number and its window change from call to call, as they do when a plan is changed; of the last,
/// the algorithm does so, too.
fn limit(name: &'static str) -> BoxedStrategy<Limit> {
    let limit = move |algorithm: Algorithm, number: u64, window_seconds: u32| Limit {
        name: name.to_owned(),
        limit: number,
        window_seconds,
        algorithm: algorithm.into(),
        ..Default::default()
    };
    let window = move |algorithm| {
        (1..=6_u64, 1..=2_u32).prop_map(move |(number, window)| limit(algorithm, number, window))
    };
    let bucket = (1..=6_u64, 1..=3_u32, 0..=7_u64).prop_map(move |(number, window, burst)| Limit {
        burst,
        ..limit(Algorithm::TokenBucket, number, window)
    });
    match name {
        "minute" => (1..=9_u64).prop_map(move |number| limit(Algorithm::Unspecified, number, 60)).boxed(),
        "bucket" => bucket.boxed(),
        "day" => (1..=9_u64, prop::bool::ANY)
            .prop_map(move |(number, _)| {
                let calendar = Calendar { period: Period::Day.into(), ..Default::default() };
                Limit { calendar: Some(calendar), ..limit(Algorithm::Calendar, number, 0) }
            })
            .boxed(),
        "leases" => window(Algorithm::Concurrency).boxed(),
        "coarse" => select(vec![1025_u64, 1300])
            .prop_map(move |number| limit(Algorithm::SlidingWindow, number, 60))
            .boxed(),
        "changing" => {
            prop_oneof![window(Algorithm::SlidingWindow), bucket, window(Algorithm::Concurrency)].boxed()
        }
        _ => window(Algorithm::SlidingWindow).boxed(),
    }
}

fn charges() -> impl Strategy<Value = Vec<Charge>> {
    // Buckets have the most to go wrong when several calls give back, and in any order.
    let limit = prop_oneof![2 => select(NAMES.to_vec()), 1 => Just("bucket")].prop_flat_map(limit);
    let charge = (limit, select(SUBJECTS.to_vec()), prop::bool::weighted(0.15), shares());
    let charge = charge.prop_map(|(limit, subject, shadow, share)| {
        let most = if limit.burst > 0 { limit.burst } else { limit.limit };
        let limit = Limit { shadow, ..limit };
        Charge { limit: Some(limit), subject: subject.to_owned(), cost: most * share / 100 }
    });
    vec(charge, 0..=3).prop_map(|mut charges| {
        let name = |charge: &Charge| (charge.subject.clone(), charge.limit.clone().map(|limit| limit.name));
        let mut seen = std::collections::HashSet::new();
        charges.retain(|charge| seen.insert(name(charge)));
        charges
    })
}

/// How much of a limit's own number a call wants, in per cent: seldom more than all.
fn shares() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0..=100_u64, 1 => 101..=180_u64]
}

fn call() -> impl Strategy<Value = CheckRequest> {
    let id = prop_oneof![2 => Just(""), 1 => select(IDS.to_vec())];
    (charges(), prop::bool::weighted(0.1), id, credit()).prop_map(|(charges, peek, id, credit)| {
        let request_id = id.to_owned();
        CheckRequest { charges, peek, request_id, credit, ..Default::default() }
    })
}

fn credit() -> impl Strategy<Value = Option<Credit>> {
    let credit = (select(ACCOUNTS.to_vec()), 0..=4_u64);
    let credit = credit.prop_map(|(account, cost)| Credit { account: account.to_owned(), cost });
    prop::option::weighted(0.4, credit)
}

/// Steps of an account, in order or not, of this epoch or of another.
fn account_steps() -> impl Strategy<Value = Action> {
    let account = || select(ACCOUNTS.to_vec()).prop_map(str::to_owned);
    let epoch = || prop_oneof![6 => Just(1_u64), 1 => Just(2)];
    let behind = || prop::option::of(0..=9_u64);
    let open = (account(), 0..=2_u64, behind()).prop_map(|(account, epoch, behind)| {
        Action::Deposit(DepositRequest { account, epoch, behind, ..Default::default() })
    });
    let deposit = (account(), epoch(), 1..=12_u64, 0..=9_u64, behind());
    let deposit = deposit.prop_map(|(account, epoch, step, amount, behind)| {
        Action::Deposit(DepositRequest { account, epoch, step, amount, behind, ..Default::default() })
    });
    let withdraw = (account(), epoch(), 1..=12_u64).prop_map(|(account, epoch, step)| {
        Action::Withdraw(WithdrawRequest { account, epoch, step, ..Default::default() })
    });
    prop_oneof![3 => open, 6 => deposit, 1 => withdraw]
}

fn actions() -> impl Strategy<Value = Action> {
    let id = || select(IDS.to_vec());
    let reserve = (call(), id(), select(vec![0_u32, 1, 60, 86_400])).prop_map(|(call, id, hold)| {
        Action::Reserve(CheckRequest { peek: false, request_id: id.to_owned(), ..call }, hold)
    });
    let name = || select(NAMES.to_vec());
    let subject = || select(SUBJECTS.to_vec());
    let settled = prop_oneof![2 => name(), 2 => Just("bucket"), 1 => Just("$credits"), 1 => Just("*")];
    let settled = settled.prop_map(str::to_owned);
    let costs = prop::collection::hash_map(settled, 0..=2_u64, 0..=2);
    let numbers = prop_oneof![4 => 1..=8_u64, 1 => select(vec![1025_u64, 1100, 2000])];
    let lasts = select(vec![1_i64, 500_000, 1_000_000, 30_000_000, 90_000_000]);
    let names = vec(name().prop_map(str::to_owned), 1..=3);
    prop_oneof![
        12 => call().prop_map(Action::Check),
        8 => reserve,
        5 => (id(), costs).prop_map(|(id, costs)| Action::Settle(id, costs)),
        2 => id().prop_map(Action::Refund),
        1 => (subject(), names).prop_map(|(subject, names)| Action::Reset(subject, names)),
        2 => (subject(), name(), numbers, lasts).prop_map(|(subject, name, number, lasts)| Action::Put(subject, name, number, lasts)),
        1 => (subject(), name()).prop_map(|(subject, name)| Action::Delete(subject, name)),
        5 => account_steps(),
        1 => Just(Action::List),
        1 => Just(Action::Restart),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec((moves(), actions()).prop_map(|(moved, action)| Step { moved, action }), 1..50)
}

/// What the rules say.
fn expected(oracle: &mut Oracle, action: &Action, now: i64) -> Result<Reply, Code> {
    let key = |subject: &str, name: &str| (subject.to_owned(), name.to_owned());
    Ok(match action {
        Action::Check(request) => Reply::Decided(oracle.check(request, 600_000_000, now)?),
        Action::Reserve(request, hold) => {
            let hold = if *hold == 0 { 600 } else { i64::from(*hold) };
            Reply::Decided(oracle.check(request, hold * 1_000_000, now)?)
        }
        Action::Settle(id, costs) => Reply::Returned(oracle.settle(id, Some(costs), now)?),
        Action::Refund(id) => Reply::Returned(oracle.settle(id, None, now)?),
        Action::Reset(subject, names) => {
            oracle.reset(subject, names, now);
            Reply::Done
        }
        Action::Put(subject, name, number, lasts) => {
            oracle.put_override(key(subject, name), *number, now + lasts);
            Reply::Done
        }
        Action::Delete(subject, name) => {
            oracle.delete_override(&key(subject, name));
            Reply::Done
        }
        Action::List => Reply::Overrides(oracle.overrides(now)),
        Action::Restart => Reply::Done,
        Action::Deposit(request) => Reply::Account(oracle.deposit(request, now)),
        Action::Withdraw(request) => Reply::Account(oracle.withdraw(request, now)),
    })
}

/// What the role says.
async fn answered(role: &mut Role, partition: &str, action: Action, now: i64) -> Result<Reply, Code> {
    let partition = partition.to_owned();
    let fault = |fault: tollgate_kernel::Fault| fault.code();
    Ok(match action {
        Action::Check(request) => {
            Reply::Decided(role.try_check(CheckRequest { partition, ..request }).await.map_err(fault)?)
        }
        Action::Reserve(request, hold_seconds) => {
            let call = Some(CheckRequest { partition, ..request });
            Reply::Decided(role.reserve(ReserveRequest { call, hold_seconds }).await.map_err(fault)?)
        }
        Action::Settle(id, costs) => {
            let request = SettleRequest { partition, request_id: id.to_owned(), costs };
            Reply::Returned(role.settle(request).await.map_err(fault)?)
        }
        Action::Refund(id) => {
            let request = RefundRequest { partition, request_id: id.to_owned() };
            Reply::Returned(role.refund(request).await.map_err(fault)?)
        }
        Action::Reset(subject, names) => {
            role.reset(&partition, subject, names).await.map_err(fault)?;
            Reply::Done
        }
        Action::Put(subject, name, number, lasts) => {
            role.put_override(&partition, subject, name, number, now + lasts).await.map_err(fault)?;
            Reply::Done
        }
        Action::Delete(subject, name) => {
            role.delete_override(&partition, subject, name).await.map_err(fault)?;
            Reply::Done
        }
        Action::List => Reply::Overrides(role.overrides(&partition).await.map_err(fault)?),
        Action::Restart => {
            role.restart().await;
            Reply::Done
        }
        Action::Deposit(request) => {
            Reply::Account(role.deposit(DepositRequest { partition, ..request }).await.map_err(fault)?)
        }
        Action::Withdraw(request) => {
            Reply::Account(role.withdraw(WithdrawRequest { partition, ..request }).await.map_err(fault)?)
        }
    })
}

async fn follow(mut role: Role, steps: Vec<Step>) {
    let (mut oracle, mut latest) = (Oracle::default(), i64::MIN);
    for (number, Step { moved, action }) in steps.into_iter().enumerate() {
        match moved {
            back @ ..0 => role.clock.turn_back(Duration::from_micros(back.unsigned_abs())),
            on => role.clock.advance(Duration::from_micros(on.unsigned_abs())),
        }
        let now = role.clock.now().timestamp_micros();
        latest = latest.max(now);
        if let Action::Reset(subject, names) = &action
            && oracle.may_be_forgotten(subject, names, latest)
        {
            continue;
        }
        let expected = expected(&mut oracle, &action, now);
        let answer = answered(&mut role, "workspace", action.clone(), now).await;
        assert_eq!(answer, expected, "step {number} at {now}: {action:?}");
    }
}

fn lockstep(open: impl Fn() -> Role, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        let followed =
            std::panic::AssertUnwindSafe(|| runtime.block_on(async { follow(open(), steps).await }));
        followed();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn memory_agrees_with_the_oracle() {
    lockstep(Role::memory, 1000);
}

#[test]
#[ignore = "needs Redis"]
fn redis_agrees_with_the_oracle() {
    lockstep(Role::redis, 200);
}

#[test]
#[ignore = "needs Redis"]
fn a_cluster_agrees_with_the_oracle() {
    let starting = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = starting.block_on(tollgate_testkit::PrivateCluster::start(0));
    let cases = std::cell::Cell::new(0);
    let open = || {
        cases.set(cases.get() + 1);
        Role::at(cluster.url(), &format!("case-{}:", cases.get()))
    };
    lockstep(open, 60);
}
