//! `token_bucket`, as the generic cell rate algorithm has it: of the whole bucket one time is kept, that at which it will be
//! full. Each unit taken moves it on by an interval; what lies between it and now is what is missing.

/// From here on nothing is given back until the bucket was full once: 2^50 microseconds of refill were.
const MOST_REFUNDED: i64 = 1 << 50;

/// A bucket of which something was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// When it will be full, or was.
    pub(crate) tat: i64,
    /// How far `tat` was moved back by what was given back, since the bucket was full.
    pub(crate) refunded: i64,
}

impl Bucket {
    /// Takes units, and says where they end: the time at which the bucket would be full after them, and beyond that what
    /// had been given back by then.
    pub(super) fn accept(&mut self, interval: i64, cost: u64, at: i64) -> i64 {
        self.tat = self.tat.max(at) + cost.cast_signed() * interval;
        self.tat + self.refunded
    }

    /// Whether it is full.
    pub(super) fn is_full(&self, at: i64) -> bool {
        self.tat <= at
    }

    /// Gives back of `cost` units that end at `end`; and how many.
    ///
    /// The units of a call are the span of `cost` intervals before their end, and what of it is still to come was not
    /// refilled yet. Whatever was given back since moved the span, if it lay before: as nobody knows, all of it counts as
    /// if. So of a span that others behind it gave back from, less may be given back than could be, and never more.
    pub(super) fn give_back(&mut self, interval: i64, end: i64, cost: u64, back: u64, at: i64) -> u64 {
        if self.refunded > MOST_REFUNDED {
            return 0;
        }
        let end = end - self.refunded;
        let start = end - cost.cast_signed() * interval;
        let owed = (end - start.max(at)).max(0) / interval;
        let returned = back.min(owed.unsigned_abs());
        let moved = returned.cast_signed() * interval;
        self.tat -= moved;
        self.refunded += moved;
        returned
    }

    /// When this many more fit, `burst` at most.
    pub(super) fn fits_at(&self, interval: i64, burst: u64, wanted: u64, at: i64) -> i64 {
        let after = self.tat.max(at) + wanted.cast_signed() * interval;
        (after - burst.cast_signed() * interval).max(at)
    }

    /// Whole units in the bucket.
    pub(super) fn remaining(&self, interval: i64, burst: u64, at: i64) -> u64 {
        let missing = (self.tat - at).max(0);
        ((burst.cast_signed() * interval - missing).max(0) / interval).unsigned_abs()
    }

    /// How long until it is full.
    pub(super) fn full_in(&self, now: i64) -> i64 {
        (self.tat - now).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let mut bucket = Bucket::default();
        bucket.accept(100, 5, 1000);
        assert_eq!(bucket.remaining(100, 5, 1000), 0);
        assert_eq!(bucket.fits_at(100, 5, 1, 1000), 1100);
        assert_eq!(bucket.fits_at(100, 5, 5, 1000), 1500);
        assert_eq!(bucket.remaining(100, 5, 1199), 1);
        assert_eq!(bucket.full_in(1200), 300);
    }

    #[test]
    fn what_was_refilled_is_not_given_back_again() {
        let mut bucket = Bucket::default();
        let end = bucket.accept(100, 5, 1000);
        assert_eq!(bucket.give_back(100, end, 5, 5, 1201), 2, "two were refilled, the third is on its way");
        assert_eq!(bucket.full_in(1201), 99);
        assert_eq!(bucket.give_back(100, end, 5, 5, 1201), 0);
    }

    #[test]
    fn nobody_gives_back_the_units_of_another() {
        let mut bucket = Bucket::default();
        let first = bucket.accept(100, 2, 1000);
        let second = bucket.accept(100, 2, 1000);
        assert_eq!(bucket.give_back(100, first, 2, 2, 1000), 2);
        assert_eq!(bucket.give_back(100, second, 2, 2, 1000), 2);
        assert_eq!(bucket.full_in(1000), 0);
    }

    #[test]
    fn less_is_given_back_if_it_is_unclear_whose_it_is() {
        let mut bucket = Bucket::default();
        let first = bucket.accept(100, 2, 1000);
        let second = bucket.accept(100, 2, 1000);
        assert_eq!(bucket.give_back(100, second, 2, 1, 1000), 1);
        assert_eq!(bucket.give_back(100, first, 2, 2, 1000), 1);
        assert_eq!(bucket.full_in(1000), 200);
    }
}
