//! What the roles say, as the types of this crate. A role is believed, but not blindly: nonsense is a fault of ours,
//! never a verdict.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use prost_types::Timestamp as WireTime;
use serde_json::{Map, Value};
use tollgate_kernel::{Fault, Id, IdKind, Timestamp};
use tollgate_proto::{gate, keys, time};

use crate::{
    Environment, Grant, ServiceGrant,
    grant::{ConsumerGrant, SecretGrant},
};

impl TryFrom<keys::Grant> for Grant {
    type Error = Fault;

    fn try_from(wire: keys::Grant) -> Result<Self, Fault> {
        Ok(Self {
            environment: wire.environment().try_into()?,
            key_id: id(&wire.key_id)?,
            workspace_id: id(&wire.workspace_id)?,
            plan: wire.plan,
            scopes: wire.scopes,
            limits: wire.limits,
            allowed_ips: wire.allowed_ips.iter().map(|text| network(text)).collect::<Result<_, _>>()?,
            metadata: metadata(&wire.metadata_json)?,
            expires_at: instant(wire.expires_at)?,
            revoked_at: instant(wire.revoked_at)?,
            enabled: wire.enabled,
            workspace_enabled: wire.workspace_enabled,
            created_by: wire.created_by,
            plan_id: optional_id(&wire.plan_id)?,
            not_before: instant(wire.not_before)?,
            consumer: wire.consumer.map(ConsumerGrant::try_from).transpose()?,
            workspace_limits: wire.workspace_limits,
            secret: wire.secret.map(SecretGrant::try_from).transpose()?,
            credit_account_id: optional_id(&wire.credit_account_id)?,
            rotation_due_at: instant(wire.rotation_due_at)?,
        })
    }
}

impl TryFrom<keys::ConsumerGrant> for ConsumerGrant {
    type Error = Fault;

    fn try_from(wire: keys::ConsumerGrant) -> Result<Self, Fault> {
        Ok(Self {
            consumer_id: id(&wire.consumer_id)?,
            enabled: wire.enabled,
            limits: wire.limits,
            plan_id: optional_id(&wire.plan_id)?,
        })
    }
}

impl TryFrom<keys::SecretGrant> for SecretGrant {
    type Error = Fault;

    fn try_from(wire: keys::SecretGrant) -> Result<Self, Fault> {
        Ok(Self {
            secret_id: id(&wire.secret_id)?,
            retires_at: instant(wire.retires_at)?,
            revoked_at: instant(wire.revoked_at)?,
        })
    }
}

impl TryFrom<keys::ServiceGrant> for ServiceGrant {
    type Error = Fault;

    fn try_from(wire: keys::ServiceGrant) -> Result<Self, Fault> {
        Ok(Self {
            service_key_id: id(&wire.service_key_id)?,
            workspace_id: id(&wire.workspace_id)?,
            permissions: wire
                .permissions
                .iter()
                .map(|word| word.parse().map_err(Fault::internal))
                .collect::<Result<_, _>>()?,
            expires_at: instant(wire.expires_at)?,
        })
    }
}

impl TryFrom<keys::Environment> for Environment {
    type Error = Fault;

    fn try_from(wire: keys::Environment) -> Result<Self, Fault> {
        match wire {
            keys::Environment::Live => Ok(Self::Live),
            keys::Environment::Test => Ok(Self::Test),
            keys::Environment::Unspecified => Err(Fault::internal("a grant without an environment")),
        }
    }
}

impl From<Environment> for keys::Environment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Live => Self::Live,
            Environment::Test => Self::Test,
        }
    }
}

impl From<Environment> for gate::Environment {
    fn from(environment: Environment) -> Self {
        match environment {
            Environment::Live => Self::Live,
            Environment::Test => Self::Test,
        }
    }
}

pub(crate) fn id<K: IdKind>(text: &str) -> Result<Id<K>, Fault> {
    text.parse().map_err(Fault::internal)
}

/// Empty text is no id.
fn optional_id<K: IdKind>(text: &str) -> Result<Option<Id<K>>, Fault> {
    if text.is_empty() { Ok(None) } else { id(text).map(Some) }
}

pub(crate) fn instant(wire: Option<WireTime>) -> Result<Option<Timestamp>, Fault> {
    wire.map(|at| time::from_wire(at, "")).transpose().map_err(Fault::internal)
}

/// An object; empty text reads as an empty one.
fn metadata(text: &str) -> Result<Map<String, Value>, Fault> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text).map_err(Fault::internal)
}

/// A CIDR block or an address. A block of IPv4-mapped IPv6 addresses is the block of IPv4 addresses.
fn network(text: &str) -> Result<IpNet, Fault> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(Fault::internal)?,
    };
    Ok(match (net.addr().to_canonical(), net.prefix_len()) {
        (IpAddr::V4(address), length @ 96..) if net.addr().is_ipv6() => {
            Ipv4Net::new(address, length - 96).expect("an IPv6 prefix is at most 128 bits").into()
        }
        _ => net,
    })
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::{Code, KeyId, ServiceKeyId, WorkspaceId};

    use super::*;

    fn grant() -> keys::Grant {
        keys::Grant {
            key_id: KeyId::from_uuid(uuid::Uuid::nil()).to_string(),
            workspace_id: WorkspaceId::from_uuid(uuid::Uuid::nil()).to_string(),
            environment: keys::Environment::Live.into(),
            metadata_json: r#"{"seats":3}"#.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_grant_is_read_whole() {
        let wire = keys::Grant {
            allowed_ips: vec!["10.0.0.0/8".into(), "::1".into(), "192.0.2.7".into()],
            expires_at: Some(WireTime { seconds: 1, nanos: 0 }),
            enabled: true,
            ..grant()
        };
        let read = Grant::try_from(wire).expect("sound");
        let nets: Vec<_> = read.allowed_ips.iter().map(ToString::to_string).collect();
        assert_eq!(nets, ["10.0.0.0/8", "::1/128", "192.0.2.7/32"]);
        assert_eq!(read.expires_at.map(|at| at.timestamp()), Some(1));
        assert_eq!(read.metadata["seats"], 3);
        assert!(read.enabled && !read.workspace_enabled && read.revoked_at.is_none());
    }

    #[test]
    fn mapped_networks_are_ipv4_networks() {
        for (text, net) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(network(text).expect(text).to_string(), net);
        }
    }

    #[test]
    fn nonsense_is_our_fault() {
        for wrong in [
            keys::Grant { key_id: "key_".into(), ..grant() },
            keys::Grant { workspace_id: grant().key_id, ..grant() },
            keys::Grant { environment: 0, ..grant() },
            keys::Grant { environment: 7, ..grant() },
            keys::Grant { metadata_json: "[]".into(), ..grant() },
            keys::Grant { allowed_ips: vec!["10.0.0.0/33".into()], ..grant() },
            keys::Grant { expires_at: Some(WireTime { seconds: i64::MAX, nanos: 0 }), ..grant() },
        ] {
            let fault = Grant::try_from(wrong.clone()).expect_err(&format!("{wrong:?}"));
            assert_eq!(fault.code(), Code::Internal);
        }
    }

    #[test]
    fn an_unknown_permission_is_our_fault() {
        let wire = keys::ServiceGrant {
            service_key_id: ServiceKeyId::from_uuid(uuid::Uuid::nil()).to_string(),
            workspace_id: grant().workspace_id,
            permissions: vec!["keys.verify".into(), "keys.fly".into()],
            expires_at: None,
        };
        assert_eq!(ServiceGrant::try_from(wire).expect_err("unknown").code(), Code::Internal);
    }
}
