//! Memory holds what is live, and little else.

use std::time::Duration;

use tollgate_kernel::OsEntropy;
use tollgate_testkit::MockClock;

use super::*;
use crate::{
    call::{Charge, OnFailure, Tally},
    engine::Spec,
};

const WINDOW: Duration = Duration::from_mins(1);

fn memory() -> (Memory, Arc<MockClock>) {
    let clock = MockClock::new();
    (Memory::new(clock.clone(), Arc::new(OsEntropy)), clock)
}

fn call(partition: &str, subject: &str) -> Call {
    let spec = Spec { limit: 1, window: 60_000_000, cost: 1 };
    let (name, subject) = ("minute".to_owned(), subject.to_owned());
    let charge = Charge { name, subject, spec, on_failure: OnFailure::Local };
    let partition = partition.to_owned();
    Call { partition, charges: vec![charge], tally: None, peek: false, request_id: None }
}

fn held(memory: &Memory) -> usize {
    memory.shards.iter().map(|shard| lock(shard).held()).sum()
}

#[test]
fn what_expired_is_forgotten_by_the_calls_that_follow() {
    let (memory, clock) = memory();
    for subject in 0..10_000 {
        let request_id = Some(subject.to_string());
        let call = Call { request_id, ..call("one", &subject.to_string()) };
        memory.check(&call).expect("decided");
        clock.advance(Duration::from_secs(1));
    }
    // A state lives for its window and the slack, a request id for ten minutes and the slack; and the partition.
    assert!(held(&memory) <= 1 + 120 + 660 + 4, "{}", held(&memory));
}

#[test]
fn live_state_is_never_forgotten() {
    let (memory, clock) = memory();
    memory.check(&call("one", "kept")).expect("decided");
    clock.advance(WINDOW);
    clock.turn_back(Duration::from_micros(1));
    for subject in 0..10_000 {
        memory.check(&call("one", &subject.to_string())).expect("decided");
    }
    let denial = memory.check(&call("one", "kept")).expect("decided").denial;
    assert_eq!(denial.expect("denied").wait, 1);
}

#[test]
fn a_state_that_is_renewed_outlives_its_first_date() {
    let (memory, clock) = memory();
    for _ in 0..10 {
        assert!(memory.check(&call("one", "renewed")).expect("decided").denial.is_none());
        clock.advance(WINDOW);
    }
    clock.turn_back(Duration::from_micros(1));
    memory.check(&call("one", "other")).expect("decided");
    assert!(memory.check(&call("one", "renewed")).expect("decided").denial.is_some());
}

#[test]
fn nothing_stays_of_a_call_that_left_nothing() {
    let (memory, _) = memory();
    let mut asked = call("one", "a");
    asked.charges[0].spec.cost = 0;
    memory.check(&asked).expect("decided");
    memory.check(&Call { peek: true, ..call("two", "a") }).expect("decided");
    assert_eq!(held(&memory), 0);

    let tally = Some(Tally { subject: "a".to_owned(), code: "VALID".to_owned() });
    memory.check(&Call { tally, charges: Vec::new(), ..asked }).expect("decided");
    let batch = memory.drain().expect("a batch");
    memory.acknowledge(&batch.id);
    assert_eq!(held(&memory), 0);
}
