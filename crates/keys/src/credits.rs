//! Credits: accounts of keys and consumers, shown, set up, granted to, closed. How they reach the calls is in [`lend`], what comes
//! from time to time in [`refill`], and the job that sees to both in [`job`].

mod job;
mod lend;
mod period;
mod refill;

use tollgate_changes::Cut;
use tollgate_kernel::{Code, ConsumerId, CreditAccountId, Fault, KeyId, WorkspaceId};
use tollgate_proto::{keys as wire, time::to_wire};
use tollgate_verify::Subject;

pub(crate) use self::lend::Turns;
use self::refill::Refill;
use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    page::Page,
    store::{AccountRow, Change, Deed, Granted, LedgerRow, Movement, Owner, cursor_of},
};

/// The most that an account has, and that is granted at once.
const MAX_CREDITS: i64 = 1_000_000_000_000;
const REQUEST_ID_CHARACTERS: usize = 128;

impl KeysService {
    pub(crate) async fn get_credits(
        &self,
        message: wire::GetCreditsRequest,
    ) -> Result<wire::GetCreditsResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (owner, ..) = self.owner_for(&caller, &message.owner_id, Action::ReadCredits).await?;
        let row = self.account_of(owner).await?;
        Ok(wire::GetCreditsResponse { account: Some(self.shown(row).await?) })
    }

    pub(crate) async fn put_credits(
        &self,
        message: wire::PutCreditsRequest,
    ) -> Result<wire::PutCreditsResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (owner, workspace) = self.owner_for(&caller, &message.owner_id, Action::WriteCredits).await?;
        let mut problems = Problems::default();
        let refill = message.refill.as_ref().and_then(|it| Refill::parse(it, &mut problems));
        problems.check()?;
        let now = self.clock.now();
        let account = AccountRow {
            id: CreditAccountId::new(&*self.clock, &*self.entropy).into(),
            workspace_id: workspace.into(),
            owner_id: owner.id(),
            owner_kind: owner.kind().to_owned(),
            balance: 0,
            next_refill_at: refill.as_ref().map(|_| now.into()),
            refill: Refill::write(refill.as_ref()),
            revision: 0,
            step: 0,
            epoch: 0,
            lent_at: None,
            created_at: now.into(),
            closed_at: None,
        };
        let deed =
            Deed { caller: &caller, workspace, action: "credits.put", target: message.owner_id, at: now };
        let change = Change::cuts_off(&self.store, cut(owner, message.no_wait), deed);
        let effect = self.store.credits_put(change, account).await?;
        let row = self.account_of(owner).await?;
        // What is due is made now, if that can be; else by the job.
        let id = row.id.typed();
        if let Err(fault) = self.refill_now(id).await {
            tracing::warn!(account = %id, cause = fault.cause(), "a refill must wait: {fault}");
        }
        let account = self.shown(self.account_of(owner).await?).await?;
        Ok(wire::PutCreditsResponse { account: Some(account), effect: effect.map(Into::into) })
    }

    pub(crate) async fn delete_credits(
        &self,
        message: wire::DeleteCreditsRequest,
    ) -> Result<wire::DeleteCreditsResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (owner, workspace) = self.owner_for(&caller, &message.owner_id, Action::WriteCredits).await?;
        let row = self.account_of(owner).await?;
        let (target, at) = (message.owner_id, self.clock.now());
        let deed = Deed { caller: &caller, workspace, action: "credits.delete", target, at };
        let change = Change::cuts_off(&self.store, cut(owner, message.no_wait), deed);
        let actor = caller.principal.to_string();
        let (closed, effect) = self.store.credits_close(change, &row, actor).await?;
        if !closed {
            return Err(no_account());
        }
        self.clear(&row).await;
        Ok(wire::DeleteCreditsResponse { effect: effect.map(Into::into) })
    }

    pub(crate) async fn grant_credits(
        &self,
        message: wire::GrantCreditsRequest,
    ) -> Result<wire::GrantCreditsResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (owner, workspace) = self.owner_for(&caller, &message.owner_id, Action::WriteCredits).await?;
        let mut problems = Problems::default();
        let amount = units(message.amount, "/amount", &mut problems);
        let request_id = request_id(message.request_id, &mut problems);
        problems.check()?;
        let row = self.account_of(owner).await?;
        let (target, at) = (message.owner_id, self.clock.now());
        let deed = Deed { caller: &caller, workspace, action: "credits.grant", target, at };
        let movement = Movement {
            kind: "grant",
            amount: amount.unwrap_or_default(),
            request_id,
            actor: caller.principal.to_string(),
            at,
        };
        let change = Change::grants(&self.store, deed);
        let entry = match self.store.credits_grant(change, row.id, movement, MAX_CREDITS).await? {
            Granted::Entry(entry) => entry,
            Granted::Gone => return Err(no_account()),
            Granted::Mismatch => {
                let message = "The `request_id` was used for another movement of this account.";
                return Err(Fault::new(Code::Conflict, message));
            }
            Granted::TooMuch => {
                return Err(Fault::invalid("/amount", format!("the balance stays below {MAX_CREDITS}")));
            }
        };
        // So that calls which found nothing find some at once; if that cannot be, the next of them asks for it.
        if let Err(fault) = self.lend(row.id.typed(), 1).await {
            tracing::warn!(account = %message_id(&row), cause = fault.cause(), "a grant is not lent yet: {fault}");
        }
        Ok(wire::GrantCreditsResponse { entry: Some(entry_message(entry)) })
    }

    pub(crate) async fn list_credit_ledger(
        &self,
        message: wire::ListCreditLedgerRequest,
    ) -> Result<wire::ListCreditLedgerResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let page = wire::Page { limit: message.limit, cursor: message.cursor };
        let page = Page::parse(Some(&page), &mut problems);
        problems.check()?;
        let (owner, ..) = self.owner_for(&caller, &message.owner_id, Action::ReadCredits).await?;
        let row = self.account_of(owner).await?;
        let rows = self.store.credit_ledger(row.id, page).await?;
        let (rows, next_cursor) = page.cut(rows, cursor_of);
        let entries = rows.into_iter().map(entry_message).collect();
        Ok(wire::ListCreditLedgerResponse { entries, next_cursor })
    }

    pub(crate) async fn lend_credits(
        &self,
        message: wire::LendCreditsRequest,
    ) -> Result<wire::LendCreditsResponse, Fault> {
        let id =
            message.account_id.parse().map_err(|_| Fault::invalid("/account_id", "is not such an id"))?;
        if message.cost > MAX_COST {
            return Err(Fault::invalid("/cost", format!("must be at most {MAX_COST}")));
        }
        let (lent, next) = self.lend(id, message.cost.max(1).cast_signed()).await?;
        Ok(wire::LendCreditsResponse { lent, next_refill_at: next.map(to_wire) })
    }

    /// Whose account is meant, if the caller may do this with it, and the workspace.
    async fn owner_for(
        &self,
        caller: &Caller,
        id: &str,
        action: Action,
    ) -> Result<(Owner, WorkspaceId), Fault> {
        if let Ok(id) = id.parse::<ConsumerId>() {
            let row = self.store.consumer_by_id(id).await?.ok_or_else(|| Fault::not_found("consumer"))?;
            let workspace = row.workspace_id.typed();
            self.standing(caller, workspace).await?.require(action, "consumer")?;
            return Ok((Owner::Consumer(id), workspace));
        }
        let key: KeyId = input::path_id(id, "key")?;
        let ((row, ..), standing): (_, Standing) = self.key_for(caller, id).await?;
        standing.require(action, "key")?;
        Ok((Owner::Key(key), row.workspace_id.typed()))
    }

    async fn account_of(&self, owner: Owner) -> Result<AccountRow, Fault> {
        self.store.credits_of(owner).await?.ok_or_else(no_account)
    }

    async fn shown(&self, row: AccountRow) -> Result<wire::CreditAccount, Fault> {
        let lent = self.standing_of_lent(&row).await;
        let owner_id = match row.owner_kind.as_str() {
            "consumer" => ConsumerId::from(row.owner_id).to_string(),
            _ => KeyId::from(row.owner_id).to_string(),
        };
        Ok(wire::CreditAccount {
            id: message_id(&row),
            workspace_id: WorkspaceId::from(row.workspace_id).to_string(),
            owner_id,
            balance: row.balance.unsigned_abs(),
            lent,
            refill: Refill::read(&row.refill)?.map(|it| it.to_wire()),
            next_refill_at: row.next_refill_at.map(|at| to_wire(at.0)),
            created_at: Some(to_wire(row.created_at.0)),
        })
    }
}

/// The most that one call costs.
const MAX_COST: u64 = 1_000_000_000;

/// What caches hold of an owner: whose credits its calls spend.
fn cut(owner: Owner, no_wait: bool) -> Cut {
    let subject = match owner {
        Owner::Key(id) => Subject::Key(id),
        Owner::Consumer(id) => Subject::Consumer(id),
    };
    Cut { subject, wait: !no_wait }
}

fn no_account() -> Fault {
    Fault::not_found("account of credits")
}

fn message_id(row: &AccountRow) -> String {
    CreditAccountId::from(row.id).to_string()
}

fn entry_message(row: LedgerRow) -> wire::CreditLedgerEntry {
    wire::CreditLedgerEntry {
        number: row.number.unsigned_abs(),
        at: Some(to_wire(row.at.0)),
        kind: row.kind,
        amount: row.amount,
        balance_after: row.balance.unsigned_abs(),
        request_id: row.request_id,
        actor: row.actor,
    }
}

/// A number of credits, within its bounds.
fn units(number: u64, pointer: &'static str, problems: &mut Problems) -> Option<i64> {
    let units = i64::try_from(number).ok().filter(|units| (1..=MAX_CREDITS).contains(units));
    if units.is_none() {
        problems.add(pointer, format!("must be 1 to {MAX_CREDITS}"));
    }
    units
}

/// The name of a grant. Those with a colon are this role's own.
fn request_id(text: String, problems: &mut Problems) -> String {
    if text.is_empty() || text.chars().nth(REQUEST_ID_CHARACTERS).is_some() {
        problems.add("/request_id", format!("must have 1 to {REQUEST_ID_CHARACTERS} characters"));
    }
    if text.chars().any(|letter| letter.is_control() || letter == ':') || text == "close" {
        problems.add("/request_id", "must not contain colons or control characters, nor be `close`");
    }
    text
}
