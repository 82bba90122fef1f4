//! Credits are spent in the same step in which limits are charged, and never twice, whatever is lost.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tollgate_kernel::Code;
use tollgate_proto::ratelimit::{
    AccountState, CheckRequest, CheckResponse, Credit, CreditState, DepositRequest, OnFailure, RefundRequest,
    ReserveRequest, SettleRequest, WithdrawRequest,
};
use tollgate_ratelimit::RateLimitService;
use tollgate_testkit::{MockClock, PrivateRedis};

use crate::{
    faults::limited,
    support::{PATIENCE, Role, call, charge, check, on_every_counter, open, store, tally, until, until_up},
};

fn account() -> (String, String) {
    ("workspace".to_owned(), "account".to_owned())
}

fn deposit(step: u64, amount: u64) -> DepositRequest {
    let (partition, account) = account();
    DepositRequest { partition, account, epoch: 7, step, amount, behind: Some(1000) }
}

fn begin() -> DepositRequest {
    deposit(0, 0)
}

fn withdraw(step: u64) -> WithdrawRequest {
    let (partition, account) = account();
    WithdrawRequest { partition, account, epoch: 7, step }
}

fn spend(cost: u64) -> CheckRequest {
    CheckRequest { credit: Some(Credit { account: account().1, cost }), ..call(Vec::new()) }
}

fn lacks(answer: &CheckResponse) -> bool {
    answer.denied_by.as_deref() == Some("credits") && answer.retry_after_us == 0
}

fn remaining(answer: &CheckResponse) -> u64 {
    answer.credit.expect("how the credit stands").remaining
}

/// With so many credits.
async fn with(role: &Role, amount: u64) {
    role.deposit(begin()).await.expect("begun");
    role.deposit(deposit(1, amount)).await.expect("deposited");
}

on_every_counter! {
    async fn a_thousand_at_once_share_one_credit(role: Role) {
        with(&role, 1).await;
        assert_eq!(passed(&[role.another(), role.another()], 1000, &spend(1)).await, 1);
    }

    async fn limits_and_credits_are_charged_together_or_not_at_all(role: Role) {
        with(&role, 100).await;
        let both = |cost| CheckRequest { charges: vec![charge("minute", 10, 60)], ..spend(cost) };
        assert_eq!(passed(&[role.another(), role.another()], 1000, &both(3)).await, 10);
        let denied = role.check(both(3)).await;
        assert_eq!(denied.denied_by.as_deref(), Some("minute"), "a limit that denies spends no credit");
        assert_eq!(remaining(&denied), 70);
        let tired = role.check(both(71)).await;
        assert_eq!(tired.denied_by.as_deref(), Some("minute"), "a limit is told first");
        role.clock.advance(Duration::from_mins(1));
        let lacking = role.check(both(71)).await;
        assert!(lacks(&lacking) && lacking.limits[0].remaining == 10, "and lacking credits charge no limit");
        assert!(role.check(both(70)).await.allowed);
    }

    async fn nothing_is_spent_that_was_not_deposited(role: Role) {
        let nothing = CreditState { remaining: 0, behind: 0, step: 0, denied: true };
        assert_eq!(role.check(spend(1)).await.credit, Some(nothing));
        assert_eq!(role.deposit(deposit(1, 5)).await.expect("refused"), AccountState::default(), "not begun");
        with(&role, 5).await;
        let asked = role.check(spend(0)).await;
        assert_eq!(asked.credit, Some(CreditState { remaining: 5, behind: 1000, step: 1, denied: false }));
        assert!(role.check(CheckRequest { peek: true, ..spend(5) }).await.allowed);
        assert!(lacks(&role.check(spend(6)).await));
        assert!(role.check(spend(5)).await.allowed);
        assert!(lacks(&role.check(spend(0)).await), "one more would not pass");
    }

    async fn a_step_is_made_once(role: Role) {
        with(&role, 5).await;
        for late in [deposit(1, 5), DepositRequest { epoch: 8, ..deposit(2, 5) }] {
            let stands = AccountState { epoch: 7, step: 1, remaining: 5, withdrawn: 0 };
            assert_eq!(role.deposit(late).await.expect("answered"), stands);
        }
        role.check(spend(2)).await;
        for _ in 0..2 {
            let taken = AccountState { epoch: 7, step: 2, remaining: 0, withdrawn: 3 };
            assert_eq!(role.withdraw(withdraw(2)).await.expect("answered"), taken);
        }
        assert_eq!(role.deposit(deposit(2, 9)).await.expect("answered").remaining, 0);
        assert_eq!(role.deposit(deposit(9, 4)).await.expect("deposited").remaining, 4);
        assert_eq!(role.withdraw(withdraw(2)).await.expect("answered").remaining, 4, "late");
    }

    async fn a_retried_call_spends_once(role: Role) {
        with(&role, 100).await;
        let request = CheckRequest { request_id: "the same".into(), ..spend(4) };
        assert_eq!(passed(&[role.another(), role.another()], 100, &request).await, 100);
        assert_eq!(remaining(&role.check(spend(0)).await), 96);
        let fault = role.try_check(CheckRequest { credit: spend(5).credit, ..request }).await.expect_err("other");
        assert_eq!(fault.violated()[0].pointer, "/request_id");
    }

    async fn what_is_reserved_is_settled_or_refunded(role: Role) {
        with(&role, 100).await;
        let reserve = async |id: &str| {
            let charges = vec![charge("minute", 10, 60)];
            let call = CheckRequest { request_id: id.to_owned(), charges, ..spend(30) };
            let request = ReserveRequest { call: Some(call), hold_seconds: 0 };
            assert!(role.reserve(request).await.expect("decided").allowed);
        };
        let settle = |id: &str, name: &str, cost| {
            let (partition, request_id) = (account().0, id.to_owned());
            SettleRequest { partition, request_id, costs: [(name.to_owned(), cost)].into() }
        };
        let refund = |id: &str| RefundRequest { partition: account().0, request_id: id.to_owned() };
        reserve("one").await;
        reserve("two").await;
        reserve("three").await;
        let fault = role.settle(settle("one", "*", 31)).await.expect_err("more than was reserved");
        assert_eq!(fault.violated()[0].pointer, "/costs/*");
        for _ in 0..2 {
            assert_eq!(role.settle(settle("one", "*", 10)).await.expect("settled"), [0, 20]);
        }
        assert_eq!(role.settle(settle("one", "*", 9)).await.expect_err("other").code(), Code::Conflict);
        for _ in 0..2 {
            assert_eq!(role.refund(refund("two")).await.expect("refunded"), [1, 30]);
        }
        assert_eq!(role.settle(settle("three", "$credits", 0)).await.expect("settled"), [0, 30]);
        let left = role.check(CheckRequest { charges: vec![charge("minute", 10, 60)], ..spend(0) }).await;
        assert_eq!((remaining(&left), left.limits[0].remaining), (90, 7));
        reserve("late").await;
        role.clock.advance(Duration::from_mins(10));
        assert_eq!(role.refund(refund("late")).await.expect_err("forgotten").code(), Code::NotFound);
        assert_eq!(remaining(&role.check(spend(0)).await), 60, "it stays charged");
    }

    async fn what_was_spent_before_a_withdrawal_comes_back_to_the_account(role: Role) {
        with(&role, 10).await;
        let call = CheckRequest { request_id: "id".into(), ..spend(4) };
        role.reserve(ReserveRequest { call: Some(call), hold_seconds: 60 }).await.expect("decided");
        assert_eq!(role.withdraw(withdraw(2)).await.expect("withdrawn").withdrawn, 6);
        let refund = RefundRequest { partition: account().0, request_id: "id".into() };
        assert_eq!(role.refund(refund).await.expect("refunded"), [4]);
        let again = role.withdraw(withdraw(2)).await.expect("answered");
        assert_eq!((again.withdrawn, again.remaining), (6, 4), "and what was withdrawn is what was said");
    }

    async fn who_lacks_credits_is_not_tallied(role: Role) {
        let tallied = |cost| CheckRequest { tally: Some(tally("key")), ..spend(cost) };
        assert!(lacks(&role.check(tallied(1)).await));
        assert_eq!(role.drain().await, None);
        with(&role, 1).await;
        assert!(role.check(tallied(1)).await.allowed);
        assert_eq!(role.drain().await.expect("a batch").rows[0].count, 1);
    }

    async fn a_restart_in_good_order_loses_nothing(mut role: Role) {
        with(&role, 10).await;
        role.check(spend(4)).await;
        role.restart().await;
        assert_eq!(remaining(&role.check(spend(0)).await), 6);
        role.deposit(deposit(1, 10)).await.expect("made before");
        assert_eq!(remaining(&role.check(spend(0)).await), 6);
    }

    async fn bounds_are_named(role: Role) {
        let most = 1 << 53;
        for (request, pointer) in [
            (DepositRequest { amount: 1_000_000_000_001, ..deposit(1, 0) }, "/amount"),
            (DepositRequest { amount: 1, ..begin() }, "/amount"),
            (DepositRequest { epoch: most, ..begin() }, "/epoch"),
            (DepositRequest { step: most, ..begin() }, "/step"),
            (DepositRequest { behind: Some(most), ..begin() }, "/behind"),
            (DepositRequest { account: "{a}".into(), ..begin() }, "/account"),
            (DepositRequest { partition: String::new(), ..begin() }, "/partition"),
        ] {
            let fault = role.deposit(request).await.expect_err("refused");
            assert_eq!(fault.violated()[0].pointer, pointer);
        }
        let fault = role.withdraw(withdraw(0)).await.expect_err("refused");
        assert_eq!(fault.violated()[0].pointer, "/step");
        let dear = role.try_check(spend(1_000_000_001)).await.expect_err("refused");
        assert_eq!(dear.violated()[0].pointer, "/credit/cost");
        let crowd = CheckRequest {
            charges: (0..32).map(|number| charge(&format!("l{number}"), 1, 60)).collect(),
            ..spend(1)
        };
        assert_eq!(role.try_check(crowd).await.expect_err("refused").violated()[0].pointer, "/charges");
    }
}

/// How many of the calls, all in flight at once and dealt out to the services, pass.
async fn passed(services: &[Arc<RateLimitService>], calls: usize, request: &CheckRequest) -> usize {
    let mut tasks = JoinSet::new();
    for number in 0..calls {
        let (service, request) = (services[number % services.len()].clone(), request.clone());
        tasks.spawn(async move { check(&service, request).await.expect("decided").allowed });
    }
    tasks.join_all().await.into_iter().filter(|allowed| *allowed).count()
}

/// A process that is killed leaves nothing, and the next one knows nothing.
#[tokio::test]
async fn killed_the_process_has_lost_its_credits() {
    let role = Role::memory();
    with(&role, 10).await;
    role.check(spend(4)).await;
    let other = Role::memory();
    assert!(lacks(&other.check(spend(1)).await));
    let state = other.deposit(DepositRequest { epoch: 8, ..begin() }).await.expect("begun anew");
    assert_eq!((state.epoch, state.remaining), (8, 0));
    assert_eq!(other.deposit(deposit(1, 10)).await.expect("answered").remaining, 0, "of what was lost");
}

/// Redis comes back with what it had on its disk, which may be older than what it has answered for.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_redis_that_was_started_again_has_lost_the_credits() {
    let mut redis = PrivateRedis::start().await;
    let service = open(store(redis.url(), "tollgate:", PATIENCE), MockClock::new());
    until_up(&service, true).await;
    let deposit = async |request| {
        let made = tollgate_proto::RateLimit::deposit(&*service, tonic::Request::new(request)).await;
        made.expect("answered").into_inner()
    };
    deposit(begin()).await;
    assert_eq!(deposit(self::deposit(1, 10)).await.remaining, 10);
    assert!(check(&service, spend(4)).await.expect("decided").allowed);
    redis.kill();
    let gone =
        check(&service, CheckRequest { credit: spend(1).credit, ..limited(9, OnFailure::Allow) }).await;
    assert_eq!(gone.expect_err("whatever its limits say").code(), Code::Unavailable);
    redis.restart().await;
    until_up(&service, true).await;
    until(async || check(&service, spend(0)).await.is_ok()).await;
    assert!(lacks(&check(&service, spend(1)).await.expect("decided")));
    assert_eq!(deposit(self::deposit(1, 10)).await, AccountState::default(), "of what was lost");
    assert_eq!(deposit(DepositRequest { epoch: 8, ..begin() }).await.epoch, 8);
}

/// What was spent of credits that are lost is not given back to those that came after them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn what_was_spent_before_a_loss_does_not_come_back_after_it() {
    let mut redis = PrivateRedis::start().await;
    let role = Role::at(redis.url(), "tollgate:");
    until_up(&role.service, true).await;
    with(&role, 10).await;
    let call = CheckRequest { request_id: "id".into(), ..spend(4) };
    let reserved = role.reserve(ReserveRequest { call: Some(call), hold_seconds: 600 }).await;
    assert!(reserved.expect("decided").allowed);
    redis.restart().await;
    until_up(&role.service, true).await;
    until(async || role.deposit(DepositRequest { epoch: 8, ..begin() }).await.is_ok()).await;
    let stands = role.deposit(DepositRequest { epoch: 8, ..deposit(1, 10) }).await.expect("deposited");
    assert_eq!((stands.epoch, stands.remaining), (8, 10));
    let refund = RefundRequest { partition: account().0, request_id: "id".into() };
    assert_eq!(role.refund(refund).await.expect("the call is remembered"), [0]);
    assert_eq!(remaining(&role.check(spend(0)).await), 10);
}
