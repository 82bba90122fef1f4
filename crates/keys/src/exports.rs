//! Export: keys are taken out with the hashes of their secrets, so that they live on elsewhere. Whoever holds these hashes cannot
//! call with them, but can bring them into another instance: hence a right of its own, and each page is audited.

use std::collections::HashMap;

use tollgate_db::{DbId, DbTime};
use tollgate_kernel::{ConsumerId, Fault, hex};
use tollgate_proto::{keys as wire, time::to_wire};

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    input::{self, Problems},
    page::Page,
    store::{Change, Deed, ExportedSecret, KeyRow, PlanRow},
    wire::instant,
};

const DEFAULT_ROWS: u32 = 100;
const MOST_ROWS: u32 = 500;

impl KeysService {
    pub(crate) async fn export_keys(
        &self,
        message: wire::ExportKeysRequest,
    ) -> Result<wire::ExportKeysResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let page = Page::of(message.limit, &message.cursor, DEFAULT_ROWS, MOST_ROWS, &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ExportKeys, "workspace")?;
        let now = self.clock.now();
        let target = workspace.to_string();
        let deed = Deed { caller: &caller, workspace, action: "key.export", target, at: now };
        // The audit first: what is not written down does not leave.
        self.store.record(Change::grants(&self.store, deed)).await?;

        let keys = self.store.keys_to_export(workspace, page.after, page.rows()).await?;
        let (keys, next_cursor) = page.cut(keys, |(key, ..)| key.id);
        let ids: Vec<_> = keys.iter().map(|(key, ..)| key.id).collect();
        let consumers: Vec<_> = keys.iter().filter_map(|(key, ..)| key.consumer_id).collect();
        let consumers = self.store.external_ids(&consumers).await?;
        let mut secrets: HashMap<DbId, Vec<ExportedSecret>> = HashMap::new();
        for secret in self.store.secrets_to_export(&ids, now).await? {
            secrets.entry(secret.0.key_id).or_default().push(secret);
        }
        let row = |(key, plan, used): (KeyRow, PlanRow, Option<DbTime>)| {
            // A key without a secret that lives lets nobody in, here as elsewhere.
            let secrets = secrets.remove(&key.id)?;
            let consumer = key.consumer_id.map(|id| consumer(id, &consumers));
            Some(row(key, plan, used, consumer, secrets))
        };
        Ok(wire::ExportKeysResponse { rows: keys.into_iter().filter_map(row).collect(), next_cursor })
    }
}

/// Its external id; of one that has none, its id here.
fn consumer(id: DbId, known: &HashMap<DbId, Option<String>>) -> String {
    let external = known.get(&id).cloned().flatten();
    external.unwrap_or_else(|| ConsumerId::from(id).to_string())
}

fn row(
    key: KeyRow,
    plan: PlanRow,
    used: Option<DbTime>,
    consumer: Option<String>,
    secrets: Vec<ExportedSecret>,
) -> wire::ImportRow {
    // The newest is the key's own, unless it is one that retires.
    let mut secrets: Vec<_> = secrets.into_iter().map(|it| secret(it, &key.start)).collect();
    let first = secrets.iter().position(|it| it.retires_at.is_none()).unwrap_or_default();
    let first = secrets.remove(first);
    wire::ImportRow {
        secret: Some(first),
        retiring: secrets,
        name: key.name,
        description: key.description,
        environment: key.environment,
        plan: plan.name,
        consumer,
        scopes: key.scopes.0,
        roles: key.roles.0,
        allowed_ips: key.allowed_ips.0,
        limits_json: key.limits.0.to_string(),
        limits: Vec::new(),
        metadata_json: key.metadata.0.to_string(),
        expires_at: instant(key.expires_at),
        not_before: instant(key.not_before),
        created_at: Some(to_wire(key.created_at.0)),
        last_used_at: instant(used),
        enabled: Some(key.enabled),
        revoked: false,
    }
}

fn secret((state, imported): ExportedSecret, start: &str) -> wire::ImportedSecret {
    let (hash, algorithm) = match &imported {
        None => (format!("tollgate${}${}", state.public_id, hex(&state.digest)), "tollgate"),
        Some(row) => match (&row.sha256, &row.sha512, &row.slow) {
            (Some(bytes), _, _) => (hex(bytes), "sha256"),
            (None, Some(bytes), _) => (hex(bytes), "sha512"),
            // It says itself which.
            (None, None, slow) => (slow.clone().unwrap_or_default(), ""),
        },
    };
    let own = imported.and_then(|it| it.prefix).unwrap_or(state.start);
    wire::ImportedSecret {
        hash,
        algorithm: algorithm.to_owned(),
        prefix: if own.is_empty() { start.to_owned() } else { own },
        retires_at: instant(state.retired_at),
    }
}
