//! Rows as the messages that answer with them.

use tollgate_db::{DbJson, DbTime};
use tollgate_kernel::{
    ConsumerId, CreditAccountId, Fault, Id, InvitationId, KeyId, PlanId, RoleId, SecretId, ServiceKeyId,
    Timestamp, UserId, WorkspaceId,
};
use tollgate_proto::{keys as wire, ratelimit, time::to_wire};

use crate::{
    limits::{Limit, in_force},
    policy::Policy,
    store::{
        AuditEvent, ConsumerRow, EventRow, InvitationRow, KeyRecord, KeyRow, Membership, PlanRow,
        ResolvedKey, RoleRow, RoleScopes, ServiceKeyRow, WorkspaceRow, limits_from_json,
    },
};

pub(crate) fn workspace(row: WorkspaceRow, role: String) -> Result<wire::Workspace, Fault> {
    Ok(wire::Workspace {
        id: WorkspaceId::from(row.id).to_string(),
        name: row.name,
        role,
        created_at: Some(to_wire(row.created_at.0)),
        limits: on_the_wire(limits_from_json(&row.limits)?),
        enabled: row.enabled,
    })
}

pub(crate) fn member(row: Membership) -> wire::Membership {
    wire::Membership {
        workspace_id: WorkspaceId::from(row.workspace_id).to_string(),
        user_id: UserId::from(row.user_id).to_string(),
        role: row.role,
        created_at: Some(to_wire(row.created_at.0)),
    }
}

pub(crate) fn invitation(row: InvitationRow, now: Timestamp) -> wire::Invitation {
    let status = match &row {
        it if it.accepted_at.is_some() => "accepted",
        it if it.revoked_at.is_some() => "revoked",
        it if it.is_pending(now) => "pending",
        _ => "expired",
    };
    wire::Invitation {
        id: InvitationId::from(row.id).to_string(),
        workspace_id: WorkspaceId::from(row.workspace_id).to_string(),
        email: row.email,
        role: row.role,
        status: status.to_owned(),
        invited_by: UserId::from(row.invited_by).to_string(),
        created_at: Some(to_wire(row.created_at.0)),
        expires_at: Some(to_wire(row.expires_at.0)),
        accepted_at: instant(row.accepted_at),
        accepted_by: row.accepted_by.map(|id| UserId::from(id).to_string()).unwrap_or_default(),
        revoked_at: instant(row.revoked_at),
    }
}

pub(crate) fn audit_event(row: EventRow) -> wire::AuditEvent {
    wire::AuditEvent {
        id: Id::<AuditEvent>::from(row.id).to_string(),
        workspace_id: WorkspaceId::from(row.workspace_id).to_string(),
        at: Some(to_wire(row.at.0)),
        actor: row.actor,
        session: row.session,
        ip: row.ip,
        action: row.action,
        target: row.target,
    }
}

pub(crate) fn workspace_id(key: &KeyRow) -> String {
    WorkspaceId::from(key.workspace_id).to_string()
}

pub(crate) fn consumer(row: ConsumerRow) -> Result<wire::Consumer, Fault> {
    Ok(wire::Consumer {
        id: ConsumerId::from(row.id).to_string(),
        workspace_id: WorkspaceId::from(row.workspace_id).to_string(),
        limits: on_the_wire(limits_from_json(&row.limits)?),
        name: row.name,
        external_id: row.external_id,
        plan_id: row.plan_id.map(|id| PlanId::from(id).to_string()).unwrap_or_default(),
        metadata_json: row.metadata.0.to_string(),
        enabled: row.enabled,
        created_by: row.created_by,
        created_at: Some(to_wire(row.created_at.0)),
    })
}

pub(crate) fn role(row: RoleRow) -> wire::Role {
    wire::Role {
        id: RoleId::from(row.id).to_string(),
        workspace_id: WorkspaceId::from(row.workspace_id).to_string(),
        name: row.name,
        scopes: row.scopes.0,
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

pub(crate) fn key((key, plan, last_used, (planned, policy)): KeyRecord) -> Result<wire::Key, Fault> {
    let rotation_due_at = due_at(&key, planned, &policy)?;
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
        last_used_at: last_used.as_ref().map(|it| to_wire(it.at.0)),
        last_used_ip: last_used.as_ref().and_then(|it| it.network.clone()),
        last_user_agent: last_used.and_then(|it| it.user_agent),
        created_by: key.created_by,
        created_at: Some(to_wire(key.created_at.0)),
        description: key.description,
        not_before: instant(key.not_before),
        consumer_id: key.consumer_id.map(|id| ConsumerId::from(id).to_string()).unwrap_or_default(),
        roles: key.roles.0,
        disabled_at: instant(key.disabled_at),
        rotation_due_at,
    })
}

/// When a key is to be rotated: by its plan, or by the policy if that is sooner.
fn due_at(
    key: &KeyRow,
    planned: Option<DbTime>,
    policy: &DbJson,
) -> Result<Option<prost_types::Timestamp>, Fault> {
    let by_policy = Policy::read(policy)?.max_secret_age().map(|age| key.secret_made_at.0 + age);
    let sooner = planned.map(|at| at.0).into_iter().chain(by_policy).min();
    Ok(sooner.map(to_wire))
}

pub(crate) fn grant(found: ResolvedKey) -> Result<wire::Grant, Fault> {
    let ResolvedKey { secret, key, plan, workspace, consumer, roles, credit_account, rotation_due_at } =
        found;
    let rotation_due_at = due_at(&key, rotation_due_at, &workspace.policy)?;
    let limits = limits(&key, &plan)?;
    let environment = wire::Environment::from(key.environment()?);
    let consumer_scopes = consumer.as_ref().and_then(|(_, plan)| plan.as_ref()).map(|plan| &plan.scopes.0);
    let scopes = scopes_in_force(&key, &roles, &plan, consumer_scopes);
    Ok(wire::Grant {
        key_id: KeyId::from(key.id).to_string(),
        workspace_id: WorkspaceId::from(key.workspace_id).to_string(),
        environment: environment.into(),
        plan: plan.name,
        scopes,
        limits,
        allowed_ips: key.allowed_ips.0,
        metadata_json: key.metadata.0.to_string(),
        expires_at: instant(key.expires_at),
        revoked_at: instant(key.revoked_at),
        enabled: key.enabled,
        workspace_enabled: workspace.enabled,
        created_by: key.created_by,
        plan_id: PlanId::from(key.plan_id).to_string(),
        not_before: instant(key.not_before),
        consumer: consumer.map(consumer_grant).transpose()?,
        workspace_limits: shared_limits(&workspace)?,
        secret: Some(wire::SecretGrant {
            secret_id: SecretId::from(secret.id).to_string(),
            retires_at: instant(secret.retired_at),
            revoked_at: instant(secret.revoked_at),
        }),
        credit_account_id: credit_account.map(|id| CreditAccountId::from(id).to_string()).unwrap_or_default(),
        rotation_due_at,
    })
}

/// The key's own scopes and those of its roles; if there are none: the plan's, or else those of its consumer's plan.
fn scopes_in_force(
    key: &KeyRow,
    roles: &[RoleScopes],
    plan: &PlanRow,
    consumers: Option<&Vec<String>>,
) -> Vec<String> {
    let mut scopes = key.scopes.0.clone();
    for scope in roles.iter().flat_map(|(_, scopes)| &scopes.0) {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    // A role without scopes gives none: a key that has roles is not as open as its plan.
    if scopes.is_empty() && key.roles.0.is_empty() {
        let inherited = if plan.scopes.0.is_empty() { consumers } else { Some(&plan.scopes.0) };
        return inherited.cloned().unwrap_or_default();
    }
    scopes
}

fn consumer_grant(found: (ConsumerRow, Option<PlanRow>)) -> Result<wire::ConsumerGrant, Fault> {
    let limits = consumer_limits(&found)?;
    let (consumer, plan) = found;
    Ok(wire::ConsumerGrant {
        consumer_id: ConsumerId::from(consumer.id).to_string(),
        enabled: consumer.enabled,
        limits,
        plan_id: plan.map(|plan| PlanId::from(plan.id).to_string()).unwrap_or_default(),
    })
}

/// The limits that all keys of a consumer share.
pub(crate) fn consumer_limits(
    (consumer, plan): &(ConsumerRow, Option<PlanRow>),
) -> Result<Vec<ratelimit::Limit>, Fault> {
    let of_plan = plan.as_ref().map(|plan| limits_from_json(&plan.limits)).transpose()?;
    Ok(on_the_wire(in_force(of_plan.unwrap_or_default(), limits_from_json(&consumer.limits)?)))
}

/// The limits that all keys of a workspace share.
pub(crate) fn shared_limits(workspace: &WorkspaceRow) -> Result<Vec<ratelimit::Limit>, Fault> {
    Ok(on_the_wire(limits_from_json(&workspace.limits)?))
}

fn on_the_wire(limits: Vec<Limit>) -> Vec<ratelimit::Limit> {
    limits.into_iter().map(Into::into).collect()
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
        scopes: row.scopes.0,
    }
}

pub(crate) fn limits(key: &KeyRow, plan: &PlanRow) -> Result<Vec<ratelimit::Limit>, Fault> {
    Ok(on_the_wire(in_force(limits_from_json(&plan.limits)?, limits_from_json(&key.limits)?)))
}

pub(crate) fn instant(at: Option<DbTime>) -> Option<prost_types::Timestamp> {
    at.map(|at| to_wire(at.0))
}
