//! Service keys.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_changes::Effect;
use tollgate_db::{DbId, DbTime, read_db};
use tollgate_kernel::{Fault, ServiceKeyId, Timestamp, WorkspaceId};

use super::{
    Change, Created, Deed, Outcome, Store,
    change::change,
    once::once,
    rows::{IdempotencyRow, ServiceKeyRow},
    schema::service_keys,
};
use crate::page::Page;

impl Store {
    pub(crate) async fn service_key_insert(
        &self,
        deed: Deed<'_>,
        key: ServiceKeyRow,
        once: Option<IdempotencyRow>,
    ) -> Result<Created, Fault> {
        let change = Change::creates(self, deed);
        let (outcome, _) = change!(self, change, |c| once!(c, &once, key.created_at, {
            diesel::insert_into(service_keys::table).values(&key).execute(c).await?;
        }))?;
        Ok(outcome.value())
    }

    pub(crate) async fn service_key_by_id(&self, id: ServiceKeyId) -> Result<Option<ServiceKeyRow>, Fault> {
        Ok(read_db!(self.db, |c| service_keys::table
            .find(DbId::from(id))
            .select(ServiceKeyRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    pub(crate) async fn service_key_by_public_id(
        &self,
        public_id: &str,
    ) -> Result<Option<ServiceKeyRow>, Fault> {
        Ok(read_db!(self.db, |c| service_keys::table
            .filter(service_keys::public_id.eq(public_id))
            .select(ServiceKeyRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// Newest first.
    pub(crate) async fn service_keys_in(
        &self,
        workspace: WorkspaceId,
        page: Page,
    ) -> Result<Vec<ServiceKeyRow>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = service_keys::table
                .filter(service_keys::workspace_id.eq(DbId::from(workspace)))
                .order(service_keys::id.desc())
                .limit(page.rows())
                .select(ServiceKeyRow::as_select())
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(service_keys::id.lt(after));
            }
            query.load(c).await
        })?)
    }

    /// Unchanged if it is revoked already; the time of the first revocation stays.
    pub(crate) async fn service_key_revoke(
        &self,
        change: Change,
        id: ServiceKeyId,
        at: Timestamp,
    ) -> Result<Option<Effect>, Fault> {
        let (_, effect) = change!(self, change, |c| {
            let live = service_keys::table.find(DbId::from(id)).filter(service_keys::revoked_at.is_null());
            let revoked =
                diesel::update(live).set(service_keys::revoked_at.eq(DbTime(at))).execute(c).await?;
            if revoked == 0 { Outcome::Unchanged(()) } else { Outcome::Changed(()) }
        })?;
        Ok(effect)
    }
}
