//! The integration suite: one binary that drives the whole system over its sockets, laid out like the URLs.
//!
//! `TOLLGATE_TEST_SHAPE` says what is behind them: `sqlite` (the default; needs nothing), `postgres` or `split` (both
//! need `TEST_DATABASE_URL` and `TEST_REDIS_URL`). The tests are the same; those in `own_shape` do not depend on it.

#![expect(clippy::unwrap_used, reason = "a test that does not find what it expects ends there")]

mod actors;
mod admin;
mod app;
mod audit;
mod auth {
    //! `/v1/auth/…`
    mod login;
    mod logout;
    mod refresh;
    mod signup;
}
mod authorization_table;
mod authorization_walk;
mod consumers;
mod context;
mod credits;
mod docs;
mod gate;
mod gate_grpc;
mod gateways {
    //! Real gateways with the configurations of `deploy/gateways`, between a client and an API.
    mod bed;
    mod caddy;
    mod envoy;
    mod haproxy;
    mod nginx;
}
mod hostile_credentials;
mod hostile_input;
mod hostile_sockets;
mod http;
mod idempotency;
mod imports;
mod invitations;
mod keys {
    //! `/v1/keys/…`
    mod change;
    mod create;
    mod filters;
    mod limits;
    mod list;
    mod order;
    mod overrides;
    mod revoke;
    mod revoke_many;
    mod rotate;
    mod scopes;
    mod usage;
    mod verify;
}
mod levels;
mod logs;
mod manage_grpc;
mod me;
mod members;
mod outage;
mod own_shape {
    //! Processes of the test's own, in a shape of its own: the same whatever the shape of the run, so one of the three runs has them.
    mod counting;
    mod credits_killed;
    mod examples;
    mod operators;
    pub(crate) mod processes;
    mod revocation {
        //! Revoked means revoked, across processes: two edges and two replicas of keys, while connections hammer both edges.
        //!
        //! No threshold is tested, so that a busy machine fails nothing: what is measured is printed.
        mod cut_off;
        mod failover;
        mod hammer;
        mod rounds;
        mod wire;
        mod world;
    }
}
mod per_ip;
mod plans;
mod policy;
mod process;
mod restart;
mod roles;
mod secret_scanning;
mod secrets;
mod service_keys;
mod shape;
mod usage;
mod webhooks;
mod webhooks_killed;
mod well_known;
mod whoami;
mod workspaces;
