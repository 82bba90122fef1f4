//! The ratelimit role as its callers see it. What does not depend on the store runs on both.

mod adversary;
mod concurrency;
mod drain;
mod lockstep;
mod oracle;
mod outage;
mod requests;
mod reservations;
mod support;
