//! What an endpoint was told, and how that went: listed, told once more, tried out.

use serde_json::{Map, json};
use tollgate_kernel::{Code, DeliveryId, Fault, MessageId, WorkspaceId};
use tollgate_proto::{keys as wire, time::to_wire};

use super::{event, page};
use crate::{
    KeysService,
    caller::Caller,
    input::{self, Problems},
    store::{DeliveryRecord, DeliveryRow, MessageRow, WebhookRow, outbox::PENDING},
    wire::instant,
};

impl KeysService {
    pub(crate) async fn list_webhook_deliveries(
        &self,
        message: wire::ListWebhookDeliveriesRequest,
    ) -> Result<wire::ListWebhookDeliveriesResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let row = self.webhook_for(&caller, &message.webhook_id).await?;
        let mut problems = Problems::default();
        let page = page(message.limit, message.cursor, &mut problems);
        problems.check()?;
        let rows = self.store.deliveries_of(row.id.typed(), page).await?;
        let (rows, next_cursor) = page.cut(rows, |(row, _)| row.id);
        let deliveries = rows.into_iter().map(delivery).collect::<Result<_, _>>()?;
        Ok(wire::ListWebhookDeliveriesResponse { deliveries, next_cursor })
    }

    pub(crate) async fn replay_webhook_delivery(
        &self,
        message: wire::ReplayWebhookDeliveryRequest,
    ) -> Result<wire::ReplayWebhookDeliveryResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let row = self.webhook_for(&caller, &message.webhook_id).await?;
        let id: DeliveryId = input::path_id(&message.delivery_id, "delivery")?;
        let found = self.store.delivery_by_id(row.id.typed(), id).await?;
        let (before, event) = found.ok_or_else(|| Fault::not_found("delivery"))?;
        let again = self.new_delivery(&row, before.message_id.typed())?;
        let workspace = row.workspace_id.typed();
        let change = self.webhook_change(&caller, workspace, row.id.typed(), "webhook.replay");
        self.store.delivery_insert(change, None, again.clone()).await?;
        Ok(wire::ReplayWebhookDeliveryResponse { delivery: Some(delivery((again, event))?) })
    }

    pub(crate) async fn test_webhook(
        &self,
        message: wire::TestWebhookRequest,
    ) -> Result<wire::TestWebhookResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let row = self.webhook_for(&caller, &message.webhook_id).await?;
        let (workspace, now) = (row.workspace_id.typed(), self.clock.now());
        let id = MessageId::new(&*self.clock, &*self.entropy);
        let data = Map::from_iter([
            ("workspace_id".to_owned(), json!(WorkspaceId::to_string(&workspace))),
            ("webhook".to_owned(), event::webhook(&row)),
        ]);
        let test = MessageRow {
            id: id.into(),
            workspace_id: row.workspace_id,
            event: event::TEST.to_owned(),
            body: event::body(event::TEST, now, &data),
            created_at: now.into(),
        };
        let made = self.new_delivery(&row, id)?;
        let change = self.webhook_change(&caller, workspace, row.id.typed(), "webhook.test");
        self.store.delivery_insert(change, Some(test), made.clone()).await?;
        Ok(wire::TestWebhookResponse { delivery: Some(delivery((made, event::TEST.to_owned()))?) })
    }

    fn new_delivery(&self, webhook: &WebhookRow, message: MessageId) -> Result<DeliveryRow, Fault> {
        if !webhook.enabled {
            return Err(Fault::new(Code::Conflict, "The webhook is disabled: enable it first."));
        }
        let id = DeliveryId::new(&*self.clock, &*self.entropy);
        Ok(DeliveryRow::new(id, webhook.id, message.into(), self.clock.now().into()))
    }
}

fn delivery((row, event): DeliveryRecord) -> Result<wire::WebhookDelivery, Fault> {
    let status_code = row.status_code.map(u32::try_from).transpose().map_err(Fault::internal)?;
    Ok(wire::WebhookDelivery {
        id: DeliveryId::from(row.id).to_string(),
        message_id: MessageId::from(row.message_id).to_string(),
        event,
        next_attempt_at: (row.status == PENDING).then(|| to_wire(row.due_at.0)),
        status: row.status,
        attempts: u32::try_from(row.attempts).map_err(Fault::internal)?,
        status_code,
        error: row.error,
        created_at: Some(to_wire(row.created_at.0)),
        finished_at: instant(row.finished_at),
    })
}
