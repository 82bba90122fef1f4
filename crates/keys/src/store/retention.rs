//! Forgetting what is old, a bounded piece at a time, so that no statement holds its locks for long.
//!
//! These writes change nothing that people own, so they go past [`super::change`].

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Bool},
};
use diesel_async::RunQueryDsl;
use tollgate_db::{DbTime, sql_types::Time, write_db};
use tollgate_kernel::{Fault, Timestamp};

use super::{
    Step, Store,
    schema::{
        audit_events, credit_ledger, idempotency, invitations, notices, usage, usage_batches,
        webhook_messages,
    },
};

// Diesel wants another name for a table in a subquery of itself.
diesel::alias! {
    const old_batches: Alias<OldBatches> = usage_batches as old_batches;
    const old_events: Alias<OldEvents> = audit_events as old_events;
    const old_invitations: Alias<OldInvitations> = invitations as old_invitations;
    const old_retries: Alias<OldRetries> = idempotency as old_retries;
    const old_messages: Alias<OldMessages> = webhook_messages as old_messages;
}

/// Rows per statement.
const PIECE: i64 = 1000;

/// What grows with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aged {
    /// By these steps.
    Usage(Step),
    UsageBatches,
    Audit,
    /// An account's balance is its own; its movements only tell of it.
    CreditLedger,
    Idempotency,
    Invitations,
    /// With their deliveries.
    Messages,
    Notices,
}

impl Aged {
    pub(crate) const ALL: [Self; 10] = [
        Self::Usage(Step::Minute),
        Self::Usage(Step::Hour),
        Self::Usage(Step::Day),
        Self::UsageBatches,
        Self::Audit,
        Self::CreditLedger,
        Self::Idempotency,
        Self::Invitations,
        Self::Messages,
        Self::Notices,
    ];

    /// The table's name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Usage(_) => "usage",
            Self::UsageBatches => "usage_batches",
            Self::Audit => "audit_events",
            Self::CreditLedger => "credit_ledger",
            Self::Idempotency => "idempotency",
            Self::Invitations => "invitations",
            Self::Messages => "webhook_messages",
            Self::Notices => "notices",
        }
    }
}

impl Store {
    /// Deletes one piece of what is older, and says how many rows that were; none: there is nothing older.
    pub(crate) async fn forget(&self, what: Aged, before: Timestamp) -> Result<usize, Fault> {
        let before = DbTime(before);
        let deleted = match what {
            Aged::Usage(step) => {
                let before = before.0.timestamp().div_euclid(60);
                return self.forget_usage(step, before).await;
            }
            Aged::UsageBatches => write_db!(self.db, |c| {
                let old = old_batches.select(old_batches.field(usage_batches::id));
                let old = old.filter(old_batches.field(usage_batches::applied_at).lt(before)).limit(PIECE);
                diesel::delete(usage_batches::table.filter(usage_batches::id.eq_any(old))).execute(c).await
            }),
            Aged::Audit => write_db!(self.db, |c| {
                let old = old_events.select(old_events.field(audit_events::id));
                let old = old.filter(old_events.field(audit_events::at).lt(before)).limit(PIECE);
                diesel::delete(audit_events::table.filter(audit_events::id.eq_any(old))).execute(c).await
            }),
            Aged::CreditLedger => return self.forget_movements(before).await,
            Aged::Idempotency => write_db!(self.db, |c| {
                let old = old_retries.select(old_retries.field(idempotency::id));
                let old = old.filter(old_retries.field(idempotency::expires_at).lt(before)).limit(PIECE);
                diesel::delete(idempotency::table.filter(idempotency::id.eq_any(old))).execute(c).await
            }),
            Aged::Invitations => write_db!(self.db, |c| {
                let old = old_invitations.select(old_invitations.field(invitations::id));
                let old = old.filter(old_invitations.field(invitations::expires_at).lt(before)).limit(PIECE);
                diesel::delete(invitations::table.filter(invitations::id.eq_any(old))).execute(c).await
            }),
            Aged::Messages => write_db!(self.db, |c| {
                let old = old_messages.select(old_messages.field(webhook_messages::id));
                let old =
                    old.filter(old_messages.field(webhook_messages::created_at).lt(before)).limit(PIECE);
                diesel::delete(webhook_messages::table.filter(webhook_messages::id.eq_any(old)))
                    .execute(c)
                    .await
            }),
            Aged::Notices => return self.forget_notices(before).await,
        };
        Ok(deleted?)
    }

    /// A piece of notices is those of the instant that is longest past.
    async fn forget_notices(&self, before: DbTime) -> Result<usize, Fault> {
        Ok(write_db!(self.db, |c| {
            let oldest = notices::table.select(diesel::dsl::min(notices::due_at));
            let oldest: Option<DbTime> = oldest.filter(notices::due_at.lt(before)).first(c).await?;
            match oldest {
                Some(at) => diesel::delete(notices::table.filter(notices::due_at.eq(at))).execute(c).await,
                None => Ok(0),
            }
        })?)
    }

    /// The oldest go first.
    async fn forget_movements(&self, before: DbTime) -> Result<usize, Fault> {
        Ok(write_db!(self.db, |c| {
            let old = sql::<Bool>(
                "(account_id, number) IN (SELECT account_id, number FROM credit_ledger WHERE at < ",
            );
            let old = old.bind::<Time, _>(before).sql(" ORDER BY at LIMIT ");
            let old = old.bind::<BigInt, _>(PIECE).sql(")");
            diesel::delete(credit_ledger::table.filter(old)).execute(c).await
        })?)
    }

    /// The oldest go first.
    async fn forget_usage(&self, step: Step, before: i64) -> Result<usize, Fault> {
        // What ends by then.
        let begins = before - step.minutes();
        Ok(write_db!(self.db, |c| {
            let old = sql::<Bool>(
                "(partition, grain, minute, subject, consumer, code) IN \
                 (SELECT partition, grain, minute, subject, consumer, code FROM usage WHERE grain = ",
            );
            let old = old.bind::<BigInt, _>(step.minutes()).sql(" AND minute <= ").bind::<BigInt, _>(begins);
            let old = old.sql(" ORDER BY grain, minute LIMIT ").bind::<BigInt, _>(PIECE).sql(")");
            diesel::delete(usage::table.filter(old)).execute(c).await
        })?)
    }
}
