//! Signing keys.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, Error, read_db, tx_db, write_db};
use tollgate_kernel::{SigningKeyId, Timestamp};

use super::{
    AuditEvent, Store,
    schema::{audit_events, signing_keys},
};
use crate::signing_keys::Times;

/// A row of `signing_keys`.
#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(crate) struct SigningKeyRow {
    id: DbId,
    number: i32,
    pub(crate) sealed: Vec<u8>,
    published_at: DbTime,
    active_at: DbTime,
    retires_at: Option<DbTime>,
    gone_at: Option<DbTime>,
}

impl SigningKeyRow {
    pub(crate) fn new(id: SigningKeyId, sealed: Vec<u8>, times: &Times) -> Self {
        Self {
            id: id.into(),
            number: times.number,
            sealed,
            published_at: times.published_at.into(),
            active_at: times.active_at.into(),
            retires_at: times.retires_at.map(DbTime),
            gone_at: times.gone_at.map(DbTime),
        }
    }

    pub(crate) fn id(&self) -> SigningKeyId {
        self.id.typed()
    }

    pub(crate) fn times(&self) -> Times {
        Times {
            number: self.number,
            published_at: self.published_at.into(),
            active_at: self.active_at.into(),
            retires_at: self.retires_at.map(Timestamp::from),
            gone_at: self.gone_at.map(Timestamp::from),
        }
    }
}

impl Store {
    /// All of them: a handful.
    pub(crate) async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, Error> {
        read_db!(self.0, |c| {
            let all = signing_keys::table.select(SigningKeyRow::as_select());
            all.order(signing_keys::number).load(c).await
        })
    }

    /// Adds a key and writes the end of the one that it relieves. Says no if another replica did so first.
    pub(crate) async fn signing_key_insert(
        &self,
        key: &SigningKeyRow,
        relieved: Option<&Times>,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let inserted = tx_db!(self.0, |c| {
            diesel::insert_into(signing_keys::table).values(key).execute(c).await?;
            if let Some(old) = relieved {
                diesel::update(signing_keys::table.filter(signing_keys::number.eq(old.number)))
                    .set((
                        signing_keys::retires_at.eq(old.retires_at.map(DbTime)),
                        signing_keys::gone_at.eq(old.gone_at.map(DbTime)),
                    ))
                    .execute(c)
                    .await?;
            }
            diesel::insert_into(audit_events::table).values(event).execute(c).await?;
            Ok::<_, Error>(())
        });
        match inserted {
            Ok(()) => Ok(true),
            Err(Error::Unique(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the keys that are gone: what they signed has expired, and nobody needs their secret any more.
    pub(crate) async fn signing_keys_delete(&self, now: Timestamp) -> Result<usize, Error> {
        write_db!(self.0, |c| {
            let gone = signing_keys::table.filter(signing_keys::gone_at.le(DbTime(now)));
            diesel::delete(gone).execute(c).await
        })
    }
}
