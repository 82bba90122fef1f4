//! What is kept of one limit of one subject: how a call is accepted, how it is given back, and how all is forgotten.

use std::sync::Arc;

use super::{Algorithm, Bucket, Credit, Lease, Leases, Log, MAX_WINDOW, Spec, grain};

/// What was counted. A state that is of another algorithm than its limit counts as unused, but for its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Since when it is counted: what was accepted before cannot be given back.
    pub(crate) born: i64,
    /// When something was accepted last.
    pub(crate) newest: i64,
    pub(crate) counted: Counted,
}

/// What was counted, by algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Counted {
    Window(Log),
    Bucket(Bucket),
    /// Units in the period in which `newest` is.
    Calendar {
        used: u64,
    },
    Concurrency(Leases),
    Credit(Credit),
}

/// What is needed to give back what was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It was not charged.
    Nothing,
    Window {
        window: i64,
        grain: i64,
    },
    Bucket {
        interval: i64,
        /// What [`Bucket::accept`] said.
        end: i64,
    },
    Calendar {
        /// When the period ends.
        end: i64,
    },
    Concurrency {
        /// When the lease ends by itself.
        until: i64,
    },
    Credit {
        /// Of which the units were.
        epoch: u64,
    },
}

/// What was accepted, and how much of it is to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given<'a> {
    pub(crate) id: &'a str,
    /// When it was accepted: the `at` of the decision.
    pub(crate) at: i64,
    /// The units that were accepted.
    pub(crate) cost: u64,
    /// At most `cost`. A lease ends whatever stands here.
    pub(crate) back: u64,
}

impl State {
    /// A state in which nothing was counted yet.
    pub(crate) fn new(spec: &Spec, at: i64) -> Self {
        Self { born: at, newest: at, counted: Counted::none(spec) }
    }

    /// Accepts the cost of `spec` at a time that [`super::decide`] gave. Leases are held by `id`.
    pub(crate) fn accept(&mut self, spec: &Spec, at: i64, id: Option<&Arc<str>>) -> Mark {
        if !self.suits(spec) {
            *self = Self::new(spec, at);
        }
        let before = std::mem::replace(&mut self.newest, at);
        match (spec.algorithm, &mut self.counted) {
            (Algorithm::Window { window }, Counted::Window(log)) => {
                let grain = grain(spec.limit_at(at), window);
                log.accept(window, grain, spec.cost, at);
                Mark::Window { window, grain }
            }
            (Algorithm::Bucket { interval }, Counted::Bucket(bucket)) => {
                if bucket.is_full(at) {
                    // All that was taken is refilled, and nothing of it can be given back.
                    (self.born, *bucket) = (at, Bucket::default());
                }
                Mark::Bucket { interval, end: bucket.accept(interval, spec.cost, at) }
            }
            (Algorithm::Calendar { periods }, Counted::Calendar { used }) => {
                let (start, end) = periods.around(at).unwrap_or((at, at));
                *used = if before < start { spec.cost } else { *used + spec.cost };
                Mark::Calendar { end }
            }
            (Algorithm::Concurrency { lease }, Counted::Concurrency(leases)) => {
                let until = at + lease;
                let id = id.cloned().unwrap_or_else(|| Arc::from(""));
                leases.accept(Lease { id, until, units: spec.cost }, at);
                Mark::Concurrency { until }
            }
            (Algorithm::Credit, Counted::Credit(credit)) => {
                credit.left -= spec.cost;
                Mark::Credit { epoch: credit.epoch }
            }
            _ => Mark::Nothing,
        }
    }

    /// Gives back what can still be given back; and how many units that is.
    pub(crate) fn give_back(&mut self, mark: &Mark, given: &Given<'_>, now: i64) -> u64 {
        let at = now.max(self.newest);
        if self.born > given.at {
            return 0;
        }
        match (mark, &mut self.counted) {
            (Mark::Window { window, grain }, Counted::Window(log)) => {
                log.give_back(*window, *grain, given.at, given.back, at)
            }
            (Mark::Bucket { interval, end }, Counted::Bucket(bucket)) => {
                bucket.give_back(*interval, *end, given.cost, given.back, at)
            }
            (Mark::Calendar { end }, Counted::Calendar { used }) if at < *end => {
                let returned = given.back.min(*used);
                *used -= returned;
                returned
            }
            (Mark::Concurrency { until }, Counted::Concurrency(leases)) => {
                leases.give_back(given.id, *until, at)
            }
            (Mark::Credit { epoch }, Counted::Credit(credit)) => credit.give_back(*epoch, given.back),
            _ => 0,
        }
    }

    /// Forgets what was counted. The state stays, a moment younger than all that was accepted, so that none of that can be
    /// given back to what is counted from now on.
    pub(crate) fn reset(&mut self, now: i64) {
        let at = now.max(self.newest) + 1;
        *self = Self { born: at, newest: at, counted: self.counted.empty() };
    }

    /// The time from which on it is as if there were no state; `spec` is what was accepted last.
    pub(crate) fn matters_until(&self, spec: &Spec) -> i64 {
        let counted = match (spec.algorithm, &self.counted) {
            (Algorithm::Window { window }, _) => self.newest + window,
            (_, Counted::Bucket(bucket)) => bucket.tat,
            (Algorithm::Calendar { periods }, _) => periods.around(self.newest).map_or(0, |(_, end)| end),
            (_, Counted::Concurrency(leases)) => leases.0.last().map_or(0, |lease| lease.until),
            (_, Counted::Credit(_)) => self.credit_matters_until(),
            _ => 0,
        };
        counted.max(self.newest)
    }

    /// The same of a credit: what nobody has touched for so long is forgotten, with what remains of it.
    pub(crate) fn credit_matters_until(&self) -> i64 {
        self.newest + MAX_WINDOW
    }

    /// How many entries it has: what makes it large.
    pub(crate) fn entries(&self) -> usize {
        match &self.counted {
            Counted::Window(log) => log.entries.len(),
            Counted::Concurrency(leases) => leases.0.len(),
            Counted::Bucket(_) | Counted::Calendar { .. } | Counted::Credit(_) => 0,
        }
    }

    fn suits(&self, spec: &Spec) -> bool {
        matches!(
            (spec.algorithm, &self.counted),
            (Algorithm::Window { .. }, Counted::Window(_))
                | (Algorithm::Bucket { .. }, Counted::Bucket(_))
                | (Algorithm::Calendar { .. }, Counted::Calendar { .. })
                | (Algorithm::Concurrency { .. }, Counted::Concurrency(_))
                | (Algorithm::Credit, Counted::Credit(_))
        )
    }
}

impl Counted {
    fn none(spec: &Spec) -> Self {
        match spec.algorithm {
            Algorithm::Window { .. } => Self::Window(Log::default()),
            Algorithm::Bucket { .. } => Self::Bucket(Bucket::default()),
            Algorithm::Calendar { .. } => Self::Calendar { used: 0 },
            Algorithm::Concurrency { .. } => Self::Concurrency(Leases::default()),
            Algorithm::Credit => Self::Credit(Credit::default()),
        }
    }

    fn empty(&self) -> Self {
        match self {
            Self::Window(_) => Self::Window(Log::default()),
            Self::Bucket(_) => Self::Bucket(Bucket::default()),
            Self::Calendar { .. } => Self::Calendar { used: 0 },
            Self::Concurrency(_) => Self::Concurrency(Leases::default()),
            // No limit: nothing of it is forgotten.
            Self::Credit(credit) => Self::Credit(*credit),
        }
    }
}
