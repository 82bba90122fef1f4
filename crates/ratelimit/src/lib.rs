//! The ratelimit role: it counts things.
