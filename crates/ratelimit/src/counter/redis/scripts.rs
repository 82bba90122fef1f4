//! The scripts that decide and count, composed of pieces that several of them share, and what they are given.
//!
//! Every script is one step and one round trip. They begin with `time.lua`; those that look into a log have `log.lua` next.

use super::{
    super::ahead::{Block, Wanted},
    drain,
    script::{Invocation, Script},
};
use crate::{
    call::{Call, Charge, PutOverride, Rule, Settle, Tally},
    engine::{EXACT, Periods},
    tally::Row,
};

/// Most overrides of one partition.
const MAX_OVERRIDES: usize = 1000;

/// So many entries of a log are long.
const LONG: u64 = 256;

/// The scripts that decide and count.
pub(super) struct Scripts {
    pub(super) check: Script,
    /// A check of a call that spends credits.
    pub(super) check_credits: Script,
    /// A check that may charge calls ahead.
    pub(super) check_ahead: Script,
    pub(super) release: Script,
    pub(super) settle: Script,
    pub(super) credit: Script,
    pub(super) reset: Script,
    pub(super) put_override: Script,
    pub(super) restore: Script,
    pub(super) overrides: Script,
}

impl Scripts {
    /// All of them.
    pub(super) fn new() -> Self {
        /// A check, with what it needs beside.
        macro_rules! checks {
            ($($file:literal)?) => {
                Script::new(concat!(
                    include_str!("time.lua"),
                    include_str!("log.lua"),
                    $(include_str!($file),)?
                    include_str!("check/begin.lua"),
                    include_str!("check/remembered.lua"),
                    include_str!("check/limits.lua"),
                    include_str!("check/decide.lua"),
                    include_str!("check/accept.lua"),
                    include_str!("check/answer.lua"),
                    "return answer\n",
                ))
            };
        }
        let check_ahead = concat!(
            include_str!("time.lua"),
            include_str!("log.lua"),
            include_str!("check/begin.lua"),
            include_str!("check/remembered.lua"),
            include_str!("check/limits.lua"),
            include_str!("check/decide.lua"),
            include_str!("check/ahead.lua"),
            include_str!("check/accept.lua"),
            include_str!("check/answer.lua"),
            include_str!("check/block.lua"),
        );
        /// A script that gives back.
        macro_rules! gives_back {
            ($file:literal) => {
                Script::new(concat!(
                    include_str!("time.lua"),
                    include_str!("log.lua"),
                    include_str!("account.lua"),
                    include_str!("give.lua"),
                    include_str!($file),
                ))
            };
        }
        /// A script after which blocks may go on for a while.
        macro_rules! changes {
            ($file:literal) => {
                Script::new(concat!(
                    include_str!("time.lua"),
                    include_str!("outstanding.lua"),
                    include_str!($file)
                ))
            };
        }
        Self {
            check: checks!(),
            check_credits: checks!("account.lua"),
            check_ahead: Script::new(check_ahead),
            release: gives_back!("release.lua"),
            settle: gives_back!("settle.lua"),
            credit: Script::new(concat!(
                include_str!("time.lua"),
                include_str!("account.lua"),
                include_str!("credit.lua"),
            )),
            reset: changes!("reset.lua"),
            put_override: changes!("override.lua"),
            restore: changes!("restore.lua"),
            overrides: Script::new(concat!(include_str!("time.lua"), include_str!("overrides.lua"))),
        }
    }
}

/// The arguments of a check after the time. Calendars are told the periods around `hint`.
pub(super) fn check(script: &mut Invocation<'_>, call: &Call, wanted: Option<&Wanted>, hint: i64) {
    let tally = call.tally.as_ref().filter(|_| !call.peek);
    script.arg(how(call));
    script.arg(tally.map_or("", |tally| &tally.code)).arg(tally.map(tallied).unwrap_or_default());
    script.arg(call.request_id.as_deref().unwrap_or_default());
    match wanted {
        None => script.arg(call.hold),
        Some(wanted) => {
            let numbers = [wanted.calls.to_be_bytes(), wanted.longest.to_be_bytes()];
            script.arg(numbers.concat())
        }
    };
    for charge in &call.charges {
        script.arg(limit(charge, hint));
    }
}

/// Whether the call changes anything, and which of its limits may have long logs, as `check/begin.lua` reads it.
fn how(call: &Call) -> String {
    let mut how = String::from(if call.peek { "p" } else { "-" });
    if call.charges.iter().any(may_be_long) {
        how.extend(call.charges.iter().map(|charge| if may_be_long(charge) { 'l' } else { '-' }));
    }
    how
}

/// Whether to read a state's beginning before all of it: it is right to do so or not, whatever the state is.
fn may_be_long(charge: &Charge) -> bool {
    match charge.rule {
        Rule::Window { .. } => (LONG..=EXACT).contains(&charge.limit),
        Rule::Concurrency { .. } => charge.limit >= LONG,
        Rule::Bucket { .. } | Rule::Calendar(_) | Rule::Credit => false,
    }
}

/// Where a call is counted, as `check/answer.lua` reads it. No name has a space, and no text here a zero.
fn tallied(tally: &Tally) -> String {
    let space = if tally.group.is_empty() { "" } else { " " };
    format!("{}{space}{}\0{}", tally.subject, tally.group, tally.client.0)
}

/// The arguments of a settle after the time. `prefix` is what the keys of all states of the partition begin with.
pub(super) fn settle(script: &mut Invocation<'_>, settle: &Settle, prefix: &str) {
    script.arg(if settle.costs.is_none() { "r" } else { "s" }).arg(prefix.len()).arg(&*settle.request_id);
    for (name, cost) in settle.costs.iter().flatten() {
        script.arg(name).arg(cost);
    }
}

/// The arguments of a release after the time.
pub(super) fn release(script: &mut Invocation<'_>, block: &Block) {
    script.arg(block.accepted());
    for Row { cell, count, last_at, client } in block.tallied() {
        script.arg(drain::name(&cell)).arg(count).arg(last_at).arg(client.0);
    }
}

/// The arguments of an override after the time. `state` is the key of the limit's state.
pub(super) fn put_override(script: &mut Invocation<'_>, put: &PutOverride, state: &str) {
    script.arg(state).arg(put.replaced.limit).arg(put.replaced.until).arg(MAX_OVERRIDES);
}

/// A limit as `check/limits.lua` reads it.
fn limit(charge: &Charge, hint: i64) -> Vec<u8> {
    let (kind, numbers) = match charge.rule {
        Rule::Window { window } => (b'w', [window, 0, 0, 0]),
        Rule::Bucket { interval } => (b'b', [interval, 0, 0, 0]),
        Rule::Concurrency { lease } => (b'l', [lease, 0, 0, 0]),
        Rule::Credit => (b'k', [0; 4]),
        Rule::Calendar(calendar) => {
            let Periods(bounds) = calendar.periods(hint);
            (b'c', bounds)
        }
    };
    let numbers = &numbers[..if kind == b'c' { 4 } else { 1 }];
    let mut packed = vec![kind, if charge.shadow { b's' } else { b'-' }];
    packed.extend([charge.limit, charge.cost].into_iter().flat_map(u64::to_be_bytes));
    packed.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    packed
}
