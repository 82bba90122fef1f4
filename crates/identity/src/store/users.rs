//! Users.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::{Appended, Entry, append};
use tollgate_db::{DbId, DbTime, Error, read_db, tx_db};
use tollgate_kernel::UserId;

use super::{
    AuditEvent, Store,
    schema::{audit_events, users},
};

/// A row of `users`.
#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
pub(crate) struct UserRow {
    pub(crate) id: DbId,
    pub(crate) email: String,
    pub(crate) email_key: String,
    pub(crate) name: Option<String>,
    pub(crate) password_hash: String,
    pub(crate) operator: bool,
    pub(crate) created_at: DbTime,
    pub(crate) disabled_at: Option<DbTime>,
}

impl UserRow {
    pub(crate) fn id(&self) -> UserId {
        self.id.typed()
    }
}

impl Store {
    /// # Errors
    /// [`Error::Unique`] if the address is taken.
    pub(crate) async fn user_insert(&self, user: &UserRow, event: &AuditEvent) -> Result<(), Error> {
        tx_db!(self.0, |c| {
            diesel::insert_into(users::table).values(user).execute(c).await?;
            diesel::insert_into(audit_events::table).values(event).execute(c).await?;
            Ok::<_, Error>(())
        })
    }

    pub(crate) async fn user_by_id(&self, id: UserId) -> Result<Option<UserRow>, Error> {
        let id = DbId::from(id);
        read_db!(self.0, |c| users::table.find(id).select(UserRow::as_select()).first(c).await.optional())
    }

    /// By the address as it is compared.
    pub(crate) async fn user_by_email(&self, key: &str) -> Result<Option<UserRow>, Error> {
        read_db!(self.0, |c| {
            let by_key = users::table.filter(users::email_key.eq(key));
            by_key.select(UserRow::as_select()).first(c).await.optional()
        })
    }

    pub(crate) async fn user_make_operator(
        &self,
        id: UserId,
        entry: Entry,
        event: &AuditEvent,
    ) -> Result<((), Option<Appended>), Error> {
        let id = DbId::from(id);
        tx_db!(self.0, |c| {
            diesel::update(users::table.find(id)).set(users::operator.eq(true)).execute(c).await?;
            diesel::insert_into(audit_events::table).values(event).execute(c).await?;
            Ok::<_, Error>(((), Some(append!(c, entry)?)))
        })
    }
}
