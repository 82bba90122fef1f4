//! When calls are charged ahead, and what becomes of the blocks.

use tollgate_kernel::OsEntropy;
use tollgate_testkit::MockClock;

use super::*;
use crate::call::{Charge, Key, OnFailure, Tally};

const LONGEST: i64 = 100_000;

fn ahead() -> (Ahead, Arc<MockClock>) {
    let clock = MockClock::new();
    let longest = Duration::from_micros(LONGEST.unsigned_abs());
    (Ahead::new(longest, clock.clone(), Arc::new(OsEntropy)), clock)
}

fn call(limit: u64) -> Call {
    let charge = Charge {
        key: Key::new("minute".to_owned(), "key"),
        rule: Rule::Window { window: 60_000_000 },
        limit,
        cost: 2,
        shadow: false,
        on_failure: OnFailure::Local,
        window_seconds: 60,
    };
    Call {
        partition: "workspace".to_owned(),
        charges: vec![charge],
        tally: Some(Tally { subject: "key".to_owned(), code: "VALID".to_owned(), ..Tally::default() }),
        peek: false,
        request_id: None,
        hold: REMEMBERED,
    }
}

/// What the store answers after charging so many calls ahead.
fn answer(calls: u64) -> Answer {
    let outlook =
        Outlook { limit: 2000, remaining: 1998 - 2 * calls, reset: 60_000_000, period: 0, exceeded: false };
    Answer { denial: None, outlooks: vec![outlook], degraded: false }
}

fn asks(turn: Turn) -> Option<Wanted> {
    if let Turn::Ask(wanted) = turn { Some(wanted) } else { None }
}

fn accepts(turn: &Turn) -> Option<u64> {
    if let Turn::Accepted(answer) = turn { Some(answer.outlooks[0].remaining) } else { None }
}

/// Asks until a block is wanted.
fn heated(ahead: &Ahead) -> Wanted {
    for _ in 1..OFTEN {
        assert!(matches!(ahead.turn(&call(2000)), Turn::Exact));
    }
    asks(ahead.turn(&call(2000))).expect("that was often")
}

#[test]
fn one_of_many_asks_and_all_use_it() {
    let (ahead, clock) = ahead();
    let wanted = heated(&ahead);
    assert!(matches!(ahead.turn(&call(2000)), Turn::Exact), "nobody waits for the block");
    let told = ahead.open(wanted, &call(2000), answer(3), Charged { calls: 3, lasts: LONGEST });
    assert_eq!(told.outlooks[0].remaining, 1998);
    clock.advance(Duration::from_millis(10));
    for left in [1996, 1994, 1992] {
        assert_eq!(accepts(&ahead.turn(&call(2000))), Some(left));
    }
    assert!(matches!(ahead.turn(&call(2001)), Turn::Exact), "another limit");
    // Twice as many at once, for all were used before its end; but it was fewer than are often.
    assert!(matches!(ahead.turn(&call(2000)), Turn::Exact));
    let block = ahead.ended().expect("it is used up");
    let tallied: Vec<_> = block.tallied().collect();
    assert_eq!((block.accepted(), tallied.len(), tallied[0].count), (3, 1, 3));
    assert!(ahead.ended().is_none());
}

#[test]
fn a_block_that_was_used_up_is_followed_by_a_larger_one() {
    let (ahead, _clock) = ahead();
    let mut wanted = heated(&ahead);
    for calls in [16, 32, 64, 128, 256, 512, 1000, 1000] {
        assert_eq!(wanted.calls, calls);
        ahead.open(wanted, &call(2000), answer(9), Charged { calls, lasts: LONGEST });
        for _ in 0..calls {
            assert!(accepts(&ahead.turn(&call(2000))).is_some());
        }
        wanted = asks(ahead.turn(&call(2000))).expect("it goes on");
    }
}

#[test]
fn nothing_is_accepted_at_the_end_or_in_the_past() {
    let (ahead, clock) = ahead();
    let wanted = heated(&ahead);
    ahead.open(wanted, &call(2000), answer(16), Charged { calls: 16, lasts: 50_000 });
    clock.advance(Duration::from_micros(49_999));
    assert!(accepts(&ahead.turn(&call(2000))).is_some());
    clock.advance(Duration::from_micros(1));
    assert!(accepts(&ahead.turn(&call(2000))).is_none());
    assert_eq!(ahead.ended().expect("it ended").accepted(), 1);

    clock.advance(Duration::from_secs(1));
    let wanted = heated(&ahead);
    ahead.open(wanted, &call(2000), answer(16), Charged { calls: 16, lasts: 50_000 });
    clock.turn_back(Duration::from_micros(1));
    assert!(accepts(&ahead.turn(&call(2000))).is_none(), "a clock that was turned back");
}

#[test]
fn a_block_whose_answer_comes_late_is_short() {
    let (ahead, clock) = ahead();
    let wanted = heated(&ahead);
    clock.advance(Duration::from_millis(60));
    ahead.open(wanted, &call(2000), answer(16), Charged { calls: 16, lasts: 50_000 });
    assert!(accepts(&ahead.turn(&call(2000))).is_none(), "its time began with the question");
    assert!(ahead.ended().is_some());
}

#[test]
fn what_is_asked_seldom_or_finely_is_asked_for() {
    let (ahead, clock) = ahead();
    for _ in 0..100 {
        assert!(matches!(ahead.turn(&call(2000)), Turn::Exact));
        clock.advance(Duration::from_micros(LONGEST.unsigned_abs() / (OFTEN - 1) + 1));
    }
    let fine = |change: fn(&mut Call)| {
        let mut call = call(2000);
        change(&mut call);
        call
    };
    for other in [
        fine(|call| call.peek = true),
        fine(|call| call.request_id = Some(Arc::from("once"))),
        fine(|call| call.charges.clear()),
        fine(|call| call.charges[0].cost = 0),
        fine(|call| call.charges[0].shadow = true),
        fine(|call| call.charges[0].limit = EXACT),
        fine(|call| call.charges[0].rule = Rule::Bucket { interval: 1 }),
        fine(|call| call.charges[0].rule = Rule::Concurrency { lease: 1 }),
    ] {
        for _ in 0..100 {
            assert!(matches!(ahead.turn(&other), Turn::Exact), "{other:?}");
        }
    }
    let off = Ahead::new(Duration::ZERO, MockClock::new(), Arc::new(OsEntropy));
    for _ in 0..100 {
        assert!(matches!(off.turn(&call(2000)), Turn::Exact));
    }
}

#[test]
fn blocks_are_bounded_and_kept_until_they_are_released() {
    let (ahead, clock) = ahead();
    let mut lost = 0;
    for _ in 0..2 * MOST_BLOCKS {
        for _ in 0..OFTEN {
            if let Some(wanted) = asks(ahead.turn(&call(2000))) {
                ahead.lose(wanted, &call(2000));
                lost += 1;
            }
        }
        clock.advance(Duration::from_micros(LONGEST.unsigned_abs()));
    }
    assert_eq!(lost, MOST_BLOCKS);
    let block = ahead.ended().expect("one of them");
    assert_eq!((block.accepted(), block.tallies()), (0, false));
    ahead.keep(block);
    clock.advance(Duration::from_micros(REMEMBERED.unsigned_abs()));
    let kept = ahead.held().ended.len();
    ahead.keep(ahead.ended().expect("it is kept"));
    assert_eq!(ahead.held().ended.len(), kept - 1, "the store has forgotten it by now");
}

#[test]
fn nothing_is_charged_ahead_after_the_end() {
    let (ahead, _clock) = ahead();
    let open = heated(&ahead);
    ahead.open(open, &call(2000), answer(16), Charged { calls: 16, lasts: LONGEST });
    ahead.close();
    assert_eq!(ahead.ended().expect("it ended").accepted(), 0);
    for _ in 0..100 {
        assert!(matches!(ahead.turn(&call(2000)), Turn::Exact));
    }
}

#[test]
fn what_was_asked_for_before_the_end_is_given_back() {
    let (ahead, _clock) = ahead();
    let wanted = heated(&ahead);
    ahead.close();
    ahead.open(wanted, &call(2000), answer(16), Charged { calls: 16, lasts: LONGEST });
    assert!(ahead.ended().is_some());
}
