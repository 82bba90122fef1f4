//! The handlers, one file per resource. Each takes the request apart, asks one role, and puts the answer together.

pub(crate) mod auth;
pub(crate) mod consumers;
pub(crate) mod docs;
mod effect;
mod environment;
mod expiry;
pub(crate) mod gate;
pub(crate) mod health;
pub(crate) mod jwks;
pub(crate) mod key_changes;
pub(crate) mod key_secrets;
pub(crate) mod keys;
mod limit;
pub(crate) mod list;
pub(crate) mod me;
pub(crate) mod overrides;
pub(crate) mod plans;
pub(crate) mod policy;
pub(crate) mod roles;
pub(crate) mod secret_scanning;
pub(crate) mod service_keys;
pub(crate) mod usage;
pub(crate) mod verify;
pub(crate) mod webhook_deliveries;
pub(crate) mod webhooks;
pub(crate) mod whoami;
pub(crate) mod workspaces;
