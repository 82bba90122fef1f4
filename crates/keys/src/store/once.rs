//! Claims of idempotency keys: of those who ask the same at once, one does it, and the others find what it did.
//!
//! Whatever can be made can be made once: the insert takes an `Option<IdempotencyRow>` of
//! [`KeysService::once`](crate::KeysService::once), its body is [`once!`](once), or [`once_if!`](once_if) if it may be refused, and it
//! gives [`Created`].

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Code, Fault, Timestamp};

use super::{Change, Outcome, Store, change::change, rows::IdempotencyRow, schema::idempotency};

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody has asked before: it is to be done.
    New,
    /// The same request was made before, and this came of it.
    Before { made: DbId, part: Option<DbId> },
    /// Another request was made with the same idempotency key.
    Mismatch,
}

/// What came of a create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    New,
    /// The same request had made this before.
    Before(DbId),
    /// Another request was made with the same idempotency key.
    Mismatch,
}

impl Claim {
    /// What came of the create that claims; `None`: it is to be done.
    pub(crate) fn before(self) -> Option<Created> {
        match self {
            Self::New => None,
            Self::Before { made, part: None } => Some(Created::Before(made)),
            Self::Before { .. } | Self::Mismatch => Some(Created::Mismatch),
        }
    }
}

impl Created {
    /// What the same request had made before; `None`: this one has made it. A conflict if that was another request.
    pub(crate) fn before(self) -> Result<Option<DbId>, Fault> {
        match self {
            Self::New => Ok(None),
            Self::Before(id) => Ok(Some(id)),
            Self::Mismatch => Err(Fault::new(
                Code::Conflict,
                "Another request was made with the same idempotency key within the last day.",
            )),
        }
    }
}

/// Claims the row's id at this time, in the transaction of `c`: `claim!(c, &row, now)?`. Before anything else is written: of
/// those who race, one inserts, and the others wait here and then read what it made.
macro_rules! claim {
    ($c:expr, $once:expr, $now:expr) => {
        async {
            use diesel::{ExpressionMethods as _, QueryDsl as _};
            use $crate::store::{once::Claim, schema::idempotency};
            let stale = idempotency::table.find(&$once.id).filter(idempotency::expires_at.le($now));
            diesel_async::RunQueryDsl::execute(diesel::delete(stale), $c).await?;
            let claim = diesel::insert_into(idempotency::table).values($once).on_conflict_do_nothing();
            if diesel_async::RunQueryDsl::execute(claim, $c).await? > 0 {
                return Ok(Claim::New);
            }
            let row = idempotency::table.find(&$once.id).select((
                idempotency::request_hash,
                idempotency::made,
                idempotency::part,
            ));
            let (hash, made, part): (Vec<u8>, _, _) = diesel_async::RunQueryDsl::first(row, $c).await?;
            let same = hash == $once.request_hash;
            Ok::<_, diesel::result::Error>(if same { Claim::Before { made, part } } else { Claim::Mismatch })
        }
        .await
    };
}

/// The body of a [`change!`](super::change::change) that makes something once: `once!(c, &once, now, { …inserts… })` does them unless
/// the claim says that it was done before, and gives `Outcome<Created>`. `once` is an `Option`: without a row it just does them.
macro_rules! once {
    ($c:expr, $once:expr, $now:expr, $make:block) => {{
        let before = match $once {
            Some(once) => $crate::store::once::claim!($c, once, $now)?.before(),
            None => None,
        };
        if let Some(before) = before {
            $crate::store::Outcome::Unchanged(before)
        } else {
            $make
            $crate::store::Outcome::Changed($crate::store::Created::New)
        }
    }};
}

/// The same for what may be refused: the block gives `Result<(), R>`. What it refuses has claimed nothing, and may be tried again.
/// Gives `Outcome<Result<Created, R>>`.
macro_rules! once_if {
    ($c:expr, $once:expr, $now:expr, $make:block) => {{
        let before = match $once {
            Some(once) => $crate::store::once::claim!($c, once, $now)?.before(),
            None => None,
        };
        if let Some(before) = before {
            $crate::store::Outcome::Unchanged(Ok(before))
        } else {
            match $make {
                Ok(()) => $crate::store::Outcome::Changed(Ok($crate::store::Created::New)),
                Err(refused) => {
                    if let Some(once) = $once {
                        $crate::store::once::unclaim!($c, once)?;
                    }
                    $crate::store::Outcome::Unchanged(Err(refused))
                }
            }
        }
    }};
}

/// Gives back what was claimed in this transaction, of which nothing came: `unclaim!(c, once)?`.
macro_rules! unclaim {
    ($c:expr, $once:expr) => {{
        let row = diesel::QueryDsl::find($crate::store::schema::idempotency::table, &$once.id);
        diesel_async::RunQueryDsl::execute(diesel::delete(row), $c).await
    }};
}

pub(crate) use {claim, once, once_if, unclaim};

impl Store {
    /// What is known of a request whose deed is not in these tables. Two at once may both hear that it is new.
    pub(crate) async fn once_known(&self, once: &IdempotencyRow, now: Timestamp) -> Result<Created, Fault> {
        let row: Option<(Vec<u8>, DbId, Option<DbId>)> = read_db!(self.db, |c| idempotency::table
            .find(&once.id)
            .filter(idempotency::expires_at.gt(DbTime(now)))
            .select((idempotency::request_hash, idempotency::made, idempotency::part))
            .first(c)
            .await
            .optional())?;
        let claim = match row {
            None => Claim::New,
            Some((hash, ..)) if hash != once.request_hash => Claim::Mismatch,
            Some((_, made, part)) => Claim::Before { made, part },
        };
        Ok(claim.before().unwrap_or(Created::New))
    }

    /// Writes down that such a request was carried out. Its deed is audited already.
    pub(crate) async fn once_done(&self, change: Change, once: IdempotencyRow) -> Result<(), Fault> {
        let now = change.audit.at;
        change!(self, change, |c| {
            claim!(c, &once, now)?;
            Outcome::Unchanged(())
        })?;
        Ok(())
    }
}
