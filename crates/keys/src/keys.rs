//! Keys: made, shown, listed, ended.

use aws_lc_rs::digest::{SHA256, digest};
use prost::Message;
use serde_json::Value;
use tollgate_changes::Cut;
use tollgate_kernel::{Code, ExposeSecret, Fault, KeyId, PlanId, SecretId, Timestamp, WorkspaceId};
use tollgate_proto::keys as wire;
use tollgate_verify::{Environment, KeyKind, NewKey, Subject, mint};

use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    limits::{self, Limit},
    page::Page,
    store::{
        Change, Created, Deed, IdempotencyRow, KeyFilter, KeyRecord, KeyRow, KeyStatus, SecretRow,
        limits_to_json,
    },
    wire as messages,
};

/// What is wanted of a new key.
struct Order {
    workspace: Option<WorkspaceId>,
    name: String,
    environment: Environment,
    plan: Option<PlanId>,
    scopes: Vec<String>,
    limits: Vec<Limit>,
    expires_at: Option<Timestamp>,
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
            environment: input::environment(message.environment, it),
            plan: input::id(&message.plan_id, "/plan_id", it),
            scopes: input::scopes(&message.scopes, it),
            limits: limits::parse(&message.limits, it),
            expires_at: input::expiry(message.expires_at, message.expires_in_days, now, it),
            allowed_ips: input::allowed_ips(&message.allowed_ips, it),
            metadata: input::metadata(&message.metadata_json, it),
            idempotency_key: input::idempotency_key(&message.idempotency_key, it),
        };
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
            consumer_id: None,
            description: String::new(),
            roles: Vec::new().into(),
            not_before: None,
            disabled_at: None,
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
        let plan = self.plan_for(workspace, order.plan).await?.id.typed();

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
        let name = format!("{}\0{idempotency_key}", caller.principal);
        IdempotencyRow {
            id: digest(&SHA256, name.as_bytes()).as_ref().to_vec(),
            request_hash: digest(&SHA256, &message.encode_to_vec()).as_ref().to_vec(),
            key_id: key.into(),
            expires_at: (now + self.config.idempotency()).into(),
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
        let filter = KeyFilter {
            status: status(message.status, &mut problems),
            environment: input::known_environment(message.environment, &mut problems),
            name_part: input::query(&message.q, &mut problems),
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

fn kind(environment: Environment) -> KeyKind {
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
