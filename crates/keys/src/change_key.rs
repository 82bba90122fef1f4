//! Changes of a key that is there. What is not named stays; the secrets, the counts and the history are not touched.

use serde_json::{Map, Value};
use tollgate_changes::Cut;
use tollgate_db::{DbJson, DbTime};
use tollgate_kernel::{Code, ConsumerId, Fault, KeyId, PlanId, Timestamp};
use tollgate_proto::keys as wire;
use tollgate_verify::Subject;

use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    levels::{self, Level},
    limits::Limit,
    patch::{Cleared, Patch},
    policy::Policy,
    store::{Change, Changed, Deed, KeyRecord, KeyRow, limits_to_json},
    wire as messages,
};

const CLEARABLE: [&str; 9] = [
    "description",
    "consumer_id",
    "scopes",
    "roles",
    "limits",
    "allowed_ips",
    "metadata",
    "expires_at",
    "not_before",
];

/// What is wanted of each field.
struct Wanted {
    name: Option<String>,
    description: Patch<String>,
    enabled: Option<bool>,
    plan: Option<PlanId>,
    consumer: Patch<ConsumerId>,
    scopes: Patch<Vec<String>>,
    roles: Patch<Vec<String>>,
    limits: Patch<Vec<Limit>>,
    allowed_ips: Patch<Vec<String>>,
    metadata: Patch<Value>,
    expires_at: Patch<Timestamp>,
    not_before: Patch<Timestamp>,
}

impl Wanted {
    fn parse(message: &wire::UpdateKeyRequest, now: Timestamp) -> Result<Self, Fault> {
        let mut problems = Problems::default();
        let it = &mut problems;
        let cleared = Cleared::parse(&message.clear, &CLEARABLE, it);
        let list = |list: &Option<wire::TextList>| list.as_ref().map(|list| list.items.clone());
        let wanted = Self {
            name: message.name.as_deref().map(|text| input::name(text, it)),
            description: cleared
                .field("description", message.description.as_deref(), it)
                .map(|text| input::description(text, it)),
            enabled: message.enabled,
            plan: message.plan_id.as_deref().and_then(|text| input::needed_id(text, "/plan_id", it)),
            consumer: cleared
                .field("consumer_id", message.consumer_id.as_deref(), it)
                .and_then(|text| input::needed_id(text, "/consumer_id", it)),
            scopes: cleared.field("scopes", list(&message.scopes), it).map(|texts| input::scopes(&texts, it)),
            roles: cleared
                .field("roles", list(&message.roles), it)
                .map(|names| input::role_names(&names, it)),
            limits: cleared
                .field("limits", message.limits.as_ref(), it)
                .map(|list| levels::parse(&list.items, Level::Key, it)),
            allowed_ips: cleared
                .field("allowed_ips", list(&message.allowed_ips), it)
                .map(|texts| input::allowed_ips(&texts, it)),
            metadata: cleared
                .field("metadata", message.metadata_json.as_deref(), it)
                .map(|text| input::metadata(text, it)),
            expires_at: cleared
                .field("expires_at", message.expires_at, it)
                .and_then(|at| input::end(at, now, it)),
            not_before: cleared
                .field("not_before", message.not_before, it)
                .and_then(|at| input::beginning(Some(at), now, it)),
        };
        problems.check()?;
        Ok(wanted)
    }

    /// Whether it may change which scopes the key has.
    fn is_about_scopes(&self) -> bool {
        self.plan.is_some() || self.scopes != Patch::Keep || self.roles != Patch::Keep
    }

    /// Refuses what the policy does not allow, of the fields that are to change.
    fn check(&self, row: &KeyRow, policy: &Policy) -> Result<(), Fault> {
        let mut problems = Problems::default();
        let expires_at = row.expires_at.map(|at| at.0);
        if self.expires_at != Patch::Keep {
            policy.check_expiry(expires_at, row.created_at.0, &mut problems);
        }
        if self.description != Patch::Keep {
            policy.check_description(&row.description, &mut problems);
        }
        if self.expires_at != Patch::Keep || self.not_before != Patch::Keep {
            input::in_order(row.not_before.map(|at| at.0), expires_at, &mut problems);
        }
        problems.check()
    }

    /// The row as it is to be.
    fn over(&self, row: KeyRow, now: Timestamp) -> KeyRow {
        let time = |wanted: &Patch<Timestamp>, present| wanted.clone().map(DbTime).over(present);
        let name = self.name.clone().unwrap_or(row.name);
        let enabled = self.enabled.unwrap_or(row.enabled);
        KeyRow {
            name_folded: name.to_ascii_lowercase(),
            name,
            description: self.description.clone().over_or(row.description, String::new()),
            plan_id: self.plan.map_or(row.plan_id, Into::into),
            consumer_id: self.consumer.clone().map(Into::into).over(row.consumer_id),
            scopes: self.scopes.clone().over_or(row.scopes.0, Vec::new()).into(),
            roles: self.roles.clone().over_or(row.roles.0, Vec::new()).into(),
            limits: self
                .limits
                .clone()
                .map(|it| limits_to_json(&it))
                .over_or(row.limits, limits_to_json(&[])),
            allowed_ips: self.allowed_ips.clone().over_or(row.allowed_ips.0, Vec::new()).into(),
            metadata: self.metadata.clone().map(DbJson).over_or(row.metadata, DbJson(Map::new().into())),
            expires_at: time(&self.expires_at, row.expires_at),
            not_before: time(&self.not_before, row.not_before),
            disabled_at: if enabled { None } else { row.disabled_at.or(Some(now.into())) },
            enabled_at: if enabled && !row.enabled { Some(now.into()) } else { row.enabled_at },
            enabled,
            ..row
        }
    }
}

impl KeysService {
    pub(crate) async fn update_key(
        &self,
        message: wire::UpdateKeyRequest,
    ) -> Result<wire::UpdateKeyResponse, Fault> {
        let caller = Caller::try_from(message.caller.clone())?;
        let now = self.clock.now();
        let (record, standing) = self.key_to_change(&caller, &message.key_id).await?;
        let wanted = Wanted::parse(&message, now)?;
        let row = self.changed(&wanted, record, &caller, &standing, now).await?;
        let (id, workspace) = (row.id.typed(), row.workspace_id.typed());
        let deed = Deed { caller: &caller, workspace, action: "key.update", target: message.key_id, at: now };
        // It may turn a no into a yes or a yes into a no: either way it is to be seen when this returns.
        let change = Change::cuts_off(&self.store, cut(id, !message.no_wait), deed);
        let (changed, effect) = self.store.key_update(change, row).await?;
        not_stale(changed)?;
        let record = self.store.key_by_id(id).await?;
        let record = record.ok_or_else(|| Fault::internal("the key that was just changed is not there"))?;
        Ok(wire::UpdateKeyResponse { key: Some(messages::key(record)?), effect: effect.map(Into::into) })
    }

    /// The row as it is to be, if all that it names is there and the caller may give all that it gets.
    async fn changed(
        &self,
        wanted: &Wanted,
        (row, plan, ..): KeyRecord,
        caller: &Caller,
        standing: &Standing,
        now: Timestamp,
    ) -> Result<KeyRow, Fault> {
        let workspace = row.workspace_id.typed();
        let policy = self.policy(workspace).await?;
        let disabled_at = row.disabled_at.map(|at| at.0);
        if wanted.enabled == Some(true) && !row.enabled && !policy.lets_enable(disabled_at, now) {
            let over =
                "The key was disabled for longer than the workspace's policy lets it be enabled again.";
            return Err(Fault::new(Code::Conflict, over));
        }
        let had = if wanted.is_about_scopes() {
            Some((row.scopes.0.clone(), self.scopes_of_roles(workspace, &row.roles.0).await?))
        } else {
            None
        };
        let row = wanted.over(row, now);
        wanted.check(&row, &policy)?;
        let plan = if wanted.plan.is_some() { self.plan_for(workspace, wanted.plan).await? } else { plan };
        if let Patch::Set(consumer) = wanted.consumer {
            self.check_consumer(workspace, consumer).await?;
        }
        if let Some((own, of_roles)) = had {
            let has = [own, of_roles.clone()].concat();
            let of_roles = match wanted.roles {
                Patch::Keep => of_roles,
                _ => self.scopes_of_all_roles(workspace, &row.roles.0).await?,
            };
            let ceiling = self.ceiling(caller, standing).await?;
            ceiling.check(row.scopes.0.iter().chain(&of_roles), &plan.scopes.0, &has)?;
        }
        Ok(row)
    }

    /// A key that the caller may change, if it is not ended for good.
    pub(crate) async fn key_to_change(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(KeyRecord, Standing), Fault> {
        let (record, standing) = self.key_for(caller, id).await?;
        let own = record.0.created_by == caller.principal.to_string();
        standing.require(Action::ChangeKey { own }, "key")?;
        if record.0.revoked_at.is_some() {
            return Err(Fault::new(Code::Conflict, "The key is revoked: that is for good."));
        }
        Ok((record, standing))
    }
}

/// The fault of a change that came too late.
pub(crate) fn not_stale(changed: Changed) -> Result<(), Fault> {
    match changed {
        Changed::Done => Ok(()),
        Changed::Stale => Err(Fault::new(
            Code::Conflict,
            "Somebody else has changed the key in the same moment; look at it again.",
        )),
    }
}

/// A key's subject, for one change of it.
pub(crate) fn cut(id: KeyId, wait: bool) -> Cut {
    Cut { subject: Subject::Key(id), wait }
}
