//! Claims of idempotency keys: of those who ask the same at once, one does it, and the others find what it did.

use tollgate_db::DbId;

/// What came of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody has asked before: it is to be done.
    New,
    /// The same request was made before, and this came of it.
    Before { key: DbId, secret: Option<DbId> },
    /// Another request was made with the same idempotency key.
    Mismatch,
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
                idempotency::key_id,
                idempotency::secret_id,
            ));
            let (hash, key, secret): (Vec<u8>, _, _) = diesel_async::RunQueryDsl::first(row, $c).await?;
            let same = hash == $once.request_hash;
            Ok::<_, diesel::result::Error>(if same { Claim::Before { key, secret } } else { Claim::Mismatch })
        }
        .await
    };
}

pub(crate) use claim;
