//! `sliding_window`: a log of what was accepted, in which every question is a binary search.
//!
//! A unit accepted at `t` counts while `now < t + window`: with N units at one instant the next one passes exactly at
//! `t + window`, and no window of that length ever holds more than N. For limits up to [`EXACT`] each entry is one moment.
//! For larger ones what is accepted within one grain, a sixtieth of the window, shares an entry, which carries the newest of
//! its moments: a unit is freed late, by a grain at most, and never early.

use std::collections::VecDeque;

/// The largest limit of which every moment has an entry of its own.
pub(crate) const EXACT: u64 = 1024;
/// Running totals are counted anew from here, long before they could grow beyond what a double holds.
const REBASE: u64 = 1 << 50;

/// What was accepted, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// The running total after the last entry.
    pub(crate) total: u64,
    pub(crate) entries: VecDeque<Entry>,
}

/// Units that leave the window together, one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When the newest of them was accepted.
    pub(crate) time: i64,
    /// The running total before them: what they are is the next entry's less this.
    pub(crate) before: u64,
}

/// How much time an entry covers, of a limit with this number in force.
pub(crate) fn grain(limit: u64, window: i64) -> i64 {
    if limit <= EXACT { 1 } else { (window + 59) / 60 }
}

impl Log {
    /// Accepts units, and forgets those that left the window.
    pub(super) fn accept(&mut self, window: i64, grain: i64, cost: u64, at: i64) {
        self.entries.drain(..self.gone(window, at));
        match self.entries.back_mut() {
            Some(last) if last.time.div_euclid(grain) == at.div_euclid(grain) => last.time = at,
            _ => self.entries.push_back(Entry { time: at, before: self.total }),
        }
        self.total += cost;
        if self.total > REBASE {
            let base = self.entries.front().map_or(self.total, |first| first.before);
            self.entries.iter_mut().for_each(|entry| entry.before -= base);
            self.total -= base;
        }
    }

    /// Gives back of what was accepted at `accepted`, if that is still in the window; and how much.
    pub(super) fn give_back(&mut self, window: i64, grain: i64, accepted: i64, back: u64, at: i64) -> u64 {
        let place = self.entries.partition_point(|entry| entry.time < accepted);
        let Some(entry) = self.entries.get(place) else { return 0 };
        // Its own entry may be forgotten, and this be a later one with the units of others.
        let same = entry.time.div_euclid(grain) == accepted.div_euclid(grain);
        if !same || entry.time + window <= at {
            return 0;
        }
        let units = self.before(place + 1) - entry.before;
        let returned = back.min(units);
        self.entries.range_mut(place + 1..).for_each(|later| later.before -= returned);
        self.total -= returned;
        if returned == units {
            self.entries.remove(place);
        }
        returned
    }

    /// Units in the window.
    pub(super) fn used(&self, window: i64, at: i64) -> u64 {
        self.total - self.before(self.gone(window, at))
    }

    /// When the last unit leaves the window, if any is in it.
    pub(super) fn empty_at(&self, window: i64, at: i64) -> Option<i64> {
        self.entries.back().map(|last| last.time + window).filter(|empty| *empty > at)
    }

    /// When this many more fit, `limit` at most.
    pub(super) fn fits_at(&self, window: i64, limit: u64, wanted: u64, at: i64) -> i64 {
        let first = self.before(self.gone(window, at));
        let used = self.total - first;
        if used + wanted <= limit {
            return at;
        }
        // So many must leave: the last of them does so with the entry before the first that can stay.
        let stays = first + (used + wanted - limit);
        let place = self.entries.partition_point(|entry| entry.before < stays);
        self.entries[place - 1].time + window
    }

    /// How many entries have left the window.
    fn gone(&self, window: i64, at: i64) -> usize {
        self.entries.partition_point(|entry| entry.time + window <= at)
    }

    /// The running total before an entry; after the last, all of it.
    fn before(&self, place: usize) -> u64 {
        self.entries.get(place).map_or(self.total, |entry| entry.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 60_000_000;

    fn log(accepted: &[(i64, u64)]) -> Log {
        let mut log = Log::default();
        for (at, cost) in accepted {
            log.accept(WINDOW, 1, *cost, *at);
        }
        log
    }

    #[test]
    fn totals_are_counted_anew_before_they_grow_too_large() {
        let mut high = Log { total: REBASE - 1, ..Log::default() };
        let mut low = Log::default();
        for (at, cost) in [(10, 3), (20, 4), (30, 5)] {
            high.accept(WINDOW, 1, cost, at);
            low.accept(WINDOW, 1, cost, at);
            assert_eq!(high.used(WINDOW, at), low.used(WINDOW, at));
        }
        assert!(high.total < REBASE, "{high:?}");
        for wanted in 1..=12 {
            assert_eq!(high.fits_at(WINDOW, 12, wanted, 30), low.fits_at(WINDOW, 12, wanted, 30));
        }
    }

    #[test]
    fn a_grain_carries_the_newest_of_its_moments() {
        let grain = grain(EXACT + 1, WINDOW);
        assert_eq!(grain, 1_000_000);
        let mut coarse = Log::default();
        for at in [1, 400_000, 999_999, 1_000_000] {
            coarse.accept(WINDOW, grain, 1, at);
        }
        assert_eq!(coarse.entries.len(), 2);
        assert_eq!(coarse.used(WINDOW, WINDOW + 999_998), 4);
        assert_eq!(coarse.used(WINDOW, WINDOW + 999_999), 1);
    }

    #[test]
    fn a_coarse_log_stays_small() {
        let (mut coarse, grain) = (Log::default(), grain(MAX, WINDOW));
        for millisecond in 0..200_000 {
            coarse.accept(WINDOW, grain, 7, millisecond * 1000);
            assert!(coarse.entries.len() <= 62);
        }
    }

    const MAX: u64 = super::super::MAX_LIMIT;

    #[test]
    fn what_is_given_back_is_of_its_own_moment() {
        let mut some = log(&[(10, 2), (20, 3), (30, 4)]);
        assert_eq!(some.give_back(WINDOW, 1, 20, 2, 30), 2);
        assert_eq!(some, log(&[(10, 2), (20, 1), (30, 4)]));
        assert_eq!(some.give_back(WINDOW, 1, 20, 2, 30), 1);
        assert_eq!(some, log(&[(10, 2), (30, 4)]));
        assert_eq!(
            some.give_back(WINDOW, 1, 20, 2, 30),
            0,
            "nothing is left of it, and the next is not its own"
        );
        assert_eq!(some.give_back(WINDOW, 1, 10, 1, 10 + WINDOW), 0, "it left the window");
        assert_eq!(some.give_back(WINDOW, 1, 30, 9, 29 + WINDOW), 4);
        assert_eq!(some.give_back(WINDOW, 1, 40, 1, 40), 0);
    }
}
