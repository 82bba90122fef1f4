//! The outbox: what endpoints are to be told, written with the change that it is of; and how the telling goes.
//!
//! What is written with a change goes through [`super::change`], which calls [`Announce`]. How the telling goes is nothing that
//! people own, so those writes go past it.

use std::{collections::HashMap, sync::Arc};

use diesel::{
    dsl::AsExprOf,
    prelude::*,
    sql_types::{BigInt, Nullable, Text},
};
use diesel_async::RunQueryDsl;
use serde_json::{Map, Value};
use tollgate_db::{
    DbId, DbList, DbTime, InsertMany, LiteConnection, PgConnection, insert_many, read_db, sql_types, write_db,
};
use tollgate_kernel::{
    Clock, DeliveryId, Entropy, Fault, KeyId, MessageId, ServiceKeyId, Timestamp, WebhookId, WorkspaceId,
};

use super::{
    Store,
    rows::{AuditRow, DeliveryRow, KeyRow, MessageRow, ServiceKeyRow, WebhookRow},
    schema::{keys, service_keys, webhook_deliveries, webhook_messages, webhooks},
};
use crate::webhooks::{MOST_WEBHOOKS, event, event::Event};

/// The most endpoints that are looked for at once.
const ENDPOINTS: i64 = 256;
/// How much of what is to be told at once is written together.
const PIECE: usize = 100;
/// Rows of one statement: 10 values each at most, far below what either database takes.
const ROWS: usize = 1000;

pub(crate) const PENDING: &str = "pending";
pub(crate) const DELIVERED: &str = "delivered";
pub(crate) const FAILED: &str = "failed";

/// What is to be told of a change.
pub(crate) struct Outbox {
    events: &'static [Event],
    workspace: DbId,
    about: About,
    at: DbTime,
    /// What the row does not say.
    more: Map<String, Value>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What it is about: its row is read in the same transaction, after the change.
enum About {
    Key(DbId),
    ServiceKey(DbId),
    Webhook(DbId),
    /// The workspace itself.
    Nothing,
}

impl Outbox {
    /// What is to be told of what is audited, if anything is.
    pub(crate) fn of(store: &Store, audit: &AuditRow, more: Map<String, Value>) -> Option<Self> {
        let events = Event::of(audit.action);
        if events.is_empty() {
            return None;
        }
        let target = &audit.target;
        let key = target.parse::<KeyId>().map(|id| About::Key(id.into()));
        let service_key = || target.parse::<ServiceKeyId>().map(|id| About::ServiceKey(id.into()));
        let webhook = || target.parse::<WebhookId>().map(|id| About::Webhook(id.into()));
        Some(Self {
            events,
            workspace: audit.workspace_id,
            about: key.or_else(|_| service_key()).or_else(|_| webhook()).unwrap_or(About::Nothing),
            at: audit.at,
            more,
            clock: store.clock.clone(),
            entropy: store.entropy.clone(),
        })
    }

    /// A key that was made with many others: what is audited is the making of all of them.
    pub(crate) fn made(store: &Store, workspace: DbId, key: DbId, at: DbTime) -> Self {
        Self {
            events: Event::of("key.create"),
            workspace,
            about: About::Key(key),
            at,
            more: Map::new(),
            clock: store.clock.clone(),
            entropy: store.entropy.clone(),
        }
    }

    fn key(&self) -> Option<DbId> {
        if let About::Key(id) = self.about { Some(id) } else { None }
    }

    /// Whether anybody wants to hear of it.
    fn is_heard(&self, listening: &[(DbId, DbList)]) -> bool {
        let mut wanted = listening.iter().flat_map(|(_, events)| &events.0);
        wanted.any(|word| self.events.iter().any(|event| event.as_str() == word))
    }

    /// The messages, and the deliveries of each to those who want it.
    fn written(
        &self,
        listening: &[(DbId, DbList)],
        row: Option<(&'static str, Value)>,
    ) -> Vec<(MessageRow, Vec<DeliveryRow>)> {
        let mut data = self.more.clone();
        data.insert("workspace_id".to_owned(), WorkspaceId::from(self.workspace).to_string().into());
        data.extend(row.map(|(name, value)| (name.to_owned(), value)));
        let heard = self.events.iter().filter_map(|event| {
            let those = listening.iter().filter(|(_, events)| events.0.iter().any(|it| it == event.as_str()));
            let those: Vec<_> = those.map(|(id, _)| *id).collect();
            (!those.is_empty()).then_some((*event, those))
        });
        heard.map(|(event, those)| self.message(event, those, &data)).collect()
    }

    fn message(
        &self,
        event: Event,
        those: Vec<DbId>,
        data: &Map<String, Value>,
    ) -> (MessageRow, Vec<DeliveryRow>) {
        let message = MessageRow {
            id: MessageId::new(&*self.clock, &*self.entropy).into(),
            workspace_id: self.workspace,
            event: event.as_str().to_owned(),
            body: event::body(event.as_str(), self.at.0, data),
            created_at: self.at,
        };
        let delivery = |webhook| {
            let id = DeliveryId::new(&*self.clock, &*self.entropy);
            DeliveryRow::new(id, webhook, message.id, self.at)
        };
        let deliveries = those.into_iter().map(delivery).collect();
        (message, deliveries)
    }
}

/// A connection in a transaction that can write what is to be told.
pub(crate) trait Announce {
    /// Writes what is to be told of one workspace, for its endpoints that want it, a few statements for a hundred of it. One query
    /// if there is no such endpoint.
    fn announce(&mut self, outboxes: &[Outbox]) -> impl Future<Output = QueryResult<()>> + Send;
}

// Once per database, and not once per mutation: the same body.
macro_rules! announces {
    ($($connection:ty),*) => {$(
        impl Announce for $connection {
            async fn announce(&mut self, outboxes: &[Outbox]) -> QueryResult<()> {
                let Some(first) = outboxes.first() else { return Ok(()) };
                let listening: Vec<(DbId, DbList)> = webhooks::table
                    .filter(webhooks::workspace_id.eq(first.workspace))
                    .filter(webhooks::enabled.eq(true))
                    .order(webhooks::id)
                    .limit(2 * MOST_WEBHOOKS)
                    .select((webhooks::id, webhooks::events))
                    .load(self)
                    .await?;
                let heard: Vec<_> = outboxes.iter().filter(|outbox| outbox.is_heard(&listening)).collect();
                for piece in heard.chunks(PIECE) {
                    let ids: Vec<DbId> = piece.iter().filter_map(|outbox| outbox.key()).collect();
                    let rows: Vec<KeyRow> = if ids.is_empty() {
                        Vec::new()
                    } else {
                        let those = keys::table.filter(keys::id.eq_any(ids));
                        those.select(KeyRow::as_select()).load(self).await?
                    };
                    let keys: HashMap<DbId, KeyRow> = rows.into_iter().map(|row| (row.id, row)).collect();
                    let (mut messages, mut deliveries) = (Vec::new(), Vec::new());
                    for outbox in piece {
                        let row = match outbox.about {
                            About::Key(id) => keys.get(&id).map(|row| ("key", event::key(row))),
                            About::ServiceKey(id) => {
                                let row = service_keys::table.find(id).select(ServiceKeyRow::as_select());
                                let row = row.first(self).await.optional()?;
                                row.map(|row| ("service_key", event::service_key(&row)))
                            }
                            About::Webhook(id) => {
                                let row = webhooks::table.find(id).select(WebhookRow::as_select());
                                let row = row.first(self).await.optional()?;
                                row.map(|row| ("webhook", event::webhook(&row)))
                            }
                            About::Nothing => None,
                        };
                        for (message, those) in outbox.written(&listening, row) {
                            messages.push(message);
                            deliveries.extend(those);
                        }
                    }
                    // Each is told to somebody, so that there is one delivery at least.
                    many_messages(messages).execute(self).await?;
                    for rows in deliveries.chunks(ROWS) {
                        many_deliveries(rows).execute(self).await?;
                    }
                }
                Ok(())
            }
        }
    )*};
}

announces!(PgConnection, LiteConnection);

type MessageValues = (
    AsExprOf<DbId, sql_types::Id>,
    AsExprOf<DbId, sql_types::Id>,
    AsExprOf<String, Text>,
    AsExprOf<String, Text>,
    AsExprOf<DbTime, sql_types::Time>,
);

fn many_messages(rows: Vec<MessageRow>) -> InsertMany<MessageValues> {
    const COLUMNS: &[&str] = &["id", "workspace_id", "event", "body", "created_at"];
    let values = rows.into_iter().map(|row| {
        (
            row.id.into_sql::<sql_types::Id>(),
            row.workspace_id.into_sql::<sql_types::Id>(),
            row.event.into_sql::<Text>(),
            row.body.into_sql::<Text>(),
            row.created_at.into_sql::<sql_types::Time>(),
        )
    });
    insert_many("webhook_messages", COLUMNS, values.collect(), "")
}

type DeliveryValues = (
    AsExprOf<DbId, sql_types::Id>,
    AsExprOf<DbId, sql_types::Id>,
    AsExprOf<DbId, sql_types::Id>,
    AsExprOf<String, Text>,
    AsExprOf<i64, BigInt>,
    AsExprOf<DbTime, sql_types::Time>,
    AsExprOf<Option<i64>, Nullable<BigInt>>,
    AsExprOf<String, Text>,
    AsExprOf<DbTime, sql_types::Time>,
    AsExprOf<Option<DbTime>, Nullable<sql_types::Time>>,
);

fn many_deliveries(rows: &[DeliveryRow]) -> InsertMany<DeliveryValues> {
    const COLUMNS: &[&str] = &[
        "id",
        "webhook_id",
        "message_id",
        "status",
        "attempts",
        "due_at",
        "status_code",
        "error",
        "created_at",
        "finished_at",
    ];
    let values = rows.iter().cloned().map(|row| {
        (
            row.id.into_sql::<sql_types::Id>(),
            row.webhook_id.into_sql::<sql_types::Id>(),
            row.message_id.into_sql::<sql_types::Id>(),
            row.status.into_sql::<Text>(),
            row.attempts.into_sql::<BigInt>(),
            row.due_at.into_sql::<sql_types::Time>(),
            row.status_code.into_sql::<Nullable<BigInt>>(),
            row.error.into_sql::<Text>(),
            row.created_at.into_sql::<sql_types::Time>(),
            row.finished_at.into_sql::<Nullable<sql_types::Time>>(),
        )
    });
    insert_many("webhook_deliveries", COLUMNS, values.collect(), "")
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempted {
    pub(crate) status: &'static str,
    pub(crate) attempts: i64,
    /// Of a pending one.
    pub(crate) due_at: Timestamp,
    pub(crate) status_code: Option<i64>,
    pub(crate) error: &'static str,
    pub(crate) finished_at: Option<Timestamp>,
}

impl Store {
    /// Endpoints that are to be told of something now, in no order.
    pub(crate) async fn webhooks_due(&self, now: Timestamp) -> Result<Vec<DbId>, Fault> {
        Ok(read_db!(self.db, |c| webhook_deliveries::table
            .filter(webhook_deliveries::status.eq(PENDING))
            .filter(webhook_deliveries::due_at.le(DbTime(now)))
            .select(webhook_deliveries::webhook_id)
            .distinct()
            .limit(ENDPOINTS)
            .load(c)
            .await)?)
    }

    /// What an endpoint is to be told now, taken from all others until `until`. The longest due first.
    pub(crate) async fn deliveries_claim(
        &self,
        webhook: DbId,
        now: Timestamp,
        until: Timestamp,
        most: i64,
    ) -> Result<Vec<(DeliveryRow, MessageRow)>, Fault> {
        let due: Vec<(DeliveryRow, MessageRow)> = read_db!(self.db, |c| webhook_deliveries::table
            .inner_join(webhook_messages::table)
            .filter(webhook_deliveries::webhook_id.eq(webhook))
            .filter(webhook_deliveries::status.eq(PENDING))
            .filter(webhook_deliveries::due_at.le(DbTime(now)))
            .order(webhook_deliveries::due_at)
            .limit(most)
            .select((DeliveryRow::as_select(), MessageRow::as_select()))
            .load(c)
            .await)?;
        let mut claimed = Vec::new();
        for (delivery, message) in due {
            // Of two who have seen it, one finds it as it was.
            let taken = write_db!(self.db, |c| diesel::update(webhook_deliveries::table.find(delivery.id))
                .filter(webhook_deliveries::status.eq(PENDING))
                .filter(webhook_deliveries::due_at.eq(delivery.due_at))
                .set(webhook_deliveries::due_at.eq(DbTime(until)))
                .execute(c)
                .await)?;
            if taken == 1 {
                claimed.push((DeliveryRow { due_at: until.into(), ..delivery }, message));
            }
        }
        Ok(claimed)
    }

    /// Writes down how an attempt ended, unless the claim has run out and another has it.
    pub(crate) async fn delivery_attempted(
        &self,
        claimed: &DeliveryRow,
        it: Attempted,
    ) -> Result<bool, Fault> {
        let written = write_db!(self.db, |c| diesel::update(webhook_deliveries::table.find(claimed.id))
            .filter(webhook_deliveries::status.eq(PENDING))
            .filter(webhook_deliveries::due_at.eq(claimed.due_at))
            .set((
                webhook_deliveries::status.eq(it.status),
                webhook_deliveries::attempts.eq(it.attempts),
                webhook_deliveries::due_at.eq(DbTime(it.due_at)),
                webhook_deliveries::status_code.eq(it.status_code),
                webhook_deliveries::error.eq(it.error),
                webhook_deliveries::finished_at.eq(it.finished_at.map(DbTime)),
            ))
            .execute(c)
            .await)?;
        Ok(written == 1)
    }

    /// Something has reached the endpoint.
    pub(crate) async fn webhook_reached(&self, webhook: DbId) -> Result<(), Fault> {
        write_db!(self.db, |c| diesel::update(webhooks::table.find(webhook))
            .filter(webhooks::failing_since.is_not_null())
            .set(webhooks::failing_since.eq(None::<DbTime>))
            .execute(c)
            .await)?;
        Ok(())
    }

    /// Something has not; says since when that is so.
    pub(crate) async fn webhook_missed(
        &self,
        webhook: DbId,
        at: Timestamp,
    ) -> Result<Option<Timestamp>, Fault> {
        write_db!(self.db, |c| diesel::update(webhooks::table.find(webhook))
            .filter(webhooks::failing_since.is_null())
            .set(webhooks::failing_since.eq(Some(DbTime(at))))
            .execute(c)
            .await)?;
        let since: Option<Option<DbTime>> = read_db!(self.db, |c| webhooks::table
            .find(webhook)
            .select(webhooks::failing_since)
            .first(c)
            .await
            .optional())?;
        Ok(since.flatten().map(Into::into))
    }
}
