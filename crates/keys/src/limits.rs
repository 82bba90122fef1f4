//! Limits as the keys role keeps them: parsed, stored as JSON, and the ones in force for a key. Counting is elsewhere.

use serde::{Deserialize, Serialize};
use tollgate_proto::ratelimit::{self as wire, Algorithm};

use crate::input::Problems;

/// How many limits of its own a key may have.
const PER_KEY: usize = 8;
const NAME_CHARACTERS: usize = 64;
/// What the exact counter can hold.
const MAX_LIMIT: u64 = 1024;
/// 400 days.
const MAX_WINDOW_SECONDS: u32 = 34_560_000;

#[expect(
    clippy::struct_field_names,
    reason = "the field is called so in the API, on the wire and in the database"
)]
/// At most `limit` units in any `window_seconds` seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) limit: u64,
    pub(crate) window_seconds: u32,
    pub(crate) algorithm: Counting,
    pub(crate) on_failure: OnFailure,
}

/// How units are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Counting {
    SlidingWindow,
}

/// What a limit does when its counter cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFailure {
    Local,
    Deny,
    Allow,
}

/// The limits of a new key.
pub(crate) fn parse(limits: &[wire::Limit], problems: &mut Problems) -> Vec<Limit> {
    let limits = problems.at_most(limits, PER_KEY, "/limits");
    for (place, limit) in limits.iter().enumerate() {
        if limits[..place].iter().any(|earlier| earlier.name == limit.name) {
            problems.add(format!("/limits/{place}/name"), "another limit of this key has the same name");
        }
    }
    limits.iter().enumerate().map(|(place, limit)| parse_one(limit, place, problems)).collect()
}

fn parse_one(limit: &wire::Limit, place: usize, problems: &mut Problems) -> Limit {
    let mut wrong = |field: &str, detail: String| problems.add(format!("/limits/{place}/{field}"), detail);
    if !is_name(&limit.name) {
        wrong("name", format!("must have 1 to {NAME_CHARACTERS} of the characters a-z 0-9 _ . -"));
    }
    if limit.limit == 0 {
        wrong("limit", format!("must be 1 to {MAX_LIMIT}"));
    }
    if limit.limit > MAX_LIMIT {
        wrong("limit", format!("limits above {MAX_LIMIT} are not supported yet"));
    }
    if !(1..=MAX_WINDOW_SECONDS).contains(&limit.window_seconds) {
        wrong("window_seconds", format!("must be 1 to {MAX_WINDOW_SECONDS} (400 days)"));
    }
    if Algorithm::try_from(limit.algorithm).is_err() {
        wrong("algorithm", "only `sliding_window` is supported yet".to_owned());
    }
    let on_failure = on_failure(limit.on_failure).unwrap_or_else(|| {
        wrong("on_failure", "must be `local`, `deny` or `allow`".to_owned());
        OnFailure::Local
    });
    Limit { on_failure, ..sliding(&limit.name, limit.limit, limit.window_seconds) }
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b);
    (1..=NAME_CHARACTERS).contains(&text.len()) && text.bytes().all(allowed)
}

fn on_failure(number: i32) -> Option<OnFailure> {
    match wire::OnFailure::try_from(number).ok()? {
        wire::OnFailure::Unspecified | wire::OnFailure::Local => Some(OnFailure::Local),
        wire::OnFailure::Deny => Some(OnFailure::Deny),
        wire::OnFailure::Allow => Some(OnFailure::Allow),
    }
}

/// A sliding window that is counted in process when its counter is away.
pub(crate) fn sliding(name: &str, limit: u64, window_seconds: u32) -> Limit {
    Limit {
        name: name.to_owned(),
        limit,
        window_seconds,
        algorithm: Counting::SlidingWindow,
        on_failure: OnFailure::Local,
    }
}

/// The plan's limits, each replaced by the key's own of the same name, then the key's others.
pub(crate) fn in_force(plan: Vec<Limit>, own: Vec<Limit>) -> Vec<Limit> {
    let mut limits = plan;
    for limit in own {
        match limits.iter_mut().find(|it| it.name == limit.name) {
            Some(replaced) => *replaced = limit,
            None => limits.push(limit),
        }
    }
    limits
}

impl From<Limit> for wire::Limit {
    fn from(limit: Limit) -> Self {
        let Counting::SlidingWindow = limit.algorithm;
        let on_failure = match limit.on_failure {
            OnFailure::Local => wire::OnFailure::Local,
            OnFailure::Deny => wire::OnFailure::Deny,
            OnFailure::Allow => wire::OnFailure::Allow,
        };
        Self {
            name: limit.name,
            limit: limit.limit,
            window_seconds: limit.window_seconds,
            algorithm: Algorithm::SlidingWindow.into(),
            on_failure: on_failure.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(name: &str, limit: u64, window_seconds: u32) -> wire::Limit {
        wire::Limit { name: name.into(), limit, window_seconds, ..Default::default() }
    }

    fn pointers(limits: &[wire::Limit]) -> Vec<String> {
        let mut problems = Problems::default();
        parse(limits, &mut problems);
        let Err(fault) = problems.check() else { return vec![] };
        fault.violated().iter().map(|violation| violation.pointer.clone().into_owned()).collect()
    }

    #[test]
    fn bounds() {
        let fine = [wire("a", 1, 1), wire(&"b".repeat(64), 1024, 34_560_000)];
        assert_eq!(pointers(&fine), Vec::<String>::new());
        let wrong = [
            wire("", 1, 1),
            wire("A", 1, 1),
            wire("a", 0, 1),
            wire("b", 1025, 1),
            wire("c", 1, 0),
            wire("d", 1, 34_560_001),
        ];
        assert_eq!(
            pointers(&wrong),
            [
                "/limits/0/name",
                "/limits/1/name",
                "/limits/2/limit",
                "/limits/3/limit",
                "/limits/4/window_seconds",
                "/limits/5/window_seconds",
            ]
        );
        let many: Vec<_> = (0..9).map(|n| wire(&n.to_string(), 1, 1)).collect();
        assert_eq!(pointers(&many), ["/limits"]);
    }

    #[test]
    fn a_name_is_there_once() {
        assert_eq!(pointers(&[wire("a", 1, 1), wire("b", 1, 1), wire("a", 2, 2)]), ["/limits/2/name"]);
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let unknown = wire::Limit { algorithm: 7, on_failure: 7, ..wire("a", 1, 1) };
        assert_eq!(pointers(&[unknown]), ["/limits/0/algorithm", "/limits/0/on_failure"]);
        let mut problems = Problems::default();
        parse(&[wire("a", 5000, 86_400)], &mut problems);
        let fault = problems.check().expect_err("refused");
        assert_eq!(fault.violated()[0].detail, "limits above 1024 are not supported yet");
    }

    #[test]
    fn a_limit_survives_storage_and_wire() {
        let sent = wire::Limit { on_failure: wire::OnFailure::Deny.into(), ..wire("a", 5, 60) };
        let parsed = parse(&[sent], &mut Problems::default());
        let stored = serde_json::to_value(&parsed).expect("JSON");
        let read: Vec<Limit> = serde_json::from_value(stored).expect("limits");
        assert_eq!(read, parsed);
        let back = wire::Limit::from(read[0].clone());
        assert_eq!((back.limit, back.window_seconds, back.on_failure()), (5, 60, wire::OnFailure::Deny));
        assert_eq!(back.algorithm(), Algorithm::SlidingWindow);
    }

    #[test]
    fn the_keys_own_limit_replaces_the_plans() {
        let plan = vec![sliding("minute", 60, 60), sliding("day", 1000, 86_400)];
        let own = vec![sliding("burst", 5, 1), sliding("minute", 3, 60)];
        assert_eq!(
            in_force(plan, own),
            [sliding("minute", 3, 60), sliding("day", 1000, 86_400), sliding("burst", 5, 1)]
        );
    }
}
