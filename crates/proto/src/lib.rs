//! The contracts between the roles: messages and services generated from `proto/`, and what every call between roles
//! needs: handles that are local or remote ([`remote`]), faults as statuses ([`fault`]), the request's context
//! ([`context`]) and the credential of the mesh ([`mesh`]).
//!
//! **The seam** is the server trait that tonic generates. A role's service implements it; everyone else holds an
//! `Arc<dyn …>` of it ([`IdentityHandle`] and its like). In one process that is the service itself and a call is a
//! function call; across processes it is a generated client, to which [`remote`] gives the same trait.
//!
//! What does not live here: any decision.

// The macros `keys_rpcs!`, `keys_calls!` and their like. First, since macros are known from there on.
include!(concat!(env!("OUT_DIR"), "/rpcs.rs"));

pub mod context;
pub mod fault;
pub mod mesh;
mod redact;
pub mod remote;
pub mod time;

use std::sync::Arc;

#[expect(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/tollgate.rs"));
}

pub use generated::tollgate::{
    gate::v1 as gate, identity::v1 as identity, kernel::v1 as kernel, keys::v1 as keys,
    ratelimit::v1 as ratelimit, verify::v1 as verify,
};
/// What Envoy asks: the parts of its contracts that Tollgate reads and writes.
pub mod envoy {
    pub use super::generated::envoy::{
        config::core::v3 as core, extensions::common::ratelimit::v3 as descriptors,
        service::auth::v3 as auth, service::ratelimit::v3 as ratelimit, r#type::v3 as types,
    };
    pub use super::generated::google::rpc::Status;
}
pub use identity::identity_server::Identity;
pub use keys::keys_server::Keys;
pub use ratelimit::rate_limit_server::RateLimit;

/// The identity role, here or elsewhere.
pub type IdentityHandle = Arc<dyn Identity>;
/// The keys role, here or elsewhere.
pub type KeysHandle = Arc<dyn Keys>;
/// The ratelimit role, here or elsewhere.
pub type RateLimitHandle = Arc<dyn RateLimit>;

/// All contracts as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
