//! Webhooks: endpoints that are told of events. Made, shown, listed, changed, deleted, given another secret. What becomes of what
//! they are told is in [`log`], the telling in [`deliver`].

mod deliver;
pub(crate) mod event;
mod log;
pub(crate) mod secret;

use chrono::TimeDelta;
use tollgate_kernel::{Code, ExposeSecret as _, Fault, Timestamp, WebhookId, WorkspaceId};
use tollgate_proto::{keys as wire, time::to_wire};

use self::{
    event::Event,
    secret::{Seal, SigningSecret},
};
use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    once::{Asked, gone},
    outbound::address::Target,
    page::Page,
    patch::Cleared,
    store::{Change, Deed, WebhookRow},
    wire::instant,
};

/// In one workspace.
pub(crate) const MOST_WEBHOOKS: i64 = 20;
/// A day.
const DEFAULT_OVERLAP: u32 = 86_400;
/// 7 days.
const LONGEST_OVERLAP: u32 = 604_800;

impl KeysService {
    pub(crate) async fn create_webhook(
        &self,
        mut message: wire::CreateWebhookRequest,
    ) -> Result<wire::CreateWebhookResponse, Fault> {
        let caller = Caller::try_from(message.caller.take())?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let url = self.url(&message.url, &mut problems);
        let events = events(&message.events, &mut problems);
        let description = input::description(&message.description, &mut problems);
        let once = input::idempotency_key(&message.idempotency_key, &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ManageWebhooks, "workspace")?;
        let seal = self.seal()?;
        let (id, now) = (WebhookId::new(&*self.clock, &*self.entropy), self.clock.now());
        let secret = SigningSecret::draw(&*self.entropy);
        let row = WebhookRow {
            id: id.into(),
            workspace_id: workspace.into(),
            url,
            description,
            events: events.into(),
            enabled: message.enabled.unwrap_or(true),
            secret: seal.close(id, &secret, &*self.entropy),
            previous_secret: None,
            previous_until: None,
            failing_since: None,
            disabled_for: String::new(),
            created_by: caller.principal.to_string(),
            created_at: now.into(),
        };
        let change = self.webhook_change(&caller, workspace, id, "webhook.create");
        let once = self.once(&Asked::new(&caller, "webhook", &message), once.as_deref(), id, now);
        let Some(created) = self.store.webhook_insert(change, row.clone(), once).await? else {
            let full = format!("A workspace has {MOST_WEBHOOKS} webhooks at most; delete one first.");
            return Err(Fault::new(Code::Conflict, full));
        };
        let (row, secret) = match created.before()? {
            None => (row, secret.shown().expose_secret().to_owned()),
            Some(before) => {
                let before = self.store.webhook_by_id(before.typed()).await?;
                (before.ok_or_else(gone)?, String::new())
            }
        };
        Ok(wire::CreateWebhookResponse { webhook: Some(webhook(row, now)), secret })
    }

    pub(crate) async fn get_webhook(
        &self,
        message: wire::GetWebhookRequest,
    ) -> Result<wire::GetWebhookResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let row = self.webhook_for(&caller, &message.webhook_id).await?;
        Ok(wire::GetWebhookResponse { webhook: Some(webhook(row, self.clock.now())) })
    }

    pub(crate) async fn list_webhooks(
        &self,
        message: wire::ListWebhooksRequest,
    ) -> Result<wire::ListWebhooksResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let page = page(message.limit, message.cursor, &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ManageWebhooks, "workspace")?;
        let rows = self.store.webhooks_in(workspace, page).await?;
        let (rows, next_cursor) = page.cut(rows, |row| row.id);
        let now = self.clock.now();
        let webhooks = rows.into_iter().map(|row| webhook(row, now)).collect();
        Ok(wire::ListWebhooksResponse { webhooks, next_cursor })
    }

    pub(crate) async fn update_webhook(
        &self,
        message: wire::UpdateWebhookRequest,
    ) -> Result<wire::UpdateWebhookResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let row = self.webhook_for(&caller, &message.webhook_id).await?;
        let mut problems = Problems::default();
        let it = &mut problems;
        let cleared = Cleared::parse(&message.clear, &["description"], it);
        let url = message.url.as_deref().map(|text| self.url(text, it));
        let wanted = message.events.as_ref().map(|list| events(&list.items, it));
        let description = message.description.as_deref().map(|text| input::description(text, it));
        let description = cleared.field("description", description, it);
        problems.check()?;
        // Whoever enables it has mended it, and whoever disables it need not be told why.
        let turned = message.enabled.is_some_and(|enabled| enabled != row.enabled);
        let row = WebhookRow {
            url: url.unwrap_or(row.url),
            events: wanted.map_or(row.events, Into::into),
            description: description.over_or(row.description, String::new()),
            enabled: message.enabled.unwrap_or(row.enabled),
            failing_since: if turned { None } else { row.failing_since },
            disabled_for: if turned { String::new() } else { row.disabled_for },
            ..row
        };
        self.webhook_write(&caller, row.clone(), "webhook.update").await?;
        Ok(wire::UpdateWebhookResponse { webhook: Some(webhook(row, self.clock.now())) })
    }

    pub(crate) async fn delete_webhook(
        &self,
        message: wire::DeleteWebhookRequest,
    ) -> Result<wire::DeleteWebhookResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let row = self.webhook_for(&caller, &message.webhook_id).await?;
        let (id, workspace) = (row.id.typed(), row.workspace_id.typed());
        let change = self.webhook_change(&caller, workspace, id, "webhook.delete");
        if !self.store.webhook_delete(change, id).await? {
            return Err(Fault::not_found("webhook"));
        }
        Ok(wire::DeleteWebhookResponse {})
    }

    pub(crate) async fn rotate_webhook_secret(
        &self,
        message: wire::RotateWebhookSecretRequest,
    ) -> Result<wire::RotateWebhookSecretResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let row = self.webhook_for(&caller, &message.webhook_id).await?;
        let overlap = message.overlap_seconds.unwrap_or(DEFAULT_OVERLAP);
        if overlap > LONGEST_OVERLAP {
            let rule = format!("must be 0 to {LONGEST_OVERLAP} (7 days)");
            return Err(Fault::invalid("/overlap_seconds", rule));
        }
        let now = self.clock.now();
        let secret = SigningSecret::draw(&*self.entropy);
        let until = now + TimeDelta::seconds(overlap.into());
        let row = WebhookRow {
            previous_secret: (overlap > 0).then_some(row.secret),
            previous_until: (overlap > 0).then_some(until.into()),
            secret: self.seal()?.close(row.id.typed(), &secret, &*self.entropy),
            ..row
        };
        self.webhook_write(&caller, row.clone(), "webhook.secret.rotate").await?;
        let secret = secret.shown().expose_secret().to_owned();
        Ok(wire::RotateWebhookSecretResponse { webhook: Some(webhook(row, now)), secret })
    }

    async fn webhook_write(
        &self,
        caller: &Caller,
        row: WebhookRow,
        action: &'static str,
    ) -> Result<(), Fault> {
        let change = self.webhook_change(caller, row.workspace_id.typed(), row.id.typed(), action);
        let there = self.store.webhook_update(change, row).await?;
        if there { Ok(()) } else { Err(Fault::not_found("webhook")) }
    }

    /// A webhook by its id, for one who may do all with it.
    async fn webhook_for(&self, caller: &Caller, id: &str) -> Result<WebhookRow, Fault> {
        let row = self.store.webhook_by_id(input::path_id(id, "webhook")?).await?;
        let row = row.ok_or_else(|| Fault::not_found("webhook"))?;
        let standing: Standing = self.standing(caller, row.workspace_id.typed()).await?;
        standing.require(Action::ManageWebhooks, "webhook")?;
        Ok(row)
    }

    /// It is in no cache: what is told holds from the next event on.
    fn webhook_change(
        &self,
        caller: &Caller,
        workspace: WorkspaceId,
        id: WebhookId,
        action: &'static str,
    ) -> Change {
        let deed = Deed { caller, workspace, action, target: id.to_string(), at: self.clock.now() };
        Change::grants(&self.store, deed)
    }

    fn url(&self, text: &str, problems: &mut Problems) -> String {
        if let Err(wrong) = Target::parse(text, self.outbound.private()) {
            problems.add("/url", wrong);
        }
        text.to_owned()
    }

    fn seal(&self) -> Result<&Seal, Fault> {
        self.seal.as_ref().ok_or_else(|| {
            let text = "Webhooks are switched off: this installation has given the role keys no master key.";
            Fault::new(Code::Unavailable, text)
        })
    }
}

/// The types of events that are asked for, each once, in their order.
fn events(words: &[String], problems: &mut Problems) -> Vec<String> {
    let mut events = Vec::new();
    for (place, word) in problems.at_most(words, Event::ALL.len(), "/events").iter().enumerate() {
        match Event::named(word) {
            None => problems.add(format!("/events/{place}"), "is not a type of events"),
            Some(_) if events.contains(word) => {}
            Some(_) => events.push(word.clone()),
        }
    }
    if words.is_empty() {
        problems.add("/events", "must name at least one type of events");
    }
    events
}

fn page(limit: u32, cursor: String, problems: &mut Problems) -> Page {
    Page::parse(Some(&wire::Page { limit, cursor }), problems)
}

fn webhook(row: WebhookRow, now: Timestamp) -> wire::Webhook {
    let previous = row.previous_until.filter(|until| row.previous_secret.is_some() && until.0 > now);
    wire::Webhook {
        id: WebhookId::from(row.id).to_string(),
        workspace_id: WorkspaceId::from(row.workspace_id).to_string(),
        url: row.url,
        events: row.events.0,
        enabled: row.enabled,
        description: row.description,
        created_by: row.created_by,
        created_at: Some(to_wire(row.created_at.0)),
        failing_since: instant(row.failing_since),
        disabled_for: row.disabled_for,
        previous_secret_until: instant(previous),
    }
}
