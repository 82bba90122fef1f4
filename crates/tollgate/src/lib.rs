//! The binary as a library: command line, configuration, wiring of the roles, lifecycle, telemetry. Tests start the real
//! system through [`start`].
//!
//! What does not live here: anything that decides about a request.

mod admin;
mod banner;
pub mod cli;
pub mod commands;
pub mod config;
mod health;
mod lifecycle;
pub mod roles;
mod running;
mod serve;
mod storage;
mod telemetry;
mod wiring;

pub use running::{Addresses, Running};
pub use storage::migrate;
pub use wiring::start;
