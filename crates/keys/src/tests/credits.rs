//! Credits are granted, lent, spent, taken back and refilled, and there are never more than were granted.

use std::time::Duration;

use tollgate_proto::ratelimit::Period;

use super::{counter::Mishap, *};

impl Desk {
    async fn put_credits(
        &self,
        caller: &Caller,
        owner: &str,
        refill: Option<wire::CreditRefill>,
    ) -> Result<wire::CreditAccount, Fault> {
        let (caller, owner_id) = (Some(caller.clone()), owner.to_owned());
        let message = wire::PutCreditsRequest { caller, owner_id, refill, no_wait: false };
        call!(self, put_credits, message).map(|answer| answer.account.expect("an account"))
    }

    async fn grant(
        &self,
        caller: &Caller,
        owner: &str,
        amount: u64,
        request_id: &str,
    ) -> Result<wire::CreditLedgerEntry, Fault> {
        let (caller, owner_id) = (Some(caller.clone()), owner.to_owned());
        let request_id = request_id.to_owned();
        let message = wire::GrantCreditsRequest { caller, owner_id, amount, request_id };
        call!(self, grant_credits, message).map(|answer| answer.entry.expect("an entry"))
    }

    async fn credits(&self, caller: &Caller, owner: &str) -> Result<wire::CreditAccount, Fault> {
        let (caller, owner_id) = (Some(caller.clone()), owner.to_owned());
        let answer = call!(self, get_credits, wire::GetCreditsRequest { caller, owner_id })?;
        Ok(answer.account.expect("an account"))
    }

    /// Balance, and what is lent and not spent.
    async fn standing(&self, caller: &Caller, owner: &str) -> (u64, u64) {
        let account = self.credits(caller, owner).await.expect("shown");
        (account.balance, account.lent.expect("known"))
    }

    async fn ledger(&self, caller: &Caller, owner: &str, limit: u32, cursor: &str) -> Page {
        let (caller, owner_id) = (Some(caller.clone()), owner.to_owned());
        let cursor = cursor.to_owned();
        let message = wire::ListCreditLedgerRequest { caller, owner_id, limit, cursor };
        let answer = call!(self, list_credit_ledger, message).expect("a page");
        let entry = |it: wire::CreditLedgerEntry| (it.request_id, it.amount, it.balance_after);
        Page { entries: answer.entries.into_iter().map(entry).collect(), next: answer.next_cursor }
    }

    async fn lend(&self, account: &str, cost: u64) -> Result<wire::LendCreditsResponse, Fault> {
        let account_id = account.to_owned();
        call!(self, lend_credits, wire::LendCreditsRequest { account_id, cost })
    }

    /// An operator enables or disables the workspace of this user.
    async fn enable(&self, of: &Caller, enabled: bool) {
        let message = wire::UpdateWorkspaceRequest {
            caller: Some(self.operator()),
            workspace_id: self.workspace_of(of).await,
            enabled: Some(enabled),
            ..Default::default()
        };
        call!(self, update_workspace, message).expect("changed");
    }

    /// A key with so many credits: its owner, its id, its account's.
    async fn credited(&self, credits: u64) -> (Caller, String, String) {
        let owner = self.user();
        let key = self.key(&owner).await.key.expect("a key").id;
        let account = self.put_credits(&owner, &key, None).await.expect("made").id;
        if credits > 0 {
            self.grant(&owner, &key, credits, "first").await.expect("granted");
        }
        (owner, key, account)
    }
}

struct Page {
    entries: Vec<(String, i64, u64)>,
    next: Option<String>,
}

fn daily(mode: wire::CreditRefillMode, amount: u64) -> wire::CreditRefill {
    let period = Period::Day.into();
    wire::CreditRefill { mode: mode.into(), amount, period, time_zone: String::new(), cap: None }
}

fn entry(request_id: &str, amount: i64, balance: u64) -> (String, i64, u64) {
    (request_id.to_owned(), amount, balance)
}

on_every_database! {
    async fn a_grant_is_lent_block_by_block_and_the_ledger_says_so(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(10_000).await;
        assert_eq!(desk.standing(&owner, &key).await, (9_500, 500), "a twentieth is lent at once");
        assert!(desk.counter.spend(&account, 500));
        assert!(desk.lend(&account, 1).await.expect("asked").lent);
        assert_eq!(desk.standing(&owner, &key).await, (9_025, 475));
        assert!(desk.lend(&account, 475).await.expect("asked").lent);
        assert_eq!(desk.standing(&owner, &key).await, (9_025, 475), "there were enough");
        assert!(desk.lend(&account, 5_000).await.expect("asked").lent, "more than a block");
        assert_eq!(desk.standing(&owner, &key).await, (4_500, 5_000));
        let page = desk.ledger(&owner, &key, 2, "").await;
        assert_eq!(page.entries, [entry("block:3", -4_525, 4_500), entry("block:2", -475, 9_025)]);
        let rest = desk.ledger(&owner, &key, 2, &page.next.expect("more")).await;
        assert_eq!(rest.entries, [entry("block:1", -500, 9_500), entry("first", 10_000, 10_000)]);
        assert_eq!(rest.next, None);
    }

    async fn what_is_not_there_is_not_lent(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(0).await;
        let empty = wire::LendCreditsResponse { lent: false, next_refill_at: None };
        assert_eq!(desk.lend(&account, 1).await.expect("asked"), empty);
        desk.grant(&owner, &key, 7, "some").await.expect("granted");
        assert_eq!(desk.lend(&account, 8).await.expect("asked"), empty);
        assert!(desk.lend(&account, 7).await.expect("asked").lent);
        assert_eq!(desk.standing(&owner, &key).await, (0, 7));
        assert_eq!(desk.lend("crd_00000000000000000000000001", 1).await.expect("asked"), empty);
        assert_eq!(desk.lend(&key, 1).await.expect_err("no account").code(), Code::InvalidArgument);
    }

    async fn a_grant_is_made_once_per_request_id(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, _) = desk.credited(100).await;
        let again = desk.grant(&owner, &key, 100, "first").await.expect("as before");
        assert_eq!((again.amount, again.balance_after), (100, 100));
        let other = desk.grant(&owner, &key, 50, "first").await.expect_err("another amount");
        assert_eq!(other.code(), Code::Conflict);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (desk, owner, key) = (desk.clone(), owner.clone(), key.clone());
            tasks.spawn(async move { desk.grant(&owner, &key, 5, "at once").await.expect("granted") });
        }
        let numbers: std::collections::BTreeSet<_> = tasks.join_all().await.into_iter().map(|it| it.number).collect();
        assert_eq!(numbers.len(), 1, "all of them are told of the same entry");
        let (balance, lent) = desk.standing(&owner, &key).await;
        assert_eq!(balance + lent, 105);
    }

    async fn many_who_ask_at_once_are_lent_no_more_than_there_is(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(1_000).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (desk, account) = (desk.clone(), account.clone());
            tasks.spawn(async move {
                let mut spent = 0;
                while desk.lend(&account, 7).await.expect("asked").lent {
                    spent += if desk.counter.spend(&account, 7) { 7 } else { 0 };
                }
                spent
            });
        }
        let spent: u64 = tasks.join_all().await.into_iter().sum();
        let (balance, lent) = desk.standing(&owner, &key).await;
        assert_eq!(spent + balance + lent, 1_000);
        assert!(balance + lent < 7, "{balance} and {lent}");
    }

    async fn a_deposit_whose_answer_is_lost_counts_once(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(1_000).await;
        for mishap in [Mishap::Lost, Mishap::Unanswered] {
            assert!(desk.counter.spend(&account, desk.standing(&owner, &key).await.1));
            let before = desk.standing(&owner, &key).await.0;
            desk.counter.stumble(mishap);
            assert_eq!(desk.lend(&account, 1).await.expect_err("a mishap").code(), Code::Unavailable);
            assert!(desk.lend(&account, 1).await.expect("asked").lent);
            let (balance, lent) = desk.standing(&owner, &key).await;
            assert_eq!((balance + lent, lent), (before, 100), "{mishap:?}");
        }
    }

    async fn what_is_lost_is_not_lent_again(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(1_000).await;
        assert!(desk.counter.spend(&account, 60));
        desk.counter.lose();
        assert_eq!(desk.standing(&owner, &key).await, (900, 0), "40 of the block are lost");
        assert!(desk.lend(&account, 1).await.expect("asked").lent);
        assert_eq!(desk.standing(&owner, &key).await, (800, 100));
        // Lost before its deposit is known of.
        assert!(desk.counter.spend(&account, 100));
        desk.counter.stumble(Mishap::Unanswered);
        desk.lend(&account, 1).await.expect_err("a mishap");
        assert!(desk.counter.spend(&account, 100), "it was there");
        desk.counter.lose();
        assert!(desk.lend(&account, 1).await.expect("asked").lent);
        assert_eq!(desk.standing(&owner, &key).await, (600, 100), "and is not deposited again");
    }

    async fn what_lies_idle_is_taken_back_once(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(1_000).await;
        assert!(desk.counter.spend(&account, 30));
        desk.clock.advance(Duration::from_secs(3599));
        desk.service.tend_credits().await.expect("tended");
        assert_eq!(desk.standing(&owner, &key).await, (900, 70));
        desk.clock.advance(Duration::from_secs(1));
        for mishap in [Mishap::Lost, Mishap::Unanswered] {
            desk.counter.stumble(mishap);
            desk.service.tend_credits().await.expect_err("a mishap");
        }
        desk.service.tend_credits().await.expect("tended");
        desk.service.tend_credits().await.expect("nothing to do");
        assert_eq!(desk.standing(&owner, &key).await, (970, 0));
        assert_eq!(desk.ledger(&owner, &key, 1, "").await.entries, [entry("return:2", 70, 970)]);
        assert!(desk.lend(&account, 1).await.expect("asked").lent);
        assert_eq!(desk.standing(&owner, &key).await, (870, 100));
    }

    async fn what_is_lost_before_it_comes_back_stays_lost(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(1_000).await;
        desk.clock.advance(Duration::from_hours(1));
        desk.counter.stumble(Mishap::Unanswered);
        desk.service.tend_credits().await.expect_err("a mishap");
        desk.counter.lose();
        desk.service.tend_credits().await.expect("tended");
        assert_eq!(desk.standing(&owner, &key).await, (900, 0));
        assert!(desk.lend(&account, 1).await.expect("asked").lent);
        assert_eq!(desk.standing(&owner, &key).await, (800, 100));
    }

    async fn a_refill_raises_once_per_period(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(0).await;
        let refill = daily(wire::CreditRefillMode::Raise, 200);
        let made = desk.put_credits(&owner, &key, Some(refill.clone())).await.expect("put");
        assert_eq!((made.balance, made.lent), (200, Some(0)), "the first one is made at once");
        assert_eq!(made.refill.map(|it| it.time_zone), Some("UTC".to_owned()));
        desk.put_credits(&owner, &key, Some(refill)).await.expect("put again");
        assert!(desk.lend(&account, 150).await.expect("asked").lent);
        assert!(desk.counter.spend(&account, 150));
        desk.service.tend_credits().await.expect("tended");
        let left = desk.lend(&account, 51).await.expect("asked");
        assert!(!left.lent);
        let next = time::from_wire(left.next_refill_at.expect("a refill"), "").expect("an instant");
        assert!(next > desk.clock.now() && next <= desk.clock.now() + Duration::from_hours(24));
        desk.clock.advance(Duration::from_hours(72));
        assert!(desk.lend(&account, 200).await.expect("asked").lent, "made when it is asked for, too");
        desk.service.tend_credits().await.expect("tended");
        assert_eq!(desk.standing(&owner, &key).await, (0, 200), "three days are one");
        let refills = desk.ledger(&owner, &key, 100, "").await.entries;
        let refills: Vec<_> = refills.iter().filter(|it| it.0.starts_with("refill:")).map(|it| it.1).collect();
        assert_eq!(refills, [150, 200]);
    }

    async fn a_refill_that_adds_is_made_for_each_missed_period_up_to_its_cap(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, _) = desk.credited(0).await;
        let refill = wire::CreditRefill { cap: Some(250), ..daily(wire::CreditRefillMode::Add, 100) };
        desk.put_credits(&owner, &key, Some(refill)).await.expect("put");
        desk.clock.advance(Duration::from_hours(24));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let desk = desk.clone();
            tasks.spawn(async move { desk.service.tend_credits().await.expect("tended") });
        }
        tasks.join_all().await;
        assert_eq!(desk.standing(&owner, &key).await, (200, 0));
        desk.clock.advance(Duration::from_hours(48));
        desk.service.tend_credits().await.expect("tended");
        assert_eq!(desk.standing(&owner, &key).await, (250, 0));
        let amounts: Vec<_> = desk.ledger(&owner, &key, 100, "").await.entries.iter().map(|it| it.1).collect();
        assert_eq!(amounts, [0, 50, 100, 100]);
    }

    async fn a_key_spends_its_own_else_its_consumers(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let owner = desk.user();
        let message = wire::CreateConsumerRequest {
            caller: Some(owner.clone()),
            name: "a shop".into(),
            ..Default::default()
        };
        let consumer = call!(desk, create_consumer, message).expect("made").consumer.expect("one").id;
        let message = wire::CreateKeyRequest {
            name: "a key".into(),
            consumer_id: consumer.clone(),
            ..Default::default()
        };
        let made = desk.create(&owner, message).await.expect("made");
        let (secret, key) = (made.secret, made.key.expect("a key").id);
        let spends = async || desk.resolve(&secret).await.expect("a grant").credit_account_id;
        assert_eq!(spends().await, "");
        let shared = desk.put_credits(&owner, &consumer, None).await.expect("made").id;
        assert_eq!(spends().await, shared);
        let own = desk.put_credits(&owner, &key, None).await.expect("made").id;
        assert_eq!(spends().await, own);
        let delete = async |owner_id: &str| {
            let (caller, owner_id) = (Some(owner.clone()), owner_id.to_owned());
            call!(desk, delete_credits, wire::DeleteCreditsRequest { caller, owner_id, no_wait: false })
        };
        desk.grant(&owner, &key, 10, "some").await.expect("granted");
        delete(&key).await.expect("deleted");
        assert_eq!(spends().await, shared);
        assert!(!desk.counter.spend(&own, 1), "nothing is left where calls spend it");
        assert!(!desk.lend(&own, 1).await.expect("asked").lent);
        for gone in [delete(&key).await.map(drop), desk.credits(&owner, &key).await.map(drop)] {
            assert_eq!(gone.expect_err("no account").code(), Code::NotFound);
        }
        let anew = desk.put_credits(&owner, &key, None).await.expect("made anew");
        assert!(anew.id != own && anew.balance == 0);
        desk.revoke(&owner, &key).await.expect("revoked");
        let (caller, consumer_id) = (Some(owner.clone()), consumer);
        let message = wire::DeleteConsumerRequest { caller, consumer_id, no_wait: false };
        call!(desk, delete_consumer, message).expect("deleted, and its credits with it");
        assert!(!desk.lend(&shared, 1).await.expect("asked").lent);
    }

    async fn credits_are_for_those_who_may(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, _) = desk.credited(10).await;
        let workspace = desk.workspace_of(&owner).await;
        let member = desk.member(&workspace, MemberRole::Member).await;
        let (reader, writer) =
            (desk.machine(&owner, &["keys.read"]).await, desk.machine(&owner, &["keys.write"]).await);
        let code = |result: Result<(), Fault>| result.err().map(|fault| fault.code());
        for (caller, reads, writes) in [
            (&member, None, Some(Code::Forbidden)),
            (&reader, None, Some(Code::Forbidden)),
            (&writer, Some(Code::Forbidden), None),
            (&desk.user(), Some(Code::NotFound), Some(Code::NotFound)),
        ] {
            assert_eq!(code(desk.credits(caller, &key).await.map(drop)), reads);
            assert_eq!(code(desk.grant(caller, &key, 1, "theirs").await.map(drop)), writes);
            assert_eq!(code(desk.put_credits(caller, &key, None).await.map(drop)), writes);
        }
        let audited = desk.service.store.audited().await;
        let count = |action: &str| audited.iter().filter(|it| *it == action).count();
        assert_eq!((count("credits.put"), count("credits.grant")), (2, 2));
    }

    async fn what_breaks_a_rule_is_named(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, _) = desk.credited(0).await;
        for (amount, request_id, pointer) in [
            (0, "a", "/amount"),
            (1_000_000_000_001, "a", "/amount"),
            (1, "", "/request_id"),
            (1, "block:7", "/request_id"),
            (1, "close", "/request_id"),
            (1, &"x".repeat(129), "/request_id"),
        ] {
            let fault = desk.grant(&owner, &key, amount, request_id).await.expect_err("refused");
            assert_eq!(pointers(&fault), [pointer]);
        }
        desk.grant(&owner, &key, 1_000_000_000_000, "most").await.expect("granted");
        let fault = desk.grant(&owner, &key, 1_000_000_000_000, "more").await.expect_err("too much");
        assert_eq!(pointers(&fault), ["/amount"]);
        let raise = || daily(wire::CreditRefillMode::Raise, 1);
        for (refill, pointer) in [
            (wire::CreditRefill { amount: 0, ..raise() }, "/refill/amount"),
            (wire::CreditRefill { period: Period::Year.into(), ..raise() }, "/refill/period"),
            (wire::CreditRefill { time_zone: "Europe/Bielefeld".into(), ..raise() }, "/refill/time_zone"),
            (wire::CreditRefill { cap: Some(1), ..raise() }, "/refill/cap"),
            (wire::CreditRefill { cap: Some(0), ..daily(wire::CreditRefillMode::Add, 1) }, "/refill/cap"),
        ] {
            let fault = desk.put_credits(&owner, &key, Some(refill)).await.expect_err("refused");
            assert_eq!(pointers(&fault), [pointer]);
        }
    }

    async fn in_a_disabled_workspace_nothing_is_lent_or_refilled(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(1_000).await;
        let refill = Some(daily(wire::CreditRefillMode::Add, 50));
        desk.put_credits(&owner, &key, refill).await.expect("put");
        assert_eq!(desk.standing(&owner, &key).await, (1_050, 0), "the refill of the first day");
        // A key of another workspace, whose refills go on.
        let (other, elsewhere, _) = desk.credited(0).await;
        desk.put_credits(&other, &elsewhere, Some(daily(wire::CreditRefillMode::Add, 50))).await.expect("put");
        assert!(desk.lend(&account, 1).await.expect("asked").lent);
        assert_eq!(desk.standing(&owner, &key).await, (950, 100));
        desk.enable(&owner, false).await;
        assert!(desk.counter.spend(&account, 100), "a call that was let in before");
        let empty = wire::LendCreditsResponse { lent: false, next_refill_at: None };
        assert_eq!(desk.lend(&account, 1).await.expect("asked"), empty);
        // Its people may look, and change nothing.
        assert_eq!(desk.standing(&owner, &key).await, (950, 0));
        assert_eq!(desk.ledger(&owner, &key, 1, "").await.entries, [entry("block:3", -100, 950)]);
        for fault in [
            desk.grant(&owner, &key, 1, "second").await.err(),
            desk.put_credits(&owner, &key, None).await.err(),
        ] {
            let fault = fault.expect("refused");
            assert_eq!(fault.code(), Code::Forbidden);
            assert!(fault.to_string().contains("disabled"), "{fault}");
        }
        // An operator may grant; it is there when the workspace is enabled again.
        desk.grant(&desk.operator(), &key, 7, "kind").await.expect("granted");
        assert_eq!(desk.standing(&owner, &key).await, (957, 0));
        desk.clock.advance(Duration::from_hours(24 * 3 + 1));
        assert_eq!(desk.service.tend_credits().await.expect("tended"), 2, "a refill elsewhere, and what lay idle here");
        assert_eq!(desk.service.tend_credits().await.expect("tended"), 0);
        assert_eq!(desk.standing(&owner, &key).await, (957, 0));
        assert_eq!(desk.standing(&other, &elsewhere).await, (200, 0), "every day, there");
        // Enabled again: the refill of this day, and none of the days between.
        desk.enable(&owner, true).await;
        assert_eq!(desk.service.tend_credits().await.expect("tended"), 1);
        assert_eq!(desk.service.tend_credits().await.expect("tended"), 0);
        assert_eq!(desk.standing(&owner, &key).await, (1_007, 0));
        assert!(desk.lend(&account, 1).await.expect("asked").lent);
        // Who enables what is enabled makes nobody lose a refill.
        desk.clock.advance(Duration::from_hours(48));
        desk.enable(&owner, true).await;
        desk.service.tend_credits().await.expect("tended");
        let (balance, lent) = desk.standing(&owner, &key).await;
        assert_eq!(balance + lent, 1_107);
    }

    async fn what_is_lent_of_a_disabled_workspace_comes_back(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(1_000).await;
        assert!(desk.counter.spend(&account, 30));
        desk.enable(&owner, false).await;
        assert_eq!(desk.standing(&owner, &key).await, (900, 70));
        desk.clock.advance(Duration::from_hours(1));
        assert_eq!(desk.service.tend_credits().await.expect("tended"), 1);
        assert_eq!(desk.standing(&owner, &key).await, (970, 0));
        // That of today was refilled before; enabling it on the same day does so not again.
        desk.enable(&owner, true).await;
        let refill = Some(daily(wire::CreditRefillMode::Add, 50));
        desk.put_credits(&owner, &key, refill).await.expect("put");
        desk.enable(&owner, false).await;
        desk.enable(&owner, true).await;
        assert_eq!(desk.service.tend_credits().await.expect("tended"), 0);
        assert_eq!(desk.standing(&owner, &key).await, (1_020, 0));
    }

    async fn old_movements_are_forgotten_and_what_they_made_is_not(database: TestDatabase) {
        let desk = Desk::new(&database).await;
        let (owner, key, account) = desk.credited(1_000).await;
        let refill = Some(wire::CreditRefill {
            period: Period::Month.into(),
            ..daily(wire::CreditRefillMode::Add, 50)
        });
        let total = async || {
            let (balance, lent) = desk.standing(&owner, &key).await;
            balance + lent
        };
        desk.clock.advance(Duration::from_hours(24 * 400));
        desk.service.forget_old().await.expect("forgotten");
        // Just as old as it is kept: the same request is still the same grant.
        let again = desk.grant(&owner, &key, 1_000, "first").await.expect("as before");
        assert_eq!((again.amount, total().await), (1_000, 1_000));
        desk.grant(&owner, &key, 5, "second").await.expect("granted");
        desk.clock.advance(Duration::from_secs(1));
        assert!(desk.service.forget_old().await.expect("forgotten") > 0);
        let request_ids = async || {
            let page = desk.ledger(&owner, &key, 100, "").await;
            page.entries.into_iter().map(|(request_id, ..)| request_id).collect::<Vec<_>>()
        };
        assert_eq!(request_ids().await, ["second"]);
        assert_eq!(total().await, 1_005);
        // Steps go on where they were.
        assert!(desk.counter.spend(&account, 100));
        assert!(desk.lend(&account, 1).await.expect("asked").lent);
        assert_eq!(total().await, 905);
        // A refill of the present period is known for as long as the period lasts, however short movements are kept.
        desk.put_credits(&owner, &key, refill.clone()).await.expect("put");
        assert_eq!(total().await, 955);
        desk.service.forget_old().await.expect("forgotten");
        desk.put_credits(&owner, &key, refill).await.expect("put");
        assert_eq!(total().await, 955, "once");
        desk.grant(&owner, &key, 5, "second").await.expect("as before");
        assert_eq!(total().await, 955);
    }
}
