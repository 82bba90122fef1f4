//! Hashes of keys that were made elsewhere: which are known, and what they say. Pure.
//!
//! SHA-256 and SHA-512 of a whole key are the key's name: it is found by them. Hashes with a salt are not: a key of those is found
//! by its first characters and then compared, which takes long ([`Slow`]).

use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, PasswordHash, Version, password_hash::phc};
use aws_lc_rs::{
    digest::{SHA256, digest},
    pbkdf2,
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use tollgate_kernel::unhex;
use tollgate_verify::same_digest;

const LONGEST: usize = 512;
/// What a hash may ask for: about a second of one core, and 64 MiB.
const BCRYPT_COST: u32 = 14;
const ARGON2_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 10;
const ARGON2_LANES: u32 = 8;
const PBKDF2_ITERATIONS: u32 = 2_000_000;
const PUBLIC_ID: usize = 12;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A hash that was read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Hash {
    /// Of the whole key.
    Sha256([u8; 32]),
    /// Of the whole key.
    Sha512([u8; 64]),
    Slow(Slow),
    /// A key of another Tollgate: what is looked up, and SHA-256 of the secret part.
    Tollgate {
        public_id: String,
        digest: [u8; 32],
    },
}

/// A hash with a salt, as text: `$2b$…`, `$argon2id$…` or `pbkdf2_sha256$…`, within bounds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Slow(String);

/// Why a hash cannot be taken: a JSON pointer into what was given, and what is wrong there.
pub(crate) type Wrong = (&'static str, String);

impl Hash {
    /// Reads a hash. `algorithm`: what it is said to be; empty: what it looks like.
    pub(crate) fn parse(text: &str, algorithm: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(|it| it.is_ascii_graphic()) {
            return Err(("/hash", format!("must have 1 to {LONGEST} visible ASCII characters")));
        }
        let hash = Self::read(text).map_err(|detail| ("/hash", detail))?;
        if !algorithm.is_empty() && algorithm != hash.algorithm() {
            let detail = format!("is not what the hash looks like, which is `{}`", hash.algorithm());
            return Err(("/algorithm", detail));
        }
        Ok(hash)
    }

    fn read(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("tollgate$") {
            return tollgate(rest).ok_or_else(|| "is not a Tollgate key as an export writes it".to_owned());
        }
        if text.starts_with("$2") || text.starts_with("$argon2") || text.starts_with("pbkdf2_") {
            return Slow::parse(text).map(Self::Slow);
        }
        // As Django writes it.
        if let Some(rest) = text.strip_prefix("argon2$") {
            return Slow::parse(&format!("${rest}")).map(Self::Slow);
        }
        let named = |length, names: [&str; 2]| {
            let rest = names.iter().find_map(|name| text.strip_prefix(name))?;
            bytes(rest).filter(|it| it.len() == length)
        };
        let plain = named(32, ["sha256$$", "sha256:"]).or_else(|| named(64, ["sha512$$", "sha512:"]));
        let plain = plain.or_else(|| bytes(text)).ok_or_else(unknown)?;
        match plain.len() {
            32 => Ok(Self::Sha256(plain.try_into().expect("32 bytes"))),
            _ => Ok(Self::Sha512(plain.try_into().expect("32 or 64 bytes"))),
        }
    }

    /// Its word.
    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
            Self::Slow(Slow(text)) if text.starts_with("$2") => "bcrypt",
            Self::Slow(Slow(text)) if text.starts_with("$argon2") => "argon2",
            Self::Slow(_) => "pbkdf2_sha256",
            Self::Tollgate { .. } => "tollgate",
        }
    }

    /// SHA-256 of the hash in its one spelling: by which it is known if it comes again.
    pub(crate) fn fingerprint(&self) -> Vec<u8> {
        let written = match self {
            Self::Sha256(bytes) => [b"sha256\0", &bytes[..]].concat(),
            Self::Sha512(bytes) => [b"sha512\0", &bytes[..]].concat(),
            Self::Slow(Slow(text)) => [b"slow\0", text.as_bytes()].concat(),
            Self::Tollgate { public_id, digest } => [public_id.as_bytes(), &digest[..]].concat(),
        };
        digest(&SHA256, &written).as_ref().to_vec()
    }
}

fn unknown() -> String {
    "is of no form that can be imported: SHA-256 or SHA-512 of the whole key in hex, base64 or base64url, bcrypt, Argon2, or \
     pbkdf2_sha256"
        .to_owned()
}

/// 32 or 64 bytes, in hex, base64 or base64url; which of these, the length says.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = match text.len() {
        64 | 128 => unhex(text),
        43 | 44 | 86 | 88 => base64(text),
        _ => None,
    };
    bytes.filter(|it| matches!(it.len(), 32 | 64))
}

/// With the letters of one alphabet or of the other, not of both.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (has_url, has_plain) = (text.contains(['-', '_']), text.contains(['+', '/']));
    if has_url && has_plain {
        return None;
    }
    BASE64.decode(text.replace('-', "+").replace('_', "/")).ok()
}

fn tollgate(text: &str) -> Option<Hash> {
    let (public_id, digest) = text.split_once('$')?;
    let sound = public_id.len() == PUBLIC_ID && public_id.bytes().all(|it| it.is_ascii_alphanumeric());
    let digest = unhex(digest)?.try_into().ok()?;
    sound.then(|| Hash::Tollgate { public_id: public_id.to_owned(), digest })
}

impl Slow {
    /// Reads one; refuses what asks for more than is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let checked = if text.starts_with("$2") {
            bcrypt_cost(text).map(|cost| (4..=BCRYPT_COST).contains(&cost))
        } else if text.starts_with("$argon2") {
            Phc::parse(text).map(|phc| phc.is_modest())
        } else {
            Pbkdf2::parse(text).map(|it| it.iterations.get() <= PBKDF2_ITERATIONS)
        };
        match checked {
            Some(true) => Ok(Self(text.to_owned())),
            Some(false) => Err("asks for more work than one key may cost".to_owned()),
            None => Err(unknown()),
        }
    }

    /// As it is stored and written.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Whether it is the hash of this. Takes long. Outputs are compared in constant time.
    pub(crate) fn matches(&self, presented: &str) -> bool {
        if self.0.starts_with("$2") {
            // Beyond 72 bytes bcrypt sees nothing, here as where the key was made.
            bcrypt::verify(presented, &self.0).unwrap_or(false)
        } else if self.0.starts_with("$argon2") {
            Phc::parse(&self.0).is_some_and(|phc| phc.matches(presented))
        } else {
            Pbkdf2::parse(&self.0).is_some_and(|it| it.matches(presented))
        }
    }
}

fn bcrypt_cost(text: &str) -> Option<u32> {
    // `$2x$` names hashes of a broken implementation.
    let known = ["$2a$", "$2b$", "$2y$"].iter().any(|it| text.starts_with(it));
    text.parse::<bcrypt::HashParts>().ok().filter(|_| known).map(|it| it.get_cost())
}

/// An Argon2 hash in PHC form.
struct Phc {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: phc::Salt,
    output: phc::Output,
}

impl Phc {
    fn parse(text: &str) -> Option<Self> {
        let parsed = PasswordHash::new(text).ok()?;
        let params = Params::try_from(&parsed).ok()?;
        let version = parsed.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
        Some(Self {
            algorithm: Algorithm::try_from(parsed.algorithm.as_str()).ok()?,
            version,
            params,
            salt: parsed.salt?,
            output: parsed.hash?,
        })
    }

    fn is_modest(&self) -> bool {
        let params = &self.params;
        let small = params.m_cost() <= ARGON2_KIB
            && params.t_cost() <= ARGON2_PASSES
            && params.p_cost() <= ARGON2_LANES;
        small && params.keyid().is_empty() && params.data().is_empty()
    }

    fn matches(&self, presented: &str) -> bool {
        let mut output = vec![0; self.output.as_bytes().len()];
        let argon2 = Argon2::new(self.algorithm, self.version, self.params.clone());
        let computed = argon2.hash_password_into(presented.as_bytes(), &self.salt, &mut output);
        computed.is_ok() && same_digest(&output, self.output.as_bytes())
    }
}

/// As Django writes it: `pbkdf2_sha256$<iterations>$<salt>$<base64>`.
struct Pbkdf2<'a> {
    iterations: NonZeroU32,
    salt: &'a str,
    output: Vec<u8>,
}

impl<'a> Pbkdf2<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.strip_prefix("pbkdf2_sha256$")?.split('$');
        let (iterations, salt, output) = (parts.next()?, parts.next()?, parts.next()?);
        let output = base64(output).filter(|it| it.len() == 32 && parts.next().is_none())?;
        let plain = !salt.is_empty() && iterations.bytes().all(|it| it.is_ascii_digit());
        Some(Self { iterations: iterations.parse().ok().filter(|_| plain)?, salt, output })
    }

    fn matches(&self, presented: &str) -> bool {
        let (salt, algorithm) = (self.salt.as_bytes(), pbkdf2::PBKDF2_HMAC_SHA256);
        pbkdf2::verify(algorithm, self.iterations, salt, presented.as_bytes(), &self.output).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of a hash of `0123456789abcdef`, by tools that are not ours, and its word.
    const KNOWN: [(&str, &str); 9] = [
        ("9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f", "sha256"),
        ("9F9F5111F7B27A781F1F1DDDE5EBC2DD2B796BFC7365C9C28B548E564176929F", "sha256"),
        ("n59REfeyengfHx3d5evC3St5a/xzZcnCi1SOVkF2kp8=", "sha256"),
        ("n59REfeyengfHx3d5evC3St5a_xzZcnCi1SOVkF2kp8", "sha256"),
        ("sha256$$9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f", "sha256"),
        (SHA512, "sha512"),
        ("$2b$04$srQK6z8g2R3vQfa0qk7EUO4NPioSRWDt6ZV6/GU267gFlDK9/a8Nm", "bcrypt"),
        (ARGON2, "argon2"),
        (PBKDF2, "pbkdf2_sha256"),
    ];
    const SHA512: &str = "1c043fbe4bca7c7920dae536c680fd44c15d71ec12cd82a2a9491b0043b57f4d0b8905985e85ad13831ee6d39e55a54e8f808cc82c41a0582931bbc0c0221d60";
    const ARGON2: &str =
        "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA$MNRFs/xNeJIs4KSw0SYrzKYAVci8NkuT//QDSlhN+gY";
    const PBKDF2: &str = "pbkdf2_sha256$1000$somesalt12345678$geTLHw8IwZzSRslqGe8l7pCCUdvH3K4QRWywIVhDACk=";

    #[test]
    fn each_form_is_read_as_what_it_is() {
        for (text, algorithm) in KNOWN {
            let Ok(hash) = Hash::parse(text, "") else { panic!("{text}") };
            assert_eq!(hash.algorithm(), algorithm, "{text}");
            assert!(Hash::parse(text, algorithm).is_ok(), "{text}");
            let other = if algorithm == "sha256" { "sha512" } else { "sha256" };
            assert_eq!(Hash::parse(text, other).err().map(|it| it.0), Some("/algorithm"), "{text}");
        }
    }

    #[test]
    fn spellings_of_one_hash_are_one_hash() {
        let fingerprints: Vec<_> =
            KNOWN[..5].iter().map(|(text, _)| Hash::parse(text, "").expect("read").fingerprint()).collect();
        assert!(fingerprints.iter().all(|it| *it == fingerprints[0]));
        let django = format!("argon2{ARGON2}");
        let both = [django.as_str(), ARGON2].map(|text| Hash::parse(text, "").expect("read").fingerprint());
        assert_eq!(both[0], both[1]);
    }

    #[test]
    fn a_slow_hash_matches_its_key_only() {
        for (text, algorithm) in &KNOWN[6..] {
            let slow = Slow::parse(text).expect("read");
            assert!(slow.matches("0123456789abcdef"), "{algorithm}");
            assert!(!slow.matches("0123456789abcdeF") && !slow.matches(""), "{algorithm}");
        }
    }

    #[test]
    fn what_cannot_be_imported_is_refused() {
        for wrong in [
            "",
            "x",
            "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929",
            "zf9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f",
            "n59REfeyengfHx3d5evC3St5a/xzZcnCi1SOVkF2kp_=",
            // MD5 and SHA-1, and what Django makes of them.
            "4032af8d61035123906e58e067140cc5",
            "fe5567e8d769550852182cdf69d74bb16dff8e29",
            "md5$salt$4032af8d61035123906e58e067140cc5",
            "bcrypt_sha256$$2b$04$srQK6z8g2R3vQfa0qk7EUO4NPioSRWDt6ZV6/GU267gFlDK9/a8Nm",
            "scrypt$16384$salt$8$1$abc",
            "pbkdf2_sha1$1000$salt$abc",
            "$2x$04$srQK6z8g2R3vQfa0qk7EUO4NPioSRWDt6ZV6/GU267gFlDK9/a8Nm",
            "$2b$04$short",
            "sha512$$9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f",
            "tollgate$short$9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f",
            "tollgate$0AZaz9123456$9f9f",
        ] {
            assert!(Hash::parse(wrong, "").is_err(), "{wrong}");
        }
        for greedy in [
            "$2b$15$srQK6z8g2R3vQfa0qk7EUO4NPioSRWDt6ZV6/GU267gFlDK9/a8Nm".to_owned(),
            ARGON2.replace("m=", "m=9"),
            ARGON2.replace("t=", "t=99"),
            PBKDF2.replace("256$", "256$9999"),
        ] {
            assert!(Slow::parse(&greedy).is_err(), "{greedy}");
        }
        let tollgate =
            "tollgate$0AZaz9123456$9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
        assert!(matches!(Hash::parse(tollgate, "tollgate"), Ok(Hash::Tollgate { .. })));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[$a-z0-9=,+/_-]{0,140}|\\$(2b|argon2id|argon2d)\\$[!-~]{0,120}|pbkdf2_sha256\\$[!-~]{0,80}|[^\\x00]{0,80}") {
            let _ = Hash::parse(&text, "");
        }
    }
}
