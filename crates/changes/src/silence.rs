//! Which replicas have died: those whose row has not changed for long enough, by the clock of the one who looks.
//!
//! The time of the last renewal is not in the row, because whose clock would it be? One that is set forward would take out
//! replicas whose watchers still trust their caches.

use std::{collections::HashMap, hash::Hash, time::Duration};

/// What is added to the leases, so that a replica which is only slow need not register anew.
pub const MARGIN: Duration = Duration::from_secs(5);

/// What one process has seen of the rows of all replicas.
#[derive(Debug, Clone)]
pub struct Silences<Id> {
    seen: HashMap<Id, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    round: u64,
    /// When it was first seen with this round.
    since: Duration,
}

/// A replica's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed<Id> {
    /// The replica.
    pub id: Id,
    /// The round that renewed it last. A replica never uses a number twice.
    pub round: u64,
    /// For how long its watchers trust what they know after a round.
    pub lease: Duration,
}

impl<Id> Default for Silences<Id> {
    fn default() -> Self {
        Self { seen: HashMap::new() }
    }
}

impl<Id: Clone + Eq + Hash> Silences<Id> {
    /// These are the rows, and it is `now` by this process's monotonic clock, after they were read. Gives those that nobody depends on:
    /// they may be deleted, each if it still has this round.
    ///
    /// The row had this round when it was first seen, so the round ended before that, and with it began the last lease that it
    /// could give. Two leases are waited for, since clocks run apart.
    pub fn dead(&mut self, rows: Vec<Renewed<Id>>, now: Duration) -> Vec<Renewed<Id>> {
        let before = std::mem::take(&mut self.seen);
        let mut dead = Vec::new();
        for row in rows {
            let known = before.get(&row.id).filter(|seen| seen.round == row.round);
            let seen = known.copied().unwrap_or(Seen { round: row.round, since: now });
            self.seen.insert(row.id.clone(), seen);
            if now.saturating_sub(seen.since) >= row.lease * 2 + MARGIN {
                dead.push(row);
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn row(round: u64, lease: Duration) -> Vec<Renewed<&'static str>> {
        vec![Renewed { id: "one", round, lease }]
    }

    #[test]
    fn a_row_is_dead_two_leases_and_the_margin_after_it_was_first_seen() {
        let mut silences = Silences::default();
        let limit = S(1_000) + S(60) * 2 + MARGIN;
        assert_eq!(silences.dead(row(7, S(60)), S(1_000)), []);
        assert_eq!(silences.dead(row(7, S(60)), limit.checked_sub(S(1)).expect("later")), []);
        assert_eq!(silences.dead(row(7, S(60)), limit), row(7, S(60)));
    }

    #[test]
    fn a_renewal_or_an_absence_begins_it_anew() {
        let mut silences = Silences::default();
        assert_eq!(silences.dead(row(7, S(2)), S(0)), []);
        assert_eq!(silences.dead(row(8, S(2)), S(100)), []);
        assert_eq!(silences.dead(row(8, S(2)), S(108)), []);
        assert_eq!(silences.dead(vec![], S(109)), []);
        assert_eq!(silences.dead(row(8, S(2)), S(200)), [], "it was gone in between");
        assert_eq!(silences.dead(row(8, S(2)), S(209)), row(8, S(2)));
    }
}
