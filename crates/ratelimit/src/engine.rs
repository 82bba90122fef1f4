//! The rules by which a call is decided: pure functions of limits, states and the time. `counter/memory.rs` applies them
//! as they are; `counter/redis/check.lua` says them again for Redis, and a test proves the two equal.
//!
//! `sliding_window` in its exact form: the state of a limit of N is a ring of the accept times of its last units, N at
//! most. A unit accepted at `t` counts in its window while `now < t + window`, so that with N units at one instant the
//! next one passes exactly at `t + window`, and no window of that length ever holds more than N.
//!
//! Times and durations are microseconds; times are counted from the Unix epoch.

use std::collections::VecDeque;

/// The largest limit: how many accept times one state holds at most.
pub(crate) const MAX_LIMIT: u32 = 1024;

/// A limit, and what a call wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Units per window, 1 to [`MAX_LIMIT`].
    pub(crate) limit: u32,
    /// The window's length.
    pub(crate) window: i64,
    /// The units wanted, at most `limit`. 0 asks whether one more would pass, and takes none.
    pub(crate) cost: u32,
}

/// The accept times of the last units, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ring(VecDeque<i64>);

/// Whether a call may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The time at which the call is decided and at which its units are accepted.
    pub(crate) at: i64,
    /// What stands in the way, if anything does.
    pub(crate) denial: Option<Denial>,
}

/// What stands in the way of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denial {
    /// The position of the limit that makes the caller wait longest; of equals, the first.
    pub(crate) by: usize,
    /// How long until the same call passes, if nothing else is counted meanwhile.
    pub(crate) wait: i64,
}

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// Units that would pass now.
    pub(crate) remaining: u32,
    /// How long until all units would pass, if nothing more is counted.
    pub(crate) reset: i64,
}

/// Decides one call against all its limits. `states` are theirs, in the same order.
///
/// Time never goes back: a call is decided at `now` or at the newest accept time in `states`, whichever is later. What is
/// reported as a wait counts from `now`, because that is what the caller's clock says.
pub(crate) fn decide(specs: &[Spec], states: &[&Ring], now: i64) -> Decision {
    let at = states.iter().filter_map(|ring| ring.newest()).fold(now, i64::max);
    let mut denial: Option<Denial> = None;
    for (by, (spec, ring)) in specs.iter().zip(states).enumerate() {
        let wait = ring.free_at(spec, at).map_or(0, |free| free - now);
        if wait > denial.map_or(0, |denial| denial.wait) {
            denial = Some(Denial { by, wait });
        }
    }
    Decision { at, denial }
}

impl Ring {
    /// No unit was accepted.
    pub(crate) const EMPTY: &'static Self = &Self(VecDeque::new());

    /// Accepts the cost of `spec` at a time that [`decide`] gave, and forgets what left the window.
    pub(crate) fn take(&mut self, spec: &Spec, at: i64) {
        self.0.drain(..self.gone(spec, at));
        self.0.extend(std::iter::repeat_n(at, spec.cost as usize));
    }

    /// How the limit stands for a call that was decided `at` and came at `now`.
    pub(crate) fn outlook(&self, spec: &Spec, at: i64, now: i64) -> Outlook {
        let used = self.used(spec, at);
        // More than the limit are in the window only if the limit was larger when they were accepted.
        let remaining = spec.limit.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX));
        let reset = self.newest().filter(|_| used > 0).map_or(0, |newest| newest + spec.window - now);
        Outlook { remaining, reset }
    }

    /// When the last unit was accepted.
    fn newest(&self) -> Option<i64> {
        self.0.back().copied()
    }

    /// When the cost of `spec` will fit, if it does not now.
    fn free_at(&self, spec: &Spec, at: i64) -> Option<i64> {
        let wanted = spec.cost.max(1) as usize;
        let (used, limit) = (self.used(spec, at), spec.limit as usize);
        // The call fits once all but the newest `limit - wanted` units have left; this is the last of those that must.
        let last = || self.0[self.0.len() + wanted - limit - 1];
        (used + wanted > limit).then(|| last() + spec.window)
    }

    fn used(&self, spec: &Spec, at: i64) -> usize {
        self.0.len() - self.gone(spec, at)
    }

    fn gone(&self, spec: &Spec, at: i64) -> usize {
        self.0.partition_point(|accepted| accepted + spec.window <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 60_000_000;

    fn spec(limit: u32, cost: u32) -> Spec {
        Spec { limit, window: WINDOW, cost }
    }

    fn ring(times: &[i64]) -> Ring {
        Ring(times.iter().copied().collect())
    }

    #[test]
    fn the_next_unit_passes_exactly_when_the_oldest_leaves() {
        let full = ring(&[1000; 10]);
        let denied = decide(&[spec(10, 1)], &[&full], 1000);
        assert_eq!(denied.denial, Some(Denial { by: 0, wait: WINDOW }));
        assert!(decide(&[spec(10, 1)], &[&full], 1000 + WINDOW - 1).denial.is_some());
        assert!(decide(&[spec(10, 1)], &[&full], 1000 + WINDOW).denial.is_none());
    }

    #[test]
    fn the_limit_that_makes_wait_longest_is_named() {
        let (early, late) = (ring(&[10]), ring(&[20]));
        let decision = decide(&[spec(1, 1); 3], &[&early, &late, &late], 30);
        assert_eq!(decision.denial, Some(Denial { by: 1, wait: 20 + WINDOW - 30 }));
    }

    #[test]
    fn a_cost_waits_for_as_many_units_as_it_needs() {
        let used = ring(&[10, 20, 30]);
        assert_eq!(decide(&[spec(5, 2)], &[&used], 30).denial, None);
        let denial = decide(&[spec(5, 4)], &[&used], 30).denial;
        assert_eq!(denial, Some(Denial { by: 0, wait: 20 + WINDOW - 30 }));
    }

    #[test]
    fn a_cost_of_nothing_asks_for_one_and_takes_none() {
        let mut state = ring(&[10]);
        assert!(decide(&[spec(1, 0)], &[&state], 11).denial.is_some());
        assert!(decide(&[spec(2, 0)], &[&state], 11).denial.is_none());
        state.take(&spec(2, 0), 11);
        assert_eq!(state, ring(&[10]));
    }

    #[test]
    fn time_does_not_go_back() {
        let state = ring(&[100]);
        let decision = decide(&[spec(2, 1)], &[&state], 40);
        assert_eq!(decision, Decision { at: 100, denial: None });
        // The wait counts from the caller's clock: it must pass 100 + WINDOW before the unit has left.
        assert_eq!(decide(&[spec(1, 1)], &[&state], 40).denial, Some(Denial { by: 0, wait: WINDOW + 60 }));
    }

    #[test]
    fn a_limit_that_shrank_still_counts_what_it_let_pass() {
        let state = ring(&[10, 20, 30]);
        let outlook = state.outlook(&spec(2, 1), 30, 30);
        assert_eq!(outlook, Outlook { remaining: 0, reset: WINDOW });
        let denial = decide(&[spec(2, 1)], &[&state], 30).denial;
        assert_eq!(denial, Some(Denial { by: 0, wait: 20 + WINDOW - 30 }));
    }

    #[test]
    fn the_outlook_of_an_unused_limit_is_bright() {
        let bright = Outlook { remaining: 3, reset: 0 };
        assert_eq!(Ring::EMPTY.outlook(&spec(3, 1), 5, 5), bright);
        assert_eq!(ring(&[5]).outlook(&spec(3, 1), 5 + WINDOW, 5 + WINDOW), bright);
    }
}
