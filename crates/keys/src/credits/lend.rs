//! From the account to where calls spend it: block by block.
//!
//! The balance is in the database, and what is lent of it is with the role ratelimit, where calls spend it without asking here.
//! A block is taken off the balance in one transaction, as a numbered step of the account, and then deposited there under that
//! number; a deposit whose answer was lost is made again, and counts once. What is asked back is a step as well: written down
//! first, then withdrawn, then added to the balance.
//!
//! What is kept there of an account has an epoch. If it is another than the one of the last step, then what was lent is lost:
//! nobody knows how much of it was spent, so nothing of it is lent again. So there is never more than was granted, whoever is
//! killed when, and what is lost is at most what was lent.
//!
//! Everything here looks, makes one step of what it has seen, and looks again. A step that somebody else makes in the same
//! moment, in this process or another, is seen by the revision of the row.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};
use tollgate_kernel::{CreditAccountId, Fault, Timestamp, WorkspaceId};
use tollgate_proto::{
    fault::from_status,
    ratelimit::{AccountState, DepositRequest, WithdrawRequest},
};
use tonic::Request;

use super::{MAX_CREDITS, message_id, refill::Refill};
use crate::{Config, KeysService, store::AccountRow};

/// More steps in a row than this are made by nobody who is alone with an account.
const MOST_STEPS: usize = 64;
/// How many accounts can be lent of at once.
const TURNS: usize = 64;

/// Who makes steps of an account takes its turn. Accounts share turns.
#[derive(Debug)]
pub(crate) struct Turns {
    hasher: RandomState,
    turns: [Mutex<()>; TURNS],
}

impl Default for Turns {
    fn default() -> Self {
        Self { hasher: RandomState::new(), turns: [const { Mutex::const_new(()) }; TURNS] }
    }
}

impl Turns {
    async fn of(&self, account: CreditAccountId) -> MutexGuard<'_, ()> {
        let place = self.hasher.hash_one(account) % TURNS as u64;
        let place = usize::try_from(place).expect("it is less than the number of turns");
        self.turns[place].lock().await
    }
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// So many can be spent.
    Spend(i64),
    /// What is due is refilled.
    Refill,
    /// Nothing is lent.
    Back,
}

/// How far it has come.
enum Progress {
    /// Look again.
    Again,
    /// It is reached, or cannot be.
    Done(bool),
}

impl KeysService {
    /// Sees to it that so many credits can be spent; and whether they can. If not: when the account is refilled.
    pub(super) async fn lend(
        &self,
        account: CreditAccountId,
        cost: i64,
    ) -> Result<(bool, Option<Timestamp>), Fault> {
        let lent = self.reach(account, Aim::Spend(cost)).await?;
        if lent {
            return Ok((true, None));
        }
        let found = self.store.credits_by_id(account).await?;
        let row = found.and_then(|(row, enabled)| enabled.then_some(row));
        Ok((false, row.and_then(|row| row.next_refill_at).map(|at| at.0)))
    }

    /// Refills the account if that is due.
    pub(super) async fn refill_now(&self, account: CreditAccountId) -> Result<bool, Fault> {
        self.reach(account, Aim::Refill).await
    }

    /// Takes back what is lent of the account and not spent.
    pub(super) async fn take_back(&self, account: CreditAccountId) -> Result<bool, Fault> {
        self.reach(account, Aim::Back).await
    }

    /// What is lent and not spent, if that can be said.
    pub(super) async fn standing_of_lent(&self, row: &AccountRow) -> Option<u64> {
        let state = self.open(row, 0).await.ok()?;
        let ours = state.epoch == row.epoch.unsigned_abs();
        Some(if ours { state.remaining } else { 0 })
    }

    /// Takes away what can be spent of an account that is closed. What cannot be reached now is spent by nobody, since nobody
    /// knows of the account any more.
    pub(super) async fn clear(&self, row: &AccountRow) {
        let step = row.step.unsigned_abs() + 1;
        if let Err(fault) = self.withdraw(row, row.epoch.unsigned_abs(), step).await {
            tracing::info!(account = message_id(row), "what was lent of a closed account stays: {fault}");
        }
    }

    async fn reach(&self, account: CreditAccountId, aim: Aim) -> Result<bool, Fault> {
        let _turn = self.turns.of(account).await;
        for _ in 0..MOST_STEPS {
            let Some((row, enabled)) = self.store.credits_by_id(account).await? else { return Ok(false) };
            // In a workspace that is disabled nothing is lent or refilled; what is lent still comes back.
            if !enabled && aim != Aim::Back {
                return Ok(false);
            }
            if let Progress::Done(reached) = self.step(&row, aim).await? {
                return Ok(reached);
            }
        }
        Err(Fault::unavailable("an account of credits is changed faster than it can be lent"))
    }

    /// One step of what is to be done with the account.
    async fn step(&self, row: &AccountRow, aim: Aim) -> Result<Progress, Fault> {
        let now = self.clock.now();
        if aim == Aim::Back && row.lent_at.is_none() {
            return Ok(Progress::Done(true));
        }
        let state = self.open(row, self.fresh_epoch()).await?;
        let (epoch, made) = (state.epoch.cast_signed(), state.step.cast_signed());
        if epoch != row.epoch {
            if row.lent_at.is_some() {
                tracing::warn!(account = message_id(row), "what was lent of an account of credits is lost");
                metrics::counter!("tollgate_keys_credit_blocks_lost_total").increment(1);
                self.store.credits_lost(row).await?;
                return Ok(Progress::Again);
            }
        } else if made < row.step {
            return self.finish(row).await;
        } else if made == row.step && self.is_asked(row).await? {
            // It was withdrawn, and whoever did so did not come to write it down.
            self.store.credits_returned(row, state.withdrawn.cast_signed(), now).await?;
            return Ok(Progress::Again);
        }
        let due = row.next_refill_at.filter(|at| at.0 <= now);
        let enough = matches!(aim, Aim::Spend(cost) if state.remaining.cast_signed() >= cost);
        if enough || (aim == Aim::Refill && due.is_none()) {
            return Ok(Progress::Done(true));
        }
        if let (Aim::Spend(cost), None) = (aim, due) {
            return self.spend(row, &state, cost).await;
        }
        // What is taken back is taken back whole; and a refill looks at all that the account has.
        if row.lent_at.is_some() {
            self.store.credits_ask_back(row, now).await?;
            return Ok(Progress::Again);
        }
        match due {
            Some(at) if aim != Aim::Back => self.refill(row, at.0).await,
            _ => Ok(Progress::Done(true)),
        }
    }

    /// Lends what is missing, if the account has it.
    async fn spend(&self, row: &AccountRow, state: &AccountState, cost: i64) -> Result<Progress, Fault> {
        let missing = cost - state.remaining.cast_signed();
        if row.balance < missing {
            return Ok(Progress::Done(false));
        }
        let amount = block(&self.config, row.balance, missing);
        let epoch = state.epoch.cast_signed();
        let lent = self.store.credits_lend(row, epoch, amount, self.clock.now()).await?;
        metrics::counter!("tollgate_keys_credit_blocks_total").increment(u64::from(lent));
        // The next look deposits it.
        Ok(Progress::Again)
    }

    /// Makes the last step where calls spend credits, which it has not reached.
    async fn finish(&self, row: &AccountRow) -> Result<Progress, Fault> {
        let Some(block) = self.store.credit_block(row.id, row.step).await? else {
            return Err(Fault::internal("an account of credits without its last step"));
        };
        let (epoch, step) = (block.epoch.unsigned_abs(), block.step.unsigned_abs());
        if block.state == "asked" {
            self.withdraw(row, epoch, step).await?;
            return Ok(Progress::Again);
        }
        let deposit = DepositRequest {
            partition: partition(row),
            account: message_id(row),
            epoch,
            step,
            amount: block.amount.unsigned_abs(),
            behind: Some(behind(row)),
        };
        self.ratelimit.deposit(Request::new(deposit)).await.map_err(from_status)?;
        Ok(Progress::Again)
    }

    async fn is_asked(&self, row: &AccountRow) -> Result<bool, Fault> {
        // Nothing is asked back of what was not lent, and then this is asked on no way of a call.
        if row.lent_at.is_none() {
            return Ok(false);
        }
        let block = self.store.credit_block(row.id, row.step).await?;
        Ok(block.is_some_and(|block| block.state == "asked"))
    }

    async fn refill(&self, row: &AccountRow, at: Timestamp) -> Result<Progress, Fault> {
        let now = self.clock.now();
        let Some(refill) = Refill::read(&row.refill)? else {
            return Err(Fault::internal("an account of credits that is due, and not refilled"));
        };
        let due = refill.due(at, now);
        let raises = |balance| refill.raises(balance);
        let made = self.store.credits_refill(row, &due.periods, raises, due.then, now).await?;
        metrics::counter!("tollgate_keys_credit_refills_total").increment(u64::from(made));
        Ok(Progress::Again)
    }

    /// How the account stands where calls spend it; begun there with this epoch if it is not 0, and there is nothing of it.
    async fn open(&self, row: &AccountRow, epoch: u64) -> Result<AccountState, Fault> {
        let request = DepositRequest {
            partition: partition(row),
            account: message_id(row),
            epoch,
            behind: Some(behind(row)),
            ..DepositRequest::default()
        };
        let state = self.ratelimit.deposit(Request::new(request)).await;
        Ok(state.map_err(from_status)?.into_inner())
    }

    async fn withdraw(&self, row: &AccountRow, epoch: u64, step: u64) -> Result<AccountState, Fault> {
        let (partition, account) = (partition(row), message_id(row));
        let request = WithdrawRequest { partition, account, epoch, step };
        Ok(self.ratelimit.withdraw(Request::new(request)).await.map_err(from_status)?.into_inner())
    }

    /// A number of 53 bits that nobody has had, and not 0.
    fn fresh_epoch(&self) -> u64 {
        (u64::from_be_bytes(self.entropy.bytes()) >> 11).max(1)
    }
}

/// What an account with this balance lends at once, if so much is missing: a share of it, within bounds.
fn block(config: &Config, balance: i64, missing: i64) -> i64 {
    let share = i128::from(balance) * i128::from(config.credit_block_percent.get()) / 100;
    let share = i64::try_from(share).unwrap_or(balance);
    let least = i64::from(config.credit_block_min.get());
    let most = i64::from(config.credit_block_max.get()).max(least);
    share.clamp(least, most).max(missing).min(balance)
}

/// For the answers of calls. What came back may have lifted the balance a block above what is granted at most.
fn behind(row: &AccountRow) -> u64 {
    row.balance.min(MAX_CREDITS).unsigned_abs()
}

fn partition(row: &AccountRow) -> String {
    WorkspaceId::from(row.workspace_id).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_a_share_within_bounds_and_enough_for_the_call() {
        let config = Config::default();
        let sizes = [(10_000, 1), (1_000, 1), (60, 1), (10_000, 700), (10_000_000_000, 1)];
        let sizes = sizes.map(|(balance, missing)| block(&config, balance, missing));
        assert_eq!(sizes, [500, 100, 60, 700, 100_000]);
    }
}
