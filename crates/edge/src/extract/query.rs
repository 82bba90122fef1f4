//! Query parameters of a known form: no unknown one, none twice.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;
use tollgate_kernel::{Fault, Violation};

use super::reason::{escape, pointer, violation};
use crate::problem::Problem;

/// The query, as a `T` with `#[serde(deny_unknown_fields)]`.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self(parse(parts.uri.query().unwrap_or_default())?))
    }
}

/// A query of which some parameters have names that clients make up: `prefix` and a name. The others are a `T`.
pub(crate) struct QueryWith<T, P>(pub(crate) T, pub(crate) Vec<(String, String)>, pub(crate) PhantomData<P>);

/// What made-up names begin with.
pub(crate) trait Prefix {
    const PREFIX: &'static str;
}

impl<S: Send + Sync, T: DeserializeOwned, P: Prefix> FromRequestParts<S> for QueryWith<T, P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let made_up = |name: &str| name.starts_with(P::PREFIX);
        let typed = parse_some(query, |name| !made_up(name))?;
        let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| made_up(name));
        let found = pairs.map(|(name, value)| (name[P::PREFIX.len()..].to_owned(), value.into_owned()));
        Ok(Self(typed, found.collect(), PhantomData))
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Fault> {
    parse_some(query, |_| true)
}

fn parse_some<T: DeserializeOwned>(query: &str, is_typed: impl Fn(&str) -> bool) -> Result<T, Fault> {
    let pairs = || form_urlencoded::parse(query.as_bytes());
    if let Some((name, _)) = pairs().find(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(Fault::invalid(format!("/{}", escape(&name)), "must not contain U+0000"));
    }
    let typed = pairs().filter(|(name, _)| is_typed(name));
    let mut text = form_urlencoded::Serializer::new(String::new());
    let text = text.extend_pairs(typed).finish();
    let pairs = form_urlencoded::parse(text.as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
        .map_err(|error| Fault::violations(vec![named(error.path(), &error.inner().to_string())]))
}

/// A query is flat, and serde says of a parameter that is unknown or there twice only its name.
fn named(path: &serde_path_to_error::Path, message: &str) -> Violation {
    let at = match (pointer(path), message.split('`').nth(1)) {
        (at, Some(name)) if at.is_empty() && !message.starts_with("missing ") => format!("/{}", escape(name)),
        (at, _) => at,
    };
    violation(at, message)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use tollgate_kernel::Timestamp;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        limit: Option<u32>,
        cursor: Option<String>,
        from: Option<Timestamp>,
    }

    #[test]
    fn a_good_query_passes() {
        let page: Page = parse("limit=5&cursor=a%20b").expect("parses");
        assert_eq!((page.limit, page.cursor.as_deref()), (Some(5), Some("a b")));
        assert_eq!(parse::<Page>("").expect("parses").limit, None);
        assert!(parse::<Page>("from=2026-01-01T00:00:00Z").expect("parses").from.is_some());
    }

    #[test]
    fn a_bad_one_is_refused_and_named() {
        for (query, pointer, detail) in [
            ("limit=x", "/limit", "is not valid"),
            ("limit=-1", "/limit", "is not valid"),
            ("limit=", "/limit", "is not valid"),
            ("limit=1&limit=2", "/limit", "is there twice"),
            ("page=1", "/page", "is not a known field"),
            ("a/b=1", "/a~1b", "is not a known field"),
            ("tg_live_hunter2=1", "/…", "is not a known field"),
            ("cursor=%00", "/cursor", "must not contain U+0000"),
            ("from=yesterday", "/from", "is not valid"),
        ] {
            let fault = parse::<Page>(query).expect_err("refused");
            let [violation] = fault.violated() else { panic!("one violation: {fault:?}") };
            assert_eq!((&*violation.pointer, &*violation.detail), (pointer, detail), "{query}");
        }
    }
}
