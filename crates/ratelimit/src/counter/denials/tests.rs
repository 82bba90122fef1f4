//! What is denied without a question was denied, and still would be.

use std::sync::Arc;

use super::*;
use crate::call::{Key, OnFailure, REMEMBERED};

const ASKED: i64 = 1_000_000_000;
const ANSWERED: i64 = ASKED + 3_000;
const LONGEST: i64 = 250_000;

fn denials() -> Denials {
    Denials::new(Duration::from_micros(LONGEST.unsigned_abs()))
}

fn charge(subject: &str) -> Charge {
    Charge {
        key: Key::new("minute".to_owned(), subject),
        rule: Rule::Window { window: 60_000_000 },
        limit: 10,
        cost: 2,
        shadow: false,
        on_failure: OnFailure::Local,
        window_seconds: 60,
    }
}

fn call(subject: &str) -> Call {
    let (partition, charges) = ("one".to_owned(), vec![charge(subject)]);
    Call { partition, charges, tally: None, peek: false, request_id: None, hold: REMEMBERED }
}

fn with(change: impl Fn(&mut Call)) -> Call {
    let mut call = call("a");
    change(&mut call);
    call
}

fn answer(wait: i64) -> Answer {
    let outlook = Outlook { limit: 10, remaining: 1, reset: 2 * wait, period: 0, exceeded: true };
    Answer { denial: Some(Denial { by: 0, wait }), outlooks: vec![outlook], degraded: false }
}

/// The store denied the call with this wait.
fn learnt(denials: &Denials, call: &Call, wait: i64) {
    denials.learn(denials.ask(call, ASKED), call, &answer(wait), ANSWERED);
}

#[test]
fn it_holds_from_the_question_and_promises_from_the_answer() {
    let denials = denials();
    learnt(&denials, &call("a"), 10_000);
    let found = denials.find(&call("a"), ANSWERED + 1_000).expect("denied");
    assert_eq!(found.denial, Some(Denial { by: 0, wait: 9_000 }));
    assert_eq!((found.outlooks[0].reset, found.outlooks[0].remaining), (19_000, 1));
    let last = denials.find(&call("a"), ASKED + 9_999).expect("denied");
    assert_eq!(last.denial.expect("denied").wait, 3_001);
    assert_eq!(denials.find(&call("a"), ASKED + 10_000), None, "it may pass from here on");
}

#[test]
fn it_is_believed_for_so_long_at_most_and_never_before_it_was_asked() {
    let denials = denials();
    learnt(&denials, &call("a"), 60_000_000);
    assert!(denials.find(&call("a"), ASKED + LONGEST - 1).is_some());
    assert_eq!(denials.find(&call("a"), ASKED + LONGEST), None);
    assert_eq!(denials.find(&call("a"), ASKED - 1), None, "the clock was turned back");
}

#[test]
fn only_the_same_call_is_denied() {
    let denials = denials();
    learnt(&denials, &call("a"), 10_000);
    let others = [
        with(|call| call.partition = "two".to_owned()),
        with(|call| call.charges = vec![charge("b")]),
        with(|call| call.charges.push(charge("b"))),
        with(|call| call.charges[0].cost = 1),
        with(|call| call.charges[0].cost = 3),
        with(|call| call.charges[0].limit = 11),
        with(|call| call.charges[0].rule = Rule::Window { window: 60_000_001 }),
        with(|call| call.charges[0].rule = Rule::Bucket { interval: 60_000_000 }),
        with(|call| call.charges[0].shadow = true),
        with(|call| call.charges.clear()),
        with(|call| call.peek = true),
        with(|call| call.request_id = Some(Arc::from("id"))),
    ];
    for other in others {
        assert_eq!(denials.find(&other, ANSWERED), None, "{other:?}");
    }
    assert!(denials.find(&call("a"), ANSWERED).is_some());
}

#[test]
fn what_may_end_sooner_or_was_accepted_is_not_remembered() {
    let denials = denials();
    let leases = with(|call| {
        call.charges[0].rule = Rule::Concurrency { lease: 60_000_000 };
        call.charges[0].cost = 0;
    });
    learnt(&denials, &leases, 10_000);
    assert_eq!(denials.find(&leases, ANSWERED), None);
    let accepted = Answer { denial: None, ..answer(0) };
    denials.learn(denials.ask(&call("a"), ASKED), &call("a"), &accepted, ANSWERED);
    assert_eq!(denials.find(&call("a"), ANSWERED), None);
    let disabled = Denials::new(Duration::ZERO);
    learnt(&disabled, &call("a"), 10_000);
    assert_eq!(disabled.find(&call("a"), ANSWERED), None);
    assert!(disabled.held.read().expect("whole").denials.is_empty());
}

#[test]
fn a_change_is_heeded_also_by_questions_under_way() {
    let denials = denials();
    learnt(&denials, &call("a"), 10_000);
    let under_way = denials.ask(&call("a"), ASKED);
    let change = denials.changing("one");
    assert!(denials.find(&call("a"), ANSWERED).is_some(), "it is not made yet");
    drop(change);
    assert_eq!(denials.find(&call("a"), ANSWERED), None);
    denials.learn(under_way, &call("a"), &answer(10_000), ANSWERED);
    assert_eq!(denials.find(&call("a"), ANSWERED), None, "it may have been decided before the change");
    learnt(&denials, &call("a"), 10_000);
    assert!(denials.find(&call("a"), ANSWERED).is_some());
}

#[test]
fn no_more_is_remembered_than_may_be() {
    let denials = denials();
    let each = |subject: usize| call(&subject.to_string());
    for subject in 0..MOST + 500 {
        learnt(&denials, &each(subject), 60_000_000);
    }
    let sizes = || {
        let held = denials.held.read().expect("whole");
        (held.denials.len(), held.order.len())
    };
    assert_eq!(sizes(), (MOST, MOST));
    assert!(denials.find(&each(MOST - 1), ANSWERED).is_some(), "what was there stays");
    assert_eq!(denials.find(&each(MOST), ANSWERED), None, "what came later is not kept");

    // The next one makes its room, and that of all that has ended.
    let later = ASKED + LONGEST;
    denials.learn(denials.ask(&each(MOST), later), &each(MOST), &answer(10_000), later);
    assert_eq!(sizes(), (1, 1));
    assert!(denials.find(&each(MOST), later).is_some());
    // So does one after the clock was turned back by more than anything is kept.
    denials.learn(denials.ask(&each(0), ASKED), &each(0), &answer(10_000), ASKED);
    assert_eq!(sizes(), (1, 1));
}

#[test]
fn what_is_denied_again_takes_its_own_place() {
    let denials = denials();
    let asked = |at: i64| denials.learn(denials.ask(&call("a"), at), &call("a"), &answer(10_000), at);
    asked(ASKED);
    asked(ASKED + 20_000);
    assert!(denials.find(&call("a"), ASKED + 29_999).is_some());
    // The first has had its time, the second has not.
    let other = ASKED + LONGEST;
    denials.learn(denials.ask(&call("b"), other), &call("b"), &answer(10_000), other);
    let held = denials.held.read().expect("whole");
    assert_eq!((held.denials.len(), held.order.len()), (2, 2));
}
