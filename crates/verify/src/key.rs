//! How a key is written: made by [`mint`], taken apart by [`PresentedKey::parse`]. No I/O.
//!
//! ```text
//! tg_live_ 1aB2cD3eF4gH <43 digits> <6 digits>
//! prefix   public id    secret      CRC-32 (ISO-HDLC) of all before
//! ```
//! Digits are base62 (`0-9A-Za-z`), numbers are big-endian and of fixed width. The secret is 32 random bytes; what is
//! stored is the SHA-256 of its 43 characters. One spelling per key: a secret that does not fit into 32 bytes is
//! malformed, and so is anything with other check digits.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use aws_lc_rs::digest;
use secrecy::zeroize::Zeroizing;
use subtle::ConstantTimeEq;
use tollgate_kernel::{Entropy, SecretString};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PUBLIC_ID: usize = 12;
const SECRET: usize = 43;
const CHECK: usize = 6;
/// How much of the public id a key's visible start shows.
const SHOWN: usize = 4;

/// What a key is for, as its prefix says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// An API key of the live environment: `tg_live_…`.
    Live,
    /// An API key of the test environment: `tg_test_…`.
    Test,
    /// A service key: `tg_svc_…`.
    Service,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Live, Self::Test, Self::Service];

    /// What a key of this kind starts with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Live => "tg_live_",
            Self::Test => "tg_test_",
            Self::Service => "tg_svc_",
        }
    }
}

/// A key that somebody presented, and that has the right shape. Whether it exists is not known yet.
#[derive(Clone)]
pub struct PresentedKey {
    /// As its prefix says.
    pub kind: KeyKind,
    /// The 12 characters by which it is looked up; not a secret.
    pub public_id: String,
    /// SHA-256 of the 43 characters of the secret.
    pub digest: [u8; 32],
}

impl PresentedKey {
    /// Takes a key apart, or says `None`: malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = KeyKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
        let body = &text.as_bytes()[kind.prefix().len()..];
        if body.len() != PUBLIC_ID + SECRET + CHECK {
            return None;
        }
        let (public_id, rest) = body.split_at(PUBLIC_ID);
        let (secret, check) = rest.split_at(SECRET);
        let checked = &text.as_bytes()[..text.len() - CHECK];
        let sound = check == check_digits(checked) && public_id.iter().all(u8::is_ascii_alphanumeric);
        if !sound || !fits_32_bytes(secret) {
            return None;
        }
        let public_id = String::from_utf8(public_id.to_vec()).expect("base62 digits are ASCII");
        Some(Self { kind, public_id, digest: sha256(secret) })
    }
}

impl fmt::Debug for PresentedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedKey")
            .field("kind", &self.kind)
            .field("public_id", &self.public_id)
            .finish_non_exhaustive()
    }
}

// By hand, so that a look-up in a cache compares digests in constant time too.
impl PartialEq for PresentedKey {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.public_id == other.public_id
            && same_digest(&self.digest, &other.digest)
    }
}

impl Eq for PresentedKey {}

impl Hash for PresentedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.public_id.hash(state);
        self.digest.hash(state);
    }
}

/// A key that has just been made.
pub struct NewKey {
    /// The whole key in the clear: to be shown once, never stored.
    pub key: SecretString,
    /// The 12 characters by which it is looked up.
    pub public_id: String,
    /// SHA-256 of the 43 characters of the secret: what is stored.
    pub digest: [u8; 32],
    /// The prefix and the first four characters of the public id: what a person recognizes the key by.
    pub start: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("public_id", &self.public_id)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// Makes a key: 71 random bits of public id, 256 of secret.
pub fn mint(kind: KeyKind, entropy: &dyn Entropy) -> NewKey {
    let public_id = public_id(entropy);
    let secret = Zeroizing::new(to_digits::<SECRET, 32>(entropy.bytes()));
    let mut key = String::with_capacity(kind.prefix().len() + PUBLIC_ID + SECRET + CHECK);
    key.push_str(kind.prefix());
    key.push_str(&public_id);
    key.push_str(as_text(&*secret));
    let check = check_digits(key.as_bytes());
    key.push_str(as_text(&check));
    NewKey {
        key: key.into(),
        start: format!("{}{}", kind.prefix(), &public_id[..SHOWN]),
        public_id,
        digest: sha256(&*secret),
    }
}

/// Whether two digests are the same, in a time that does not depend on where they differ.
pub fn same_digest(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// Twelve digits, each of the 62 equally likely: bytes that would favour some digits are thrown away.
fn public_id(entropy: &dyn Entropy) -> String {
    let mut digits = String::with_capacity(PUBLIC_ID);
    while digits.len() < PUBLIC_ID {
        let fair = entropy.bytes::<16>().into_iter().filter(|byte| *byte < 248); // 4 * 62
        let fair = fair.map(|byte| char::from(DIGITS[usize::from(byte % 62)]));
        digits.extend(fair.take(PUBLIC_ID - digits.len()));
    }
    digits
}

fn check_digits(checked: &[u8]) -> [u8; CHECK] {
    to_digits(crc32fast::hash(checked).to_be_bytes())
}

/// A big-endian number in `WIDTH` base62 digits. The width must suffice: 6 for 32 bits, 43 for 256.
fn to_digits<const WIDTH: usize, const BYTES: usize>(number: [u8; BYTES]) -> [u8; WIDTH] {
    let mut number = Zeroizing::new(number);
    let mut digits = [0; WIDTH];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[usize::from(divide_by_62(&mut *number))];
    }
    digits
}

/// Divides a big-endian number in place and gives the remainder: schoolbook division in base 256.
fn divide_by_62(number: &mut [u8]) -> u8 {
    let mut remainder = 0_u16;
    for byte in number {
        let dividend = remainder << 8 | u16::from(*byte);
        *byte = u8::try_from(dividend / 62).expect("the remainder is below 62, so the quotient is below 256");
        remainder = dividend % 62;
    }
    u8::try_from(remainder).expect("a remainder is below 62")
}

/// Whether these are base62 digits of a number below 2^256.
fn fits_32_bytes(digits: &[u8]) -> bool {
    let mut number = Zeroizing::new([0_u8; 32]);
    digits.iter().all(|letter| digit_value(*letter).is_some_and(|digit| push_digit(&mut number, digit)))
}

fn digit_value(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'A'..=b'Z' => Some(letter - b'A' + 10),
        b'a'..=b'z' => Some(letter - b'a' + 36),
        _ => None,
    }
}

/// `number * 62 + digit` in place; false if that does not fit.
fn push_digit(number: &mut [u8; 32], digit: u8) -> bool {
    let mut carry = u16::from(digit);
    for byte in number.iter_mut().rev() {
        let [high, low] = (u16::from(*byte) * 62 + carry).to_be_bytes();
        *byte = low;
        carry = u16::from(high);
    }
    carry == 0
}

fn as_text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).expect("base62 digits are ASCII")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{prelude::*, sample};
    use tollgate_kernel::{ExposeSecret, OsEntropy};

    use super::*;

    fn kinds() -> impl Strategy<Value = KeyKind> {
        sample::select(KeyKind::ALL.to_vec())
    }

    /// A key with this secret part and right check digits.
    fn written(public_id: &str, secret: &str) -> String {
        let checked = format!("tg_live_{public_id}{secret}");
        let check = check_digits(checked.as_bytes());
        format!("{checked}{}", as_text(&check))
    }

    proptest! {
        #[test]
        fn what_is_minted_parses(kind in kinds()) {
            let new = mint(kind, &OsEntropy);
            let presented = PresentedKey::parse(new.key.expose_secret()).expect("well-formed");
            prop_assert_eq!(presented.kind, kind);
            prop_assert_eq!(&presented.public_id, &new.public_id);
            prop_assert!(same_digest(&presented.digest, &new.digest));
            prop_assert!(new.key.expose_secret().starts_with(&new.start));
            prop_assert_eq!(new.start.len(), kind.prefix().len() + 4);
            prop_assert_eq!(new.key.expose_secret().len(), kind.prefix().len() + 61);
        }

        #[test]
        fn any_changed_character_is_refused(kind in kinds(), at: sample::Index, to in any::<char>()) {
            let key = mint(kind, &OsEntropy).key;
            let mut letters: Vec<char> = key.expose_secret().chars().collect();
            let place = at.index(letters.len());
            prop_assume!(letters[place] != to);
            letters[place] = to;
            let changed: String = letters.into_iter().collect();
            prop_assert_eq!(PresentedKey::parse(&changed), None);
        }

        #[test]
        fn any_cut_or_added_end_is_refused(kind in kinds(), length in 0..69_usize, extra in "[0-9A-Za-z\\s]{1,5}") {
            let key = mint(kind, &OsEntropy).key;
            let key = key.expose_secret();
            prop_assert_eq!(PresentedKey::parse(&key[..length.min(key.len() - 1)]), None);
            let longer = format!("{key}{extra}");
            prop_assert_eq!(PresentedKey::parse(&longer), None);
            let earlier = format!("{extra}{key}");
            prop_assert_eq!(PresentedKey::parse(&earlier), None);
        }

        #[test]
        fn other_text_is_refused(text in any::<String>(), tail in "[0-9A-Za-z]{61}") {
            prop_assert_eq!(PresentedKey::parse(&text), None);
            // Of the right shape, but its check digits are right once in 2^32 times.
            let tail = format!("tg_live_{tail}");
            prop_assert_eq!(PresentedKey::parse(&tail), None);
        }

        #[test]
        fn digits_are_the_number(number: [u8; 32]) {
            let digits: [u8; SECRET] = to_digits(number);
            let mut back = [0; 32];
            for letter in digits {
                prop_assert!(push_digit(&mut back, digit_value(letter).expect("base62")));
            }
            prop_assert_eq!(back, number);
        }
    }

    #[test]
    fn a_secret_beyond_32_bytes_is_refused() {
        let id = "000000000000";
        let largest: [u8; SECRET] = to_digits([0xff; 32]);
        let largest = as_text(&largest);
        assert!(PresentedKey::parse(&written(id, largest)).is_some());
        // 2^256 - 1 ends in a digit that is not the last one, so its successor differs there alone.
        let last = DIGITS.iter().position(|d| *d == largest.as_bytes()[SECRET - 1]).expect("base62");
        let next = char::from(DIGITS[last + 1]);
        let beyond = format!("{}{next}", &largest[..SECRET - 1]);
        assert_eq!(PresentedKey::parse(&written(id, &beyond)), None);
        assert_eq!(PresentedKey::parse(&written(id, &"z".repeat(SECRET))), None);
    }

    #[test]
    fn right_check_digits_over_other_letters_are_refused() {
        assert!(PresentedKey::parse(&written("000000000000", &"0".repeat(SECRET))).is_some());
        assert_eq!(PresentedKey::parse(&written("00000000000-", &"0".repeat(SECRET))), None);
        assert_eq!(
            PresentedKey::parse(&written("000000000000", &format!("_{}", "0".repeat(SECRET - 1)))),
            None
        );
        assert_eq!(PresentedKey::parse(&written("00000000000\u{e9}", &"0".repeat(SECRET - 1))), None);
    }

    #[test]
    fn a_written_key_never_changes_its_meaning() {
        // Kept for ever: keys that were handed out must go on parsing.
        let key = written("0AZaz9123456", &"1".repeat(SECRET));
        assert_eq!(key, "tg_live_0AZaz912345611111111111111111111111111111111111111111112IlbW2");
        let presented = PresentedKey::parse(&key).expect("well-formed");
        assert_eq!(presented.public_id, "0AZaz9123456");
        assert_eq!(presented.digest, sha256("1".repeat(SECRET).as_bytes()));
    }

    #[test]
    fn public_ids_use_every_digit_alike() {
        let mut seen = HashMap::<char, u32>::new();
        for _ in 0..2_000 {
            for letter in public_id(&OsEntropy).chars() {
                *seen.entry(letter).or_default() += 1;
            }
        }
        // 24 000 draws: 387 expected of each digit, with a standard deviation of 20.
        assert_eq!(seen.len(), 62);
        assert!(seen.values().all(|count| (250..530).contains(count)), "{seen:?}");
    }

    #[test]
    fn debug_shows_no_secret_and_no_digest() {
        let new = mint(KeyKind::Live, &OsEntropy);
        let presented = PresentedKey::parse(new.key.expose_secret()).expect("well-formed");
        let shown = format!("{new:?} {presented:?}");
        let secret = &new.key.expose_secret()[8 + PUBLIC_ID..];
        assert!(!shown.contains(secret) && !shown.contains(&secret[..SECRET]));
        assert!(!shown.contains(&format!("{:?}", new.digest)) && !shown.contains("digest"));
        assert!(shown.contains(&new.public_id));
    }

    #[test]
    fn digests_are_compared_whole() {
        let digest = sha256(b"a");
        let mut other = digest;
        other[31] ^= 1;
        assert!(same_digest(&digest, &digest));
        assert!(!same_digest(&digest, &other));
        assert!(!same_digest(&digest, &digest[..31]));
        assert!(!same_digest(&digest, &[]));
    }
}
