//! What a key entitles to, and whether it does so now: decided from the record alone, without I/O.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};
use tollgate_kernel::{
    ConsumerId, CreditAccountId, KeyId, PlanId, SecretId, ServiceKeyId, Timestamp, WorkspaceId,
};
use tollgate_proto::ratelimit;

use crate::{
    code::VerdictCode,
    scope::{ScopeExpression, grants},
    words::words,
};

words! {
    /// Where a key may be used.
    pub enum Environment {
        /// The real thing.
        Live = "live",
        /// For trying out.
        Test = "test",
    }
}

words! {
    /// What a service key may do.
    pub enum Permission {
        /// Ask for verdicts.
        KeysVerify = "keys.verify",
        /// See keys.
        KeysRead = "keys.read",
        /// Make, change and revoke keys.
        KeysWrite = "keys.write",
        /// Take keys out, with the hashes of their secrets.
        KeysExport = "keys.export",
        /// See how keys were used.
        UsageRead = "usage.read",
    }
}

words! {
    /// What a user is to a workspace. Declared from more to less.
    pub enum MemberRole {
        /// Everything, and the workspace itself.
        Owner = "owner",
        /// Everything in the workspace.
        Admin = "admin",
        /// Use of the workspace.
        Member = "member",
    }
}

/// What a key entitles to: the record that a verifier caches.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The key.
    pub key_id: KeyId,
    /// The workspace that owns the key.
    pub workspace_id: WorkspaceId,
    /// Where the key may be used.
    pub environment: Environment,
    /// The name of the plan.
    pub plan: String,
    /// What the key may be used for.
    pub scopes: Vec<String>,
    /// How often; counted by the ratelimit role.
    pub limits: Vec<ratelimit::Limit>,
    /// From which networks; empty: from anywhere. IPv4-mapped IPv6 blocks are kept as IPv4.
    pub allowed_ips: Vec<IpNet>,
    /// The workspace's own notes on the key.
    pub metadata: Map<String, Value>,
    /// From this instant on the key is expired.
    pub expires_at: Option<Timestamp>,
    /// Set: the key has been ended for good, whatever the clock says.
    pub revoked_at: Option<Timestamp>,
    /// The key is not disabled.
    pub enabled: bool,
    /// The workspace is not disabled.
    pub workspace_enabled: bool,
    /// The user or service key that made the key, as text.
    pub created_by: String,
    /// The plan; absent only from roles of an older version.
    pub plan_id: Option<PlanId>,
    /// Until then the key does not pass.
    pub not_before: Option<Timestamp>,
    /// Whom the key was given to.
    pub consumer: Option<ConsumerGrant>,
    /// Shared by all keys of the workspace.
    pub workspace_limits: Vec<ratelimit::Limit>,
    /// The secret that was presented; absent only from roles of an older version.
    pub secret: Option<SecretGrant>,
    /// Whose credits its calls spend; absent: they are not metered.
    pub credit_account_id: Option<CreditAccountId>,
    /// When the key is to be rotated, or was. It is told and decides nothing.
    pub rotation_due_at: Option<Timestamp>,
}

/// What a key has from its consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerGrant {
    /// The consumer.
    pub consumer_id: ConsumerId,
    /// The consumer is not disabled.
    pub enabled: bool,
    /// Shared by all keys of the consumer.
    pub limits: Vec<ratelimit::Limit>,
    /// Its plan.
    pub plan_id: Option<PlanId>,
}

/// One secret of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretGrant {
    /// The secret.
    pub secret_id: SecretId,
    /// A newer one has taken its place, and from then on it does not pass.
    pub retires_at: Option<Timestamp>,
    /// Set: it has been ended before its time.
    pub revoked_at: Option<Timestamp>,
}

/// What a call asks of a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demand<'a> {
    /// All of these are needed.
    pub scopes: &'a [String],
    /// Needed too, if given.
    pub expression: Option<&'a ScopeExpression>,
    /// Where the call comes from, if that is known.
    pub client_ip: Option<IpAddr>,
    /// Needed, if given.
    pub environment: Option<Environment>,
}

impl Grant {
    /// Whether the key admits this call now, before its limits are asked. Of several reasons to refuse, the first one
    /// in the order of [`VerdictCode`] is named.
    ///
    /// # Errors
    /// The verdict's code.
    pub fn admit(&self, demand: &Demand<'_>, now: Timestamp) -> Result<(), VerdictCode> {
        let begun = self.not_before.is_none_or(|at| at <= now);
        let consumer_enabled = self.consumer.as_ref().is_none_or(|it| it.enabled);
        let revoked = self.revoked_at.or(self.secret.and_then(|it| it.revoked_at)).is_some();
        let ends = [self.expires_at, self.secret.and_then(|it| it.retires_at)];
        let ended = ends.into_iter().flatten().any(|at| at <= now);
        let checks = [
            (self.workspace_enabled && consumer_enabled && self.enabled && begun, VerdictCode::Disabled),
            (!revoked, VerdictCode::Revoked),
            (!ended, VerdictCode::Expired),
            (demand.environment.is_none_or(|it| it == self.environment), VerdictCode::WrongEnvironment),
            (self.allows_from(demand.client_ip), VerdictCode::ForbiddenIp),
            (self.meets(demand), VerdictCode::InsufficientScope),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, code)| Err(code))
    }

    /// When the secret that was presented retires, because a newer one has taken its place; `None`: it is the latest.
    pub fn retires_at(&self) -> Option<Timestamp> {
        self.secret.and_then(|secret| secret.retires_at)
    }

    /// Whether the key has this scope, by itself or by a wildcard.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| grants(held, scope))
    }

    fn meets(&self, demand: &Demand<'_>) -> bool {
        demand.scopes.iter().all(|scope| self.has_scope(scope))
            && demand.expression.is_none_or(|it| it.is_met_by(&self.scopes))
    }

    /// An unknown address is in no network; an IPv4-mapped IPv6 address is the IPv4 address (RFC 4291 §2.5.5.2).
    fn allows_from(&self, client: Option<IpAddr>) -> bool {
        let inside = |client: IpAddr| self.allowed_ips.iter().any(|net| net.contains(&client.to_canonical()));
        self.allowed_ips.is_empty() || client.is_some_and(inside)
    }
}

/// What a service key may do, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceGrant {
    /// The service key.
    pub service_key_id: ServiceKeyId,
    /// The workspace that it manages.
    pub workspace_id: WorkspaceId,
    /// What it may do there.
    pub permissions: Vec<Permission>,
    /// From this instant on it may do nothing.
    pub expires_at: Option<Timestamp>,
}

impl ServiceGrant {
    /// Whether it may do this now.
    pub fn allows(&self, permission: Permission, now: Timestamp) -> bool {
        self.is_live(now) && self.permissions.contains(&permission)
    }

    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

#[cfg(test)]
mod tests;
