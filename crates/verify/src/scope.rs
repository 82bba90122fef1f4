//! Scopes: what one that a key holds grants, and what a call may require. Pure.
//!
//! A scope is `resource.action`: segments of `a-z 0-9 _ : -` with dots between them. A key may hold wildcards: `orders.*` grants
//! `orders.read` and `orders.items.read`, and `*` grants all. A requirement has none: it is a list of scopes, all of which are
//! needed, or a [`ScopeExpression`].

use std::{fmt, str::FromStr};

mod parse;

/// The most characters of a scope.
pub const SCOPE_CHARACTERS: usize = 100;
/// The most characters of an expression.
pub const EXPRESSION_CHARACTERS: usize = 4096;
/// The most scopes in an expression.
pub const EXPRESSION_TERMS: usize = 32;
/// The most parentheses within one another.
pub const EXPRESSION_DEPTH: usize = 8;

/// Whether the text is a scope without a wildcard: 1 to 100 characters of `a-z 0-9 _ . : -`.
pub fn is_scope(text: &str) -> bool {
    (1..=SCOPE_CHARACTERS).contains(&text.len()) && text.bytes().all(is_scope_byte)
}

/// Whether a key may hold the text as a scope: a scope, or one whose whole last segment is `*`.
pub fn is_grantable(text: &str) -> bool {
    let start = match text.strip_suffix('*') {
        Some("") => return true,
        Some(start) => start.strip_suffix('.').unwrap_or_default(),
        None => text,
    };
    is_scope(start) && text.len() <= SCOPE_CHARACTERS
}

/// Whether a held scope grants a required one. A requirement with a wildcard is granted by nothing.
pub fn grants(held: &str, required: &str) -> bool {
    !required.contains('*') && includes(held, required)
}

/// Whether a held scope grants whatever the other one grants, which may be a wildcard too.
pub fn includes(held: &str, other: &str) -> bool {
    match held.strip_suffix('*') {
        Some(start) if start.is_empty() || start.ends_with('.') => {
            other.len() > start.len() && other.starts_with(start)
        }
        _ => held == other,
    }
}

fn is_scope_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.:-".contains(&byte)
}

/// What a call requires of a key's scopes: `orders.read and (reports.read or admin)`.
///
/// `and` binds tighter than `or`; both are words in lower case, so a scope of that name cannot be required here. At most 32
/// scopes, 8 parentheses within one another and 4096 characters. Written back by `Display`, with the parentheses that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeExpression(Node);

/// No node holds one of its own kind, nor fewer than two others.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Scope(String),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeSyntaxError {
    /// The character that cannot be there, counted from 1; one after the last: something is missing.
    pub position: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl ScopeExpression {
    /// Whether a key that holds these scopes meets it.
    pub fn is_met_by<T: AsRef<str>>(&self, held: &[T]) -> bool {
        self.0.holds(&|required| held.iter().any(|it| grants(it.as_ref(), required)))
    }
}

impl Node {
    fn holds(&self, granted: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Scope(scope) => granted(scope),
            Self::All(parts) => parts.iter().all(|part| part.holds(granted)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(granted)),
        }
    }
}

impl FromStr for ScopeExpression {
    type Err = ScopeSyntaxError;

    fn from_str(text: &str) -> Result<Self, ScopeSyntaxError> {
        parse::expression(text).map(Self)
    }
}

impl fmt::Display for ScopeExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::Scope(scope) => return f.write_str(scope),
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                f.write_str(word)?;
            }
            match (self, part) {
                (Self::All(_), Self::Any(_)) => write!(f, "({part})")?,
                _ => part.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for ScopeSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.position, self.reason)
    }
}

impl std::error::Error for ScopeSyntaxError {}

#[cfg(test)]
mod tests;
