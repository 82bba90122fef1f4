//! What a key entitles to, and whether it does so now: decided from the record alone, without I/O.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};
use tollgate_kernel::{KeyId, ServiceKeyId, Timestamp, WorkspaceId};
use tollgate_proto::ratelimit;

use crate::{code::VerdictCode, words::words};

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
}

/// What a call asks of a key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Demand<'a> {
    /// All of these are needed.
    pub scopes: &'a [String],
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
        let checks = [
            (self.enabled && self.workspace_enabled, VerdictCode::Disabled),
            (self.revoked_at.is_none(), VerdictCode::Revoked),
            (self.expires_at.is_none_or(|at| now < at), VerdictCode::Expired),
            (demand.environment.is_none_or(|it| it == self.environment), VerdictCode::WrongEnvironment),
            (self.allows_from(demand.client_ip), VerdictCode::ForbiddenIp),
            (demand.scopes.iter().all(|it| self.scopes.contains(it)), VerdictCode::InsufficientScope),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, code)| Err(code))
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
