//! What went wrong, in a form that a program can branch on and a person can read.
//!
//! A fault's `message` is public: it may reach whoever made the request. Its `source` is not: it is logged once, at the
//! boundary, and never crosses a wire. A verdict ("this key is revoked") is data, never a fault.

use std::{borrow::Cow, error::Error, fmt, time::Duration};

/// The kinds of fault. Each has one HTTP status (in `edge`) and one gRPC code (in `proto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request cannot be understood or breaks a stated rule; sending it again changes nothing.
    InvalidArgument,
    /// The caller did not say who it is, or what it said is not valid.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// What was named does not exist, or the caller may not know that it does.
    NotFound,
    /// The request collides with what is there: a unique name, an earlier state.
    Conflict,
    /// The caller asks too often; `retry_after` says when to come back.
    RateLimited,
    /// Something that is needed is down or too busy; the same request may succeed later.
    Unavailable,
    /// The answer did not come in time; the request may or may not have had an effect.
    DeadlineExceeded,
    /// A broken invariant: our mistake.
    Internal,
}

impl Code {
    /// All codes, for total tables and their tests.
    pub const ALL: [Self; 9] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::RateLimited,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Internal,
    ];

    /// The code as machines read it, in problems and in error details.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::RateLimited => "RATE_LIMITED",
            Self::Unavailable => "UNAVAILABLE",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same request may succeed later without a change.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::DeadlineExceeded)
    }
}

/// One thing that is wrong with a request: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// A JSON pointer (RFC 6901) into the request: `/limits/0/window_seconds`.
    pub pointer: Cow<'static, str>,
    /// What is wrong there, in a sentence for a person. Never repeats a secret.
    pub detail: Cow<'static, str>,
}

/// What went wrong.
pub struct Fault(Box<Inner>);

// Boxed, because a fault travels in the `Err` of every function and should not widen the `Ok`.
struct Inner {
    code: Code,
    message: Cow<'static, str>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault with a public message.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// [`Code::InvalidArgument`], with the one thing that is wrong.
    pub fn invalid(pointer: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::violations(vec![Violation { pointer: pointer.into(), detail: detail.into() }])
    }

    /// [`Code::InvalidArgument`], with everything that is wrong.
    pub fn violations(violations: Vec<Violation>) -> Self {
        let mut fault = Self::new(Code::InvalidArgument, "The request breaks a rule; see `errors`.");
        fault.0.violations = violations;
        fault
    }

    /// [`Code::Internal`]: our mistake. The cause is for the log only.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "Something went wrong on our side.").caused_by(source)
    }

    /// [`Code::Unavailable`]. The cause is for the log only.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Unavailable, "A part that this needs is not available; try again shortly.")
            .caused_by(source)
    }

    /// [`Code::NotFound`] for a thing of this kind: "There is no such key."
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("There is no such {what}."))
    }

    /// The same fault with the internal cause, which is logged and never shown.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same fault with the time after which trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// The kind of fault.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The public sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What is wrong with the request; empty unless the code is [`Code::InvalidArgument`].
    pub fn violated(&self) -> &[Violation] {
        &self.0.violations
    }

    /// How long to wait before trying again, if that is known.
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same request may succeed later without a change.
    pub fn retryable(&self) -> bool {
        self.code().retryable()
    }

    /// The internal cause and its own causes, for the log: `a: b: c`.
    pub fn cause(&self) -> Option<String> {
        let first = self.0.source.as_deref()?;
        let mut text = first.to_string();
        let mut next = first.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        Some(text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("code", &self.code())
            .field("message", &self.message())
            .field("violations", &self.violated())
            .field("retry_after", &self.wait())
            .field("cause", &self.cause())
            .finish()
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_not_in_the_message() {
        let fault = Fault::internal(std::io::Error::other("disk on fire"));
        assert_eq!(fault.to_string(), "Something went wrong on our side.");
        assert_eq!(fault.cause().as_deref(), Some("disk on fire"));
    }

    #[test]
    fn only_what_may_pass_later_is_retryable() {
        let retryable: Vec<_> = Code::ALL.into_iter().filter(|code| code.retryable()).collect();
        assert_eq!(retryable, [Code::RateLimited, Code::Unavailable, Code::DeadlineExceeded]);
    }
}
