//! The ratelimit role as its callers see it. What does not depend on the store runs on both.

mod adversary;
mod ahead;
mod cluster;
mod concurrency;
mod credits;
mod denials;
mod drain;
mod faults;
mod lockstep;
mod long;
mod losses;
mod oracle;
mod outage;
mod requests;
mod reservations;
mod sentinels;
mod support;
mod tls;
