//! The rules, written the naive way: every accepted unit is kept for ever, and every question counts them all. Shares no
//! code with the role.

use std::collections::HashMap;

use tollgate_proto::ratelimit::{Charge, CheckRequest, CheckResponse, Limit, LimitState};

const TEN_MINUTES: i64 = 600_000_000;

/// What was accepted, and what was answered.
#[derive(Default)]
pub(crate) struct Oracle {
    accepted: HashMap<(String, String), Vec<i64>>,
    answered: HashMap<String, (i64, CheckRequest, CheckResponse)>,
}

impl Oracle {
    /// The answer to a call at this time in microseconds; none if its request id is taken by other charges.
    pub(crate) fn check(&mut self, request: &CheckRequest, now: i64) -> Option<CheckResponse> {
        let id = if request.peek { String::new() } else { request.request_id.clone() };
        if let Some((_, before, answer)) = self.answered.get(&id).filter(|(at, ..)| now < at + TEN_MINUTES) {
            return same_charges(before, request).then(|| with_limits_of(answer, request));
        }
        let (by, wait) = self.longest_wait(request, now);
        if by.is_none() && !request.peek {
            let at = self.clamped(request, now);
            for charge in &request.charges {
                self.accepted.entry(key(charge)).or_default().extend(vec![at; charge.cost as usize]);
            }
        }
        let answer = CheckResponse {
            allowed: by.is_none(),
            denied_by: by,
            retry_after_us: wait.unsigned_abs(),
            limits: request.charges.iter().map(|charge| self.state(request, charge, now)).collect(),
            degraded: false,
        };
        if answer.allowed && !id.is_empty() {
            self.answered.insert(id, (now, request.clone(), answer.clone()));
        }
        Some(answer)
    }

    fn longest_wait(&self, request: &CheckRequest, now: i64) -> (Option<String>, i64) {
        let mut longest = (None, 0);
        for charge in &request.charges {
            let wait = self.wait(request, charge, now);
            if wait > longest.1 {
                longest = (Some(limit(charge).name.clone()), wait);
            }
        }
        longest
    }

    /// The first moment at which the charge would pass: now, or when some unit leaves the window.
    fn wait(&self, request: &CheckRequest, charge: &Charge, now: i64) -> i64 {
        let passes = |at: i64| {
            self.counted(charge, self.clamped(request, at)) as u64 + u64::from(charge.cost.max(1))
                <= limit(charge).limit
        };
        let mut moments: Vec<i64> = self.units(charge).iter().map(|unit| unit + window(charge)).collect();
        moments.push(now);
        let first = moments.into_iter().filter(|at| *at >= now && passes(*at)).min().expect("it passes once");
        assert!(first == now || !passes(first - 1), "a microsecond earlier it must not pass");
        first - now
    }

    fn state(&self, request: &CheckRequest, charge: &Charge, now: i64) -> LimitState {
        let counted = |at: i64| self.counted(charge, self.clamped(request, at)) as u64;
        let mut moments: Vec<i64> = self.units(charge).iter().map(|unit| unit + window(charge)).collect();
        moments.push(now);
        let reset = moments.into_iter().filter(|at| *at >= now && counted(*at) == 0).min().expect("it ends");
        let Limit { name, limit, window_seconds, .. } = limit(charge).clone();
        let remaining = limit.saturating_sub(counted(now));
        LimitState {
            name,
            limit,
            remaining,
            reset_us: (reset - now).unsigned_abs(),
            window_seconds,
            exceeded: self.wait(request, charge, now) > 0,
            shadow: false,
            algorithm: 1,
        }
    }

    /// Time does not go back behind what was accepted.
    fn clamped(&self, request: &CheckRequest, now: i64) -> i64 {
        let units = request.charges.iter().flat_map(|charge| self.units(charge));
        units.copied().chain([now]).max().expect("there is now")
    }

    fn counted(&self, charge: &Charge, now: i64) -> usize {
        self.units(charge).iter().filter(|unit| now < **unit + window(charge)).count()
    }

    fn units(&self, charge: &Charge) -> &[i64] {
        self.accepted.get(&key(charge)).map_or(&[], Vec::as_slice)
    }
}

fn key(charge: &Charge) -> (String, String) {
    (charge.subject.clone(), limit(charge).name.clone())
}

fn limit(charge: &Charge) -> &Limit {
    charge.limit.as_ref().expect("every charge of a test has its limit")
}

fn window(charge: &Charge) -> i64 {
    i64::from(limit(charge).window_seconds) * 1_000_000
}

fn same_charges(a: &CheckRequest, b: &CheckRequest) -> bool {
    let what = |request: &CheckRequest| -> Vec<_> {
        request.charges.iter().map(|charge| (key(charge), charge.cost)).collect()
    };
    what(a) == what(b)
}

/// The answer that was given, beside the numbers that are asked about now.
fn with_limits_of(answer: &CheckResponse, request: &CheckRequest) -> CheckResponse {
    let mut answer = answer.clone();
    for (state, charge) in answer.limits.iter_mut().zip(&request.charges) {
        state.limit = limit(charge).limit;
    }
    answer
}
