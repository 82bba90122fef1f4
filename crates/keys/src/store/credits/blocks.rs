//! What is lent of an account to where calls spend it, what comes back, and what comes from time to time.
//!
//! These writes change nothing that people own: they keep count of it. So they go past `change!`. Each is one transaction,
//! and made to the row that it was decided on or not at all: whoever finds another revision looks again.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbTime, tx_db};
use tollgate_kernel::{Fault, Timestamp};

use super::{
    super::{
        Store,
        schema::{credit_accounts, credit_blocks, credit_ledger},
    },
    AccountRow, BlockRow, Movement,
};

/// How many of an account's last steps are kept.
const STEPS: i64 = 100;

/// What an account becomes, the row that was seen being `$seen`: 0 if it is not that any more.
macro_rules! turn_into {
    ($c:expr, $seen:expr, $next:expr) => {{
        let (seen, next): (&AccountRow, &AccountRow) = ($seen, $next);
        let same = credit_accounts::table
            .find(seen.id)
            .filter(credit_accounts::revision.eq(seen.revision))
            .filter(credit_accounts::closed_at.is_null());
        diesel::update(same)
            .set((
                credit_accounts::balance.eq(next.balance),
                credit_accounts::next_refill_at.eq(next.next_refill_at),
                credit_accounts::revision.eq(next.revision),
                credit_accounts::step.eq(next.step),
                credit_accounts::epoch.eq(next.epoch),
                credit_accounts::lent_at.eq(next.lent_at),
            ))
            .execute($c)
            .await?
    }};
}

impl Store {
    /// Lends a block of an account: it is taken off the balance, and is the next step of this epoch.
    pub(crate) async fn credits_lend(
        &self,
        seen: &AccountRow,
        epoch: i64,
        amount: i64,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let next = AccountRow {
            balance: seen.balance - amount,
            revision: seen.revision + 1,
            step: seen.step + 1,
            epoch,
            lent_at: Some(now.into()),
            ..seen.clone()
        };
        let entry = Movement {
            kind: "block",
            amount: -amount,
            request_id: format!("block:{}", next.step),
            actor: "system".to_owned(),
            at: now,
        };
        let entry = entry.row(seen.id, next.balance, next.revision);
        self.credits_step(seen, &next, block(&next, amount, "lent", now), "spent", Some(entry)).await
    }

    /// Asks back what is left of what was lent: the next step.
    pub(crate) async fn credits_ask_back(&self, seen: &AccountRow, now: Timestamp) -> Result<bool, Fault> {
        let next = AccountRow { revision: seen.revision + 1, step: seen.step + 1, ..seen.clone() };
        self.credits_step(seen, &next, block(&next, 0, "asked", now), "lent", None).await
    }

    /// What was asked back has come, so much of it.
    pub(crate) async fn credits_returned(
        &self,
        seen: &AccountRow,
        amount: i64,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let next = AccountRow {
            balance: seen.balance + amount,
            revision: seen.revision + 1,
            lent_at: None,
            ..seen.clone()
        };
        let entry = Movement {
            kind: "return",
            amount,
            request_id: format!("return:{}", seen.step),
            actor: "system".to_owned(),
            at: now,
        };
        let entry = entry.row(seen.id, next.balance, next.revision);
        let done: Result<bool, tollgate_db::Error> = tx_db!(self.db, |c| {
            if turn_into!(c, seen, &next) == 0 {
                return Ok(false);
            }
            if amount > 0 {
                diesel::insert_into(credit_ledger::table).values(&entry).execute(c).await?;
            }
            let out = credit_blocks::table
                .filter(credit_blocks::account_id.eq(seen.id))
                .filter(credit_blocks::state.eq_any(["lent", "asked"]));
            diesel::update(out).set(credit_blocks::state.eq("returned")).execute(c).await?;
            diesel::update(credit_blocks::table.find((seen.id, seen.step)))
                .set(credit_blocks::amount.eq(amount))
                .execute(c)
                .await?;
            Ok::<_, tollgate_db::Error>(true)
        });
        Ok(done?)
    }

    /// What was lent is lost: there is another epoch, or none.
    pub(crate) async fn credits_lost(&self, seen: &AccountRow) -> Result<bool, Fault> {
        let next = AccountRow { revision: seen.revision + 1, epoch: 0, lent_at: None, ..seen.clone() };
        let done: Result<bool, tollgate_db::Error> = tx_db!(self.db, |c| {
            if turn_into!(c, seen, &next) == 0 {
                return Ok(false);
            }
            let out = credit_blocks::table
                .filter(credit_blocks::account_id.eq(seen.id))
                .filter(credit_blocks::state.eq_any(["lent", "asked"]));
            diesel::update(out).set(credit_blocks::state.eq("lost")).execute(c).await?;
            Ok::<_, tollgate_db::Error>(true)
        });
        Ok(done?)
    }

    /// Refills an account, period by period, each of them once: `raised` says by how much a balance grows. The next refill is
    /// at `then`.
    pub(crate) async fn credits_refill(
        &self,
        seen: &AccountRow,
        periods: &[String],
        raised: impl Fn(i64) -> i64 + Send + Sync,
        then: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let done: Result<bool, tollgate_db::Error> = tx_db!(self.db, |c| {
            let made: Vec<String> = credit_ledger::table
                .filter(credit_ledger::account_id.eq(seen.id))
                .filter(credit_ledger::request_id.eq_any(periods))
                .select(credit_ledger::request_id)
                .load(c)
                .await?;
            let mut next = seen.clone();
            let mut entries = Vec::new();
            for request_id in periods.iter().filter(|period| !made.contains(period)) {
                let amount = raised(next.balance);
                (next.balance, next.revision) = (next.balance + amount, next.revision + 1);
                let (request_id, actor) = (request_id.clone(), "system".to_owned());
                let entry = Movement { kind: "refill", amount, request_id, actor, at: now };
                entries.push(entry.row(seen.id, next.balance, next.revision));
            }
            next.next_refill_at = Some(DbTime(then));
            next.revision += i64::from(entries.is_empty());
            if turn_into!(c, seen, &next) == 0 {
                return Ok(false);
            }
            for entry in &entries {
                diesel::insert_into(credit_ledger::table).values(entry).execute(c).await?;
            }
            Ok::<_, tollgate_db::Error>(true)
        });
        Ok(done?)
    }

    /// Makes a step: the blocks before it that are lent become `before`.
    async fn credits_step(
        &self,
        seen: &AccountRow,
        next: &AccountRow,
        step: BlockRow,
        before: &'static str,
        entry: Option<super::LedgerRow>,
    ) -> Result<bool, Fault> {
        let done: Result<bool, tollgate_db::Error> = tx_db!(self.db, |c| {
            if turn_into!(c, seen, next) == 0 {
                return Ok(false);
            }
            let its = credit_blocks::table.filter(credit_blocks::account_id.eq(seen.id));
            diesel::delete(its.filter(credit_blocks::step.le(next.step - STEPS))).execute(c).await?;
            let lent = its.filter(credit_blocks::state.eq("lent"));
            diesel::update(lent).set(credit_blocks::state.eq(before)).execute(c).await?;
            diesel::insert_into(credit_blocks::table).values(&step).execute(c).await?;
            if let Some(entry) = &entry {
                diesel::insert_into(credit_ledger::table).values(entry).execute(c).await?;
            }
            Ok::<_, tollgate_db::Error>(true)
        });
        Ok(done?)
    }
}

fn block(next: &AccountRow, amount: i64, state: &str, now: Timestamp) -> BlockRow {
    let (account_id, step, epoch) = (next.id, next.step, next.epoch);
    BlockRow { account_id, step, epoch, amount, state: state.to_owned(), at: now.into() }
}
