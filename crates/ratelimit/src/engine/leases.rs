//! `concurrency`: a lease per call, ended by its request or by its age.

use std::sync::Arc;

/// The leases of one limit, the first to end first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leases(pub(crate) Vec<Lease>);

/// What one request holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The request that holds it.
    pub(crate) id: Arc<str>,
    /// When it ends by itself.
    pub(crate) until: i64,
    pub(crate) units: u64,
}

impl Leases {
    /// Takes a lease, and forgets those that have ended.
    pub(super) fn accept(&mut self, lease: Lease, at: i64) {
        self.0.drain(..self.ended(at));
        let place = self.0.partition_point(|other| other.until <= lease.until);
        self.0.insert(place, lease);
    }

    /// Ends a lease, if it has not; and how many units it held.
    pub(super) fn give_back(&mut self, id: &str, until: i64, at: i64) -> u64 {
        let live = self.0.iter().skip(self.ended(at));
        let same = |lease: &Lease| lease.until == until && &*lease.id == id;
        let place = live.clone().position(same).map(|place| place + self.ended(at));
        place.map_or(0, |place| self.0.remove(place).units)
    }

    /// Units held.
    pub(super) fn used(&self, at: i64) -> u64 {
        self.live(at).iter().map(|lease| lease.units).sum()
    }

    /// When the last lease ends, if there is any.
    pub(super) fn empty_at(&self, at: i64) -> Option<i64> {
        self.live(at).last().map(|lease| lease.until)
    }

    /// When this many more fit, `limit` at most, if nobody ends a lease before.
    pub(super) fn fits_at(&self, limit: u64, wanted: u64, at: i64) -> i64 {
        let mut used = self.used(at);
        let mut fits = at;
        for lease in self.live(at) {
            if used + wanted <= limit {
                break;
            }
            used -= lease.units;
            fits = lease.until;
        }
        fits
    }

    fn live(&self, at: i64) -> &[Lease] {
        &self.0[self.ended(at)..]
    }

    fn ended(&self, at: i64) -> usize {
        self.0.partition_point(|lease| lease.until <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leases(of: &[(&str, i64, u64)]) -> Leases {
        let mut leases = Leases::default();
        for (id, until, units) in of {
            leases.accept(Lease { id: Arc::from(*id), until: *until, units: *units }, 0);
        }
        leases
    }

    #[test]
    fn the_wait_is_until_enough_have_ended() {
        let some = leases(&[("late", 30, 2), ("early", 10, 1), ("middle", 20, 1)]);
        assert_eq!(some.used(9), 4);
        assert_eq!([1, 2, 4].map(|wanted| some.fits_at(4, wanted, 5)), [10, 20, 30]);
        assert_eq!(some.fits_at(5, 1, 5), 5);
        assert_eq!(some.used(10), 3, "a lease counts before its end, not at it");
        assert_eq!((some.empty_at(29), some.empty_at(30)), (Some(30), None));
    }

    #[test]
    fn a_lease_ends_once_and_only_by_its_own_request() {
        let mut some = leases(&[("a", 10, 1), ("a", 20, 2), ("b", 20, 4)]);
        assert_eq!(some.give_back("c", 20, 5), 0);
        assert_eq!(some.give_back("a", 20, 5), 2);
        assert_eq!(some.give_back("a", 20, 5), 0);
        assert_eq!(some.give_back("a", 10, 10), 0, "it ended by itself");
        assert_eq!(some.used(5), 5);
    }
}
