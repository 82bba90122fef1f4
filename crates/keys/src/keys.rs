//! Keys: made, shown, listed, ended.

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message;
use serde_json::Value;
use tollgate_changes::Cut;
use tollgate_db::DbId;
use tollgate_kernel::{
    Code, ConsumerId, ExposeSecret, Fault, KeyId, PlanId, SecretId, Timestamp, WorkspaceId,
};
use tollgate_proto::keys as wire;
use tollgate_verify::{Environment, KeyKind, NewKey, Subject, mint};

use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    levels::{self, Level},
    limits::Limit,
    page::Page,
    store::{
        Change, Created, Deed, IdempotencyRow, KeyFilter, KeyRecord, KeyRow, KeyStatus, PlanRow, RoleScopes,
        SecretRow, limits_to_json,
    },
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
        }
    }
}

impl KeysService {
    pub(crate) async fn create_key(
        &self,
        message: wire::CreateKeyRequest,
    ) -> Result<wire::CreateKeyResponse, Fault> {
        let now = self.clock.now();
        let caller = Caller::try_from(message.caller.clone())?;
        let order = Order::parse(&message, now)?;
        let (workspace, standing) = self.workspace_of(&caller, order.workspace).await?;
        standing.require(Action::CreateKey, "workspace")?;
        let plan = self.plan_for(workspace, order.plan).await?;
        self.check_order(&order, workspace, &plan, &caller, &standing, now).await?;
        let plan = plan.id.typed();

        let id = KeyId::new(&*self.clock, &*self.entropy);
        let minted = mint(kind(order.environment), &*self.entropy);
        let once = order.idempotency_key.as_deref().map(|text| self.once(message, &caller, text, id, now));
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
        match self.store.key_insert(deed, row, secret, once).await? {
            Created::New => self.created(id, minted.key.expose_secret().to_owned()).await,
            Created::Before(id) => self.created(id.typed(), String::new()).await,
            Created::Mismatch => Err(Fault::new(
                Code::Conflict,
                "Another request was made with the same idempotency key within the last day.",
            )),
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

    /// The record by which a retry is known: of the same caller, with the same fields.
    fn once(
        &self,
        mut message: wire::CreateKeyRequest,
        caller: &Caller,
        idempotency_key: &str,
        key: KeyId,
        now: Timestamp,
    ) -> IdempotencyRow {
        // A retry may come from another address, or in another session.
        message.caller = None;
        self.remembered(caller, idempotency_key, &message.encode_to_vec(), key.into(), None, now)
    }

    /// The row by which the same request of the same caller is known again: `asked` is all that it asks, `key` and `secret`
    /// what came of it.
    pub(crate) fn remembered(
        &self,
        caller: &Caller,
        idempotency_key: &str,
        asked: &[u8],
        key: DbId,
        secret: Option<DbId>,
        now: Timestamp,
    ) -> IdempotencyRow {
        let name = format!("{}\0{idempotency_key}", caller.principal);
        IdempotencyRow {
            id: digest(&SHA256, name.as_bytes()).as_ref().to_vec(),
            request_hash: digest(&SHA256, asked).as_ref().to_vec(),
            key_id: key,
            expires_at: (now + self.config.idempotency()).into(),
            secret_id: secret,
        }
    }

    pub(crate) async fn get_key(&self, message: wire::GetKeyRequest) -> Result<wire::GetKeyResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (record, standing) = self.key_for(&caller, &message.key_id).await?;
        standing.require(Action::ReadKeys, "key")?;
        Ok(wire::GetKeyResponse { key: Some(messages::key(record)?) })
    }

    pub(crate) async fn list_keys(
        &self,
        message: wire::ListKeysRequest,
    ) -> Result<wire::ListKeysResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let page = Page::parse(message.page.as_ref(), &mut problems);
        let consumer: Option<ConsumerId> = input::id(&message.consumer_id, "/consumer_id", &mut problems);
        let filter = KeyFilter {
            status: status(message.status, &mut problems),
            environment: input::known_environment(message.environment, &mut problems),
            name_part: input::query(&message.q, &mut problems),
            consumer: consumer.map(Into::into),
        };
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ReadKeys, "workspace")?;
        let rows = self.store.keys_in(workspace, &filter, page, self.clock.now()).await?;
        let (rows, next_cursor) = page.cut(rows, |(key, ..)| key.id);
        let keys = rows.into_iter().map(messages::key).collect::<Result<_, _>>()?;
        Ok(wire::ListKeysResponse { keys, next_cursor })
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

fn status(number: i32, problems: &mut Problems) -> Option<KeyStatus> {
    match wire::KeyStatus::try_from(number) {
        Ok(wire::KeyStatus::Unspecified) => None,
        Ok(wire::KeyStatus::Active) => Some(KeyStatus::Active),
        Ok(wire::KeyStatus::Disabled) => Some(KeyStatus::Disabled),
        Ok(wire::KeyStatus::Expired) => Some(KeyStatus::Expired),
        Ok(wire::KeyStatus::Revoked) => Some(KeyStatus::Revoked),
        Err(_) => {
            problems.add("/status", "must be `active`, `disabled`, `expired` or `revoked`");
            None
        }
    }
}
