//! Passwords: which are good enough, and how they are stored. Where the work is done is [`crate::hasher`].
//!
//! Standards: NIST SP 800-63B-4 §3.1.1.2 (length, no composition rules, one Unicode form), RFC 9106 (Argon2), PHC string
//! format.

use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version, password_hash::phc};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tollgate_kernel::Fault;
use unicode_normalization::UnicodeNormalization;

use crate::config::PasswordConfig;

/// Characters (Unicode scalar values) in normal form C.
const MIN_CHARACTERS: usize = 15;
const MAX_CHARACTERS: usize = 256;
/// As received. Normalizing is work, so what is longer is refused before it.
const MAX_BYTES: usize = 4096;

/// What a stored hash may ask for. More is refused, so that a row that was tampered with cannot take the machine's memory.
const MAX_STORED_KIB: u32 = 256 * 1024;
const MAX_STORED_PASSES: u32 = 16;
const MAX_STORED_LANES: u32 = 16;

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// A password in normal form C. Nothing is cut, trimmed or folded.
#[derive(Debug, Clone)]
pub(crate) struct Password(SecretString);

impl Password {
    /// A password that somebody chooses: 15 to 256 characters, none of them NUL. No other rule.
    pub(crate) fn chosen(text: &str) -> Result<Self, Fault> {
        let password = Self::presented(text)?;
        if password.0.expose_secret().chars().count() < MIN_CHARACTERS {
            return Err(refusal("is shorter than 15 characters"));
        }
        Ok(password)
    }

    /// A password that somebody presents. It may be shorter than one that is chosen today: rules change, passwords stay.
    pub(crate) fn presented(text: &str) -> Result<Self, Fault> {
        if text.contains('\0') {
            return Err(refusal("holds a NUL character"));
        }
        if text.len() > MAX_BYTES {
            return Err(refusal("is longer than 256 characters"));
        }
        let normal: String = text.nfc().collect();
        if normal.chars().count() > MAX_CHARACTERS {
            return Err(refusal("is longer than 256 characters"));
        }
        Ok(Self(normal.into()))
    }

    fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

fn refusal(detail: &'static str) -> Fault {
    Fault::invalid("/password", detail)
}

/// The scheme that new hashes are made with.
#[derive(Debug, Clone)]
pub(crate) struct Scheme(Params);

/// A stored hash that asks for more than is allowed, or is not an Argon2id PHC string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored password hash is not one that may be computed")]
pub(crate) struct Unusable;

impl Scheme {
    /// The configured scheme.
    pub(crate) fn new(config: &PasswordConfig) -> Self {
        let (memory, passes, lanes) = (config.memory_kib, config.passes, config.lanes);
        let params = Params::new(memory.get(), passes.get(), lanes.get(), Some(OUTPUT_BYTES));
        Self(params.expect("the bounds of the configuration are within those of Argon2"))
    }

    /// Blocks of memory that one hash of this scheme takes.
    pub(crate) fn blocks(&self) -> usize {
        self.0.block_count()
    }

    /// The PHC string to store.
    pub(crate) fn hash(&self, password: &Password, salt: [u8; SALT_BYTES], memory: &mut [Block]) -> String {
        let output = compute(&self.0, password, &salt, memory).expect("a configured scheme computes");
        let params = phc::ParamsString::try_from(&self.0).expect("three short numbers fit");
        let stored = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params,
            salt: Some(phc::Salt::new(&salt).expect("16 bytes are a salt")),
            hash: Some(phc::Output::new(&output).expect("32 bytes are an output")),
        };
        stored.to_string()
    }

    /// Whether `stored` was made by another scheme, so that it is to be replaced at the next login.
    pub(crate) fn is_outdated(&self, stored: &Stored) -> bool {
        let parts =
            |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost(), params.output_len());
        parts(&self.0) != parts(&stored.params)
    }
}

/// A stored hash that has been read and may be computed.
#[derive(Debug)]
pub(crate) struct Stored {
    params: Params,
    salt: phc::Salt,
    output: phc::Output,
}

impl Stored {
    /// Reads a PHC string. Argon2id version 19 only, within bounds.
    pub(crate) fn parse(text: &str) -> Result<Self, Unusable> {
        let parsed = PasswordHash::new(text).map_err(|_| Unusable)?;
        let known =
            parsed.algorithm == Algorithm::Argon2id.ident() && parsed.version == Some(Version::V0x13.into());
        let (Some(salt), Some(output), true) = (parsed.salt, parsed.hash, known) else {
            return Err(Unusable);
        };
        let params = Params::try_from(&parsed).map_err(|_| Unusable)?;
        let modest = params.m_cost() <= MAX_STORED_KIB
            && params.t_cost() <= MAX_STORED_PASSES
            && params.p_cost() <= MAX_STORED_LANES;
        if !modest || !params.keyid().is_empty() || !params.data().is_empty() {
            return Err(Unusable);
        }
        Ok(Self { params, salt, output })
    }

    /// Blocks of memory that checking takes.
    pub(crate) fn blocks(&self) -> usize {
        self.params.block_count()
    }

    /// Whether this is the password; the outputs are compared in constant time.
    pub(crate) fn matches(&self, password: &Password, memory: &mut [Block]) -> bool {
        compute(&self.params, password, &self.salt, memory)
            .is_ok_and(|output| output.ct_eq(self.output.as_bytes()).into())
    }
}

fn compute(
    params: &Params,
    password: &Password,
    salt: &[u8],
    memory: &mut [Block],
) -> argon2::Result<Vec<u8>> {
    let mut output = vec![0; params.output_len().unwrap_or(OUTPUT_BYTES)];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone()).hash_password_into_with_memory(
        password.bytes(),
        salt,
        &mut output,
        memory,
    )?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const GOOD: &str = "correct horse battery";

    fn scheme(passes: u32) -> Scheme {
        Scheme::new(&serde_json::from_value(json!({"memory_kib": 7168, "passes": passes})).unwrap())
    }

    fn memory(blocks: usize) -> Vec<Block> {
        vec![Block::default(); blocks]
    }

    fn hash(scheme: &Scheme, password: &str) -> String {
        let password = Password::chosen(password).unwrap();
        scheme.hash(&password, [7; SALT_BYTES], &mut memory(scheme.blocks()))
    }

    fn matches(stored: &str, password: &str) -> bool {
        let stored = Stored::parse(stored).unwrap();
        stored.matches(&Password::presented(password).unwrap(), &mut memory(stored.blocks()))
    }

    #[test]
    fn only_the_same_password_matches() {
        let stored = hash(&scheme(1), GOOD);
        assert!(stored.starts_with("$argon2id$v=19$m=7168,t=1,p=1$"), "{stored}");
        assert!(matches(&stored, GOOD));
        for wrong in ["", "Correct horse battery", "correct horse battery ", "correct horse batter"] {
            assert!(!matches(&stored, wrong), "{wrong}");
        }
    }

    #[test]
    fn the_known_answer_of_the_reference_implementation_matches() {
        // phc-winner-argon2, src/test.c: Argon2id, version 0x13, t=2, m=65536, p=1.
        let known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(matches(known, "password"));
        assert!(!matches(known, "passwore"));
    }

    #[test]
    fn the_two_unicode_spellings_of_a_letter_are_one_password() {
        let stored = hash(&scheme(1), "fifteen caf\u{e9} characters");
        assert!(matches(&stored, "fifteen cafe\u{301} characters"));
    }

    #[test]
    fn the_whole_of_a_long_password_counts() {
        let long = "x".repeat(256);
        let stored = hash(&scheme(1), &long);
        assert!(matches(&stored, &long));
        assert!(!matches(&stored, &long[..255]));
    }

    #[test]
    fn the_policy_is_length_and_no_nul() {
        for (password, good) in [
            ("fourteen chars".to_owned(), false),
            ("fifteen charact".to_owned(), true),
            ("               ".to_owned(), true),
            ("ü".repeat(15), true),
            ("ü".repeat(256), true),
            ("ü".repeat(257), false),
            ("x".repeat(5000), false),
            (format!("{GOOD}\0"), false),
        ] {
            let checked = Password::chosen(&password);
            assert_eq!(checked.is_ok(), good, "{password:?}");
            if let Err(fault) = checked {
                assert_eq!(fault.violated()[0].pointer, "/password");
                assert!(!format!("{fault:?}").contains(&password));
            }
        }
    }

    #[test]
    fn a_stored_hash_cannot_ask_for_much() {
        let rest = "$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(Stored::parse(&format!("$argon2id$v=19$m=262144,t=16,p=1{rest}")).is_ok());
        for wrong in [
            "$argon2id$v=19$m=262145,t=1,p=1",
            "$argon2id$v=19$m=8192,t=17,p=1",
            "$argon2id$v=19$m=8192,t=1,p=17",
            "$argon2id$v=19$m=4194304,t=1,p=1",
            "$argon2id$v=16$m=8192,t=1,p=1",
            "$argon2id$m=8192,t=1,p=1",
            "$argon2i$v=19$m=8192,t=1,p=1",
            "$scrypt$v=19$m=8192,t=1,p=1",
            "plain",
        ] {
            assert_eq!(Stored::parse(&format!("{wrong}{rest}")).unwrap_err(), Unusable, "{wrong}");
        }
    }

    #[test]
    fn other_parameters_are_outdated() {
        let stored = Stored::parse(&hash(&scheme(1), GOOD)).unwrap();
        assert!(!scheme(1).is_outdated(&stored));
        assert!(scheme(2).is_outdated(&stored));
    }

    #[test]
    fn debug_does_not_show_it() {
        assert!(!format!("{:?}", Password::chosen(GOOD).unwrap()).contains(GOOD));
    }

    proptest! {
        #[test]
        fn reading_a_stored_hash_never_panics(text in "\\$argon2id\\$v=19\\$[mtp=,0-9]{0,20}\\$?[A-Za-z0-9+/]{0,30}") {
            let _ = Stored::parse(&text);
        }
    }
}
