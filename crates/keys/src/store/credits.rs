//! Accounts of credits: kept, found, granted to, closed. What is lent of them and comes back is in [`blocks`].

mod blocks;

use diesel::{pg::Pg, prelude::*, sqlite::Sqlite};
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, DbJson, DbTime, read_db};
use tollgate_kernel::{ConsumerId, CreditAccountId, Fault, KeyId, Timestamp};

use super::{
    Change, Outcome, Store,
    change::{change, collision},
    schema::{credit_accounts, credit_blocks, credit_ledger, workspaces},
};
use crate::page::Page;

const TAKEN: &str = "The account was made by somebody else in the same moment.";

/// Whose account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Key(KeyId),
    Consumer(ConsumerId),
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = credit_accounts, check_for_backend(Pg, Sqlite))]
pub(crate) struct AccountRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) owner_id: DbId,
    pub(crate) owner_kind: String,
    pub(crate) balance: i64,
    pub(crate) refill: DbJson,
    pub(crate) next_refill_at: Option<DbTime>,
    /// How often it was changed.
    pub(crate) revision: i64,
    /// The last that was begun.
    pub(crate) step: i64,
    pub(crate) epoch: i64,
    pub(crate) lent_at: Option<DbTime>,
    pub(crate) created_at: DbTime,
    pub(crate) closed_at: Option<DbTime>,
}

/// One movement of an account.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = credit_ledger, check_for_backend(Pg, Sqlite))]
pub(crate) struct LedgerRow {
    pub(crate) account_id: DbId,
    pub(crate) number: i64,
    pub(crate) at: DbTime,
    pub(crate) kind: String,
    pub(crate) amount: i64,
    pub(crate) balance: i64,
    pub(crate) request_id: String,
    pub(crate) actor: String,
}

/// A step of an account: a block that was lent, or what was asked back.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = credit_blocks, check_for_backend(Pg, Sqlite))]
pub(crate) struct BlockRow {
    pub(crate) account_id: DbId,
    pub(crate) step: i64,
    pub(crate) epoch: i64,
    pub(crate) amount: i64,
    pub(crate) state: String,
    pub(crate) at: DbTime,
}

/// What is to be written into the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Movement {
    pub(crate) kind: &'static str,
    pub(crate) amount: i64,
    /// Unique within the account.
    pub(crate) request_id: String,
    pub(crate) actor: String,
    pub(crate) at: Timestamp,
}

/// What came of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Granted {
    /// This is it, made now or before.
    Entry(LedgerRow),
    /// The same request id has moved something else.
    Mismatch,
    /// The account would have more than it may.
    TooMuch,
    /// There is no such account any more.
    Gone,
}

impl Owner {
    pub(crate) fn id(self) -> DbId {
        match self {
            Self::Key(id) => id.into(),
            Self::Consumer(id) => id.into(),
        }
    }

    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Consumer(_) => "consumer",
        }
    }
}

impl Movement {
    /// As a row: after it the account has this balance, and this is its revision.
    fn row(&self, account_id: DbId, balance: i64, number: i64) -> LedgerRow {
        LedgerRow {
            account_id,
            number,
            at: self.at.into(),
            kind: self.kind.to_owned(),
            amount: self.amount,
            balance,
            request_id: self.request_id.clone(),
            actor: self.actor.clone(),
        }
    }
}

impl Store {
    /// Whose credits the calls of a key spend: its own account, else its consumer's.
    pub(crate) async fn credit_account_of(
        &self,
        key: DbId,
        consumer: Option<DbId>,
    ) -> Result<Option<DbId>, Fault> {
        let owners: Vec<DbId> = [key].into_iter().chain(consumer).collect();
        let found: Vec<(DbId, DbId)> = read_db!(self.db, |c| credit_accounts::table
            .filter(credit_accounts::owner_id.eq_any(&owners))
            .filter(credit_accounts::closed_at.is_null())
            .select((credit_accounts::owner_id, credit_accounts::id))
            .load(c)
            .await)?;
        let of = |owner: DbId| found.iter().find(|(its, _)| *its == owner).map(|(_, id)| *id);
        Ok(of(key).or_else(|| consumer.and_then(of)))
    }

    /// One that is not closed.
    pub(crate) async fn credits_of(&self, owner: Owner) -> Result<Option<AccountRow>, Fault> {
        Ok(read_db!(self.db, |c| credit_accounts::table
            .filter(credit_accounts::owner_id.eq(owner.id()))
            .filter(credit_accounts::closed_at.is_null())
            .select(AccountRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// One that is not closed, and whether its workspace is enabled.
    pub(crate) async fn credits_by_id(
        &self,
        id: CreditAccountId,
    ) -> Result<Option<(AccountRow, bool)>, Fault> {
        Ok(read_db!(self.db, |c| credit_accounts::table
            .inner_join(workspaces::table)
            .filter(credit_accounts::id.eq(DbId::from(id)))
            .filter(credit_accounts::closed_at.is_null())
            .select((AccountRow::as_select(), workspaces::enabled))
            .first(c)
            .await
            .optional())?)
    }

    /// The last step of an account.
    pub(crate) async fn credit_block(&self, account: DbId, step: i64) -> Result<Option<BlockRow>, Fault> {
        Ok(read_db!(self.db, |c| credit_blocks::table
            .find((account, step))
            .select(BlockRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// Accounts that are to be refilled at this time, those first that wait longest. None of a workspace that is disabled.
    pub(crate) async fn credits_due(&self, now: Timestamp, most: i64) -> Result<Vec<DbId>, Fault> {
        Ok(read_db!(self.db, |c| credit_accounts::table
            .inner_join(workspaces::table)
            .filter(credit_accounts::next_refill_at.le(DbTime(now)))
            .filter(credit_accounts::closed_at.is_null())
            .filter(workspaces::enabled.eq(true))
            .order(credit_accounts::next_refill_at)
            .limit(most)
            .select(credit_accounts::id)
            .load(c)
            .await)?)
    }

    /// Accounts of which nothing was lent since, but something before.
    pub(crate) async fn credits_idle(&self, since: Timestamp, most: i64) -> Result<Vec<DbId>, Fault> {
        Ok(read_db!(self.db, |c| credit_accounts::table
            .filter(credit_accounts::lent_at.le(DbTime(since)))
            .filter(credit_accounts::closed_at.is_null())
            .order(credit_accounts::lent_at)
            .limit(most)
            .select(credit_accounts::id)
            .load(c)
            .await)?)
    }

    /// Newest first.
    pub(crate) async fn credit_ledger(&self, account: DbId, page: Page) -> Result<Vec<LedgerRow>, Fault> {
        let before = page.after.map_or(i64::MAX, |after| number_of(after).unwrap_or(0));
        Ok(read_db!(self.db, |c| credit_ledger::table
            .filter(credit_ledger::account_id.eq(account))
            .filter(credit_ledger::number.lt(before))
            .order(credit_ledger::number.desc())
            .limit(page.rows())
            .select(LedgerRow::as_select())
            .load(c)
            .await)?)
    }

    /// Makes the account, or gives one that is there this refill.
    pub(crate) async fn credits_put(
        &self,
        change: Change,
        account: AccountRow,
    ) -> Result<Option<Effect>, Fault> {
        let put = change!(self, change, |c| {
            let there = credit_accounts::table
                .filter(credit_accounts::owner_id.eq(account.owner_id))
                .filter(credit_accounts::closed_at.is_null());
            let updated = diesel::update(there)
                .set((
                    credit_accounts::refill.eq(&account.refill),
                    credit_accounts::next_refill_at.eq(account.next_refill_at),
                    credit_accounts::revision.eq(credit_accounts::revision + 1),
                ))
                .execute(c)
                .await?;
            if updated == 0 {
                diesel::insert_into(credit_accounts::table).values(&account).execute(c).await?;
            }
            Outcome::Changed(())
        });
        put.map(|(_, effect)| effect).map_err(|fault| collision(fault, TAKEN))
    }

    /// Closes the account: what it has is gone. Not found if somebody else did.
    pub(crate) async fn credits_close(
        &self,
        change: Change,
        account: &AccountRow,
        actor: String,
    ) -> Result<(bool, Option<Effect>), Fault> {
        let (id, at) = (account.id, change.audit.at);
        let (outcome, effect) = change!(self, change, |c| {
            let open = credit_accounts::table.find(id).filter(credit_accounts::closed_at.is_null());
            let closed = (
                credit_accounts::closed_at.eq(at),
                credit_accounts::revision.eq(credit_accounts::revision + 1),
            );
            if diesel::update(open).set(closed).execute(c).await? == 0 {
                Outcome::Unchanged(false)
            } else {
                let row = credit_accounts::table
                    .find(id)
                    .select((credit_accounts::balance, credit_accounts::revision));
                let (balance, revision): (i64, i64) = row.first(c).await?;
                let request_id = "close".to_owned();
                let movement = Movement { kind: "close", amount: -balance, request_id, actor, at: at.0 };
                diesel::insert_into(credit_ledger::table)
                    .values(movement.row(id, 0, revision))
                    .execute(c)
                    .await?;
                diesel::update(credit_accounts::table.find(id))
                    .set(credit_accounts::balance.eq(0))
                    .execute(c)
                    .await?;
                Outcome::Changed(true)
            }
        })?;
        Ok((outcome.value(), effect))
    }

    /// Adds to an account, once per request id; it has at most `most` after it.
    pub(crate) async fn credits_grant(
        &self,
        change: Change,
        account: DbId,
        movement: Movement,
        most: i64,
    ) -> Result<Granted, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            // First, because of two who bring the same request id at once the second waits here for the first.
            let open = credit_accounts::table.find(account).filter(credit_accounts::closed_at.is_null());
            let locked = diesel::update(open)
                .set(credit_accounts::revision.eq(credit_accounts::revision + 1))
                .execute(c)
                .await?;
            let before: Option<LedgerRow> = credit_ledger::table
                .filter(credit_ledger::account_id.eq(account))
                .filter(credit_ledger::request_id.eq(&movement.request_id))
                .select(LedgerRow::as_select())
                .first(c)
                .await
                .optional()?;
            match before {
                _ if locked == 0 => Outcome::Unchanged(Granted::Gone),
                Some(before) if before.kind == movement.kind && before.amount == movement.amount => {
                    Outcome::Unchanged(Granted::Entry(before))
                }
                Some(_) => Outcome::Unchanged(Granted::Mismatch),
                None => {
                    let row = credit_accounts::table
                        .find(account)
                        .select((credit_accounts::balance, credit_accounts::revision));
                    let (balance, revision): (i64, i64) = row.first(c).await?;
                    let after = balance + movement.amount;
                    if after > most {
                        Outcome::Unchanged(Granted::TooMuch)
                    } else {
                        let entry = movement.row(account, after, revision);
                        diesel::update(credit_accounts::table.find(account))
                            .set(credit_accounts::balance.eq(after))
                            .execute(c)
                            .await?;
                        diesel::insert_into(credit_ledger::table).values(&entry).execute(c).await?;
                        Outcome::Changed(Granted::Entry(entry))
                    }
                }
            }
        })?;
        Ok(outcome.value())
    }
}

/// What a cursor into the ledger holds: the number of an entry.
pub(crate) fn cursor_of(entry: &LedgerRow) -> DbId {
    DbId(uuid::Uuid::from_u128(entry.number.unsigned_abs().into()))
}

fn number_of(cursor: DbId) -> Option<i64> {
    i64::try_from(cursor.0.as_u128()).ok()
}
