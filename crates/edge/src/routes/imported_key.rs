//! A key that was made elsewhere, as it is brought in and taken out: all that it is, and hashes of what people call with.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_kernel::Fault;
use tollgate_proto::{
    keys::{ImportRow, ImportedSecret},
    ratelimit,
};
use utoipa::ToSchema;

use super::{environment::Environment, limit::Limit};
use crate::wire::{all, filled, object, optional_instant, optional_wire, required};

/// A key without what people call with: as it is brought in, and as it is taken out.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportedKey {
    /// Of what people call with: SHA-256 or SHA-512 in hex, base64 or base64url; bcrypt; Argon2 (PHC); `pbkdf2_sha256$…` as Django
    /// writes it; or `tollgate$…`, as a key of Tollgate's own is taken out. Whoever has it cannot call with it.
    #[schema(
        min_length = 1,
        max_length = 512,
        example = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f"
    )]
    hash: String,
    /// `sha256`, `sha512`, `bcrypt`, `argon2`, `pbkdf2_sha256` or `tollgate`; what the hash looks like if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "sha256")]
    algorithm: Option<String>,
    /// How what people call with begins, for people to know it by. Of bcrypt, Argon2 and PBKDF2 at least 6 characters: by them the
    /// key is looked up until its first use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 24, example = "sk_live_4eC39H")]
    prefix: Option<String>,
    /// From then on this hash does not pass. Left out: it passes as long as the key does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retires_at: Option<DateTime<Utc>>,
    /// Other hashes of the same key that still pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 4)]
    retiring: Option<Vec<RetiringHash>>,
    /// For people.
    #[schema(min_length = 1, max_length = 100, example = "CI of the web shop")]
    name: String,
    /// What it is for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 500, example = "Reads orders for the nightly report")]
    description: Option<String>,
    /// What it is for; `live` if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment>,
    /// The name of a plan of the workspace; `basic` if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "basic")]
    plan: Option<String>,
    /// The `external_id` of a consumer of the workspace. Left out: nobody in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 255, example = "customer-4711")]
    consumer: Option<String>,
    /// What it may do; the plan's scopes if neither scopes nor roles are given. No more than the caller may give.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 64, example = json!(["orders.read"]))]
    scopes: Option<Vec<String>>,
    /// Names of roles of the workspace, whose scopes it has too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 16, example = json!(["reader"]))]
    roles: Option<Vec<String>>,
    /// Networks (CIDR) or addresses that it may be used from; from anywhere if none are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 32, example = json!(["203.0.113.0/24"]))]
    allowed_ips: Option<Vec<String>>,
    /// Limits of its own, beside the plan's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_items = 8)]
    limits: Option<Vec<Limit>>,
    /// Anything that is worth knowing when the key is used. Verdicts repeat it. At most 4 KiB of JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false, example = json!({ "customer": "4711" }))]
    metadata: Option<Map<String, Value>>,
    /// When it ends by itself; it may have ended. Left out: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<DateTime<Utc>>,
    /// Until then it does not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    not_before: Option<DateTime<Utc>>,
    /// When it was made, not in the future; now if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    created_at: Option<DateTime<Utc>>,
    /// The latest call with it, not in the future. Left out: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<DateTime<Utc>>,
    /// Whether it is switched on; it is if this is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = true)]
    enabled: Option<bool>,
    /// It comes as one that was revoked, so that its use is told from that of a key that never was. Never of one that is taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = false)]
    revoked: Option<bool>,
}

/// One more hash of a key, which passes until then.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetiringHash {
    /// As the key's own.
    #[schema(
        min_length = 1,
        max_length = 512,
        example = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f"
    )]
    hash: String,
    /// As of the key's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "sha256")]
    algorithm: Option<String>,
    /// As of the key's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 24, example = "sk_live_4eC39H")]
    prefix: Option<String>,
    /// From then on it does not pass. Left out: it passes as long as the key does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retires_at: Option<DateTime<Utc>>,
}

impl From<ImportedKey> for ImportRow {
    fn from(key: ImportedKey) -> Self {
        let own = RetiringHash {
            hash: key.hash,
            algorithm: key.algorithm,
            prefix: key.prefix,
            retires_at: key.retires_at,
        };
        let environment = key.environment.map(|it| tollgate_verify::Environment::from(it).to_string());
        Self {
            secret: Some(own.into()),
            retiring: key.retiring.unwrap_or_default().into_iter().map(Into::into).collect(),
            name: key.name,
            description: key.description.unwrap_or_default(),
            environment: environment.unwrap_or_default(),
            plan: key.plan.unwrap_or_default(),
            consumer: key.consumer,
            scopes: key.scopes.unwrap_or_default(),
            roles: key.roles.unwrap_or_default(),
            allowed_ips: key.allowed_ips.unwrap_or_default(),
            limits_json: String::new(),
            metadata_json: key.metadata.map(|it| Value::Object(it).to_string()).unwrap_or_default(),
            expires_at: optional_wire(key.expires_at),
            not_before: optional_wire(key.not_before),
            created_at: optional_wire(key.created_at),
            last_used_at: optional_wire(key.last_used_at),
            enabled: key.enabled,
            revoked: key.revoked.unwrap_or_default(),
            limits: key.limits.unwrap_or_default().into_iter().map(Into::into).collect(),
        }
    }
}

impl From<RetiringHash> for ImportedSecret {
    fn from(secret: RetiringHash) -> Self {
        Self {
            hash: secret.hash,
            algorithm: secret.algorithm.unwrap_or_default(),
            prefix: secret.prefix.unwrap_or_default(),
            retires_at: optional_wire(secret.retires_at),
        }
    }
}

impl TryFrom<ImportedSecret> for RetiringHash {
    type Error = Fault;

    fn try_from(secret: ImportedSecret) -> Result<Self, Fault> {
        Ok(Self {
            hash: secret.hash,
            algorithm: filled(secret.algorithm),
            prefix: filled(secret.prefix),
            retires_at: optional_instant(secret.retires_at)?,
        })
    }
}

impl TryFrom<ImportRow> for ImportedKey {
    type Error = Fault;

    fn try_from(row: ImportRow) -> Result<Self, Fault> {
        let own: RetiringHash = required(row.secret, "secret")?.try_into()?;
        let environment: tollgate_verify::Environment = row.environment.parse().map_err(Fault::internal)?;
        Ok(Self {
            hash: own.hash,
            algorithm: own.algorithm,
            prefix: own.prefix,
            retires_at: own.retires_at,
            retiring: some(all(row.retiring)?),
            name: row.name,
            description: filled(row.description),
            environment: Some(environment.into()),
            plan: filled(row.plan),
            consumer: row.consumer,
            scopes: some(row.scopes),
            roles: some(row.roles),
            allowed_ips: some(row.allowed_ips),
            limits: some(limits(&row.limits_json)?),
            metadata: Some(object(&row.metadata_json)?).filter(|it| !it.is_empty()),
            expires_at: optional_instant(row.expires_at)?,
            not_before: optional_instant(row.not_before)?,
            created_at: optional_instant(row.created_at)?,
            last_used_at: optional_instant(row.last_used_at)?,
            enabled: row.enabled,
            revoked: row.revoked.then_some(true),
        })
    }
}

/// As an export writes them, in the words of every other route.
fn limits(json: &str) -> Result<Vec<Limit>, Fault> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let stored: Vec<Limit> = serde_json::from_str(json).map_err(Fault::internal)?;
    // There and back, so that what means "not given" is left out.
    stored.into_iter().map(|limit| Limit::try_from(ratelimit::Limit::from(limit))).collect()
}

fn some<T>(items: Vec<T>) -> Option<Vec<T>> {
    Some(items).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_taken_out_is_what_is_brought_in() {
        let all = json!({
            "hash": "h", "algorithm": "sha256", "prefix": "sk_live_", "retires_at": "2026-01-01T00:00:00Z",
            "retiring": [{ "hash": "i", "retires_at": "2026-01-01T00:00:00Z" }],
            "name": "a", "description": "b", "environment": "test", "plan": "pro", "consumer": "acme",
            "scopes": ["orders.read"], "roles": ["reader"], "allowed_ips": ["203.0.113.0/24"], "metadata": { "n": 1 },
            "expires_at": "2027-01-01T00:00:00Z", "not_before": "2025-01-01T00:00:00Z", "created_at": "2024-01-01T00:00:00Z",
            "last_used_at": "2025-06-01T00:00:00Z", "enabled": false, "revoked": true,
        });
        for key in [all, json!({ "hash": "h", "name": "a", "environment": "live" })] {
            let read: ImportedKey = serde_json::from_value(key.clone()).expect("a key");
            let back = ImportedKey::try_from(ImportRow::from(read)).expect("a key");
            assert_eq!(serde_json::to_value(back).expect("JSON"), key);
        }
    }

    #[test]
    fn limits_are_written_as_in_every_other_route() {
        let stored = r#"[
            {"name":"a","limit":7,"algorithm":"sliding_window","window_seconds":60,"on_failure":"deny"},
            {"name":"b","limit":7,"algorithm":"token_bucket","window_seconds":60,"burst":9,"on_failure":"local"},
            {"name":"c","limit":7,"algorithm":"calendar","calendar":{"period":"day","time_zone":"UTC","anchor_day":0},"on_failure":"local"}
        ]"#;
        let row = ImportRow {
            secret: Some(ImportedSecret::default()),
            environment: "live".into(),
            limits_json: stored.into(),
            ..ImportRow::default()
        };
        let taken_out = ImportedKey::try_from(row).expect("a key");
        let written = serde_json::to_value(&taken_out).expect("JSON");
        assert_eq!(written["limits"][2]["calendar"], json!({ "period": "day", "time_zone": "UTC" }));
        let brought_in = ImportRow::from(taken_out).limits;
        let seen: Vec<_> =
            brought_in.iter().map(|it| (it.name.as_str(), it.window_seconds, it.burst)).collect();
        assert_eq!(seen, [("a", 60, 0), ("b", 60, 9), ("c", 0, 0)]);
    }

    #[test]
    fn nobody_says_what_nobody_reads() {
        for wrong in [
            json!({ "hash": "h", "name": "a", "key": "sk_live_x" }),
            json!({ "hash": "h", "name": "a", "limits_json": "[]" }),
            json!({ "hash": "h", "name": "a", "retiring": [{ "hash": "h", "name": "a" }] }),
            json!({ "name": "a" }),
        ] {
            assert!(serde_json::from_value::<ImportedKey>(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
