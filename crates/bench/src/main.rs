//! The load generator behind scripts/bench.
fn main() {}
