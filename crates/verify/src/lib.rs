//! What it means for a credential to be valid.
//!
//! - [`key`]: how a key is written, made and parsed; garbage is refused here, without I/O.
//! - [`grant`]: what a key entitles to, and whether it does so now, as a pure function.
//! - [`token`]: the one function that verifies access tokens.
//! - [`verifier`]: resolves credentials through the roles, behind caches that follow [`changes`].
//!
//! What does not live here: counting and limits (ratelimit), who may manage what (keys), and answers to clients (edge).

pub mod changes;
pub mod code;
pub mod grant;
pub mod key;
pub mod token;
pub mod verifier;

mod cache;
mod flight;
mod wire;
mod words;

pub use changes::{Changes, Subject};
pub use code::{Refusal, VerdictCode};
pub use grant::{Demand, Environment, Grant, MemberRole, Permission, ServiceGrant};
pub use key::{KeyKind, NewKey, PresentedKey, mint, same_digest};
pub use token::{AccessClaims, KeySet, TokenRefusal, TokenRules, access_token};
pub use verifier::{LiveToken, Settings, Verifier};
pub use words::UnknownWord;
