//! The log and its followers on real databases, and the protocol against an adversary.

mod log;
mod model;
mod replicas;
mod retention;
