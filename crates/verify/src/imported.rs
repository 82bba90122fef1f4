//! What a credential may look like that is no Tollgate key: one that was made elsewhere, and may have been imported by its
//! hash. No I/O; whether there is such a key is for the keys role to say.

use std::fmt;

use aws_lc_rs::digest;
use secrecy::ExposeSecret;
use tollgate_kernel::SecretString;

use crate::key::same_digest;

/// Shorter ones could be guessed.
const SHORTEST: usize = 16;
const LONGEST: usize = 256;

/// A credential that somebody presented, of no form that we know: 16 to 256 visible ASCII characters. Nothing that begins with
/// `tg_` is one, since that is ours, and no access token.
#[derive(Clone)]
pub struct ImportedKey {
    text: SecretString,
    digest: ImportedDigest,
}

/// SHA-256 of the whole credential: by it a grant is held, so that no cache holds the credential.
#[derive(Clone, Copy)]
pub(crate) struct ImportedDigest([u8; 32]);

impl ImportedKey {
    /// Takes what could be one.
    pub fn parse(text: &str) -> Option<Self> {
        let sound =
            (SHORTEST..=LONGEST).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_graphic());
        if !sound || text.starts_with("tg_") || is_token(text) {
            return None;
        }
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hash = hash.as_ref().try_into().expect("SHA-256 is 32 bytes");
        Some(Self { text: text.into(), digest: ImportedDigest(hash) })
    }

    /// The whole credential.
    pub fn text(&self) -> &str {
        self.text.expose_secret()
    }

    /// SHA-256 of the whole credential.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.digest.0
    }

    pub(crate) fn digest(&self) -> ImportedDigest {
        self.digest
    }
}

impl fmt::Debug for ImportedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportedKey")
    }
}

// By hand, so that a look-up in a cache compares digests in constant time too.
impl PartialEq for ImportedDigest {
    fn eq(&self, other: &Self) -> bool {
        same_digest(&self.0, &other.0)
    }
}

impl Eq for ImportedDigest {}

impl std::hash::Hash for ImportedDigest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// A JWS in compact form (RFC 7515 section 7.1): three parts, of which the first is a JSON object in base64url.
pub(crate) fn is_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_one() {
        for (text, could) in [
            ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", true),
            ("SG.ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf", true),
            ("0123456789abcdef", true),
            ("0123456789abcde", false),
            (&"k".repeat(256), true),
            (&"k".repeat(257), false),
            ("sk_live_with a space", false),
            ("sk_live_schl\u{fc}ssel_lang", false),
            ("sk_live_\0_0123456789", false),
            ("tg_live_0123456789abcdef", false),
            ("tg_rt_0123456789abcdefgh", false),
            ("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", false),
            ("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0", true),
        ] {
            assert_eq!(ImportedKey::parse(text).is_some(), could, "{text}");
        }
    }

    #[test]
    fn the_digest_is_of_the_whole_text() {
        let key = ImportedKey::parse("0123456789abcdef").expect("could be one");
        // printf 0123456789abcdef | sha256sum
        let expected = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
        let bytes = (0..expected.len()).step_by(2).map(|at| u8::from_str_radix(&expected[at..at + 2], 16));
        assert!(bytes.map(|it| it.expect("hex")).eq(key.sha256().iter().copied()));
        assert!(!format!("{key:?}").contains("0123"));
    }
}
