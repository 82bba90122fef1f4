//! The secrets of endpoints: made, sealed at rest, and signed with as Standard Webhooks 1.0 says
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tollgate_kernel::{Entropy, Fault, MasterKey, SecretString, WebhookId};

/// Bytes. The standard asks for 24 to 64.
const LENGTH: usize = 32;
const PREFIX: &str = "whsec_";

/// What signs. Does not print.
pub(crate) struct SigningSecret([u8; LENGTH]);

impl SigningSecret {
    pub(crate) fn draw(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// As its owner keeps it.
    pub(crate) fn shown(&self) -> SecretString {
        format!("{PREFIX}{}", STANDARD.encode(self.0)).into()
    }

    /// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. `at`: seconds since 1970.
    fn sign(&self, id: &str, at: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    }
}

/// The header `webhook-signature`: one signature for each secret, the newest first, with spaces between them.
pub(crate) fn signatures(secrets: &[SigningSecret], id: &str, at: i64, body: &str) -> String {
    secrets.iter().map(|secret| secret.sign(id, at, body)).collect::<Vec<_>>().join(" ")
}

/// Seals secrets with AES-256-GCM under a key derived from the master key: a random nonce, then the secret and its tag. The
/// endpoint's id is authenticated with it, so that two rows cannot be swapped.
pub(crate) struct Seal(LessSafeKey);

impl Seal {
    pub(crate) fn new(master: &MasterKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &master.derive("keys webhook secret seal v1"));
        Self(LessSafeKey::new(key.expect("32 bytes are an AES-256 key")))
    }

    pub(crate) fn close(&self, id: WebhookId, secret: &SigningSecret, entropy: &dyn Entropy) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = entropy.bytes();
        let mut sealed = secret.0.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(id), &mut sealed)
            .expect("32 bytes are within what GCM seals");
        [&nonce[..], &sealed].concat()
    }

    /// # Errors
    /// [`tollgate_kernel::Code::Internal`] if it was sealed under another master key or for another endpoint, or was changed.
    pub(crate) fn open(&self, id: WebhookId, sealed: &[u8]) -> Result<SigningSecret, Fault> {
        let opened = sealed.split_first_chunk::<NONCE_LEN>().and_then(|(nonce, rest)| {
            let mut rest = rest.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let plain = self.0.open_in_place(nonce, aad(id), &mut rest).ok()?;
            plain.try_into().ok().map(SigningSecret)
        });
        opened.ok_or_else(|| {
            Fault::internal(format!(
                "the secret of {id} does not open: was it sealed under another master key?"
            ))
        })
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

fn aad(id: WebhookId) -> Aad<String> {
    Aad::from(format!("tollgate webhook {id}"))
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::{ExposeSecret as _, OsEntropy};
    use uuid::Uuid;

    use super::*;

    fn seal(byte: &str) -> Seal {
        Seal::new(&MasterKey::parse(&byte.repeat(32).into()).expect("a key"))
    }

    fn id(n: u128) -> WebhookId {
        WebhookId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn only_the_same_row_under_the_same_master_key_opens() {
        let secret = SigningSecret::draw(&OsEntropy);
        let sealed = seal("00").close(id(1), &secret, &OsEntropy);
        assert_eq!(seal("00").open(id(1), &sealed).expect("opened").0, secret.0);
        assert!(seal("00").open(id(2), &sealed).is_err());
        assert!(seal("01").open(id(1), &sealed).is_err());
        assert!(seal("00").open(id(1), &sealed[..8]).is_err());
        let mut changed = sealed;
        changed[20] ^= 1;
        assert!(seal("00").open(id(1), &changed).is_err());
    }

    #[test]
    fn it_signs_as_another_implementation_does() {
        // Computed with Python: base64(hmac.new(secret, b"msg_1.1700000000.{}", sha256)), secrets of 32 bytes 0x07 and 0x08.
        let secrets = [SigningSecret([7; LENGTH]), SigningSecret([8; LENGTH])];
        let expected =
            "v1,nuLLyheCKcS2N8JNOFt5stk98R+umYWr26/ZTfdtGM8= v1,84gPJAUcNeDMC8k7aSV7033+RtTD0QJweEbQE97nkpw=";
        assert_eq!(signatures(&secrets, "msg_1", 1_700_000_000, "{}"), expected);
        let shown = secrets[0].shown();
        assert_eq!(shown.expose_secret(), "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    }
}
