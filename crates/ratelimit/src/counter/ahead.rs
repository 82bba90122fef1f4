//! Calls charged ahead: what is asked often costs Redis one question for many calls.
//!
//! With a call that was asked often, a *block* of further calls with the very same charges is charged in the same step. They
//! are accepted here, one by one and without asking, before the block's end. What is left then is given back, and what was
//! accepted is tallied in the same step, once.
//!
//! No window holds more for it. Redis counts a block's units from before the first of its calls, and as of its end, which none
//! of them is later than; so at each moment it counts all that was accepted. The end is reckoned here from the moment of
//! asking, which is no later than that of charging, by a clock that nobody sets.
//!
//! Nor does anybody see it: a block is only charged where units are freed together anyway, and while much is left
//! (`check/ahead.lua`). What changes a limit's number or forgets what it counted returns when all blocks of the partition have
//! ended. Decided by themselves are a peek, a call with a request id, one with a limit that is only watched, exact, a bucket
//! or of leases.
//!
//! A process that dies takes its blocks with it: what it had not used of them is not given back, and what it had is in no tally.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tollgate_kernel::{Clock, Entropy};

use super::Answer;
use crate::{
    call::{Call, REMEMBERED, Rule, Tally},
    engine::{EXACT, Outlook},
    tally::{Cell, Client, Row, token},
};

/// So many questions within the length of a block, and the next are charged ahead.
const OFTEN: u64 = 8;
/// Most calls of a block.
const MOST_CALLS: u64 = 1000;
/// Most blocks at one time, and most calls of which it is remembered how often they were asked.
const MOST_BLOCKS: usize = 1000;
const MOST_HEATS: usize = 10_000;

/// Blocks of calls that were charged ahead.
pub(super) struct Ahead {
    /// Microseconds for which a block lasts at most; 0: nothing is charged ahead.
    longest: i64,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    began: Instant,
    hasher: RandomState,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// By what they are for.
    open: HashMap<u64, Block>,
    /// Those of which nothing is accepted any more, to be released.
    ended: Vec<Block>,
    heats: HashMap<u64, Heat>,
    /// Nothing more is charged ahead.
    closed: bool,
}

/// How often something was asked.
struct Heat {
    since: i64,
    questions: u64,
    /// How many calls to charge ahead next.
    calls: u64,
}

/// What is to be done about a call.
pub(super) enum Turn {
    /// It was charged before.
    Accepted(Answer),
    /// Ask, and charge so many more.
    Ask(Wanted),
    /// Ask.
    Exact,
}

/// A block that is wanted.
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) calls: u64,
    /// Microseconds.
    pub(super) longest: i64,
    place: u64,
    asked: i64,
}

/// What the store charged ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charged {
    pub(super) calls: u64,
    /// Microseconds from charging until the block ends.
    pub(super) lasts: i64,
}

/// Calls that were charged ahead.
pub(super) struct Block {
    id: String,
    /// What each of them is.
    call: Call,
    asked: i64,
    until: i64,
    answered: i64,
    calls: u64,
    accepted: u64,
    /// How the limits stand after all of them.
    outlooks: Vec<Outlook>,
    /// By minute, how many were accepted, when the last was, and whose.
    minutes: BTreeMap<i64, (u64, i64, Client)>,
}

impl Ahead {
    /// Blocks last so long at most.
    pub(super) fn new(longest: Duration, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            longest: i64::try_from(longest.as_micros()).unwrap_or(i64::MAX),
            clock,
            entropy,
            began: Instant::now(),
            hasher: RandomState::new(),
            held: Mutex::default(),
        }
    }

    /// Accepts a call that was charged before, or says how to ask about it.
    pub(super) fn turn(&self, call: &Call) -> Turn {
        if self.longest == 0 || !is_coarse(call) {
            return Turn::Exact;
        }
        let (place, now) = (self.place(call), self.now());
        let mut held = self.held();
        if let Some(block) = held.open.get_mut(&place).filter(|block| block.is_of(call)) {
            if block.is_open(now) {
                return Turn::Accepted(block.accept(now, self.clock.now().timestamp_micros(), call));
            }
            held.end(place, now);
        }
        let has_room = held.has_room();
        match held.heat(place, now, self.longest).filter(|_| has_room) {
            Some(calls) => {
                let id = token(&*self.entropy);
                Turn::Ask(Wanted { id, calls, longest: self.longest, place, asked: now })
            }
            None => Turn::Exact,
        }
    }

    /// Notes what was charged with this call, and what is to be answered to it.
    pub(super) fn open(&self, wanted: Wanted, call: &Call, answer: Answer, charged: Charged) -> Answer {
        if charged.calls == 0 {
            return answer;
        }
        let now = self.now();
        let (place, asked) = (wanted.place, wanted.asked);
        let block = Block {
            id: wanted.id,
            call: call.clone(),
            asked,
            until: asked.saturating_add(charged.lasts.min(self.longest)),
            answered: now,
            calls: charged.calls,
            accepted: 0,
            outlooks: answer.outlooks,
            minutes: BTreeMap::new(),
        };
        let answer = Answer { outlooks: block.outlooks(now), ..answer };
        let mut held = self.held();
        // One of another call that is in its place is not used any more.
        held.end(place, now);
        held.heats.remove(&place);
        if held.closed {
            held.ended.push(block);
        } else {
            held.open.insert(place, block);
        }
        answer
    }

    /// Notes that nobody knows whether the block was charged: then it is given back.
    pub(super) fn lose(&self, wanted: Wanted, call: &Call) {
        let (asked, minutes) = (wanted.asked, BTreeMap::new());
        let lost = Block {
            id: wanted.id,
            call: call.clone(),
            asked,
            until: asked,
            answered: asked,
            calls: 0,
            accepted: 0,
            outlooks: Vec::new(),
            minutes,
        };
        let mut held = self.held();
        if held.has_room() {
            held.ended.push(lost);
        }
    }

    /// One of the blocks that have ended, to be released.
    pub(super) fn ended(&self) -> Option<Block> {
        let now = self.now();
        let mut held = self.held();
        held.end_each(now, |block| !block.is_open(now));
        held.ended.pop()
    }

    /// Ends all blocks, for good.
    pub(super) fn close(&self) {
        let mut held = self.held();
        held.closed = true;
        held.end_each(self.now(), |_| true);
    }

    /// Keeps a block that could not be released for another attempt, until the store has forgotten it.
    pub(super) fn keep(&self, block: Block) {
        if self.now() - block.asked < REMEMBERED {
            self.held().ended.push(block);
        } else {
            tracing::warn!(calls = block.accepted, "calls that were charged ahead are in no tally");
        }
    }

    /// How long until a block ends; none: there are none.
    pub(super) fn next_end(&self) -> Option<Duration> {
        let (now, held) = (self.now(), self.held());
        let next = held.open.values().chain(&held.ended).map(|block| block.until).min()?;
        Some(Duration::from_micros((next - now).max(0).unsigned_abs()))
    }

    /// Microseconds of this process's own time, which goes on whatever the clock is set to; or of a hand that moves it.
    fn now(&self) -> i64 {
        match self.clock.by_hand() {
            Some(now) => now.timestamp_micros(),
            None => i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn place(&self, call: &Call) -> u64 {
        let keys = call.charges.iter().map(|charge| (&charge.key, charge.cost));
        self.hasher.hash_one((&call.partition, keys.collect::<Vec<_>>()))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether all that a call is charged is freed together with what others are charged.
fn is_coarse(call: &Call) -> bool {
    let is_coarse = |rule, limit| match rule {
        Rule::Window { .. } => limit > EXACT,
        Rule::Calendar(_) => true,
        Rule::Bucket { .. } | Rule::Concurrency { .. } | Rule::Credit => false,
    };
    let mut charges = call.charges.iter();
    !call.peek
        && call.request_id.is_none()
        && !call.charges.is_empty()
        && charges.all(|charge| charge.cost > 0 && !charge.shadow && is_coarse(charge.rule, charge.limit))
}

impl Held {
    fn has_room(&self) -> bool {
        !self.closed && self.open.len() + self.ended.len() < MOST_BLOCKS
    }

    /// Counts a question; and how many calls to charge ahead with it, if it is one too many.
    fn heat(&mut self, place: u64, now: i64, longest: i64) -> Option<u64> {
        if self.heats.len() >= MOST_HEATS {
            self.heats.clear();
        }
        let heat = self.heats.entry(place).or_insert(Heat { since: now, questions: 0, calls: 2 * OFTEN });
        if !(heat.since..heat.since.saturating_add(longest)).contains(&now) {
            *heat = Heat { since: now, questions: 0, calls: 2 * OFTEN };
        }
        heat.questions += 1;
        // One asks for the block, and the others do not wait for it.
        (heat.questions == OFTEN).then_some(heat.calls)
    }

    fn end(&mut self, place: u64, now: i64) {
        let Some(block) = self.open.remove(&place) else { return };
        if block.accepted >= OFTEN {
            // Twice as many if they were all used, or else a few more than were.
            let next = if block.accepted == block.calls { 2 * block.calls } else { block.accepted * 5 / 4 };
            let calls = next.min(MOST_CALLS);
            self.heats.insert(place, Heat { since: now, questions: OFTEN - 1, calls });
        }
        self.ended.push(block);
    }

    fn end_each(&mut self, now: i64, which: impl Fn(&Block) -> bool) {
        let places = self.open.iter().filter(|(_, block)| which(block)).map(|(place, _)| *place);
        for place in places.collect::<Vec<_>>() {
            self.end(place, now);
        }
    }
}

impl Block {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn partition(&self) -> &str {
        &self.call.partition
    }

    /// How many of the calls were accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Whether there is something for the tally.
    pub(super) fn tallies(&self) -> bool {
        self.call.tally.is_some() && self.accepted > 0
    }

    /// The calls that were accepted, by cell of the tally.
    pub(super) fn tallied(&self) -> impl Iterator<Item = Row> {
        let tally = self.call.tally.iter();
        tally.flat_map(|tally| {
            self.minutes.values().map(|(calls, last, client)| Row {
                cell: Cell::at(*last, tally, &tally.code),
                count: *calls,
                last_at: *last,
                client: client.clone(),
            })
        })
    }

    /// Whether this call is charged and counted like those of the block, whoever makes it.
    fn is_of(&self, call: &Call) -> bool {
        let Call { partition, charges, tally, peek, request_id, hold } = &self.call;
        (partition, charges, peek) == (&call.partition, &call.charges, &call.peek)
            && (request_id, hold) == (&call.request_id, &call.hold)
            && tally.as_ref().map(Tally::place) == call.tally.as_ref().map(Tally::place)
    }

    /// Whether some of it is left, to be used now. A hand that was turned back says nothing about what comes.
    fn is_open(&self, now: i64) -> bool {
        self.accepted < self.calls && (self.asked..self.until).contains(&now)
    }

    /// Accepts one of the calls, at a time of the clock.
    fn accept(&mut self, now: i64, at: i64, call: &Call) -> Answer {
        self.accepted += 1;
        let (calls, last, client) = self.minutes.entry(Cell::minute(at)).or_default();
        *calls += 1;
        if at >= *last {
            *last = at;
            if let Some(tally) = &call.tally {
                client.clone_from(&tally.client);
            }
        }
        Answer { denial: None, outlooks: self.outlooks(now), degraded: false }
    }

    /// How the limits stand if those calls that are left were not charged.
    fn outlooks(&self, now: i64) -> Vec<Outlook> {
        let (left, passed) = (self.calls - self.accepted, now - self.answered);
        let each = self.outlooks.iter().zip(&self.call.charges);
        each.map(|(outlook, charge)| Outlook {
            remaining: outlook.remaining + left * charge.cost,
            reset: (outlook.reset - passed).max(0),
            ..*outlook
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
