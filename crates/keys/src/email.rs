//! E-mail addresses of those who are invited: kept as they were written, compared as identity compares them. Pure.

use std::fmt;

use tollgate_kernel::email_key;

use crate::input::Problems;

/// RFC 5321 §4.5.3.1.3, less the angle brackets.
const MAX_BYTES: usize = 254;

/// An address. Does not print itself: it is personal data.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email {
    pub(crate) given: String,
    /// In normal form C and lower case: two that are the same here are the same to identity.
    pub(crate) key: String,
}

impl Email {
    /// At most 254 bytes, one `@` with something on either side, no white space or control character. Whether identity would
    /// have a user by it is not asked: for one that it would not, nobody ever comes.
    pub(crate) fn parse(text: &str, problems: &mut Problems) -> Self {
        let odd = |letter: char| letter.is_whitespace() || letter.is_control();
        let parts = text.split_once('@');
        let fine = parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !text.contains(odd)
        });
        if !fine || text.len() > MAX_BYTES {
            problems.add("/email", format!("must be an e-mail address of at most {MAX_BYTES} bytes"));
        }
        Self { given: text.to_owned(), key: email_key(text) }
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Email> {
        let mut problems = Problems::default();
        let email = Email::parse(text, &mut problems);
        problems.check().is_ok().then_some(email)
    }

    #[test]
    fn one_spelling_to_compare() {
        for (a, b) in [("Ann@Example.com", "aNN@eXample.COM"), ("e\u{301}@example.com", "É@example.com")] {
            let (a, b) = (parse(a).expect("an address"), parse(b).expect("an address"));
            assert_eq!(a.key, b.key);
            assert_ne!(a.given, b.given);
        }
        assert_ne!(parse("a@example.com").expect("one").key, parse("a@example.org").expect("one").key);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("a@{}.com", "b".repeat(250));
        for wrong in ["", "a", "a@", "@b", "a@b@c", "a b@c", "a@b\n", "a@b\0", &long] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
        assert_eq!(format!("{:?}", parse("a@b")), "Some(Email(..))");
    }
}
