//! What it means for a credential to be valid.
//!
//! - [`credential`]: the one credential that a request presents.
//! - [`imported`]: what a key may look like that was made elsewhere.
//! - [`key`]: how a key is written, made and parsed; garbage is refused here, without I/O.
//! - [`grant`]: what a key entitles to, and whether it does so now, as a pure function.
//! - [`scope`]: what the scopes of a key grant, and what a call may require of them.
//! - [`token`]: the one function that verifies access tokens.
//! - [`verifier`]: resolves credentials through the roles, behind caches that follow [`changes`].
//!
//! For services that embed it (`docs/embedding.md`): [`Verifier::connect`], [`admission`], with the feature `tower` the layer
//! `require`, and with `axum` the extractor for [`Identity`].
//!
//! What does not live here: counting and limits (ratelimit), who may manage what (keys), and the edge's answers to clients.

pub mod admission;
pub mod changes;
pub mod code;
pub mod credential;
pub mod grant;
pub mod imported;
pub mod key;
#[cfg(feature = "tower")]
pub mod require;
pub mod scope;
pub mod token;
pub mod verifier;
pub mod watch;

mod cache;
#[cfg(feature = "axum")]
mod extract;
mod flight;
#[cfg(test)]
mod recorded;
mod wire;
mod words;

pub use admission::{Accepts, Admission, Admitted, Identity};
pub use changes::{Changes, Subject, UnknownSubject};
pub use code::{Refusal, VerdictCode};
pub use credential::Credential;
pub use grant::{
    ConsumerGrant, Demand, Environment, Grant, MemberRole, Permission, SecretGrant, ServiceGrant,
};
pub use imported::ImportedKey;
pub use key::{KeyKind, NewKey, PresentedKey, mint, same_digest};
pub use scope::{ScopeExpression, ScopeSyntaxError};
pub use token::{AccessClaims, KeySet, TokenRefusal, TokenRules, access_token};
pub use verifier::{LiveToken, Settings, Verifier, connect::Endpoints};
pub use words::UnknownWord;

// What a service names to connect a verifier.
pub use tollgate_kernel::{Clock, Fault, SecretString, SystemClock};
pub use tollgate_proto::{mesh::MeshToken, remote::Remote};

/// The partition in which presentations are counted that belong to no workspace: of malformed and unknown keys. No id is
/// written so.
pub const INSTANCE: &str = "instance";

// The example, for the tests, as those see it who embed this.
#[cfg(all(test, feature = "axum"))]
extern crate self as tollgate_verify;
#[cfg(all(test, feature = "axum"))]
#[path = "../examples/protected_api/routes.rs"]
mod protected_api;
