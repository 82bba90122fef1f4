//! For tests only: databases, servers and a network of a test's own, and a clock moved by hand.
//!
//! What does not live here: anything that knows a role. No product code depends on this crate.
//!
//! Tests that need a server are `#[ignore = "needs PostgreSQL"]`, `#[ignore = "needs Redis"]` or `#[ignore = "needs nginx"]`, so that `cargo test` runs
//! everywhere; `scripts/test` brings the servers up and runs them too.

mod authority;
mod bulk;
mod clock;
mod database;
pub mod env;
mod gateway;
mod namespace;
mod private;
mod private_cluster;
mod private_postgres;
mod private_redis;
mod private_sentinels;
mod process;
mod redis;
mod skew;

pub use self::{
    authority::{Authority, Certified},
    bulk::Bulk,
    clock::MockClock,
    database::TestDatabase,
    gateway::{ENVOY_VERSION, Gateway, GatewayKind},
    namespace::{Loss, Namespace},
    private::{Private, Program},
    private_cluster::PrivateCluster,
    private_postgres::{Postgres, PrivatePostgres, postgres_answers},
    private_redis::{PrivateRedis, Redis, redis_answers, redis_asked},
    private_sentinels::PrivateSentinels,
    redis::TestRedis,
};
