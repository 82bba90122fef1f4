//! The master key: 32 bytes from which the roles derive every key that they keep secrets with.

use std::fmt;

use aws_lc_rs::hkdf;
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::{ExposeSecret, SecretBox, SecretString};

use crate::{Code, Fault, unhex};

const LENGTH: usize = 32;

/// Padding may be there or not; trailing bits must be zero.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What everything else is derived from. Never used as a key itself, and never stored by a role.
pub struct MasterKey(SecretBox<[u8; LENGTH]>);

impl MasterKey {
    /// The key that a text says: 64 hexadecimal digits, or base64 (either alphabet, padded or not) of 32 bytes. White
    /// space around it, such as a file's last newline, is ignored.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] for anything else. The fault does not repeat the text.
    pub fn parse(text: &SecretString) -> Result<Self, Fault> {
        let text = text.expose_secret().trim();
        let hex = if text.len() == 2 * LENGTH { unhex(text) } else { None };
        let bytes = hex.or_else(|| STANDARD.decode(text).ok()).or_else(|| URL_SAFE.decode(text).ok());
        let key = bytes.and_then(|bytes| <[u8; LENGTH]>::try_from(bytes).ok());
        key.map(|key| Self(SecretBox::new(Box::new(key)))).ok_or_else(|| {
            let rule = "The master key must be 32 bytes, written as 64 hexadecimal digits or as base64.";
            Fault::new(Code::InvalidArgument, rule)
        })
    }

    /// The key for one purpose: HKDF-SHA256 (RFC 5869) with the label as `info`.
    pub fn derive(&self, label: &str) -> [u8; LENGTH] {
        let mut key = [0; LENGTH];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"tollgate")
            .extract(self.0.expose_secret())
            .expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(&mut key))
            .expect("32 bytes are what one round of HKDF-SHA256 gives");
        key
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<MasterKey, Fault> {
        MasterKey::parse(&text.into())
    }

    #[test]
    fn every_spelling_is_the_same_key() {
        let hex = parse(&"fb".repeat(32)).unwrap().derive("a");
        let same = [
            "FB".repeat(32),
            "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=".to_owned(),
            "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s\n".to_owned(),
        ];
        for text in same {
            assert_eq!(parse(&text).unwrap().derive("a"), hex, "{text}");
        }
    }

    #[test]
    fn a_label_is_a_key_of_its_own() {
        let key = parse(&"00".repeat(32)).unwrap();
        assert_ne!(key.derive("a"), key.derive("b"));
        assert_ne!(key.derive("a"), parse(&"01".repeat(32)).unwrap().derive("a"));
    }

    #[test]
    fn anything_else_is_refused_and_not_repeated() {
        for wrong in ["", "short", &"0g".repeat(32), &"00".repeat(31), &"AAAA".repeat(11)] {
            let fault = parse(wrong).unwrap_err();
            assert_eq!(fault.code(), Code::InvalidArgument);
            assert!(wrong.is_empty() || !format!("{fault:?}").contains(wrong));
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", parse(&"00".repeat(32)).unwrap()), "MasterKey(..)");
    }
}
