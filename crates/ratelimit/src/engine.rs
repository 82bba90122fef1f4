//! The rules by which a call is decided: pure functions of limits, states and the time. `counter/memory` applies them as
//! they are; the scripts of `counter/redis` say them again for Redis, and a test proves the two equal.
//!
//! One file per algorithm says how it counts: [`window`], [`bucket`], [`leases`], [`credit`], and [`calendar`] for the periods
//! of a calendar. [`state`] is what is kept of a limit: how a call is accepted, and how it is given back.
//!
//! Times and durations are microseconds; times are counted from the Unix epoch. All of them, and all sums of units, stay
//! below 2^53, because Redis counts in doubles.

mod bucket;
mod calendar;
mod credit;
mod leases;
mod state;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    bucket::Bucket,
    calendar::{Calendar, Period, Periods},
    credit::{Credit, Step, StepKind},
    leases::{Lease, Leases},
    state::{Counted, Given, Mark, State},
    window::{EXACT, Entry, Log, grain},
};

/// The largest number of a limit, and of a bucket's burst.
pub(crate) const MAX_LIMIT: u64 = 1_000_000_000;
/// The longest window, and the longest time in which an empty bucket fills: 400 days.
pub(crate) const MAX_WINDOW: i64 = 34_560_000_000_000;

/// Later than every time: what could never pass.
const NEVER: i64 = (1 << 53) - 1;

/// A limit, and what a call wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) algorithm: Algorithm,
    /// The limit's own number, 1 to [`MAX_LIMIT`]; of a bucket, its burst.
    pub(crate) limit: u64,
    /// What stands in place of the number.
    pub(crate) replaced: Option<Override>,
    /// The units wanted, at most [`MAX_LIMIT`]. 0 asks whether one more would pass, and takes none.
    pub(crate) cost: u64,
    /// Counted and reported, never enforced.
    pub(crate) shadow: bool,
}

/// How a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// Never more than the limit in any window of this length.
    Window { window: i64 },
    /// A bucket that is refilled by a unit per interval, 1 at least. `burst * interval` is at most [`MAX_WINDOW`].
    Bucket { interval: i64 },
    /// So many per period.
    Calendar { periods: Periods },
    /// So many leases at one time, each ending by itself after this long.
    Concurrency { lease: i64 },
    /// Units that were deposited. Time brings none back. The limit is the most that a call may cost.
    Credit,
}

/// A number in place of a limit's own, for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Override {
    /// 1 to [`MAX_LIMIT`].
    pub(crate) limit: u64,
    /// In force before this time.
    pub(crate) until: i64,
}

/// Whether a call may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The time at which the call is decided and at which its units are accepted.
    pub(crate) at: i64,
    /// What stands in the way, if anything does.
    pub(crate) denial: Option<Denial>,
    /// One bit per limit, the first the lowest: it stood in the way by itself.
    exceeded: u32,
}

/// What stands in the way of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denial {
    /// The position of the enforced limit that makes the caller wait longest; of equals, the first. Of a credit only if no
    /// limit denies.
    pub(crate) by: usize,
    /// How long until the same call passes, if nothing else is counted meanwhile. Of a credit 0: that is no matter of time.
    pub(crate) wait: i64,
}

/// How a limit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// The number in force; of a credit, the number of the last step.
    pub(crate) limit: u64,
    /// Units that would pass now.
    pub(crate) remaining: u64,
    /// How long until all units would pass, if nothing more is counted; of a credit, what the account has beside.
    pub(crate) reset: i64,
    /// The length of the present period of a calendar; of the others, 0.
    pub(crate) period: i64,
    /// It stood in the way of the call.
    pub(crate) exceeded: bool,
}

/// The periods of a calendar limit do not reach to the time at which the call is to be decided, which is this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfBounds(pub(crate) i64);

/// Decides one call against all its limits, 32 at most. `states` are theirs, in the same order; none: unused.
///
/// Time never goes back: a call is decided at `now` or at the newest accept time in `states`, whichever is later. What is
/// reported as a wait counts from `now`, because that is what the caller's clock says.
pub(crate) fn decide(specs: &[Spec], states: &[Option<&State>], now: i64) -> Result<Decision, OutOfBounds> {
    let at = states.iter().flatten().map(|state| state.newest).fold(now, i64::max);
    let mut decision = Decision { at, denial: None, exceeded: 0 };
    let mut lacking = None;
    for (by, (spec, state)) in specs.iter().zip(states).enumerate() {
        let passes = spec.passes_at(*state, at)?;
        if passes == at {
            continue;
        }
        decision.exceeded |= 1 << by;
        if spec.algorithm == Algorithm::Credit {
            lacking = Some(Denial { by, wait: 0 });
            continue;
        }
        let wait = passes - now;
        if !spec.shadow && wait > decision.denial.map_or(0, |denial| denial.wait) {
            decision.denial = Some(Denial { by, wait });
        }
    }
    decision.denial = decision.denial.or(lacking);
    Ok(decision)
}

impl Denial {
    /// Whether the call wants more than the limit ever lets pass: then no wait helps. Every other wait is shorter than that
    /// for an override to end, and for a window to pass after it.
    pub(crate) fn is_for_ever(&self) -> bool {
        self.wait > 4 * MAX_WINDOW
    }
}

impl Decision {
    /// That of a call that was accepted elsewhere, to be counted at this time.
    pub(crate) fn accepted(at: i64) -> Self {
        Self { at, denial: None, exceeded: 0 }
    }

    /// Whether the limit at this position stood in the way by itself.
    pub(crate) fn exceeds(&self, position: usize) -> bool {
        self.exceeded & (1 << position) != 0
    }

    /// Whether the limit at this position is charged: the call passes, wants something, and a limit that is only watched
    /// did not stand in the way.
    pub(crate) fn charges(&self, position: usize, spec: &Spec) -> bool {
        self.denial.is_none() && spec.cost > 0 && !self.exceeds(position)
    }

    /// How the limit at this position stands: `state` is what it is after the call, and the call came at `now`.
    pub(crate) fn outlook(&self, position: usize, spec: &Spec, state: Option<&State>, now: i64) -> Outlook {
        if spec.algorithm == Algorithm::Credit {
            return credit::outlook(state, self.exceeds(position));
        }
        let (at, limit) = (self.at, spec.limit_at(self.at));
        let left = |used: u64| limit.saturating_sub(used);
        let (remaining, reset) = match (spec.algorithm, state.map(|state| &state.counted)) {
            (Algorithm::Window { window }, Some(Counted::Window(log))) => {
                (left(log.used(window, at)), log.empty_at(window, at).map_or(0, |empty| empty - now))
            }
            (Algorithm::Bucket { interval }, Some(Counted::Bucket(bucket))) => {
                (bucket.remaining(interval, limit, at), bucket.full_in(now))
            }
            (Algorithm::Calendar { periods }, Some(Counted::Calendar { used })) => {
                let newest = state.map_or(i64::MIN, |state| state.newest);
                match periods.around(at) {
                    Some((start, end)) if newest >= start && *used > 0 => (left(*used), end - now),
                    _ => (limit, 0),
                }
            }
            (Algorithm::Concurrency { .. }, Some(Counted::Concurrency(leases))) => {
                (left(leases.used(at)), leases.empty_at(at).map_or(0, |empty| empty - now))
            }
            _ => (limit, 0),
        };
        Outlook { limit, remaining, reset, period: spec.period(at), exceeded: self.exceeds(position) }
    }
}

impl Spec {
    /// The number in force.
    pub(crate) fn limit_at(&self, at: i64) -> u64 {
        self.replaced.filter(|it| at < it.until).map_or(self.limit, |it| self.bounded(it.limit))
    }

    /// The first time from `at` on at which the call passes this limit, if nothing else is counted meanwhile.
    fn passes_at(&self, state: Option<&State>, at: i64) -> Result<i64, OutOfBounds> {
        if let Some(replaced) = self.replaced.filter(|it| at < it.until) {
            let soon = self.fits_at(state, self.bounded(replaced.limit), at)?;
            if soon < replaced.until {
                return Ok(soon);
            }
            // After that it is the limit's own number again.
            return Ok(self.fits_at(state, self.limit, at)?.max(replaced.until));
        }
        self.fits_at(state, self.limit, at)
    }

    /// As [`Spec::passes_at`], with this number in force for ever.
    fn fits_at(&self, state: Option<&State>, limit: u64, at: i64) -> Result<i64, OutOfBounds> {
        let wanted = self.cost.max(1);
        if self.algorithm == Algorithm::Credit {
            return Ok(if credit::left(state) >= wanted { at } else { NEVER });
        }
        let period = match self.algorithm {
            Algorithm::Calendar { periods } => Some(periods.around(at).ok_or(OutOfBounds(at))?),
            _ => None,
        };
        if wanted > limit {
            return Ok(NEVER);
        }
        Ok(match (self.algorithm, state.map(|state| &state.counted), period) {
            (Algorithm::Window { window }, Some(Counted::Window(log)), _) => {
                log.fits_at(window, limit, wanted, at)
            }
            (Algorithm::Bucket { interval }, Some(Counted::Bucket(bucket)), _) => {
                bucket.fits_at(interval, limit, wanted, at)
            }
            (_, Some(Counted::Calendar { used }), Some((start, end))) => {
                let fits = state.is_none_or(|state| state.newest < start) || used + wanted <= limit;
                if fits { at } else { end }
            }
            (Algorithm::Concurrency { .. }, Some(Counted::Concurrency(leases)), _) => {
                leases.fits_at(limit, wanted, at)
            }
            // Nothing was counted, or by another algorithm.
            _ => at,
        })
    }

    /// An override's number as far as it goes: a bucket that would take longer than [`MAX_WINDOW`] to fill counts as the
    /// largest that does not. The interval is unknown where the override is made.
    fn bounded(&self, limit: u64) -> u64 {
        match self.algorithm {
            Algorithm::Bucket { interval } => limit.min((MAX_WINDOW / interval).unsigned_abs()),
            _ => limit,
        }
    }

    fn period(&self, at: i64) -> i64 {
        match self.algorithm {
            Algorithm::Calendar { periods } => periods.around(at).map_or(0, |(start, end)| end - start),
            _ => 0,
        }
    }
}
