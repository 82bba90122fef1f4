//! The state machine of refresh: examples, and random interleavings of owners, thieves and retries.

use chrono::DateTime;
use proptest::prelude::*;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::*;

const GRACE: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_hours(1);

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn tokens(key: &str) -> RefreshTokens {
    RefreshTokens::new(&MasterKey::parse(&key.repeat(32).into()).unwrap())
}

fn session(n: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(n))
}

fn state(generation: Generation) -> SessionState {
    SessionState { generation, rotated_at: at(0), ends_at: at(3600), ended: false }
}

#[test]
fn the_newest_rotates_the_one_before_waits_ten_seconds_the_rest_is_reuse() {
    for (presented, seconds, expected) in [
        (5, 0, Decision::Rotate),
        (5, 3599, Decision::Rotate),
        (5, 3600, Decision::Ended),
        (4, 0, Decision::SameSuccessor),
        (4, 10, Decision::SameSuccessor),
        (4, 11, Decision::Reuse),
        (4, -5, Decision::SameSuccessor),
        (4, 3600, Decision::Ended),
        (3, 0, Decision::Reuse),
        (0, 0, Decision::Reuse),
        (6, 0, Decision::Reuse),
    ] {
        assert_eq!(decide(&state(5), presented, at(seconds), GRACE), expected, "{presented} at {seconds}");
    }
}

#[test]
fn an_ended_session_gives_nothing() {
    for presented in 3..=6 {
        let ended = SessionState { ended: true, ..state(5) };
        assert_eq!(decide(&ended, presented, at(0), GRACE), Decision::Ended);
    }
}

#[test]
fn sliding_never_passes_the_absolute_end() {
    assert_eq!(next_end(at(0), IDLE, at(9000)), at(3600));
    assert_eq!(next_end(at(8000), IDLE, at(9000)), at(9000));
}

#[test]
fn another_key_another_token() {
    let token = tokens("00").issue(session(7), 0);
    assert_eq!(tokens("01").parse(token.expose_secret()), None);
}

#[test]
fn there_is_one_spelling() {
    let tokens = tokens("00");
    let token = tokens.issue(session(7), 1).expose_secret().to_owned();
    let digits = "00000000000000000000000007";
    assert!(token.starts_with(&format!("tg_rt_{digits}_1_")), "{token}");
    let mac = token.rsplit_once("_1_").unwrap().1;
    for wrong in [
        String::new(),
        "tg_rt_".to_owned(),
        format!("tg_rt_{digits}_+1_{mac}"),
        format!("tg_rt_{digits}_01_{mac}"),
        format!("tg_rt_{digits}_-1_{mac}"),
        format!("tg_rt_{digits}_2_{mac}"),
        format!("tg_rt_{digits}_99999999999_{mac}"),
        format!("tg_rt_{digits}_1_{mac}="),
        format!("tg_rt_{digits}_1_{}", &mac[1..]),
        format!("tg_rt_ses_{digits}_1_{mac}"),
        format!(" {token}"),
        format!("{token}\n"),
        token.to_uppercase(),
        format!("tg_rt_{}é_1_{mac}", &digits[1..]),
    ] {
        assert_eq!(tokens.parse(&wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn every_token_survives_its_text(id: u128, generation in 0..i32::MAX) {
        let tokens = tokens("00");
        let token = tokens.issue(session(id), generation);
        let expected = Presented { session: session(id), generation };
        prop_assert_eq!(tokens.parse(token.expose_secret()), Some(expected));
    }

    #[test]
    fn a_changed_character_is_refused(place in 0_usize..78, letter in "[0-9A-Za-z_-]") {
        let tokens = tokens("00");
        let token = tokens.issue(session(u128::MAX >> 3), 1).expose_secret().to_owned();
        let mut changed = token.clone();
        let place = place % token.len();
        changed.replace_range(place..=place, &letter);
        prop_assume!(changed != token);
        prop_assert_eq!(tokens.parse(&changed), None);
    }

    #[test]
    fn garbage_does_not_panic(text in "(tg_rt_)?.{0,90}") {
        prop_assert_eq!(tokens("00").parse(&text), None);
    }
}

/// One thing that happens to a session.
#[derive(Debug, Clone)]
enum Step {
    /// A request reads the row and decides on the token that this holder has, but does not write yet.
    Decide { holder: usize, generation_back: Generation },
    /// The n-th request that waits does its compare-and-set, and its holder gets the answer.
    Write { request: usize },
    /// Time passes.
    Wait { seconds: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..3).prop_map(|(holder, generation_back)| Step::Decide { holder, generation_back }),
        4 => (0..4_usize).prop_map(|request| Step::Write { request }),
        2 => (0..15_i64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

/// A row, three holders of copies of its tokens (an owner with two tabs and a thief), and requests under way.
struct World {
    row: SessionState,
    now: i64,
    held: [Generation; 3],
    waiting: Vec<(usize, Generation, Decision)>,
}

impl World {
    fn run(&mut self, step: &Step) {
        match *step {
            Step::Wait { seconds } => self.now += seconds,
            Step::Decide { holder, generation_back } => {
                let presented = (self.held[holder] - generation_back).max(0);
                let decision = decide(&self.row, presented, at(self.now), GRACE);
                self.waiting.push((holder, presented, decision));
            }
            Step::Write { request } if !self.waiting.is_empty() => {
                let (holder, presented, decision) = self.waiting.remove(request % self.waiting.len());
                self.write(holder, presented, decision);
            }
            Step::Write { .. } => {}
        }
    }

    fn write(&mut self, holder: usize, presented: Generation, decision: Decision) {
        match decision {
            Decision::Rotate if self.row.generation == presented && !self.row.ended => {
                self.row.generation += 1;
                self.row.rotated_at = at(self.now);
                self.row.ends_at = next_end(at(self.now), IDLE, at(7200));
                self.held[holder] = self.row.generation;
            }
            // The compare-and-set failed: decide again on what the row says now.
            Decision::Rotate => {
                let again = decide(&self.row, presented, at(self.now), GRACE);
                assert_ne!(again, Decision::Rotate, "who loses the race never finds the row as it was");
                self.write(holder, presented, again);
            }
            Decision::SameSuccessor => self.held[holder] = presented + 1,
            Decision::Reuse => self.row.ended = true,
            Decision::Ended => {}
        }
    }

    /// Generations that would be exchanged or repeated if they were presented now.
    fn heads(&self) -> Vec<Generation> {
        let answer = |generation| match decide(&self.row, generation, at(self.now), GRACE) {
            Decision::Rotate | Decision::SameSuccessor => Some(generation + 1),
            Decision::Reuse | Decision::Ended => None,
        };
        (0..=self.row.generation + 2).filter_map(answer).collect()
    }
}

proptest! {
    #[test]
    fn there_are_never_two_live_branches(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World { row: state(0), now: 0, held: [0; 3], waiting: Vec::new() };
        for step in &steps {
            let before = world.row;
            world.run(step);
            // Nobody holds more than the row gave out, and what was given out only grows.
            prop_assert!(world.held.iter().all(|held| *held <= world.row.generation));
            prop_assert!(world.row.generation - before.generation <= 1);
            // One head to rotate, and at most the very same token for whoever comes late.
            let heads = world.heads();
            prop_assert!(heads.len() <= 2, "{heads:?}");
            prop_assert!(heads.iter().all(|head| [world.row.generation, world.row.generation + 1].contains(head)));
            // An end is for ever, and idle sliding never passes the absolute end.
            prop_assert!(!before.ended || world.row == before);
            prop_assert!(world.row.ends_at <= at(7200));
        }
    }
}
