//! What is copied is what was charged elsewhere, and no more.

use std::{sync::Arc, time::Duration};

use tollgate_kernel::OsEntropy;
use tollgate_testkit::MockClock;

use super::*;
use crate::{
    call::{Key, OnFailure, REMEMBERED, Rule, Tally},
    engine::Denial,
};

fn memory(room: usize) -> (Memory, Arc<MockClock>) {
    let clock = MockClock::new();
    (Memory::new(clock.clone(), Arc::new(OsEntropy), room), clock)
}

fn charge(name: &str, on_failure: OnFailure) -> Charge {
    Charge {
        key: Key::new(name.to_owned(), "a"),
        rule: Rule::Window { window: 60_000_000 },
        limit: 10,
        cost: 3,
        shadow: false,
        on_failure,
        window_seconds: 60,
    }
}

fn call(charges: Vec<Charge>) -> Call {
    let tally = Some(Tally { subject: "a".to_owned(), code: "VALID".to_owned(), ..Tally::default() });
    Call { partition: "one".to_owned(), charges, tally, peek: false, request_id: None, hold: REMEMBERED }
}

fn local() -> Call {
    call(vec![charge("local", OnFailure::Local)])
}

fn with_id(call: &Call, id: &str) -> Call {
    Call { request_id: Some(Arc::from(id)), ..call.clone() }
}

/// How a store of its own answers.
fn accepted(call: &Call) -> Answer {
    let (store, _) = memory(1000);
    store.check(call, Scope::All).expect("decided")
}

fn remaining(memory: &Memory, call: &Call) -> Vec<u64> {
    let peek = Call { peek: true, request_id: None, ..call.clone() };
    let answer = memory.check(&peek, Scope::Local).expect("decided");
    answer.outlooks.iter().map(|outlook| outlook.remaining).collect()
}

#[test]
fn what_is_decided_here_without_the_store_is_copied() {
    let (memory, _) = memory(1000);
    let each = [OnFailure::Local, OnFailure::Allow, OnFailure::Deny];
    let call = call(each.map(|policy| charge(&format!("{policy:?}"), policy)).to_vec());
    memory.copy(&call, &accepted(&call));
    memory.copy(&call, &accepted(&call));
    assert_eq!(remaining(&memory, &call), [4, 10, 10]);
    assert_eq!(memory.room.held(), 1);
    assert_eq!(memory.drain(), None, "it is in the tally of the store");
}

#[test]
fn what_was_not_charged_is_not_copied() {
    let (memory, _) = memory(1000);
    let (call, answer) = (local(), accepted(&local()));
    memory.copy(&call, &Answer { denial: Some(Denial { by: 0, wait: 1 }), ..answer.clone() });
    memory.copy(&Call { peek: true, ..call.clone() }, &answer);
    memory.copy(&call, &Answer { degraded: true, ..answer.clone() });
    let mut watched = answer;
    watched.outlooks[0].exceeded = true;
    memory.copy(&call, &watched);
    assert_eq!((remaining(&memory, &call), memory.room.held()), (vec![10], 0));
}

#[test]
fn a_retry_is_copied_once_and_settled_once() {
    let (memory, _) = memory(1000);
    let call = with_id(&local(), "id");
    memory.copy(&call, &accepted(&call));
    memory.copy(&call, &accepted(&call));
    assert_eq!(remaining(&memory, &call), [7]);
    let settle = Settle {
        partition: "one".to_owned(),
        request_id: Arc::from("id"),
        costs: Some([("local".into(), 1)].into()),
    };
    assert!(memory.is_copy(&settle));
    for _ in 0..2 {
        assert_eq!(memory.settle(&settle).expect("settled"), [2]);
    }
    assert_eq!(remaining(&memory, &call), [9]);

    let here = with_id(&local(), "here");
    memory.check(&here, Scope::Local).expect("decided");
    memory.copy(&here, &accepted(&here));
    assert!(!memory.is_copy(&Settle { request_id: Arc::from("here"), ..settle.clone() }));
    assert!(!memory.is_copy(&Settle { request_id: Arc::from("nobody's"), ..settle }));
    assert_eq!(remaining(&memory, &call), [6], "what was decided here is not copied again");
}

#[test]
fn every_algorithm_is_copied() {
    let (memory, clock) = memory(1000);
    let lease = 60_000_000;
    for (number, rule) in [
        Rule::Window { window: 60_000_000 },
        Rule::Bucket { interval: 60_000_000 },
        Rule::Concurrency { lease },
    ]
    .into_iter()
    .enumerate()
    {
        let charge = Charge { rule, ..charge(&format!("of-{number}"), OnFailure::Local) };
        let call = with_id(&call(vec![charge]), &number.to_string());
        memory.copy(&call, &accepted(&call));
        assert_eq!(remaining(&memory, &call), [7], "{rule:?}");
    }
    clock.advance(Duration::from_hours(1));
    memory.forget_expired();
    assert_eq!(memory.room.held(), 0, "copies expire as all else does");
}

#[test]
fn a_number_that_was_raised_there_is_counted_as_finely_as_there() {
    let (memory, clock) = memory(1000);
    let (call, mut answer) = (local(), accepted(&local()));
    answer.outlooks[0].limit = 1_000_000;
    for _ in 0..10_000 {
        memory.copy(&call, &answer);
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(remaining(&memory, &call), [0], "here it is the limit's own number");
    assert_eq!(memory.room.held(), 1, "in as few entries as there");
}

#[test]
fn half_of_the_room_is_left_to_what_is_decided_here() {
    let (memory, _) = memory(100);
    let of = |subject: usize| {
        let mut call = local();
        call.charges[0].key = Key::new("local".to_owned(), &subject.to_string());
        call
    };
    for subject in 0..100 {
        memory.copy(&of(subject), &accepted(&of(subject)));
    }
    assert_eq!(memory.room.held(), 50);
    assert_eq!((remaining(&memory, &of(49)), remaining(&memory, &of(50))), (vec![7], vec![10]));
    memory.copy(&of(0), &accepted(&of(0)));
    assert_eq!(remaining(&memory, &of(0)), [4], "what is there goes on");
    for subject in 100..150 {
        memory.check(&of(subject), Scope::Local).expect("there is room");
    }
    memory.check(&of(150), Scope::Local).expect_err("there is none left");
}
