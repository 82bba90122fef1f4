//! E-mail addresses: what looks like one, and which two are the same. Whether mail arrives is not decided here.

use std::fmt;

use tollgate_kernel::{Fault, email_key};

/// RFC 5321 §4.5.3.1.3, less the angle brackets.
const MAX_BYTES: usize = 254;
/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;

/// An address as its owner wrote it. Does not print itself: it is personal data.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email {
    given: String,
    key: String,
}

impl Email {
    /// Reads an address: at most 254 bytes, one `@`, at most 64 bytes before it, labels between single dots behind it,
    /// no white space or control character anywhere. Nothing is trimmed or mended.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        match complaint(text) {
            Some(detail) => Err(Fault::invalid("/email", detail)),
            None => Ok(Self { given: text.to_owned(), key: email_key(text) }),
        }
    }

    /// The address as it was given: where mail goes.
    pub(crate) fn given(&self) -> &str {
        &self.given
    }

    /// The address as it is compared: two that differ in case only are one.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(..)")
    }
}

fn complaint(text: &str) -> Option<&'static str> {
    if text.len() > MAX_BYTES {
        return Some("is longer than 254 bytes");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("holds white space or a control character");
    }
    let Some((local, domain)) = text.split_once('@') else { return Some("has no @") };
    if domain.contains('@') {
        return Some("has more than one @");
    }
    if local.is_empty() || local.len() > MAX_LOCAL_BYTES {
        return Some("must have 1 to 64 bytes before the @");
    }
    (!is_domain(domain)).then_some("does not end in a domain name")
}

/// Labels of letters and digits of any script, with hyphens inside.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || !c.is_ascii())
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_does_not_tell_two_addresses_apart() {
        let (a, b) = (Email::parse("Ann@Example.com").unwrap(), Email::parse("aNN@eXample.COM").unwrap());
        assert_eq!(a.key(), b.key());
        assert_eq!(a.given(), "Ann@Example.com");
    }

    #[test]
    fn plain_and_odd_addresses_pass() {
        for good in
            ["a@b", "ann+tag@mail.example.com", "o'neil@example.com", "jörg@müller.example", "a.b@x-y.z"]
        {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let (long, local) = (format!("a@{}", "b".repeat(253)), format!("{}@b", "a".repeat(65)));
        for wrong in [
            "",
            "a",
            "@",
            "@b",
            "a@",
            "a@b@c",
            " a@b",
            "a@b ",
            "a b@c",
            "a@b\n",
            "a\0@b",
            "a@.b",
            "a@b.",
            "a@b..c",
            "a@-b",
            "a@b_c",
            "a@[1.2.3.4]",
            "a\u{a0}@b",
            &long,
            &local,
        ] {
            let fault = Email::parse(wrong).unwrap_err();
            assert_eq!(fault.violated()[0].pointer, "/email", "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_what_it_takes(text in "\\PC{0,80}@?\\PC{0,20}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(email.given(), text);
            }
        }
    }
}
