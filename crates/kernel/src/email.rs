//! Which two e-mail addresses are one: for all who compare them, or somebody would be another here than there.

use unicode_normalization::UnicodeNormalization;

/// An address as it is compared: in normal form C and lower case.
pub fn email_key(address: &str) -> String {
    address.nfc().collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one() {
        assert_eq!(email_key("E\u{301}va@Example.COM"), email_key("\u{e9}va@example.com"));
        assert_ne!(email_key("eva@example.com"), email_key("\u{e9}va@example.com"));
    }
}
