//! What the crate promises, on both databases.

#[cfg(test)]
mod cancellation;
#[cfg(test)]
mod common;
#[cfg(test)]
mod migrating;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod worked_example;
