//! The life of signing keys, by moving time.

use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn rotation() -> Rotation {
    Rotation::new(&Config::default())
}

fn start() -> Timestamp {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// Does what is to be done now, as the store would.
fn work(keys: &mut Vec<Times>, now: Timestamp) {
    match rotation().plan(keys, now) {
        Plan::Rest => {}
        Plan::First(first) => keys.push(first),
        Plan::Successor { relieved, next } => {
            let old = keys.iter_mut().find(|key| key.number == relieved.number).unwrap();
            *old = relieved;
            keys.push(next);
        }
    }
}

fn active(keys: &[Times], now: Timestamp) -> Vec<i32> {
    keys.iter().filter(|key| key.state(now) == State::Active).map(|key| key.number).collect()
}

fn published(keys: &[Times], now: Timestamp) -> Vec<i32> {
    let published = keys.iter().filter(|key| key.published_at <= now && key.state(now) != State::Gone);
    published.map(|key| key.number).collect()
}

#[test]
fn the_first_key_signs_at_once_and_is_made_once() {
    let mut keys = Vec::new();
    work(&mut keys, start());
    assert_eq!(active(&keys, start()), [1]);
    assert_eq!(rotation().plan(&keys, start()), Plan::Rest);
    assert_eq!(rotation().plan(&keys, start() + delta(28 * 24 * HOUR)), Plan::Rest);
}

#[test]
fn a_successor_is_published_a_day_before_it_signs() {
    let mut keys = vec![Times::new(1, start(), start())];
    let due = start() + delta(29 * 24 * HOUR);
    work(&mut keys, due);
    assert_eq!(rotation().plan(&keys, due), Plan::Rest, "one successor, not two");
    let moments = [(due, 1), (due + delta(23 * HOUR), 1), (due + delta(24 * HOUR), 2)];
    for (now, signs) in moments {
        assert_eq!((active(&keys, now), published(&keys, now)), (vec![signs], vec![1, 2]));
    }
    let last_token_gone = due + delta(24 * HOUR) + delta(rotation().tail);
    assert_eq!(published(&keys, last_token_gone - TimeDelta::microseconds(1)), [1, 2]);
    assert_eq!(published(&keys, last_token_gone), [2]);
}

#[test]
fn who_comes_late_still_publishes_before_signing() {
    let mut keys = vec![Times::new(1, start(), start())];
    let late = start() + delta(300 * 24 * HOUR);
    assert_eq!(active(&keys, late), [1], "a key signs until it is relieved");
    work(&mut keys, late);
    assert_eq!(keys[1].active_at, late + delta(24 * HOUR));
    assert_eq!(active(&keys, late), [1]);
}

proptest! {
    #[test]
    fn one_key_signs_and_everybody_can_verify_it(waits in prop::collection::vec(0_i32..2000, 1..200)) {
        let rotation = rotation();
        let (mut keys, mut now) = (Vec::new(), start());
        // What clients have that fetched the key set at some moment, and cache it as long as a key is published ahead.
        let mut fetched = Vec::new();
        for tenths in waits {
            work(&mut keys, now);
            fetched.push((now, published(&keys, now)));
            now += delta(HOUR) * tenths / 10;
            let signing = active(&keys, now);
            prop_assert_eq!(signing.len(), 1);
            let cached = fetched.iter().filter(|(at, _)| now - *at < delta(rotation.lead));
            for (at, set) in cached {
                prop_assert!(set.contains(&signing[0]), "fetched {at}, now {now}, {set:?} lacks {signing:?}");
            }
            // A token that was signed an access token's lifetime ago can still be verified.
            let before = now - delta(rotation.tail);
            prop_assert!(active(&keys, before).iter().all(|key| published(&keys, now).contains(key)));
        }
    }
}
