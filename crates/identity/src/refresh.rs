//! Refresh tokens and what becomes of them: pure functions of a session's state, a token and the time.
//!
//! There is no table of tokens. A token names its session and its generation and proves both by a MAC; the session's row
//! holds the current generation. Standard: RFC 9700 §4.14.2 (rotation and the detection of reuse).

use std::{fmt, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tollgate_kernel::{MasterKey, SessionId, Timestamp};

const PREFIX: &str = "tg_rt_";
/// The base32 digits of a session id, without its prefix.
const SESSION_DIGITS: usize = 26;

/// Counts the exchanges of a session: its first token is of generation 0. An `i32`, as the databases keep it.
pub(crate) type Generation = i32;

/// Makes and reads tokens: `tg_rt_<session>_<generation>_<mac>`.
#[derive(Clone)]
pub(crate) struct RefreshTokens(hmac::Key);

/// What a genuine token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Presented {
    pub(crate) session: SessionId,
    pub(crate) generation: Generation,
}

impl RefreshTokens {
    /// Tokens under a key of their own, derived from the master key.
    pub(crate) fn new(master: &MasterKey) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &master.derive("identity refresh token mac v1")))
    }

    /// The token of one generation of a session. The same every time.
    pub(crate) fn issue(&self, session: SessionId, generation: Generation) -> SecretString {
        let session = session.to_string();
        let digits = session.strip_prefix("ses_").expect("the prefix of every session id");
        let body = format!("{PREFIX}{digits}_{generation}");
        let mac = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, body.as_bytes()));
        format!("{body}_{mac}").into()
    }

    /// What the token says, or nothing if we did not make it.
    pub(crate) fn parse(&self, text: &str) -> Option<Presented> {
        let rest = text.strip_prefix(PREFIX)?;
        let (session, rest) = rest.split_at_checked(SESSION_DIGITS)?;
        let (generation, _mac) = rest.strip_prefix('_')?.split_once('_')?;
        let session = format!("ses_{session}").parse().ok()?;
        let generation = generation.parse().ok().filter(|generation| *generation >= 0)?;
        // Compared whole with what we would have written, so that every token has one spelling.
        let expected = self.issue(session, generation);
        let same: bool = expected.expose_secret().as_bytes().ct_eq(text.as_bytes()).into();
        same.then_some(Presented { session, generation })
    }
}

impl fmt::Debug for RefreshTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshTokens(..)")
    }
}

/// What a refresh depends on, as the row says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionState {
    /// The generation of the newest token.
    pub(crate) generation: Generation,
    /// When that token was issued.
    pub(crate) rotated_at: Timestamp,
    /// When the session ends if the token is not used: never later than the absolute end.
    pub(crate) ends_at: Timestamp,
    /// Somebody ended it before its time.
    pub(crate) ended: bool,
}

/// What becomes of a presented token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is the newest: exchange it for the next generation, if no other request does so first.
    Rotate,
    /// It was the newest until a moment ago and its successor has not been used: its owner lost the answer, or asked
    /// twice. It gets the successor again, which is the newest token, and no new branch begins.
    SameSuccessor,
    /// It has been exchanged before, and not just now: somebody has a copy. End the session.
    Reuse,
    /// The session is over.
    Ended,
}

/// Decides what becomes of the token of generation `presented`.
pub(crate) fn decide(
    state: &SessionState,
    presented: Generation,
    now: Timestamp,
    grace: Duration,
) -> Decision {
    if !state.is_live(now) {
        return Decision::Ended;
    }
    // A clock that went back makes the age negative, which is within the grace.
    let fresh = now - state.rotated_at <= delta(grace);
    match state.generation.checked_sub(presented) {
        Some(0) => Decision::Rotate,
        Some(1) if fresh => Decision::SameSuccessor,
        // Also a generation that has not been issued yet: the database was set back to an earlier day, and which of two
        // holders is the owner cannot be known.
        _ => Decision::Reuse,
    }
}

impl SessionState {
    /// Whether the session lives, as far as its own row says.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        !self.ended && now < self.ends_at
    }
}

/// When a session ends whose token is used now: after the idle time, and never past the absolute end.
pub(crate) fn next_end(now: Timestamp, idle: Duration, latest: Timestamp) -> Timestamp {
    latest.min(now + delta(idle))
}

/// A configured duration as chrono has it.
pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).expect("configured durations are below a hundred years")
}

#[cfg(test)]
mod tests;
