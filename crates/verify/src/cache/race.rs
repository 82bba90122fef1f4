//! A fill that races the making of its record never leaves an absence behind, in whatever order things happen.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner},
};

use super::{
    tests::{Fixture, Record},
    *,
};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A call begins.
    Call,
    /// One of the readings that are under way goes on: it looks, or it brings back what it saw.
    Read(usize),
    /// The record is made: committed, and nobody is told yet.
    Make,
    /// What was made is published, as before the call that made it returns.
    Publish,
    /// So many milliseconds go by.
    Pass(u64),
    /// Something may be missing, or nothing any more.
    Trust(bool),
    /// One of the callers hangs up.
    HangUp(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Call),
        8 => (0..4_usize).prop_map(Step::Read),
        1 => Just(Step::Make),
        2 => Just(Step::Publish),
        2 => prop_oneof![1..600_u64, Just(1_000)].prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Trust),
        1 => (0..4_usize).prop_map(Step::HangUp),
    ]
}

/// A look at the truth that takes its time: 0 begun, 1 it has looked, 2 it may land.
#[derive(Default)]
struct Reading {
    progress: Cell<u8>,
    saw: Cell<Option<bool>>,
}

impl Reading {
    async fn reaches(&self, progress: u8) {
        poll_fn(|_| if self.progress.get() >= progress { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

type Answered = Result<Option<Arc<Record>>, Fault>;

struct Call<'a> {
    /// It began after the record was published.
    after: bool,
    answer: Pin<Box<dyn Future<Output = Answered> + 'a>>,
}

/// What came about, so that the test is known to test something.
#[derive(Debug, Default)]
struct Seen {
    /// Calls that were told from the cache that there is no such record.
    held: Cell<u32>,
    /// Readings that saw no record and landed after it was published.
    raced: Cell<u32>,
}

struct World<'a> {
    it: &'a Fixture,
    made: &'a Cell<bool>,
    readings: &'a RefCell<Vec<Rc<Reading>>>,
    calls: Vec<Call<'a>>,
    published: bool,
    seen: &'a Seen,
}

impl World<'_> {
    fn take(&mut self, step: Step) {
        match step {
            Step::Call => self.call(),
            Step::Read(which) => self.go_on(which),
            Step::Make => self.made.set(true),
            Step::Publish if self.made.get() => {
                self.it.changes.publish(Subject::Born);
                self.published = true;
            }
            Step::Pass(millis) => self.it.clock.advance(Duration::from_millis(millis)),
            Step::Trust(trusts) => self.it.trusts.store(trusts, Ordering::SeqCst),
            Step::HangUp(which) if which < self.calls.len() => drop(self.calls.remove(which)),
            Step::Publish | Step::HangUp(_) => {}
        }
        self.poll();
    }

    fn call(&mut self) {
        let (it, made, readings) = (self.it, self.made, self.readings);
        let read = move || {
            let reading = Rc::new(Reading::default());
            readings.borrow_mut().push(reading.clone());
            async move {
                reading.reaches(1).await;
                reading.saw.set(Some(made.get()));
                reading.reaches(2).await;
                Ok(made_then(reading.saw.get()))
            }
        };
        let answer = async move { it.cache.get(&1, it.complete(), read).await };
        let mut call = Call { after: self.published, answer: Box::pin(answer) };
        match poll(&mut call) {
            Some(exists) => {
                self.seen.held.set(self.seen.held.get() + u32::from(!exists));
                self.check(call.after, exists);
            }
            None => self.calls.push(call),
        }
    }

    fn go_on(&self, which: usize) {
        let under_way: Vec<_> =
            self.readings.borrow().iter().filter(|it| it.progress.get() < 2).cloned().collect();
        let Some(reading) = under_way.get(which) else { return };
        reading.progress.set(reading.progress.get() + 1);
        if reading.progress.get() == 2 && self.published && reading.saw.get() == Some(false) {
            self.seen.raced.set(self.seen.raced.get() + 1);
        }
    }

    /// Everybody has a turn, until nobody gets any further.
    fn poll(&mut self) {
        for _ in 0..=2 * self.calls.len() {
            let mut waiting = Vec::new();
            for mut call in std::mem::take(&mut self.calls) {
                match poll(&mut call) {
                    Some(exists) => self.check(call.after, exists),
                    None => waiting.push(call),
                }
            }
            self.calls = waiting;
        }
    }

    fn check(&self, after: bool, exists: bool) {
        assert!(exists || !after, "told that it does not exist, after its making had returned");
        assert!(!exists || self.made.get(), "told that it exists, before it was made");
    }

    /// All come to an end, and one who comes then finds the record if it was published.
    fn end(mut self) {
        self.call();
        while !self.calls.is_empty() {
            self.take(Step::Read(0));
        }
    }
}

fn made_then(saw: Option<bool>) -> Option<Record> {
    saw.expect("it has looked").then_some(Record(1))
}

/// Whether the record exists, as far as the call was told, if it was.
fn poll(call: &mut Call<'_>) -> Option<bool> {
    match call.answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer.expect("no reading fails").is_some()),
        Poll::Pending => None,
    }
}

fn play(steps: &[Step], seen: &Seen) {
    let it = Fixture::holding_absence(1_000);
    let (made, readings) = (Cell::new(false), RefCell::default());
    let mut world =
        World { it: &it, made: &made, readings: &readings, calls: Vec::new(), published: false, seen };
    for step in steps {
        world.take(*step);
    }
    world.end();
}

#[test]
fn no_absence_outlives_the_making_of_the_record() {
    let seen = Seen::default();
    // The same orders in each run, so that what came about does too.
    let config = Config { cases: 4_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let done = runner.run(&proptest::collection::vec(step(), 1..60), |steps| {
        play(&steps, &seen);
        Ok(())
    });
    if let Err(TestError::Fail(why, steps)) = done {
        panic!("{why}: {steps:?}");
    }
    done.expect("it ran");
    assert!(seen.held.get() > 100 && seen.raced.get() > 10, "{seen:?}");
}
