//! Overrides: for a time, another number for one of a key's limits. The ratelimit role keeps them, beside what it counts: an
//! override holds with the next call, and nothing that is cached knows of it.

use chrono::TimeDelta;
use tollgate_kernel::{Fault, Timestamp, WorkspaceId};
use tollgate_proto::{
    fault::from_status,
    keys as wire,
    ratelimit::{DeleteOverrideRequest, ListOverridesRequest, Override, PutOverrideRequest},
};
use tonic::Request;

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    input::{self, Problems},
    limits::{self, MAX_UNITS},
    once::Asked,
    store::{Change, Deed, KeyRecord},
    wire as messages,
};

const MAX_DAYS: i64 = 400;

impl KeysService {
    pub(crate) async fn put_key_override(
        &self,
        mut message: wire::PutKeyOverrideRequest,
    ) -> Result<wire::PutKeyOverrideResponse, Fault> {
        let now = self.clock.now();
        let caller = Caller::try_from(message.caller.take())?;
        let record = self.key_to_override(&caller, &message.key_id).await?;
        let (workspace, id) = (record.0.workspace_id.typed(), record.0.id);
        let asked = Asked::new(&caller, "override", &message);
        let wanted = message.r#override.unwrap_or_default();
        let once = check(&wanted, &message.idempotency_key, record, now)?;
        // What is put is not in these tables, so it is written down after it was done. Putting it twice is putting it once.
        let once = self.once(&asked, once.as_deref(), id, now);
        if let Some(once) = &once
            && self.store.once_known(once, now).await?.before()?.is_some()
        {
            return Ok(wire::PutKeyOverrideResponse { r#override: Some(wanted) });
        }
        // The audit first: what is not written down does not happen. The other way round is said by the answer.
        self.audit_override(&caller, workspace, "key.override", &message.key_id).await?;
        let request = PutOverrideRequest {
            partition: workspace.to_string(),
            r#override: Some(Override {
                subject: message.key_id.clone(),
                name: wanted.name.clone(),
                limit: wanted.limit,
                expires_at: wanted.expires_at,
            }),
        };
        self.ratelimit.put_override(Request::new(request)).await.map_err(from_status)?;
        if let Some(once) = once {
            let target = message.key_id;
            let deed = Deed { caller: &caller, workspace, action: "key.override", target, at: now };
            self.store.once_done(Change::grants(&self.store, deed), once).await?;
        }
        Ok(wire::PutKeyOverrideResponse { r#override: Some(wanted) })
    }

    pub(crate) async fn list_key_overrides(
        &self,
        message: wire::ListKeyOverridesRequest,
    ) -> Result<wire::ListKeyOverridesResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let ((key, ..), standing) = self.key_for(&caller, &message.key_id).await?;
        standing.require(Action::ReadKeys, "key")?;
        let partition = messages::workspace_id(&key);
        let request = Request::new(ListOverridesRequest { partition });
        let all = self.ratelimit.list_overrides(request).await.map_err(from_status)?.into_inner().overrides;
        let mut overrides: Vec<_> = all
            .into_iter()
            .filter(|it| it.subject == message.key_id)
            .map(|it| wire::KeyOverride { name: it.name, limit: it.limit, expires_at: it.expires_at })
            .collect();
        overrides.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(wire::ListKeyOverridesResponse { overrides })
    }

    pub(crate) async fn delete_key_override(
        &self,
        message: wire::DeleteKeyOverrideRequest,
    ) -> Result<wire::DeleteKeyOverrideResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let record = self.key_to_override(&caller, &message.key_id).await?;
        let workspace = record.0.workspace_id.typed();
        // Not "of a limit that is in force": the limit may have gone since.
        if !limits::is_name(&message.name) {
            return Err(Fault::not_found("override"));
        }
        self.audit_override(&caller, workspace, "key.override.delete", &message.key_id).await?;
        let request = DeleteOverrideRequest {
            partition: workspace.to_string(),
            subject: message.key_id,
            name: message.name,
        };
        self.ratelimit.delete_override(Request::new(request)).await.map_err(from_status)?;
        Ok(wire::DeleteKeyOverrideResponse {})
    }

    async fn key_to_override(&self, caller: &Caller, id: &str) -> Result<KeyRecord, Fault> {
        let (record, standing) = self.key_for(caller, id).await?;
        let own = record.0.created_by == caller.principal.to_string();
        standing.require(Action::OverrideLimits { own }, "key")?;
        Ok(record)
    }

    async fn audit_override(
        &self,
        caller: &Caller,
        workspace: WorkspaceId,
        action: &'static str,
        key: &str,
    ) -> Result<(), Fault> {
        let deed = Deed { caller, workspace, action, target: key.to_owned(), at: self.clock.now() };
        self.store.record(Change::grants(&self.store, deed)).await
    }
}

/// Gives the idempotency key, if there is one.
fn check(
    wanted: &wire::KeyOverride,
    idempotency_key: &str,
    record: KeyRecord,
    now: Timestamp,
) -> Result<Option<String>, Fault> {
    let mut problems = Problems::default();
    let once = input::idempotency_key(idempotency_key, &mut problems);
    let in_force = messages::key(record)?.limits;
    if !in_force.iter().any(|limit| limit.name == wanted.name) {
        problems.add("/name", "the key has no such limit");
    }
    if !(1..=MAX_UNITS).contains(&wanted.limit) {
        problems.add("/limit", format!("must be 1 to {MAX_UNITS}"));
    }
    match wanted.expires_at {
        None => problems.add("/expires_at", "is required"),
        at => {
            let until = input::instant(at, "/expires_at", &mut problems);
            if until.is_some_and(|at| at <= now || at > now + TimeDelta::days(MAX_DAYS)) {
                problems
                    .add("/expires_at", format!("must be in the future, within {MAX_DAYS} days from now"));
            }
        }
    }
    problems.check()?;
    Ok(once)
}
