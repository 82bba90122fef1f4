//! The ratelimit role: it counts things. Limits and tallies, and nothing of what they are for.
//!
//! A call comes in through [`RateLimitService`] and is parsed into a `Call`; `engine` says by which rules it is
//! decided; a `counter` keeps the state and decides and counts in one atomic step, in this process or in Redis.
//!
//! What does not live here: what a limit is attached to (a plan, a key), and where the drained tallies are kept.

mod call;
mod counter;
mod engine;
pub mod envoy;
mod service;
mod settings;
mod tally;

pub use service::RateLimitService;
pub use settings::{Config, Settings, Store, Tls};
