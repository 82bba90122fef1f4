//! Memory holds what is live, and little else.

use std::time::Duration;

use tollgate_kernel::OsEntropy;
use tollgate_testkit::MockClock;

use super::*;
use crate::call::{Charge, OnFailure, REMEMBERED, Rule, Tally};

const WINDOW: Duration = Duration::from_mins(1);

fn memory() -> (Memory, Arc<MockClock>) {
    let clock = MockClock::new();
    (Memory::new(clock.clone(), Arc::new(OsEntropy), 1_000_000), clock)
}

fn call(partition: &str, subject: &str) -> Call {
    let charge = Charge {
        key: Key::new("minute".to_owned(), subject),
        rule: Rule::Window { window: 60_000_000 },
        limit: 1,
        cost: 1,
        shadow: false,
        on_failure: OnFailure::Local,
        window_seconds: 60,
    };
    let partition = partition.to_owned();
    Call { partition, charges: vec![charge], tally: None, peek: false, request_id: None, hold: REMEMBERED }
}

fn check(memory: &Memory, call: &Call) -> Answer {
    memory.check(call, Scope::All).expect("decided")
}

fn held(memory: &Memory) -> usize {
    let things: usize = memory.shards.iter().map(|shard| lock(shard).partitions.len()).sum();
    things + memory.room.held()
}

#[test]
fn what_expired_is_forgotten_by_the_calls_that_follow() {
    let (memory, clock) = memory();
    for subject in 0..10_000 {
        let request_id = Some(Arc::from(subject.to_string()));
        let call = Call { request_id, ..call("one", &subject.to_string()) };
        check(&memory, &call);
        clock.advance(Duration::from_secs(1));
    }
    // A state lives for its window and the slack, a request id for ten minutes and the slack; and the partition.
    assert!(held(&memory) <= 1 + 120 + 660 + 4, "{}", held(&memory));
}

#[test]
fn live_state_is_never_forgotten() {
    let (memory, clock) = memory();
    check(&memory, &call("one", "kept"));
    clock.advance(WINDOW);
    clock.turn_back(Duration::from_micros(1));
    for subject in 0..10_000 {
        check(&memory, &call("one", &subject.to_string()));
    }
    let denial = check(&memory, &call("one", "kept")).denial;
    assert_eq!(denial.expect("denied").wait, 1);
}

#[test]
fn a_state_that_is_renewed_outlives_its_first_date() {
    let (memory, clock) = memory();
    for _ in 0..10 {
        assert!(check(&memory, &call("one", "renewed")).denial.is_none());
        clock.advance(WINDOW);
    }
    clock.turn_back(Duration::from_micros(1));
    check(&memory, &call("one", "other"));
    assert!(check(&memory, &call("one", "renewed")).denial.is_some());
}

#[test]
fn nothing_stays_of_a_call_that_left_nothing() {
    let (memory, _) = memory();
    let mut asked = call("one", "a");
    asked.charges[0].cost = 0;
    check(&memory, &asked);
    check(&memory, &Call { peek: true, ..call("two", "a") });
    assert_eq!(held(&memory), 0);

    let tally = Some(Tally { subject: "a".to_owned(), code: "VALID".to_owned() });
    check(&memory, &Call { tally, charges: Vec::new(), ..asked });
    let batch = memory.drain().expect("a batch");
    memory.acknowledge(&batch.id);
    assert_eq!(held(&memory), 0);
}
