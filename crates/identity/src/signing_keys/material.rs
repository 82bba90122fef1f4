//! What a signing key is made of: an ES256 pair, sealed at rest, with its public half as a JWK.
//!
//! The public half is always computed from the sealed private one and never stored beside it, so that whoever can write
//! to the database cannot add a key of their own.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tollgate_kernel::{Entropy, Fault, MasterKey, SigningKeyId};

/// An uncompressed point of P-256: a tag, then both coordinates.
const COORDINATE: usize = 32;

/// A key that is ready to sign.
pub(crate) struct SigningKey {
    kid: String,
    jwk: Value,
    encoding: EncodingKey,
}

/// Seals private keys with AES-256-GCM under a key derived from the master key. What is sealed is a random nonce, then the
/// PKCS#8 document and its tag; the row's id is authenticated with it, so that two rows cannot be swapped.
pub(crate) struct Seal(LessSafeKey);

impl SigningKey {
    /// A new key, sealed for the row with this id.
    pub(crate) fn generate(id: SigningKeyId, seal: &Seal, entropy: &dyn Entropy) -> Vec<u8> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .expect("generating a P-256 key does not fail");
        seal.close(id, document.as_ref(), entropy)
    }

    /// The key that was sealed for this row.
    ///
    /// # Errors
    /// [`tollgate_kernel::Code::Internal`] if it was sealed under another master key or for another row, or was changed.
    pub(crate) fn open(id: SigningKeyId, sealed: &[u8], seal: &Seal) -> Result<Self, Fault> {
        let document = seal.open(id, sealed)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document)
            .map_err(|error| Fault::internal(format!("signing key {id} is not a P-256 key: {error}")))?;
        let (kid, jwk) = public(pair.public_key().as_ref());
        Ok(Self { kid, jwk, encoding: EncodingKey::from_ec_der(&document) })
    }

    /// The RFC 7638 thumbprint of the public key.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK (RFC 7517 §4), without any private member.
    pub(crate) fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// The private key, for signing.
    pub(crate) fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The thumbprint and the JWK of a point.
fn public(point: &[u8]) -> (String, Value) {
    let x = URL_SAFE_NO_PAD.encode(&point[1..=COORDINATE]);
    let y = URL_SAFE_NO_PAD.encode(&point[1 + COORDINATE..]);
    // RFC 7638 §3.2: the required members only, in this order, without white space.
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": "sig", "alg": "ES256"});
    (kid, jwk)
}

impl Seal {
    /// The seal under this master key.
    pub(crate) fn new(master: &MasterKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &master.derive("identity signing key seal v1"));
        Self(LessSafeKey::new(key.expect("32 bytes are an AES-256 key")))
    }

    fn close(&self, id: SigningKeyId, plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = entropy.bytes();
        let mut sealed = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(id), &mut sealed)
            .expect("a key of a hundred bytes is within what GCM seals");
        [&nonce[..], &sealed].concat()
    }

    fn open(&self, id: SigningKeyId, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let opened = sealed.split_first_chunk::<NONCE_LEN>().and_then(|(nonce, rest)| {
            let mut rest = rest.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = self.0.open_in_place(nonce, aad(id), &mut rest).ok()?.len();
            rest.truncate(length);
            Some(rest)
        });
        opened.ok_or_else(|| {
            Fault::internal(format!(
                "signing key {id} does not open: was it sealed under another master key?"
            ))
        })
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

fn aad(id: SigningKeyId) -> Aad<String> {
    Aad::from(format!("tollgate signing key {id}"))
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::OsEntropy;
    use uuid::Uuid;

    use super::*;

    fn seal(byte: &str) -> Seal {
        Seal::new(&MasterKey::parse(&byte.repeat(32).into()).unwrap())
    }

    fn id(n: u128) -> SigningKeyId {
        SigningKeyId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn only_the_same_row_under_the_same_master_key_opens() {
        let sealed = SigningKey::generate(id(1), &seal("00"), &OsEntropy);
        assert!(SigningKey::open(id(1), &sealed, &seal("00")).is_ok());
        assert!(SigningKey::open(id(2), &sealed, &seal("00")).is_err());
        assert!(SigningKey::open(id(1), &sealed, &seal("01")).is_err());
        assert!(SigningKey::open(id(1), &sealed[..8], &seal("00")).is_err());
        let mut changed = sealed;
        changed[40] ^= 1;
        assert!(SigningKey::open(id(1), &changed, &seal("00")).is_err());
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        // Computed with another implementation (Python, hashlib) over the point of RFC 7517 appendix A.1.
        let x = URL_SAFE_NO_PAD.decode("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4").unwrap();
        let y = URL_SAFE_NO_PAD.decode("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM").unwrap();
        let (kid, jwk) = public(&[&[4], &x[..], &y[..]].concat());
        assert_eq!(kid, "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
        assert_eq!(jwk["kid"], *kid);
        assert_eq!(jwk["x"], "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4");
    }

    #[test]
    fn the_jwk_has_public_members_only() {
        let sealed = SigningKey::generate(id(1), &seal("00"), &OsEntropy);
        let key = SigningKey::open(id(1), &sealed, &seal("00")).unwrap();
        let mut members: Vec<_> = key.jwk().as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!(format!("{key:?}"), format!("SigningKey {{ kid: \"{}\", .. }}", key.kid()));
    }
}
