//! Typed ids: a prefix that says what is named, and a UUIDv7 (RFC 9562 §5.7) in Crockford's base32, lower case.
//!
//! `key_01jd3t9y2ve5rbq2m8xg7kz4hn`: 26 characters after the prefix; they sort by time of creation.
//! One spelling per id: upper case, missing zeros and look-alike letters are refused.

use std::{fmt, hash::Hash, marker::PhantomData, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

use crate::{Clock, Entropy};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: usize = 26;

/// What an id names.
pub trait IdKind: Copy + Eq + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// The prefix, without the underscore.
    const PREFIX: &'static str;
}

/// An id of one kind of thing. Two kinds do not mix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<K: IdKind>(Uuid, PhantomData<K>);

/// The text is not an id of the kind that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an id that starts with `{expected}_`")]
pub struct IdError {
    /// The prefix of the kind that was expected.
    pub expected: &'static str,
}

impl<K: IdKind> Id<K> {
    /// A new id: the clock's milliseconds and 74 random bits.
    pub fn new(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
        let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
        let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &entropy.bytes()).into_uuid();
        Self::from_uuid(uuid)
    }

    /// The id with this UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The UUID, as databases store it.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl<K: IdKind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.as_u128();
        let mut text = [0_u8; LENGTH];
        for (place, letter) in text.iter_mut().rev().enumerate() {
            *letter = ALPHABET[((bits >> (5 * place)) & 31) as usize];
        }
        let text = std::str::from_utf8(&text).expect("the alphabet is ASCII");
        write!(f, "{}_{text}", K::PREFIX)
    }
}

impl<K: IdKind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: IdKind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = IdError { expected: K::PREFIX };
        let digits = text.strip_prefix(K::PREFIX).and_then(|rest| rest.strip_prefix('_')).ok_or(error)?;
        // 26 digits carry 130 bits; a first digit above 7 would not fit into 128.
        if digits.len() != LENGTH || digits.as_bytes()[0] > b'7' {
            return Err(error);
        }
        let bits = digits.bytes().try_fold(0_u128, |bits, letter| {
            let value = ALPHABET.iter().position(|known| *known == letter)?;
            Some(bits << 5 | value as u128)
        });
        bits.map(|bits| Self::from_uuid(Uuid::from_u128(bits))).ok_or(error)
    }
}

impl<K: IdKind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: IdKind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $id:ident = $kind:ident($prefix:literal);)*) => {$(
        #[doc = concat!("The kind of [`", stringify!($id), "`].")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind;

        impl IdKind for $kind {
            const PREFIX: &'static str = $prefix;
        }

        $(#[$doc])*
        pub type $id = Id<$kind>;
    )*};
}

kinds! {
    /// Names a user: `usr_…`.
    UserId = User("usr");
    /// Names a session: `ses_…`. Not a secret, and never accepted as one.
    SessionId = Session("ses");
    /// Names a workspace: `ws_…`.
    WorkspaceId = Workspace("ws");
    /// Names a key: `key_…`. The key's secrets have ids of their own.
    KeyId = Key("key");
    /// Names one secret of a key: `sec_…`.
    SecretId = Secret("sec");
    /// Names a service key: `svc_…`.
    ServiceKeyId = ServiceKey("svc");
    /// Names a plan: `pln_…`.
    PlanId = Plan("pln");
    /// Names a consumer: `con_…`.
    ConsumerId = Consumer("con");
    /// Names a role, a named set of scopes: `rol_…`.
    RoleId = Role("rol");
    /// Names an invitation into a workspace: `inv_…`. Not its token.
    InvitationId = Invitation("inv");
    /// Names an account of credits: `crd_…`.
    CreditAccountId = CreditAccount("crd");
    /// Names an endpoint that is told of events: `whk_…`.
    WebhookId = Webhook("whk");
    /// Names what endpoints are told of one event, whichever endpoint and however often: `msg_…`.
    MessageId = Message("msg");
    /// Names the telling of one endpoint of one event: `dlv_…`.
    DeliveryId = Delivery("dlv");
    /// Names a signing key's row: `sgn_…`. Its `kid` is its RFC 7638 thumbprint.
    SigningKeyId = SigningKey("sgn");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_survives_its_text(bits: u128) {
            let id = KeyId::from_uuid(Uuid::from_u128(bits));
            let text = id.to_string();
            prop_assert_eq!(text.len(), "key_".len() + LENGTH);
            prop_assert_eq!(text.parse(), Ok(id));
        }

        #[test]
        fn text_sorts_as_the_id_does(a: u128, b: u128) {
            let (a, b) = (KeyId::from_uuid(Uuid::from_u128(a)), KeyId::from_uuid(Uuid::from_u128(b)));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn no_other_text_parses(text in ".{0,40}") {
            if let Ok(id) = text.parse::<KeyId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn one_spelling_only() {
        let text = KeyId::from_uuid(Uuid::from_u128(1)).to_string();
        assert_eq!(text, "key_00000000000000000000000001");
        for wrong in [
            "usr_00000000000000000000000001",
            "key_0000000000000000000000001",
            "key_0000000000000000000000000l",
            "key_0000000000000000000000000A",
            "key_80000000000000000000000000",
            "key_é0000000000000000000000001",
            "key00000000000000000000000001",
            "",
        ] {
            assert_eq!(wrong.parse::<KeyId>(), Err(IdError { expected: "key" }), "{wrong}");
        }
    }
}
