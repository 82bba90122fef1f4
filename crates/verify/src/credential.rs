//! Takes the one credential out of a request's headers. Pure: whether it is valid is for the verifier to say.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use tollgate_kernel::SecretString;

use crate::imported::is_token;

/// The header that carries an API key or a service key.
pub static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Longest credential that is looked at, in bytes.
const MAX_LENGTH: usize = 8 * 1024;

/// What a request presents, told apart by its shape.
pub enum Credential {
    /// Anything that is neither of the others; whether it has the form of a key is for
    /// [`Verifier::presented`](crate::Verifier::presented) to say.
    Key(SecretString),
    /// Starts with `tg_svc_`.
    ServiceKey(SecretString),
    /// Three parts between dots, the first of which is a JSON object: a JWS in compact form.
    Token(SecretString),
}

/// Why there is no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// None was sent.
    Absent,
    /// More than one was sent: guessing which is meant would be a hole.
    Ambiguous,
    /// Something was sent that cannot be a credential: empty, of another scheme, too long, not visible ASCII.
    Unusable,
}

impl Credential {
    /// The credential of a request with these headers.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Missing> {
        let keys = headers.get_all(&API_KEY).iter().map(|value| (value, false));
        let bearers = headers.get_all(AUTHORIZATION).iter().map(|value| (value, true));
        let mut all = keys.chain(bearers);
        let (value, bearer) = all.next().ok_or(Missing::Absent)?;
        if all.next().is_some() {
            return Err(Missing::Ambiguous);
        }
        let text = visible(value)?;
        match Self::from_text(if bearer { after_bearer(text)? } else { text })? {
            // A token is a bearer token, and goes where RFC 6750 puts it.
            Self::Token(_) if !bearer => Err(Missing::Unusable),
            credential => Ok(credential),
        }
    }

    /// The credential that this text is, without a scheme before it.
    pub fn from_text(text: &str) -> Result<Self, Missing> {
        if text.is_empty() || text.len() > MAX_LENGTH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Missing::Unusable);
        }
        let secret = SecretString::from(text);
        Ok(if text.starts_with("tg_svc_") {
            Self::ServiceKey(secret)
        } else if is_token(text) {
            Self::Token(secret)
        } else {
            Self::Key(secret)
        })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::ServiceKey(_) => "ServiceKey",
            Self::Token(_) => "Token",
        })
    }
}

fn visible(value: &HeaderValue) -> Result<&str, Missing> {
    value.to_str().map_err(|_| Missing::Unusable)
}

/// RFC 6750 section 2.1; the scheme without regard to case (RFC 9110 section 11.1).
fn after_bearer(text: &str) -> Result<&str, Missing> {
    let (scheme, rest) = text.split_once(' ').ok_or(Missing::Unusable)?;
    if scheme.eq_ignore_ascii_case("Bearer") {
        Ok(rest.trim_start_matches(' '))
    } else {
        Err(Missing::Unusable)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::ExposeSecret;

    use super::*;

    type Headers<'a> = &'a [(&'a str, &'a [u8])];

    fn taken(headers: Headers<'_>) -> Result<(&'static str, String), Missing> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            map.append(name, HeaderValue::from_bytes(value).expect("a value"));
        }
        Credential::from_headers(&map).map(|credential| match credential {
            Credential::Key(it) => ("key", it.expose_secret().to_owned()),
            Credential::ServiceKey(it) => ("service key", it.expose_secret().to_owned()),
            Credential::Token(it) => ("token", it.expose_secret().to_owned()),
        })
    }

    #[test]
    fn one_credential_is_taken_by_its_shape() {
        for (name, value, kind, text) in [
            ("x-api-key", "tg_live_abc", "key", "tg_live_abc"),
            ("X-API-Key", "tg_svc_abc", "service key", "tg_svc_abc"),
            ("x-api-key", "anything", "key", "anything"),
            ("authorization", "Bearer tg_live_abc", "key", "tg_live_abc"),
            ("authorization", "bearer tg_test_abc", "key", "tg_test_abc"),
            ("authorization", "BEARER  tg_svc_abc", "service key", "tg_svc_abc"),
            ("authorization", "Bearer eyJ.b.c", "token", "eyJ.b.c"),
            ("authorization", "Bearer eyJ..", "token", "eyJ.."),
            ("authorization", "Bearer a.b.c", "key", "a.b.c"),
            ("x-api-key", "SG.b.c", "key", "SG.b.c"),
            ("authorization", "Bearer eyJ.b.c.d", "key", "eyJ.b.c.d"),
            ("authorization", "Bearer a.b", "key", "a.b"),
            ("authorization", "Bearer a.b.c.d", "key", "a.b.c.d"),
            ("authorization", "Bearer tg_rt_x.y.z", "key", "tg_rt_x.y.z"),
        ] {
            assert_eq!(taken(&[(name, value.as_bytes())]), Ok((kind, text.to_owned())), "{name}: {value}");
        }
    }

    #[test]
    fn what_is_no_credential_is_refused() {
        let long = vec![b'a'; MAX_LENGTH + 1];
        let table: [(Headers<'_>, Missing); 15] = [
            (&[], Missing::Absent),
            (&[("cookie", b"a=b")], Missing::Absent),
            (&[("x-api-key", b"a"), ("x-api-key", b"a")], Missing::Ambiguous),
            (&[("x-api-key", b"a"), ("authorization", b"Bearer a")], Missing::Ambiguous),
            (&[("x-api-key", b""), ("authorization", b"Bearer a")], Missing::Ambiguous),
            (&[("authorization", b"Bearer a"), ("authorization", b"Bearer b")], Missing::Ambiguous),
            (&[("x-api-key", b"")], Missing::Unusable),
            (&[("x-api-key", b"eyJ.b.c")], Missing::Unusable),
            (&[("x-api-key", b"a b")], Missing::Unusable),
            (&[("x-api-key", "schlüssel".as_bytes())], Missing::Unusable),
            (&[("authorization", b"Bearer")], Missing::Unusable),
            (&[("authorization", b"Bearer ")], Missing::Unusable),
            (&[("authorization", b"Basic dXNlcjpwYXNz")], Missing::Unusable),
            (&[("authorization", b"tg_live_abc")], Missing::Unusable),
            (&[("x-api-key", &long)], Missing::Unusable),
        ];
        for (headers, expected) in table {
            assert_eq!(taken(headers), Err(expected), "{headers:?}");
        }
    }

    #[test]
    fn nul_and_other_controls_are_refused() {
        for text in ["a\0b", "\0", "a\tb", "a\u{7f}", "é"] {
            assert!(matches!(Credential::from_text(text), Err(Missing::Unusable)), "{text:?}");
        }
    }

    #[test]
    fn the_longest_is_taken() {
        assert!(taken(&[("x-api-key", &vec![b'a'; MAX_LENGTH])]).is_ok());
    }

    #[test]
    fn a_credential_does_not_print() {
        let credential = Credential::from_text("tg_live_hunter2").expect("usable");
        assert!(!format!("{credential:?}").contains("hunter2"));
    }
}
