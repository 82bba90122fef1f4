//! Keys: made, shown, ended.

use serde_json::Value;
use tollgate_changes::Cut;
use tollgate_kernel::{ConsumerId, ExposeSecret, Fault, KeyId, PlanId, SecretId, Timestamp, WorkspaceId};
use tollgate_proto::keys as wire;
use tollgate_verify::{Environment, KeyKind, NewKey, Subject, mint};

use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    levels::{self, Level},
    limits::Limit,
    once::Asked,
    store::{Change, Deed, KeyRecord, KeyRow, PlanRow, RoleScopes, SecretRow, limits_to_json},
    wire as messages,
};

/// What is wanted of a new key.
struct Order {
    workspace: Option<WorkspaceId>,
    name: String,
    description: String,
    environment: Environment,
    plan: Option<PlanId>,
    consumer: Option<ConsumerId>,
    scopes: Vec<String>,
    roles: Vec<String>,
    limits: Vec<Limit>,
    expires_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    allowed_ips: Vec<String>,
    metadata: Value,
    idempotency_key: Option<String>,
}

impl Order {
    fn parse(message: &wire::CreateKeyRequest, now: Timestamp) -> Result<Self, Fault> {
        let mut problems = Problems::default();
        let it = &mut problems;
        let order = Self {
            workspace: input::id(&message.workspace_id, "/workspace_id", it),
            name: input::name(&message.name, it),
            description: input::description(&message.description, it),
            environment: input::environment(message.environment, it),
            plan: input::id(&message.plan_id, "/plan_id", it),
            consumer: input::id(&message.consumer_id, "/consumer_id", it),
            scopes: input::scopes(&message.scopes, it),
            roles: input::role_names(&message.roles, it),
            limits: levels::parse(&message.limits, Level::Key, it),
            expires_at: input::expiry(message.expires_at, message.expires_in_days, now, it),
            not_before: input::beginning(message.not_before, now, it),
            allowed_ips: input::allowed_ips(&message.allowed_ips, it),
            metadata: input::metadata(&message.metadata_json, it),
            idempotency_key: input::idempotency_key(&message.idempotency_key, it),
        };
        input::in_order(order.not_before, order.expires_at, it);
        problems.check()?;
        Ok(order)
    }

    fn into_row(
        self,
        id: KeyId,
        workspace: WorkspaceId,
        plan: PlanId,
        minted: &NewKey,
        caller: &Caller,
        now: Timestamp,
    ) -> KeyRow {
        KeyRow {
            id: id.into(),
            workspace_id: workspace.into(),
            plan_id: plan.into(),
            name_folded: self.name.to_ascii_lowercase(),
            name: self.name,
            environment: self.environment.to_string(),
            start: minted.start.clone(),
            scopes: self.scopes.into(),
            limits: limits_to_json(&self.limits),
            allowed_ips: self.allowed_ips.into(),
            metadata: self.metadata.into(),
            enabled: true,
            expires_at: self.expires_at.map(Into::into),
            revoked_at: None,
            created_by: caller.principal.to_string(),
            created_at: now.into(),
            consumer_id: self.consumer.map(Into::into),
            description: self.description,
            roles: self.roles.into(),
            not_before: self.not_before.map(Into::into),
            disabled_at: None,
            revision: 0,
            enabled_at: None,
            secret_made_at: now.into(),
        }
    }
}

impl KeysService {
    pub(crate) async fn create_key(
        &self,
        mut message: wire::CreateKeyRequest,
    ) -> Result<wire::CreateKeyResponse, Fault> {
        let now = self.clock.now();
        let caller = Caller::try_from(message.caller.take())?;
        let order = Order::parse(&message, now)?;
        let (workspace, standing) = self.workspace_of(&caller, order.workspace).await?;
        standing.require(Action::CreateKey, "workspace")?;
        let plan = self.plan_for(workspace, order.plan).await?;
        self.check_order(&order, workspace, &plan, &caller, &standing, now).await?;
        let plan = plan.id.typed();

        let id = KeyId::new(&*self.clock, &*self.entropy);
        let minted = mint(kind(order.environment), &*self.entropy);
        let asked = Asked::new(&caller, "key", &message);
        let once = self.once(&asked, order.idempotency_key.as_deref(), id, now);
        let secret = SecretRow {
            id: SecretId::new(&*self.clock, &*self.entropy).into(),
            key_id: id.into(),
            public_id: minted.public_id.clone(),
            digest: minted.digest.to_vec(),
            created_at: now.into(),
            start: minted.start.clone(),
            replaces: None,
        };
        let row = order.into_row(id, workspace, plan, &minted, &caller, now);
        let deed = Deed { caller: &caller, workspace, action: "key.create", target: id.to_string(), at: now };
        match self.store.key_insert(deed, row, secret, once).await?.before()? {
            None => self.created(id, minted.key.expose_secret().to_owned()).await,
            Some(before) => self.created(before.typed(), String::new()).await,
        }
    }

    /// Refuses what the workspace does not have or allow, and what the caller may not give.
    async fn check_order(
        &self,
        order: &Order,
        workspace: WorkspaceId,
        plan: &PlanRow,
        caller: &Caller,
        standing: &Standing,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let policy = self.policy(workspace).await?;
        let mut problems = Problems::default();
        policy.check_expiry(order.expires_at, now, &mut problems);
        policy.check_description(&order.description, &mut problems);
        problems.check()?;
        if let Some(consumer) = order.consumer {
            self.check_consumer(workspace, consumer).await?;
        }
        let of_roles = self.scopes_of_all_roles(workspace, &order.roles).await?;
        let ceiling = self.ceiling(caller, standing).await?;
        ceiling.check(order.scopes.iter().chain(&of_roles), &plan.scopes.0, &[])
    }

    pub(crate) async fn check_consumer(&self, workspace: WorkspaceId, id: ConsumerId) -> Result<(), Fault> {
        if self.store.has_consumer(workspace, id).await? {
            return Ok(());
        }
        Err(Fault::invalid("/consumer_id", "there is no such consumer in the workspace"))
    }

    /// Of all of them together; refuses a role that is not there.
    pub(crate) async fn scopes_of_all_roles(
        &self,
        workspace: WorkspaceId,
        names: &[String],
    ) -> Result<Vec<String>, Fault> {
        let there = self.store.roles_named(workspace, names).await?;
        let mut problems = Problems::default();
        let missing = |name: &String| there.iter().all(|(known, _)| known != name);
        for (place, _) in names.iter().enumerate().filter(|(_, name)| missing(name)) {
            problems.add(format!("/roles/{place}"), "there is no such role in the workspace");
        }
        problems.check()?;
        Ok(together(there))
    }

    /// Of those together that are still there.
    pub(crate) async fn scopes_of_roles(
        &self,
        workspace: WorkspaceId,
        names: &[String],
    ) -> Result<Vec<String>, Fault> {
        Ok(together(self.store.roles_named(workspace, names).await?))
    }

    async fn created(&self, id: KeyId, secret: String) -> Result<wire::CreateKeyResponse, Fault> {
        let record = self.store.key_by_id(id).await?;
        let record = record.ok_or_else(|| Fault::internal("the key that was just made is not there"))?;
        Ok(wire::CreateKeyResponse { key: Some(messages::key(record)?), secret })
    }

    pub(crate) async fn get_key(&self, message: wire::GetKeyRequest) -> Result<wire::GetKeyResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (record, standing) = self.key_for(&caller, &message.key_id).await?;
        standing.require(Action::ReadKeys, "key")?;
        Ok(wire::GetKeyResponse { key: Some(messages::key(record)?) })
    }

    pub(crate) async fn revoke_key(
        &self,
        message: wire::RevokeKeyRequest,
    ) -> Result<wire::RevokeKeyResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let ((key, ..), standing) = self.key_for(&caller, &message.key_id).await?;
        let own = key.created_by == caller.principal.to_string();
        standing.require(Action::RevokeKey { own }, "key")?;
        let (id, now) = (key.id.typed(), self.clock.now());
        let deed = Deed {
            caller: &caller,
            workspace: key.workspace_id.typed(),
            action: "key.revoke",
            target: message.key_id,
            at: now,
        };
        let cut = Cut { subject: Subject::Key(id), wait: !message.no_wait };
        let change = Change::cuts_off(&self.store, cut, deed);
        let effect = self.store.key_revoke(change, id, now).await?;
        Ok(wire::RevokeKeyResponse { effect: effect.map(Into::into) })
    }

    /// A key by its id, and what the caller is to its workspace.
    pub(crate) async fn key_for(&self, caller: &Caller, id: &str) -> Result<(KeyRecord, Standing), Fault> {
        let record = self.store.key_by_id(input::path_id(id, "key")?).await?;
        let record = record.ok_or_else(|| Fault::not_found("key"))?;
        let standing = self.standing(caller, record.0.workspace_id.typed()).await?;
        Ok((record, standing))
    }
}

fn together(roles: Vec<RoleScopes>) -> Vec<String> {
    roles.into_iter().flat_map(|(_, scopes)| scopes.0).collect()
}

pub(crate) fn kind(environment: Environment) -> KeyKind {
    match environment {
        Environment::Live => KeyKind::Live,
        Environment::Test => KeyKind::Test,
    }
}
