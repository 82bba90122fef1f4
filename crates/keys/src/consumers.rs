//! Consumers: whom a workspace gives keys to. Made, shown, listed, changed, deleted.

use serde_json::{Value, json};
use tollgate_changes::Cut;
use tollgate_kernel::{Code, ConsumerId, Fault, PlanId};
use tollgate_proto::keys as wire;
use tollgate_verify::Subject;

use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    levels::{self, Level},
    once::{Asked, gone},
    page::Page,
    patch::Cleared,
    store::{Change, ConsumerChanges, ConsumerFilter, ConsumerRow, Deed, Removal, limits_to_json},
    wire as messages,
};

const EXTERNAL_ID_CHARACTERS: usize = 255;
/// What a change can clear.
const CLEARABLE: [&str; 4] = ["external_id", "plan_id", "limits", "metadata"];

impl KeysService {
    pub(crate) async fn create_consumer(
        &self,
        mut message: wire::CreateConsumerRequest,
    ) -> Result<wire::CreateConsumerResponse, Fault> {
        let caller = Caller::try_from(message.caller.take())?;
        let mut problems = Problems::default();
        let it = &mut problems;
        let named = input::id(&message.workspace_id, "/workspace_id", it);
        let name = input::name(&message.name, it);
        let external_id = message.external_id.clone().map(|text| external_id(text, it));
        let plan: Option<PlanId> = input::id(&message.plan_id, "/plan_id", it);
        let limits = levels::parse(&message.limits, Level::Consumer, it);
        let metadata = input::metadata(&message.metadata_json, it);
        let once = input::idempotency_key(&message.idempotency_key, it);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::WriteConsumers, "workspace")?;
        if plan.is_some() {
            self.plan_for(workspace, plan).await?;
        }

        let (id, now) = (ConsumerId::new(&*self.clock, &*self.entropy), self.clock.now());
        let row = ConsumerRow {
            id: id.into(),
            workspace_id: workspace.into(),
            name_folded: name.to_ascii_lowercase(),
            name,
            external_id,
            plan_id: plan.map(Into::into),
            limits: limits_to_json(&limits),
            metadata: metadata.into(),
            enabled: message.enabled.unwrap_or(true),
            created_by: caller.principal.to_string(),
            created_at: now.into(),
        };
        let deed =
            Deed { caller: &caller, workspace, action: "consumer.create", target: id.to_string(), at: now };
        let once = self.once(&Asked::new(&caller, "consumer", &message), once.as_deref(), id, now);
        let change = Change::grants(&self.store, deed);
        let row = match self.store.consumer_insert(change, row.clone(), once).await?.before()? {
            None => row,
            Some(before) => self.store.consumer_by_id(before.typed()).await?.ok_or_else(gone)?,
        };
        Ok(wire::CreateConsumerResponse { consumer: Some(messages::consumer(row)?) })
    }

    pub(crate) async fn get_consumer(
        &self,
        message: wire::GetConsumerRequest,
    ) -> Result<wire::GetConsumerResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (row, standing) = self.consumer_for(&caller, &message.consumer_id).await?;
        standing.require(Action::ReadConsumers, "consumer")?;
        Ok(wire::GetConsumerResponse { consumer: Some(messages::consumer(row)?) })
    }

    pub(crate) async fn list_consumers(
        &self,
        message: wire::ListConsumersRequest,
    ) -> Result<wire::ListConsumersResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let it = &mut problems;
        let named = input::id(&message.workspace_id, "/workspace_id", it);
        let page = Page::parse(message.page.as_ref(), it);
        let plan: Option<PlanId> = input::id(&message.plan_id, "/plan_id", it);
        let filter = ConsumerFilter {
            name_part: input::query(&message.q, it),
            external_id: message.external_id.map(|text| external_id(text, it)),
            plan: plan.map(Into::into),
            enabled: message.enabled,
        };
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ReadConsumers, "workspace")?;
        let rows = self.store.consumers_in(workspace, &filter, page).await?;
        let (rows, next_cursor) = page.cut(rows, |consumer| consumer.id);
        let consumers = rows.into_iter().map(messages::consumer).collect::<Result<_, _>>()?;
        Ok(wire::ListConsumersResponse { consumers, next_cursor })
    }

    pub(crate) async fn update_consumer(
        &self,
        message: wire::UpdateConsumerRequest,
    ) -> Result<wire::UpdateConsumerResponse, Fault> {
        let caller = Caller::try_from(message.caller.clone())?;
        let (row, standing) = self.consumer_for(&caller, &message.consumer_id).await?;
        standing.require(Action::WriteConsumers, "consumer")?;
        let changes = parse(&message)?;
        let (id, workspace) = (row.id.typed(), row.workspace_id.typed());
        if let Some(Some(plan)) = changes.plan_id {
            self.plan_for(workspace, Some(plan.typed())).await?;
        }
        if changes.is_nothing() {
            return Ok(wire::UpdateConsumerResponse {
                consumer: Some(messages::consumer(row)?),
                effect: None,
            });
        }
        let deed = Deed {
            caller: &caller,
            workspace,
            action: "consumer.update",
            target: message.consumer_id.clone(),
            at: self.clock.now(),
        };
        let change = if changes.reaches_verdicts() {
            let cut = Cut { subject: Subject::Consumer(id), wait: !message.no_wait };
            Change::cuts_off(&self.store, cut, deed)
        } else {
            Change::grants(&self.store, deed)
        };
        let effect = self.store.consumer_update(change, id, changes).await?;
        let row = self.store.consumer_by_id(id).await?.ok_or_else(|| Fault::not_found("consumer"))?;
        Ok(wire::UpdateConsumerResponse {
            consumer: Some(messages::consumer(row)?),
            effect: effect.map(Into::into),
        })
    }

    pub(crate) async fn delete_consumer(
        &self,
        message: wire::DeleteConsumerRequest,
    ) -> Result<wire::DeleteConsumerResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (row, standing) = self.consumer_for(&caller, &message.consumer_id).await?;
        standing.require(Action::WriteConsumers, "consumer")?;
        let id: ConsumerId = row.id.typed();
        let deed = Deed {
            caller: &caller,
            workspace: row.workspace_id.typed(),
            action: "consumer.delete",
            target: message.consumer_id,
            at: self.clock.now(),
        };
        let cut = Cut { subject: Subject::Consumer(id), wait: !message.no_wait };
        let (removal, effect) =
            self.store.consumer_delete(Change::cuts_off(&self.store, cut, deed), id).await?;
        match removal {
            Removal::Done => Ok(wire::DeleteConsumerResponse { effect: effect.map(Into::into) }),
            Removal::Gone => Err(Fault::not_found("consumer")),
            Removal::InUse { keys, .. } => Err(Fault::new(
                Code::Conflict,
                format!("The consumer has keys that are not revoked: {keys}. Revoke them first."),
            )),
        }
    }

    /// A consumer by its id, and what the caller is to its workspace.
    pub(crate) async fn consumer_for(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(ConsumerRow, Standing), Fault> {
        let row = self.store.consumer_by_id(input::path_id(id, "consumer")?).await?;
        let row = row.ok_or_else(|| Fault::not_found("consumer"))?;
        let standing = self.standing(caller, row.workspace_id.typed()).await?;
        Ok((row, standing))
    }
}

fn parse(message: &wire::UpdateConsumerRequest) -> Result<ConsumerChanges, Fault> {
    let mut problems = Problems::default();
    let it = &mut problems;
    let cleared = Cleared::parse(&message.clear, &CLEARABLE, it);
    let name = message.name.as_deref().map(|text| input::name(text, it));
    let external_id = message.external_id.clone().map(|text| external_id(text, it));
    let plan: Option<PlanId> =
        message.plan_id.as_deref().and_then(|text| input::needed_id(text, "/plan_id", it));
    let limits = message.limits.as_ref().map(|list| levels::parse(&list.items, Level::Consumer, it));
    let metadata = message.metadata_json.as_deref().map(|text| input::metadata(text, it));
    let changes = ConsumerChanges {
        name_folded: name.as_deref().map(str::to_ascii_lowercase),
        name,
        external_id: cleared.field("external_id", external_id, it).nullable(),
        plan_id: cleared.field("plan_id", plan.map(Into::into), it).nullable(),
        limits: cleared.field("limits", limits, it).or_default().map(|limits| limits_to_json(&limits)),
        metadata: cleared
            .field("metadata", metadata, it)
            .nullable()
            .map(|metadata: Option<Value>| metadata.unwrap_or_else(|| json!({})).into()),
        enabled: message.enabled,
    };
    problems.check()?;
    Ok(changes)
}

fn external_id(text: String, problems: &mut Problems) -> String {
    if text.is_empty() || text.chars().nth(EXTERNAL_ID_CHARACTERS).is_some() {
        problems.add("/external_id", format!("must have 1 to {EXTERNAL_ID_CHARACTERS} characters"));
    }
    if text.chars().any(char::is_control) {
        problems.add("/external_id", "must not contain control characters");
    }
    text
}
