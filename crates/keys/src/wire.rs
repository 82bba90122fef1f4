//! Rows as the messages that answer with them.

use tollgate_db::DbTime;
use tollgate_kernel::{Fault, KeyId, PlanId, ServiceKeyId, WorkspaceId};
use tollgate_proto::{keys as wire, ratelimit, time::to_wire};

use crate::{
    limits::in_force,
    store::{KeyRecord, KeyRow, PlanRow, ServiceKeyRow, WorkspaceRow, limits_from_json},
};

pub(crate) fn workspace(row: WorkspaceRow, role: String) -> wire::Workspace {
    wire::Workspace {
        id: WorkspaceId::from(row.id).to_string(),
        name: row.name,
        role,
        created_at: Some(to_wire(row.created_at.0)),
    }
}

pub(crate) fn plan(row: PlanRow) -> Result<wire::Plan, Fault> {
    Ok(wire::Plan {
        id: PlanId::from(row.id).to_string(),
        name: row.name,
        limits: limits_from_json(&row.limits)?.into_iter().map(Into::into).collect(),
        scopes: row.scopes.0,
        created_at: Some(to_wire(row.created_at.0)),
    })
}

pub(crate) fn key((key, plan, last_used): KeyRecord) -> Result<wire::Key, Fault> {
    Ok(wire::Key {
        id: KeyId::from(key.id).to_string(),
        workspace_id: WorkspaceId::from(key.workspace_id).to_string(),
        environment: wire::Environment::from(key.environment()?).into(),
        plan_id: PlanId::from(key.plan_id).to_string(),
        limits: limits(&key, &plan)?,
        name: key.name,
        start: key.start,
        scopes: key.scopes.0,
        allowed_ips: key.allowed_ips.0,
        metadata_json: key.metadata.0.to_string(),
        enabled: key.enabled,
        expires_at: instant(key.expires_at),
        revoked_at: instant(key.revoked_at),
        last_used_at: instant(last_used),
        created_by: key.created_by,
        created_at: Some(to_wire(key.created_at.0)),
    })
}

pub(crate) fn grant(key: KeyRow, plan: PlanRow, workspace_enabled: bool) -> Result<wire::Grant, Fault> {
    let limits = limits(&key, &plan)?;
    let environment = wire::Environment::from(key.environment()?);
    let own_scopes = key.scopes.0;
    Ok(wire::Grant {
        key_id: KeyId::from(key.id).to_string(),
        workspace_id: WorkspaceId::from(key.workspace_id).to_string(),
        environment: environment.into(),
        plan: plan.name,
        scopes: if own_scopes.is_empty() { plan.scopes.0 } else { own_scopes },
        limits,
        allowed_ips: key.allowed_ips.0,
        metadata_json: key.metadata.0.to_string(),
        expires_at: instant(key.expires_at),
        revoked_at: instant(key.revoked_at),
        enabled: key.enabled,
        workspace_enabled,
        created_by: key.created_by,
    })
}

pub(crate) fn service_key(row: ServiceKeyRow) -> wire::ServiceKey {
    wire::ServiceKey {
        id: ServiceKeyId::from(row.id).to_string(),
        workspace_id: WorkspaceId::from(row.workspace_id).to_string(),
        name: row.name,
        start: row.start,
        permissions: row.permissions.0,
        expires_at: instant(row.expires_at),
        revoked_at: instant(row.revoked_at),
        created_by: row.created_by,
        created_at: Some(to_wire(row.created_at.0)),
    }
}

fn limits(key: &KeyRow, plan: &PlanRow) -> Result<Vec<ratelimit::Limit>, Fault> {
    let limits = in_force(limits_from_json(&plan.limits)?, limits_from_json(&key.limits)?);
    Ok(limits.into_iter().map(Into::into).collect())
}

fn instant(at: Option<DbTime>) -> Option<prost_types::Timestamp> {
    at.map(|at| to_wire(at.0))
}
