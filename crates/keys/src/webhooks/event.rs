//! What endpoints are told of: the types of events, which deeds they come of, and how they are written. Pure.
//!
//! Which deeds are told of stands here and nowhere else: the transaction that writes a deed into the audit log looks here, so that no
//! mutation can forget it.

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};
use tollgate_db::DbTime;
use tollgate_kernel::{ConsumerId, KeyId, ServiceKeyId, Timestamp, WebhookId};

use crate::store::{KeyRow, ServiceKeyRow, WebhookRow};

macro_rules! events {
    ($($(#[$doc:meta])* $event:ident = $word:literal;)*) => {
        /// A type of events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Event {$(
            $(#[$doc])*
            $event,
        )*}

        impl Event {
            /// All that an endpoint can ask for.
            pub(crate) const ALL: &[Self] = &[$(Self::$event),*];

            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$event => $word,)*
                }
            }
        }
    };
}

events! {
    KeyCreated = "key.created";
    KeyRotated = "key.rotated";
    /// However it came to be: by somebody, by a policy, by a leak.
    KeyRevoked = "key.revoked";
    /// Found in public, and revoked for that.
    KeyLeaked = "key.leaked";
    /// 30 days, 7 days and a day before.
    KeyExpiring = "key.expiring";
    /// A planned rotation: 7 days and a day before, and when it is due.
    KeyRotationDue = "key.rotation_due";
    /// It was not rotated by its deadline, and none of its secrets passes any more.
    KeyRetired = "key.retired";
    /// Of a calendar limit: 80 % and all of it.
    QuotaReached = "quota.reached";
    /// An endpoint was disabled because nothing reached it.
    WebhookDisabled = "webhook.disabled";
}

/// What an endpoint is told to see whether that arrives. Nobody asks for it.
pub(crate) const TEST: &str = "webhook.test";

impl Event {
    /// The type with this name.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|event| event.as_str() == word)
    }

    /// What is told of a deed, by its name in the audit log.
    pub(crate) fn of(action: &str) -> &'static [Self] {
        match action {
            "key.create" => &[Self::KeyCreated],
            "key.rotate" => &[Self::KeyRotated],
            "key.revoke" => &[Self::KeyRevoked],
            "key.leaked" => &[Self::KeyLeaked, Self::KeyRevoked],
            "service_key.leaked" => &[Self::KeyLeaked],
            "key.expiring" => &[Self::KeyExpiring],
            "key.rotation.announce" => &[Self::KeyRotationDue],
            "key.retire" => &[Self::KeyRetired],
            "quota.reached" => &[Self::QuotaReached],
            "webhook.disable" => &[Self::WebhookDisabled],
            _ => &[],
        }
    }
}

/// The body of a message: `type`, `timestamp` and `data`, as Standard Webhooks has it.
pub(crate) fn body(event: &str, at: Timestamp, data: &Map<String, Value>) -> String {
    json!({ "type": event, "timestamp": text(at), "data": data }).to_string()
}

/// A key, as endpoints are told of it: nothing of its secrets but how it begins.
pub(crate) fn key(row: &KeyRow) -> Value {
    json!({
        "id": KeyId::from(row.id),
        "name": row.name,
        "start": row.start,
        "environment": row.environment,
        "consumer_id": row.consumer_id.map(ConsumerId::from),
        "created_at": text(row.created_at.0),
        "expires_at": optional(row.expires_at),
        "revoked_at": optional(row.revoked_at),
    })
}

/// A service key, likewise.
pub(crate) fn service_key(row: &ServiceKeyRow) -> Value {
    json!({
        "id": ServiceKeyId::from(row.id),
        "name": row.name,
        "start": row.start,
        "created_at": text(row.created_at.0),
        "expires_at": optional(row.expires_at),
        "revoked_at": optional(row.revoked_at),
    })
}

/// An endpoint, likewise.
pub(crate) fn webhook(row: &WebhookRow) -> Value {
    json!({
        "id": WebhookId::from(row.id),
        "url": row.url,
        "description": row.description,
        "disabled_for": row.disabled_for,
        "failing_since": optional(row.failing_since),
    })
}

/// An instant, as RFC 3339 has it.
pub(crate) fn text(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn optional(at: Option<DbTime>) -> Option<String> {
    at.map(|at| text(at.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_to_one() {
        for event in Event::ALL.iter().copied() {
            assert_eq!(Event::named(event.as_str()), Some(event));
        }
        assert_eq!(Event::named("key.Created"), None);
        assert_eq!(Event::named(TEST), None, "which nobody can ask for");
        assert!(Event::of("key.update").is_empty());
    }

    #[test]
    fn a_body_is_what_the_standard_says() {
        let at = "2026-01-01T00:00:00.5Z".parse().expect("a time");
        let data = Map::from_iter([("a".to_owned(), json!(1))]);
        let expected =
            json!({ "type": "key.created", "timestamp": "2026-01-01T00:00:00.500Z", "data": { "a": 1 } });
        let found: Value = serde_json::from_str(&body("key.created", at, &data)).expect("JSON");
        assert_eq!(found, expected);
    }
}
