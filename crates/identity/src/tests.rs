//! The service on both databases: what its callers see, by its contract.

mod jobs;
mod login;
mod sessions;
mod signing_keys;
mod signup;
pub(crate) mod support;
