//! A question about a key, as HTTP and gRPC ask it, checked. Pure.

use tollgate_kernel::Fault;
use tollgate_verify::{Environment, ScopeExpression, ScopeSyntaxError};

use crate::{gate::Question, seen};

const MAX_SCOPES: usize = 64;
const MAX_SCOPE_LENGTH: usize = 100;
const MAX_COST: u32 = 1_000_000_000;
const MAX_REQUEST_ID: usize = 128;
const MAX_HOLD: u32 = 86_400;
const HOLD: u32 = 600;

/// A [`Question`] before it is checked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) scopes: Vec<String>,
    /// Empty: none.
    pub(crate) scope_expression: String,
    /// Absent reads as 1.
    pub(crate) cost: Option<u32>,
    /// Empty: not known.
    pub(crate) client_ip: String,
    pub(crate) environment: Option<Environment>,
    pub(crate) dry_run: bool,
    pub(crate) request_id: String,
    /// Empty: not known. Of any length: what is too long to keep is no reason to refuse a call.
    pub(crate) user_agent: String,
    /// To be settled or refunded later.
    pub(crate) reserve: bool,
    /// For how many seconds that is possible; absent reads as 600.
    pub(crate) hold_seconds: Option<u32>,
}

impl TryFrom<Asked> for Question {
    type Error = Fault;

    fn try_from(asked: Asked) -> Result<Self, Fault> {
        if asked.scopes.len() > MAX_SCOPES {
            return Err(Fault::invalid("/scopes", "must have at most 64 items"));
        }
        if let Some(place) = asked.scopes.iter().position(|it| !(1..=MAX_SCOPE_LENGTH).contains(&it.len())) {
            return Err(Fault::invalid(format!("/scopes/{place}"), "must have 1 to 100 characters"));
        }
        if let Some(place) = asked.scopes.iter().position(|it| it.contains('*')) {
            return Err(Fault::invalid(format!("/scopes/{place}"), "must not contain a wildcard"));
        }
        let expression =
            match asked.scope_expression.as_str() {
                "" => None,
                text => Some(text.parse::<ScopeExpression>().map_err(|error: ScopeSyntaxError| {
                    Fault::invalid("/scope_expression", error.to_string())
                })?),
            };
        if asked.cost.is_some_and(|cost| cost > MAX_COST) {
            return Err(Fault::invalid("/cost", "must be at most 1000000000"));
        }
        if asked.request_id.chars().count() > MAX_REQUEST_ID {
            return Err(Fault::invalid("/request_id", "must have at most 128 characters"));
        }
        let reserve = reservation(&asked)?;
        let client_ip = match asked.client_ip.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| Fault::invalid("/client_ip", "is not an IP address"))?),
        };
        Ok(Self {
            scopes: asked.scopes,
            expression,
            cost: asked.cost.unwrap_or(1),
            client_ip,
            environment: asked.environment,
            dry_run: asked.dry_run,
            request_id: asked.request_id,
            user_agent: seen::user_agent(&asked.user_agent),
            reserve,
        })
    }
}

/// For how long the call is reserved, if it is.
fn reservation(asked: &Asked) -> Result<Option<u32>, Fault> {
    match asked.hold_seconds {
        Some(_) if !asked.reserve => {
            return Err(Fault::invalid("/hold_seconds", "is of a call with `reserve` only"));
        }
        Some(seconds) if !(1..=MAX_HOLD).contains(&seconds) => {
            return Err(Fault::invalid("/hold_seconds", format!("must be 1 to {MAX_HOLD}")));
        }
        _ if !asked.reserve => return Ok(None),
        _ => {}
    }
    if asked.dry_run {
        return Err(Fault::invalid("/reserve", "reserves nothing with `dry_run`"));
    }
    if asked.request_id.is_empty() {
        return Err(Fault::invalid("/request_id", "is required: what is reserved is settled by it"));
    }
    Ok(Some(asked.hold_seconds.unwrap_or(HOLD)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_one_unit_and_nothing_required() {
        let question = Question::try_from(Asked::default()).expect("fine");
        assert_eq!(format!("{question:?}"), format!("{:?}", Question::default()));
    }

    #[test]
    fn bounds_are_named() {
        let asked = Asked::default;
        for (asked, pointer) in [
            (Asked { scopes: vec!["a".into(); 65], ..asked() }, "/scopes"),
            (Asked { scopes: vec!["a".into(), String::new()], ..asked() }, "/scopes/1"),
            (Asked { scopes: vec!["a".repeat(101)], ..asked() }, "/scopes/0"),
            (Asked { cost: Some(1_000_000_001), ..asked() }, "/cost"),
            (Asked { scopes: vec!["a".into(), "a.*".into()], ..asked() }, "/scopes/1"),
            (Asked { scope_expression: "a and".into(), ..asked() }, "/scope_expression"),
            (Asked { scope_expression: " ".into(), ..asked() }, "/scope_expression"),
            (Asked { client_ip: "localhost".into(), ..asked() }, "/client_ip"),
            (Asked { request_id: "x".repeat(129), ..asked() }, "/request_id"),
            (Asked { reserve: true, ..asked() }, "/request_id"),
            (Asked { reserve: true, dry_run: true, request_id: "x".into(), ..asked() }, "/reserve"),
            (Asked { hold_seconds: Some(1), ..asked() }, "/hold_seconds"),
            (Asked { reserve: true, hold_seconds: Some(0), ..asked() }, "/hold_seconds"),
            (Asked { reserve: true, hold_seconds: Some(86_401), ..asked() }, "/hold_seconds"),
        ] {
            let fault = Question::try_from(asked).expect_err("refused");
            assert_eq!(fault.violated()[0].pointer, pointer);
        }
        let most = Asked {
            scopes: vec!["a".repeat(100); 64],
            cost: Some(1_000_000_000),
            scope_expression: "a and (b or c)".into(),
            client_ip: "::1".into(),
            request_id: "é".repeat(128),
            ..asked()
        };
        assert!(Question::try_from(most).is_ok());
    }
}
