//! What is counted together: states, what is remembered of calls, overrides, and the tally.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{Answer, SLACK, Undecided},
    Scope,
    expiry::{Due, Expiry, What},
    record::{Charged, Record, Settled},
    room::Room,
};
use crate::{
    call::{Call, Charge, Key, OnFailure, PutOverride, REMEMBERED, Settle},
    engine::{Decision, Given, Mark, OutOfBounds, Outlook, Override, Spec, State, decide},
    tally::{Cell, Client},
};

/// Most overrides of one partition.
pub(super) const MAX_OVERRIDES: usize = 1000;

/// What is counted together.
pub(super) struct Partition {
    pub(super) name: Arc<str>,
    pub(super) states: HashMap<Key, Held>,
    pub(super) requests: HashMap<Arc<str>, Record>,
    pub(super) overrides: HashMap<Key, Override>,
    pub(super) tally: HashMap<Cell, Counted>,
}

/// A state, and how long it is held.
pub(super) struct Held {
    pub(super) state: State,
    pub(super) keep_until: i64,
    /// What it takes of the room.
    pub(super) weight: usize,
}

#[derive(Default)]
pub(super) struct Counted {
    pub(super) count: u64,
    pub(super) last_at: i64,
    /// Whose call that was.
    pub(super) client: Client,
}

/// What a call or a change needs of its shard.
pub(super) struct Around<'a> {
    pub(super) now: i64,
    pub(super) room: &'a Room,
    pub(super) expiry: &'a mut Expiry,
}

impl Partition {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            states: HashMap::new(),
            requests: HashMap::new(),
            overrides: HashMap::new(),
            tally: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty()
            && self.requests.is_empty()
            && self.overrides.is_empty()
            && self.tally.is_empty()
    }

    /// Decides one call and counts it; and whether it is the first of the tally.
    pub(super) fn check(
        &mut self,
        call: &Call,
        scope: Scope,
        around: &mut Around<'_>,
    ) -> Result<(Answer, bool), Undecided> {
        if let Some(answer) = self.remembered(call, around.now)? {
            return Ok((answer, false));
        }
        let (specs, decision) = self.decide(call, scope, around.now)?;
        let mut marks = Vec::new();
        if decision.denial.is_none() {
            let grows = self.grows_by(call, &specs, &decision);
            if !around.room.take(grows) {
                return Err(Undecided::Full);
            }
            marks = self.accept(call, &specs, &decision, around);
            // As much as it could have grown, less what it has.
            around.room.leave(grows);
        }
        let answer = self.answer(call, scope, &specs, &decision, around.now);
        if decision.denial.is_none() {
            self.remember(call, &decision, marks, &answer, around);
        }
        let first = self.count(call, &answer, around.now);
        Ok((answer, first))
    }

    /// Decides one call and changes nothing.
    pub(super) fn peek(&self, call: &Call, scope: Scope, now: i64) -> Result<Answer, Undecided> {
        let (specs, decision) = self.decide(call, scope, now)?;
        Ok(self.answer(call, scope, &specs, &decision, now))
    }

    /// Gives back what a remembered call did not cost.
    pub(super) fn settle(&mut self, settle: &Settle, now: i64, room: &Room) -> Result<Vec<u64>, Undecided> {
        let record = self.requests.get_mut(&*settle.request_id).filter(|record| now < record.hold_until);
        let record = record.ok_or(Undecided::Unknown)?;
        let reserved = record.charged.iter().map(|charged| (charged.key.name(), charged.cost));
        let (refund, costs) = (settle.costs.is_none(), settle.costs(reserved)?);
        if let Some(settled) = &record.settled {
            let same = settled.refund == refund && settled.costs == costs;
            return if same { Ok(settled.returned.clone()) } else { Err(Undecided::Settled) };
        }
        let mut returned = Vec::with_capacity(costs.len());
        for (charged, cost) in record.charged.iter().zip(&costs) {
            let Some(held) = self.states.get_mut(&charged.key).filter(|_| charged.mark != Mark::Nothing)
            else {
                returned.push(0);
                continue;
            };
            let back = charged.cost - cost;
            let given = Given { id: &settle.request_id, at: record.at, cost: charged.cost, back };
            returned.push(held.state.give_back(&charged.mark, &given, now));
            held.weigh(room);
        }
        record.settled = Some(Settled { refund, costs, returned: returned.clone() });
        Ok(returned)
    }

    /// Forgets what the state of a key has counted.
    pub(super) fn reset(&mut self, key: &Key, now: i64, room: &Room) {
        if let Some(held) = self.states.get_mut(key) {
            held.state.reset(now);
            held.keep_until = held.state.newest + SLACK;
            held.weigh(room);
        }
    }

    /// Puts a number in place of a limit's own.
    pub(super) fn put_override(
        &mut self,
        put: &PutOverride,
        around: &mut Around<'_>,
    ) -> Result<(), Undecided> {
        let before = self.overrides.get(&put.key).filter(|it| around.now < it.until);
        let live = self.overrides.values().filter(|it| around.now < it.until).count();
        if before.is_none() && live >= MAX_OVERRIDES {
            return Err(Undecided::Crowded);
        }
        self.delete_override(&put.key, around);
        if !around.room.take(1) {
            return Err(Undecided::Full);
        }
        around.expiry.note(self.due(&put.key, put.replaced));
        self.overrides.insert(put.key.clone(), put.replaced);
        Ok(())
    }

    /// Ends an override, if it is there.
    pub(super) fn delete_override(&mut self, key: &Key, around: &mut Around<'_>) {
        if let Some(before) = self.overrides.remove(key) {
            around.expiry.cancel(&self.due(key, before));
            around.room.leave(1);
        }
    }

    /// Counts the call where it asks to be counted; and whether that is the first of the tally.
    pub(super) fn count(&mut self, call: &Call, answer: &Answer, now: i64) -> bool {
        let Some(tally) = &call.tally else { return false };
        let first = self.tally.is_empty();
        let denied = answer.denial.map_or(Some(&*tally.code), |denial| call.denied_as(denial.by));
        let Some(code) = denied else { return false };
        let counted = self.tally.entry(Cell::at(now, tally, code)).or_default();
        counted.count += 1;
        if now >= counted.last_at {
            counted.last_at = now;
            // Mostly it is the same caller again.
            if counted.client != tally.client {
                counted.client.clone_from(&tally.client);
            }
        }
        first
    }

    /// Until when a thing is held, if it is here.
    pub(super) fn keep_until(&self, what: &What) -> Option<i64> {
        match what {
            What::State(key) => self.states.get(key).map(|held| held.keep_until),
            What::Request(id) => self.requests.get(id).map(|record| record.known_until + SLACK),
            What::Override(key) => self.overrides.get(key).map(|it| it.until + SLACK),
        }
    }

    /// Forgets a thing, and leaves its room to others.
    pub(super) fn forget(&mut self, what: &What, room: &Room) {
        let weight = match what {
            What::State(key) => self.states.remove(key).map(|held| held.weight),
            What::Request(id) => self.requests.remove(id).map(|_| 1),
            What::Override(key) => self.overrides.remove(key).map(|_| 1),
        };
        room.leave(weight.unwrap_or(0));
    }

    fn due(&self, key: &Key, replaced: Override) -> Due {
        let (partition, what) = (self.name.clone(), What::Override(key.clone()));
        Due { at: replaced.until + SLACK, partition, what }
    }

    fn state(&self, key: &Key) -> Option<&State> {
        self.states.get(key).map(|held| &held.state)
    }

    fn decide(&self, call: &Call, scope: Scope, now: i64) -> Result<(Vec<Spec>, Decision), Undecided> {
        let states: Vec<_> = call
            .charges
            .iter()
            .map(|charge| self.state(&charge.key).filter(|_| scope.counts(charge)))
            .collect();
        let specs = |hint| -> Vec<Spec> {
            let spec = |charge| scope.spec(charge, hint, |key| self.overrides.get(key).copied());
            call.charges.iter().map(spec).collect()
        };
        let first = specs(now);
        let (specs, decision) = match decide(&first, &states, now) {
            Ok(decision) => (first, decision),
            Err(OutOfBounds(at)) => {
                let other = specs(at);
                let decided = decide(&other, &states, now);
                let decision =
                    decided.map_err(|_| Undecided::Gone("the time is beyond every calendar".into()))?;
                (other, decision)
            }
        };
        match decision.denial {
            Some(denial) if denial.is_for_ever() => Err(Undecided::TooMuch(denial.by)),
            _ => Ok((specs, decision)),
        }
    }

    /// How much more room the call can need.
    pub(super) fn grows_by(&self, call: &Call, specs: &[Spec], decision: &Decision) -> usize {
        let mut grows = usize::from(call.request_id.is_some());
        for (position, (charge, spec)) in call.charges.iter().zip(specs).enumerate() {
            if decision.charges(position, spec) {
                grows += self.states.get(&charge.key).map_or(1, Held::grows_by);
            }
        }
        grows
    }

    /// Counts what a call is charged with, and says how to give each back.
    pub(super) fn accept(
        &mut self,
        call: &Call,
        specs: &[Spec],
        decision: &Decision,
        around: &mut Around<'_>,
    ) -> Vec<Mark> {
        let mut marks = Vec::with_capacity(specs.len());
        for (position, (charge, spec)) in call.charges.iter().zip(specs).enumerate() {
            if !decision.charges(position, spec) {
                marks.push(Mark::Nothing);
                continue;
            }
            if !self.states.contains_key(&charge.key) {
                let held = Held { state: State::new(spec, decision.at), keep_until: 0, weight: 0 };
                self.states.insert(charge.key.clone(), held);
            }
            let held = self.states.get_mut(&charge.key).expect("it was there or is now");
            marks.push(held.state.accept(spec, decision.at, call.request_id.as_ref()));
            held.keep_until = held.state.matters_until(spec) + SLACK;
            if held.weight == 0 {
                let (partition, what) = (self.name.clone(), What::State(charge.key.clone()));
                around.expiry.note(Due { at: held.keep_until, partition, what });
            }
            held.weigh(around.room);
        }
        marks
    }

    fn answer(&self, call: &Call, scope: Scope, specs: &[Spec], decision: &Decision, now: i64) -> Answer {
        let outlook = |(position, spec): (usize, &Spec)| -> Outlook {
            let charge = &call.charges[position];
            let state = self.state(&charge.key).filter(|_| scope.counts(charge));
            decision.outlook(position, spec, state, now)
        };
        let outlooks = specs.iter().enumerate().map(outlook).collect();
        let degraded = scope != Scope::All && !call.charges.is_empty();
        Answer { denial: decision.denial, outlooks, degraded }
    }

    fn remembered(&self, call: &Call, now: i64) -> Result<Option<Answer>, Undecided> {
        let record = call.request_id.as_ref().and_then(|id| self.requests.get(id));
        let Some(record) = record.filter(|record| now < record.known_until) else { return Ok(None) };
        let before = record.charged.iter().map(|charged| (&charged.key, charged.cost));
        if before.eq(call.charges.iter().map(|charge| (&charge.key, charge.cost))) {
            Ok(Some(record.answer.clone()))
        } else {
            Err(Undecided::Reused)
        }
    }

    /// Remembers an accepted call by its id, if it has one.
    pub(super) fn remember(
        &mut self,
        call: &Call,
        decision: &Decision,
        marks: Vec<Mark>,
        answer: &Answer,
        around: &mut Around<'_>,
    ) {
        let Some(id) = &call.request_id else { return };
        let charged = call.charges.iter().zip(marks).map(|(charge, mark)| Charged {
            key: charge.key.clone(),
            cost: charge.cost,
            mark,
        });
        let known_until = around.now + call.hold.max(REMEMBERED);
        let record = Record {
            at: decision.at,
            hold_until: around.now + call.hold,
            known_until,
            charged: charged.collect(),
            answer: answer.clone(),
            settled: None,
        };
        around.room.take_anyway(1);
        if self.requests.insert(id.clone(), record).is_some() {
            // It took the place of one that had expired.
            around.room.leave(1);
            return;
        }
        let (partition, what) = (self.name.clone(), What::Request(id.clone()));
        around.expiry.note(Due { at: known_until + SLACK, partition, what });
    }
}

impl Held {
    /// How many entries of a state count as one state more.
    const ENTRIES: usize = 64;

    /// Takes its weight of the room, in place of what it took before.
    pub(super) fn weigh(&mut self, room: &Room) {
        let before = std::mem::replace(&mut self.weight, 1 + self.state.entries() / Self::ENTRIES);
        room.take_anyway(self.weight.saturating_sub(before));
        room.leave(before.saturating_sub(self.weight));
    }

    /// How much heavier one entry more makes it.
    fn grows_by(&self) -> usize {
        (1 + (self.state.entries() + 1) / Self::ENTRIES).saturating_sub(self.weight)
    }
}

impl Scope {
    /// Whether a limit is counted here.
    pub(super) fn counts(self, charge: &Charge) -> bool {
        match self {
            Self::All => true,
            Self::Local => charge.without_store() == OnFailure::Local,
            Self::Nothing => false,
        }
    }

    /// What is decided about. A limit that is not counted here is asked nothing, and is unused.
    fn spec(self, charge: &Charge, hint: i64, replaced: impl Fn(&Key) -> Option<Override>) -> Spec {
        if self.counts(charge) {
            return charge.spec(hint, replaced(&charge.key));
        }
        Spec { cost: 0, ..charge.spec(hint, None) }
    }
}
