//! Endpoints and their deliveries: kept, found, changed, deleted, told once more.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, read_db};
use tollgate_kernel::{DeliveryId, Fault, WebhookId, WorkspaceId};

use super::{
    Change, Created, Outcome, Store,
    change::{came_between, change},
    members::alone,
    once::once_if,
    rows::{DeliveryRow, IdempotencyRow, MessageRow, WebhookRow},
    schema::{webhook_deliveries, webhook_messages, webhooks, workspaces},
};
use crate::{page::Page, webhooks::MOST_WEBHOOKS};

/// A delivery, and the type of its event.
pub(crate) type DeliveryRecord = (DeliveryRow, String);

impl Store {
    /// `None`: there is no room for it.
    pub(crate) async fn webhook_insert(
        &self,
        change: Change,
        webhook: WebhookRow,
        once: Option<IdempotencyRow>,
    ) -> Result<Option<Created>, Fault> {
        let (outcome, _) = change!(self, change, |c| once_if!(c, &once, webhook.created_at, {
            alone!(c, webhook.workspace_id);
            let those = webhooks::table.filter(webhooks::workspace_id.eq(webhook.workspace_id));
            let there: i64 = those.count().get_result(c).await?;
            if there >= MOST_WEBHOOKS {
                Err(())
            } else {
                diesel::insert_into(webhooks::table).values(&webhook).execute(c).await?;
                Ok(())
            }
        }))?;
        Ok(outcome.value().ok())
    }

    pub(crate) async fn webhook_by_id(&self, id: WebhookId) -> Result<Option<WebhookRow>, Fault> {
        Ok(read_db!(self.db, |c| webhooks::table
            .find(DbId::from(id))
            .select(WebhookRow::as_select())
            .first(c)
            .await
            .optional())?)
    }

    /// In the order of their making.
    pub(crate) async fn webhooks_in(
        &self,
        workspace: WorkspaceId,
        page: Page,
    ) -> Result<Vec<WebhookRow>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = webhooks::table
                .filter(webhooks::workspace_id.eq(DbId::from(workspace)))
                .order(webhooks::id)
                .limit(page.rows())
                .select(WebhookRow::as_select())
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(webhooks::id.gt(after));
            }
            query.load(c).await
        })?)
    }

    /// Writes what people say of it: all but how the telling goes. Says whether it is there.
    pub(crate) async fn webhook_update(&self, change: Change, row: WebhookRow) -> Result<bool, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            let set = (
                webhooks::url.eq(&row.url),
                webhooks::description.eq(&row.description),
                webhooks::events.eq(&row.events),
                webhooks::enabled.eq(row.enabled),
                webhooks::secret.eq(&row.secret),
                webhooks::previous_secret.eq(&row.previous_secret),
                webhooks::previous_until.eq(row.previous_until),
                webhooks::failing_since.eq(row.failing_since),
                webhooks::disabled_for.eq(&row.disabled_for),
            );
            let updated = diesel::update(webhooks::table.find(row.id)).set(set).execute(c).await?;
            if updated == 0 { Outcome::Unchanged(false) } else { Outcome::Changed(true) }
        })?;
        Ok(outcome.value())
    }

    /// Unchanged if it is disabled already.
    pub(crate) async fn webhook_disable(
        &self,
        change: Change,
        id: DbId,
        reason: &'static str,
    ) -> Result<bool, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            let enabled = webhooks::table.find(id).filter(webhooks::enabled.eq(true));
            let set = (webhooks::enabled.eq(false), webhooks::disabled_for.eq(reason));
            let updated = diesel::update(enabled).set(set).execute(c).await?;
            if updated == 0 { Outcome::Unchanged(false) } else { Outcome::Changed(true) }
        })?;
        Ok(outcome.value())
    }

    /// With its deliveries. Says whether it was there.
    pub(crate) async fn webhook_delete(&self, change: Change, id: WebhookId) -> Result<bool, Fault> {
        let (outcome, _) = change!(self, change, |c| {
            let id = DbId::from(id);
            let its = webhook_deliveries::table.filter(webhook_deliveries::webhook_id.eq(id));
            diesel::delete(its).execute(c).await?;
            let deleted = diesel::delete(webhooks::table.find(id)).execute(c).await?;
            if deleted == 0 { Outcome::Unchanged(false) } else { Outcome::Changed(true) }
        })?;
        Ok(outcome.value())
    }

    /// Tells an endpoint of a message, which is new or was told before. A conflict if the message was forgotten meanwhile.
    pub(crate) async fn delivery_insert(
        &self,
        change: Change,
        message: Option<MessageRow>,
        delivery: DeliveryRow,
    ) -> Result<(), Fault> {
        change!(self, change, |c| {
            if let Some(message) = &message {
                diesel::insert_into(webhook_messages::table).values(message).execute(c).await?;
            }
            diesel::insert_into(webhook_deliveries::table).values(&delivery).execute(c).await?;
            Outcome::Changed(())
        })
        .map_err(came_between)?;
        Ok(())
    }

    pub(crate) async fn delivery_by_id(
        &self,
        webhook: WebhookId,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRecord>, Fault> {
        Ok(read_db!(self.db, |c| webhook_deliveries::table
            .inner_join(webhook_messages::table)
            .filter(webhook_deliveries::id.eq(DbId::from(id)))
            .filter(webhook_deliveries::webhook_id.eq(DbId::from(webhook)))
            .select((DeliveryRow::as_select(), webhook_messages::event))
            .first(c)
            .await
            .optional())?)
    }

    /// The newest first.
    pub(crate) async fn deliveries_of(
        &self,
        webhook: WebhookId,
        page: Page,
    ) -> Result<Vec<DeliveryRecord>, Fault> {
        Ok(read_db!(self.db, |c| {
            let mut query = webhook_deliveries::table
                .inner_join(webhook_messages::table)
                .filter(webhook_deliveries::webhook_id.eq(DbId::from(webhook)))
                .order(webhook_deliveries::id.desc())
                .limit(page.rows())
                .select((DeliveryRow::as_select(), webhook_messages::event))
                .into_boxed();
            if let Some(after) = page.after {
                query = query.filter(webhook_deliveries::id.lt(after));
            }
            query.load(c).await
        })?)
    }
}
