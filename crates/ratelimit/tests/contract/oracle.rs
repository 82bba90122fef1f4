//! The rules, written the naive way: every accepted unit is an element of a list, and every question looks at all of them.
//! Shares no code with the role.

use std::collections::{BTreeMap, HashMap};

use tollgate_kernel::Code;
use tollgate_proto::ratelimit::{
    AccountState, Algorithm, Charge, CheckRequest, CheckResponse, CreditState, DepositRequest, Limit,
    LimitState, Period, WithdrawRequest,
};

const TEN_MINUTES: i64 = 600_000_000;
const DAY: i64 = 86_400_000_000;

/// Whose units of which limit: subject, then name.
pub(crate) type Key = (String, String);

/// What was accepted, and what was answered.
#[derive(Default)]
pub(crate) struct Oracle {
    states: HashMap<Key, Seen>,
    requests: HashMap<String, Request>,
    /// Number and end.
    overrides: BTreeMap<Key, (u64, i64)>,
    accounts: HashMap<String, Account>,
    grants: u64,
}

/// Credits, and when something was done with them last.
#[derive(Debug, Clone, Default)]
struct Account {
    state: AccountState,
    behind: u64,
    newest: i64,
}

/// What was accepted of one limit.
struct Seen {
    algorithm: Algorithm,
    newest: i64,
    units: Vec<Unit>,
    /// When the bucket will be full.
    full: i64,
    /// What was given back to the bucket: by how many microseconds, in the order of giving.
    refunds: Vec<i64>,
}

/// One unit.
#[derive(Debug, Clone)]
struct Unit {
    grant: u64,
    /// As of when it counts: when it was accepted, or the newest of those that share its grain.
    time: i64,
    /// The end of the lease.
    until: i64,
}

/// What one call was given of one limit.
#[derive(Debug, Clone)]
struct Grant {
    number: u64,
    limit: Limit,
    /// When its period ends.
    period_end: i64,
    /// Where its units end in the bucket, and how many refunds there had been.
    end: i64,
    refunds: usize,
}

struct Request {
    known_until: i64,
    hold_until: i64,
    charges: Vec<(Key, u64)>,
    grants: Vec<Option<Grant>>,
    /// The account, what it was asked for, and of which epoch that was given.
    credit: Option<(String, u64, Option<u64>)>,
    answer: CheckResponse,
    /// A refund, the costs, and what was returned.
    settled: Option<(bool, Vec<u64>, Vec<u64>)>,
}

impl Oracle {
    /// The answer to a call at this time in microseconds, which is held for so long.
    pub(crate) fn check(
        &mut self,
        request: &CheckRequest,
        hold: i64,
        now: i64,
    ) -> Result<CheckResponse, Code> {
        let id = if request.peek { String::new() } else { request.request_id.clone() };
        let leases = |charge: &Charge| charge.cost > 0 && algorithm(charge) == Algorithm::Concurrency;
        if id.is_empty() && !request.peek && request.charges.iter().any(leases) {
            return Err(Code::InvalidArgument);
        }
        if let Some(before) = self.requests.get(&id).filter(|before| now < before.known_until) {
            let asked = request.credit.as_ref().map(|credit| (&credit.account, credit.cost));
            let known = before.credit.as_ref().map(|(account, cost, _)| (account, *cost));
            let same = before.charges == charges(request) && asked == known;
            return if same { Ok(retold(&before.answer, request)) } else { Err(Code::InvalidArgument) };
        }
        let waits: Vec<_> = request.charges.iter().map(|charge| self.wait(request, charge, now)).collect();
        if request.charges.iter().zip(&waits).any(|(charge, wait)| wait.is_none() && !limit(charge).shadow) {
            return Err(Code::InvalidArgument);
        }
        // One that is only watched may wait for ever.
        let waits: Vec<i64> = waits.into_iter().map(|wait| wait.unwrap_or(i64::MAX)).collect();
        let enforced = request.charges.iter().zip(&waits).filter(|(charge, _)| !limit(charge).shadow);
        let mut longest: (Option<String>, i64) = (None, 0);
        for (charge, wait) in enforced {
            if *wait > longest.1 {
                longest = (Some(limit(charge).name.clone()), *wait);
            }
        }
        let lacks = request.credit.as_ref().is_some_and(|credit| {
            self.accounts.get(&credit.account).is_none_or(|it| it.state.remaining < credit.cost.max(1))
        });
        let denied = lacks && longest.0.is_none();
        if denied {
            longest.0 = Some("credits".to_owned());
        }
        let (allowed, at) = (longest.0.is_none(), self.clamped(request, now));
        let spent = request.credit.as_ref().filter(|credit| allowed && !request.peek && credit.cost > 0);
        let spent = spent.and_then(|credit| {
            let account = self.accounts.get_mut(&credit.account)?;
            (account.state.remaining, account.newest) = (account.state.remaining - credit.cost, at);
            Some(account.state.epoch)
        });
        let credit = request.credit.as_ref().map(|credit| {
            let account = self.accounts.get(&credit.account).cloned().unwrap_or_default();
            let AccountState { remaining, step, .. } = account.state;
            CreditState { remaining, behind: account.behind, step, denied }
        });
        let mut grants = vec![None; waits.len()];
        for (number, charge) in request.charges.iter().enumerate() {
            if allowed && !request.peek && waits[number] == 0 && charge.cost > 0 {
                grants[number] = Some(self.accept(charge, at));
            }
        }
        let limits = request.charges.iter().zip(&waits);
        let limits = limits.map(|(charge, wait)| self.state(charge, *wait > 0, at, now)).collect();
        let retry_after_us = longest.1.unsigned_abs();
        let answer =
            CheckResponse { allowed, denied_by: longest.0, retry_after_us, limits, degraded: false, credit };
        if allowed && !id.is_empty() {
            let (known_until, hold_until) = (now + hold.max(TEN_MINUTES), now + hold);
            let (charges, answer) = (charges(request), answer.clone());
            let credit = request.credit.as_ref().map(|it| (it.account.clone(), it.cost, spent));
            let request = Request { known_until, hold_until, charges, grants, credit, answer, settled: None };
            self.requests.insert(id, request);
        }
        Ok(answer)
    }

    /// What is given back of a call. Costs are by name; none: a refund.
    pub(crate) fn settle(
        &mut self,
        id: &str,
        costs: Option<&HashMap<String, u64>>,
        now: i64,
    ) -> Result<Vec<u64>, Code> {
        let known = self.requests.get(id).filter(|request| now < request.hold_until);
        let request = known.ok_or(Code::NotFound)?;
        let (asked, asked_refund) = (costs.cloned().unwrap_or_default(), costs.is_none());
        let mut reserved: Vec<(String, u64)> =
            request.charges.iter().map(|((_, name), cost)| (name.clone(), *cost)).collect();
        reserved.extend(request.credit.iter().map(|(_, cost, _)| ("$credits".to_owned(), *cost)));
        for (name, cost) in &asked {
            let mut named = reserved.iter().filter(|(other, _)| other == name).peekable();
            let fits = match name.as_str() {
                "*" => reserved.iter().any(|(_, reserved)| cost <= reserved),
                _ => named.peek().is_some() && named.all(|(_, reserved)| cost <= reserved),
            };
            if !fits {
                return Err(Code::InvalidArgument);
            }
        }
        let cost = |(name, reserved): &(String, u64)| match (asked.get(name), asked.get("*")) {
            _ if asked_refund => 0,
            (Some(cost), _) => *cost,
            (None, Some(others)) => *reserved.min(others),
            (None, None) => *reserved,
        };
        let costs: Vec<u64> = reserved.iter().map(cost).collect();
        if let Some((refund, settled, returned)) = &request.settled {
            let same = *refund == asked_refund && *settled == costs;
            return if same { Ok(returned.clone()) } else { Err(Code::Conflict) };
        }
        let given: Vec<_> =
            request.charges.iter().cloned().zip(request.grants.clone()).zip(costs.clone()).collect();
        let spent = request.credit.clone();
        let mut returned: Vec<u64> = given
            .into_iter()
            .map(|(((key, reserved), grant), cost)| match (grant, self.states.get_mut(&key)) {
                (Some(grant), Some(seen)) => seen.give_back(&grant, reserved, reserved - cost, now),
                _ => 0,
            })
            .collect();
        if let Some((account, reserved, epoch)) = spent {
            let back = reserved - costs.last().expect("the credit is the last");
            let account = self.accounts.get_mut(&account).filter(|it| Some(it.state.epoch) == epoch);
            returned.push(account.map_or(0, |it| {
                it.state.remaining += back;
                back
            }));
        }
        let request = self.requests.get_mut(id).expect("it was there");
        request.settled = Some((asked_refund, costs, returned.clone()));
        Ok(returned)
    }

    /// How an account stands after a step, or before one that is not to be made.
    pub(crate) fn deposit(&mut self, request: &DepositRequest, now: i64) -> AccountState {
        let DepositRequest { account, epoch, step, amount, behind, .. } = request;
        if *step == 0 && *epoch != 0 {
            let begun = AccountState { epoch: *epoch, ..Default::default() };
            let begun = || Account { state: begun, behind: 0, newest: now };
            self.accounts.entry(account.clone()).or_insert_with(begun);
        }
        let Some(it) = self.accounts.get_mut(account) else { return AccountState::default() };
        it.newest = it.newest.max(now);
        let makes = *step > it.state.step && *epoch == it.state.epoch;
        if makes {
            it.state.remaining += amount;
            (it.state.step, it.state.withdrawn) = (*step, 0);
        }
        if makes || *step == 0 {
            it.behind = behind.unwrap_or(it.behind);
        }
        it.state
    }

    /// The same, of what is taken back.
    pub(crate) fn withdraw(&mut self, request: &WithdrawRequest, now: i64) -> AccountState {
        let Some(it) = self.accounts.get_mut(&request.account) else { return AccountState::default() };
        it.newest = it.newest.max(now);
        if request.step > it.state.step && request.epoch == it.state.epoch {
            it.state.withdrawn = it.state.remaining;
            (it.state.step, it.state.remaining) = (request.step, 0);
        }
        it.state
    }

    /// Forgets what was counted of limits of a subject, which is a moment of its own.
    pub(crate) fn reset(&mut self, subject: &str, names: &[String], now: i64) {
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        for name in distinct {
            if let Some(seen) = self.states.get_mut(&(subject.to_owned(), name.clone())) {
                *seen = Seen::new(seen.algorithm, now.max(seen.newest) + 1);
            }
        }
    }

    /// Whether a state of these is so old at `latest` that a counter may have forgotten it. What is reset and what is not
    /// there differ by a moment, so that the answers after such a reset depend on what was forgotten when.
    pub(crate) fn may_be_forgotten(&self, subject: &str, names: &[String], latest: i64) -> bool {
        let states = names.iter().filter_map(|name| self.states.get(&(subject.to_owned(), name.clone())));
        states.into_iter().any(|seen| latest - seen.newest >= 60_000_000)
    }

    /// Replaces the number of a limit until a time.
    pub(crate) fn put_override(&mut self, key: Key, limit: u64, until: i64) {
        self.overrides.insert(key, (limit, until));
    }

    pub(crate) fn delete_override(&mut self, key: &Key) {
        self.overrides.remove(key);
    }

    /// Name, subject, number and end of what is in force, in their order.
    pub(crate) fn overrides(&self, now: i64) -> Vec<(String, String, u64, i64)> {
        let live = self.overrides.iter().filter(|(_, (_, until))| now < *until);
        let mut live: Vec<_> = live
            .map(|((subject, name), (limit, until))| (name.clone(), subject.clone(), *limit, *until))
            .collect();
        live.sort();
        live
    }

    /// How long until the charge would pass, at once or when something ends; none: it never does.
    fn wait(&self, request: &CheckRequest, charge: &Charge, now: i64) -> Option<i64> {
        let passes = |moment: i64| self.passes(charge, self.clamped(request, moment));
        let mut moments = vec![now];
        if let Some((number, until)) = self.overrides.get(&key(charge)) {
            moments.extend([*until, self.bucket_passes(charge, *number)]);
        }
        moments.push(self.bucket_passes(charge, own(charge)));
        moments.push(period(limit(charge), self.clamped(request, now)).1);
        for unit in self.seen(charge).map_or(&[][..], |seen| &seen.units) {
            moments.extend([unit.time + window(limit(charge)), unit.until]);
        }
        let first = moments.into_iter().filter(|at| *at >= now && passes(*at)).min()?;
        assert!(first == now || !passes(first - 1), "a microsecond earlier it must not pass");
        Some(first - now)
    }

    fn passes(&self, charge: &Charge, at: i64) -> bool {
        let (number, wanted) = (self.in_force(charge, at), charge.cost.max(1));
        match self.seen(charge) {
            Some(seen) if seen.algorithm == Algorithm::TokenBucket => {
                let after = seen.full.max(at) + signed(wanted) * interval(limit(charge));
                after - at <= signed(number) * interval(limit(charge))
            }
            Some(seen) => seen.counted(limit(charge), at) + wanted <= number,
            None => wanted <= number,
        }
    }

    /// When a bucket of this size has enough.
    fn bucket_passes(&self, charge: &Charge, burst: u64) -> i64 {
        let missing = signed(charge.cost.max(1)) - signed(burst);
        self.seen(charge).map_or(i64::MIN, |seen| seen.full + missing * interval(limit(charge)))
    }

    fn accept(&mut self, charge: &Charge, at: i64) -> Grant {
        self.grants += 1;
        let (number, in_force, limit) = (self.grants, self.in_force(charge, at), limit(charge));
        let seen = self.states.entry(key(charge)).or_insert_with(|| Seen::new(algorithm(charge), at));
        if seen.algorithm != algorithm(charge) {
            *seen = Seen::new(algorithm(charge), at);
        }
        let (start, period_end) = period(limit, at);
        match seen.algorithm {
            Algorithm::SlidingWindow => seen.share_grain(limit, in_force, at),
            Algorithm::Calendar => seen.units.retain(|unit| unit.time >= start),
            _ => {}
        }
        seen.newest = at;
        let until = at + window(limit);
        seen.units.extend(vec![
            Unit { grant: number, time: at, until };
            usize::try_from(charge.cost).expect("few")
        ]);
        seen.full = seen.full.max(at) + signed(charge.cost) * interval(limit);
        Grant { number, limit: limit.clone(), period_end, end: seen.full, refunds: seen.refunds.len() }
    }

    fn state(&self, charge: &Charge, exceeded: bool, at: i64, now: i64) -> LimitState {
        let (of, number) = (limit(charge), self.in_force(charge, at));
        let (remaining, reset) = match self.seen(charge) {
            Some(seen) if seen.algorithm == Algorithm::TokenBucket => {
                let missing = (seen.full - at).max(0);
                let left = (signed(number) * interval(of) - missing).max(0) / interval(of);
                (left.unsigned_abs(), (seen.full - now).max(0))
            }
            Some(seen) => {
                let ends = seen.live(of, at).map(|unit| seen.ends(unit, of)).max();
                (number.saturating_sub(seen.counted(of, at)), ends.map_or(0, |end| end - now))
            }
            None => (number, 0),
        };
        let (start, end) = period(of, at);
        LimitState {
            name: of.name.clone(),
            limit: number,
            remaining,
            reset_us: reset.unsigned_abs(),
            window_seconds: match algorithm(charge) {
                Algorithm::Calendar => u32::try_from((end - start) / 1_000_000).expect("short"),
                _ => of.window_seconds,
            },
            exceeded,
            shadow: of.shadow,
            algorithm: algorithm(charge).into(),
        }
    }

    /// The state of a charge, if it is of the algorithm that the charge has now.
    fn seen(&self, charge: &Charge) -> Option<&Seen> {
        self.states.get(&key(charge)).filter(|seen| seen.algorithm == algorithm(charge))
    }

    fn in_force(&self, charge: &Charge, at: i64) -> u64 {
        let live = self.overrides.get(&key(charge)).filter(|(_, until)| at < *until);
        live.map_or_else(|| own(charge), |(number, _)| *number)
    }

    /// Time does not go back behind what was accepted.
    fn clamped(&self, request: &CheckRequest, now: i64) -> i64 {
        let newest = request.charges.iter().filter_map(|charge| self.states.get(&key(charge)));
        let account = request.credit.as_ref().and_then(|credit| self.accounts.get(&credit.account));
        let newest = newest.map(|seen| seen.newest).chain(account.map(|it| it.newest));
        newest.chain([now]).max().expect("there is now")
    }
}

impl Seen {
    fn new(algorithm: Algorithm, newest: i64) -> Self {
        Self { algorithm, newest, units: Vec::new(), full: 0, refunds: Vec::new() }
    }

    fn live<'a>(&'a self, limit: &'a Limit, at: i64) -> impl Iterator<Item = &'a Unit> {
        let start = period(limit, at).0;
        let counts = move |unit: &&Unit| match self.algorithm {
            Algorithm::Calendar => unit.time >= start,
            _ => at < self.ends(unit, limit),
        };
        self.units.iter().filter(counts)
    }

    fn counted(&self, limit: &Limit, at: i64) -> u64 {
        self.live(limit, at).count() as u64
    }

    fn ends(&self, unit: &Unit, limit: &Limit) -> i64 {
        match self.algorithm {
            Algorithm::Calendar => period(limit, unit.time).1,
            Algorithm::Concurrency => unit.until,
            _ => unit.time + window(limit),
        }
    }

    /// Above 1024, what is accepted within a sixtieth of the window counts as of the newest of it.
    fn share_grain(&mut self, limit: &Limit, in_force: u64, at: i64) {
        let grain = if in_force <= 1024 { 1 } else { (window(limit) + 59) / 60 };
        self.units.retain(|unit| at < unit.time + window(limit));
        let Some(last) = self.units.iter().map(|unit| unit.time).max() else { return };
        if last.div_euclid(grain) == at.div_euclid(grain) {
            for unit in self.units.iter_mut().filter(|unit| unit.time == last) {
                unit.time = at;
            }
        }
    }

    fn give_back(&mut self, grant: &Grant, reserved: u64, back: u64, now: i64) -> u64 {
        let at = now.max(self.newest);
        let own = |unit: &&Unit| unit.grant == grant.number;
        let Some(first) = self.units.iter().find(own).cloned() else { return 0 };
        let (most, live) = match self.algorithm {
            Algorithm::SlidingWindow => (back, at < first.time + window(&grant.limit)),
            Algorithm::Calendar => (back, at < grant.period_end),
            Algorithm::Concurrency => (reserved, at < first.until),
            _ => (back.min(self.owed(grant, reserved, at)), true),
        };
        let mut returned = 0;
        self.units.retain(|unit| {
            let takes = live && unit.grant == grant.number && returned < most;
            returned += u64::from(takes);
            !takes
        });
        if self.algorithm == Algorithm::TokenBucket {
            let moved = signed(returned) * interval(&grant.limit);
            self.full -= moved;
            self.refunds.push(moved);
        }
        returned
    }

    /// Whole units of a call that are not refilled yet, if all that was given back since lay before them.
    fn owed(&self, grant: &Grant, reserved: u64, at: i64) -> u64 {
        let end = grant.end - self.refunds[grant.refunds..].iter().sum::<i64>();
        let slots = (1..=signed(reserved)).map(|slot| end - slot * interval(&grant.limit));
        slots.filter(|start| *start >= at).count() as u64
    }
}

fn key(charge: &Charge) -> Key {
    (charge.subject.clone(), limit(charge).name.clone())
}

fn charges(request: &CheckRequest) -> Vec<(Key, u64)> {
    request.charges.iter().map(|charge| (key(charge), charge.cost)).collect()
}

fn limit(charge: &Charge) -> &Limit {
    charge.limit.as_ref().expect("every charge of a test has its limit")
}

fn algorithm(charge: &Charge) -> Algorithm {
    match limit(charge).algorithm() {
        Algorithm::Unspecified => Algorithm::SlidingWindow,
        other => other,
    }
}

/// The limit's own number; of a bucket, its burst.
fn own(charge: &Charge) -> u64 {
    let limit = limit(charge);
    if limit.burst > 0 { limit.burst } else { limit.limit }
}

fn window(limit: &Limit) -> i64 {
    i64::from(limit.window_seconds) * 1_000_000
}

fn interval(limit: &Limit) -> i64 {
    (window(limit) + signed(limit.limit) - 1) / signed(limit.limit)
}

/// The day or the week, of UTC, that contains a time.
fn period(limit: &Limit, at: i64) -> (i64, i64) {
    let Some(calendar) = &limit.calendar else { return (0, i64::MAX / 4) };
    let (length, shift) = match calendar.period() {
        // The epoch is a Thursday.
        Period::Week => (7 * DAY, 3 * DAY - DAY * (i64::from(calendar.anchor_day.max(1)) - 1)),
        _ => (DAY, 0),
    };
    let start = (at + shift).div_euclid(length) * length - shift;
    (start, start + length)
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).expect("the numbers of a test are small")
}

/// The numbers that were answered, beside what is asked about now.
fn retold(answer: &CheckResponse, request: &CheckRequest) -> CheckResponse {
    let mut answer = answer.clone();
    for (state, charge) in answer.limits.iter_mut().zip(&request.charges) {
        (state.shadow, state.algorithm) = (limit(charge).shadow, algorithm(charge).into());
        if limit(charge).calendar.is_none() {
            state.window_seconds = limit(charge).window_seconds;
        }
    }
    answer
}
