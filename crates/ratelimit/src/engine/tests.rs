//! The rules of each algorithm at their edges, and of several limits together.

use std::sync::Arc;

use super::*;

const WINDOW: i64 = 60_000_000;

fn of(algorithm: Algorithm, limit: u64, cost: u64) -> Spec {
    Spec { algorithm, limit, replaced: None, cost, shadow: false }
}

fn spec(limit: u64, cost: u64) -> Spec {
    of(Algorithm::Window { window: WINDOW }, limit, cost)
}

/// The state after these calls, each of which must pass.
fn after(calls: &[(Spec, i64)]) -> State {
    let mut state: Option<State> = None;
    for (number, (spec, now)) in calls.iter().enumerate() {
        let decision = decide(&[*spec], &[state.as_ref()], *now).expect("within bounds");
        assert_eq!(decision.denial, None, "{spec:?} at {now}");
        let id: Arc<str> = Arc::from(number.to_string());
        state.get_or_insert_with(|| State::new(spec, decision.at)).accept(spec, decision.at, Some(&id));
    }
    state.expect("there was a call")
}

fn ring(times: &[i64]) -> State {
    after(&times.iter().map(|time| (spec(1024, 1), *time)).collect::<Vec<_>>())
}

fn wait(spec: Spec, state: &State, now: i64) -> i64 {
    decide(&[spec], &[Some(state)], now).expect("within bounds").denial.map_or(0, |denial| denial.wait)
}

fn outlook(spec: Spec, state: Option<&State>, now: i64) -> (u64, i64) {
    let decision = decide(&[spec], &[state], now).expect("within bounds");
    let outlook = decision.outlook(0, &spec, state, now);
    (outlook.remaining, outlook.reset)
}

/// One limit of each algorithm: ten units, each back after a minute at the latest.
fn every_algorithm(cost: u64) -> [Spec; 4] {
    let periods = Periods([-WINDOW, 0, WINDOW, 2 * WINDOW]);
    [
        Algorithm::Window { window: WINDOW },
        Algorithm::Bucket { interval: WINDOW / 10 },
        Algorithm::Calendar { periods },
        Algorithm::Concurrency { lease: WINDOW },
    ]
    .map(|algorithm| of(algorithm, 10, cost))
}

#[test]
fn the_next_unit_passes_exactly_when_the_oldest_leaves() {
    let full = ring(&[1000; 10]);
    assert_eq!(wait(spec(10, 1), &full, 1000), WINDOW);
    assert_eq!(wait(spec(10, 1), &full, 1000 + WINDOW - 1), 1);
    assert_eq!(wait(spec(10, 1), &full, 1000 + WINDOW), 0);
}

#[test]
fn every_promised_moment_is_the_first() {
    for taken in 1..=10 {
        for cost in 0..=10 {
            for (full, asked) in every_algorithm(taken).into_iter().zip(every_algorithm(cost)) {
                let state = after(&[(full, 7)]);
                let promised = wait(asked, &state, 8);
                assert_eq!(promised > 0, taken + cost.max(1) > 10, "{asked:?}");
                if promised > 0 {
                    assert_eq!(wait(asked, &state, 8 + promised - 1), 1, "{asked:?}");
                    assert_eq!(wait(asked, &state, 8 + promised), 0, "{asked:?}");
                }
            }
        }
    }
}

#[test]
fn an_unused_limit_lets_all_pass() {
    for spec in every_algorithm(10) {
        let decision = decide(&[spec], &[None], 5).expect("within bounds");
        assert_eq!(decision, Decision { at: 5, denial: None, exceeded: 0 });
        assert_eq!(outlook(spec, None, 5), (10, 0));
    }
}

#[test]
fn the_outlook_counts_down_to_full() {
    for (spec, reset) in
        every_algorithm(4).into_iter().zip([WINDOW - 3, 4 * WINDOW / 10 - 3, WINDOW - 10, WINDOW - 3])
    {
        let state = after(&[(spec, 7)]);
        assert_eq!(outlook(spec, Some(&state), 10), (6, reset), "{spec:?}");
        assert_eq!(outlook(spec, Some(&state), 10 + reset), (10, 0), "{spec:?}");
    }
}

#[test]
fn the_limit_that_makes_wait_longest_is_named() {
    let (early, late) = (ring(&[10]), ring(&[20]));
    let states = [Some(&early), Some(&late), Some(&late)];
    let mut specs = [spec(1, 1); 3];
    let denied = decide(&specs, &states, 30).expect("within bounds");
    assert_eq!(denied.denial, Some(Denial { by: 1, wait: 20 + WINDOW - 30 }));
    specs[1].shadow = true;
    assert_eq!(decide(&specs, &states, 30).expect("within bounds").denial.expect("denied").by, 2);
}

#[test]
fn a_shadow_limit_stands_in_the_way_of_nobody() {
    let (full, watched) = (ring(&[10]), Spec { shadow: true, ..spec(1, 1) });
    let decision = decide(&[watched, spec(2, 1)], &[Some(&full), Some(&full)], 20).expect("within bounds");
    assert_eq!(decision.denial, None);
    assert_eq!((decision.exceeds(0), decision.exceeds(1)), (true, false));
    assert_eq!((decision.charges(0, &watched), decision.charges(1, &spec(2, 1))), (false, true));
}

#[test]
fn a_cost_of_nothing_asks_for_one_and_takes_none() {
    let state = ring(&[10]);
    assert!(wait(spec(1, 0), &state, 11) > 0);
    let passes = decide(&[spec(2, 0)], &[Some(&state)], 11).expect("within bounds");
    assert!(!passes.charges(0, &spec(2, 0)));
}

#[test]
fn time_does_not_go_back() {
    let state = ring(&[100]);
    let decision = decide(&[spec(2, 1)], &[Some(&state)], 40).expect("within bounds");
    assert_eq!(decision.at, 100);
    // The wait counts from the caller's clock: it must pass 100 + WINDOW before the unit has left.
    assert_eq!(wait(spec(1, 1), &state, 40), WINDOW + 60);
}

#[test]
fn a_limit_that_shrank_still_counts_what_it_let_pass() {
    let state = ring(&[10, 20, 30]);
    assert_eq!(outlook(spec(2, 1), Some(&state), 30), (0, WINDOW));
    assert_eq!(wait(spec(2, 1), &state, 30), 20 + WINDOW - 30);
}

#[test]
fn a_state_of_another_algorithm_is_unused_but_for_its_time() {
    let state = ring(&[100]);
    for other in every_algorithm(10).into_iter().skip(1) {
        let decision = decide(&[other], &[Some(&state)], 40).expect("within bounds");
        assert_eq!((decision.at, decision.denial), (100, None));
        let mut state = state.clone();
        state.accept(&other, 100, None);
        assert_eq!(state.born, 100);
        assert!(wait(other, &state, 100) > 0);
    }
}

#[test]
fn a_call_beyond_the_periods_asks_for_others() {
    let [_, _, calendar, _] = every_algorithm(1);
    assert_eq!(decide(&[calendar], &[None], 2 * WINDOW), Err(OutOfBounds(2 * WINDOW)));
    let ahead = ring(&[3 * WINDOW]);
    assert_eq!(decide(&[calendar], &[Some(&ahead)], 0), Err(OutOfBounds(3 * WINDOW)));
}

#[test]
fn a_period_counts_its_own_units_only() {
    let [_, _, calendar, _] = every_algorithm(10);
    let state = after(&[(calendar, 0), (calendar, WINDOW)]);
    assert_eq!(wait(calendar, &state, WINDOW), WINDOW);
}

#[test]
fn an_override_is_in_force_until_it_ends() {
    let state = ring(&[100; 3]);
    let replaced = |limit, cost, until| Spec { replaced: Some(Override { limit, until }), ..spec(3, cost) };
    assert_eq!(wait(replaced(5, 2, 101), &state, 100), 0);
    assert_eq!(wait(replaced(5, 2, 100), &state, 100), WINDOW, "it has ended");
    assert_eq!(
        wait(replaced(1, 1, 500), &state, 200),
        WINDOW - 100,
        "the limit's own number is used up, too"
    );
    let waits_for_the_end = replaced(1, 2, 2 * WINDOW);
    assert_eq!(wait(waits_for_the_end, &state, 200), 2 * WINDOW - 200);
    assert_eq!(outlook(replaced(5, 1, 500), Some(&state), 200).0, 2);
    let bucket = Spec {
        replaced: Some(Override { limit: MAX_LIMIT, until: 9 }),
        ..of(Algorithm::Bucket { interval: MAX_WINDOW }, 1, 1)
    };
    assert_eq!(bucket.limit_at(0), 1, "no bucket takes longer to fill");
}

#[test]
fn what_is_given_back_can_be_used_again() {
    for spec in every_algorithm(6) {
        let mut state = State::new(&spec, 7);
        let mark = state.accept(&spec, 7, Some(&Arc::from("id")));
        let given = Given { id: "id", at: 7, cost: 6, back: 6 };
        assert!(wait(spec, &state, 7) > 0);
        assert_eq!(state.give_back(&mark, &given, 7), 6, "{spec:?}");
        assert_eq!(outlook(spec, Some(&state), 7), (10, 0), "{spec:?}");
        assert_eq!(state.give_back(&mark, &given, 7), 0, "{spec:?}");
    }
}

#[test]
fn what_has_aged_is_not_given_back() {
    for spec in every_algorithm(6) {
        let mut state = State::new(&spec, 7);
        let mark = state.accept(&spec, 7, Some(&Arc::from("id")));
        let given = Given { id: "id", at: 7, cost: 6, back: 6 };
        assert_eq!(state.give_back(&mark, &given, 7 + WINDOW), 0, "{spec:?}");
    }
}

#[test]
fn nothing_of_before_a_reset_is_given_back_after_it() {
    for spec in every_algorithm(6) {
        let mut state = State::new(&spec, 7);
        let id = Arc::from("id");
        let mark = state.accept(&spec, 7, Some(&id));
        state.reset(7);
        assert_eq!(outlook(spec, Some(&state), 7), (10, 0), "{spec:?}");
        let at = decide(&[spec], &[Some(&state)], 7).expect("within bounds").at;
        assert_eq!(at, 8);
        state.accept(&spec, at, Some(&id));
        let given = Given { id: "id", at: 7, cost: 6, back: 6 };
        assert_eq!(state.give_back(&mark, &given, 8), 0, "{spec:?}");
    }
}

#[test]
fn a_state_matters_as_long_as_it_shows() {
    for spec in every_algorithm(10) {
        let state = after(&[(spec, 7)]);
        let until = state.matters_until(&spec);
        assert_ne!(outlook(spec, Some(&state), until - 1), (10, 0), "{spec:?}");
        assert_eq!(outlook(spec, Some(&state), until), (10, 0), "{spec:?}");
    }
}
