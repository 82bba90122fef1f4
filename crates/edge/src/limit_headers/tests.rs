//! What the headers say, and that a parser of structured fields reads it.

use sfv::{BareItem, List, ListEntry, Parser};

use super::*;

fn state(name: &str, remaining: u64, reset_us: u64) -> LimitState {
    LimitState {
        name: name.into(),
        limit: 10,
        remaining,
        reset_us,
        window_seconds: 60,
        algorithm: Algorithm::SlidingWindow.into(),
        ..LimitState::default()
    }
}

fn allowed(limits: Vec<LimitState>) -> CheckResponse {
    CheckResponse { allowed: true, limits, ..CheckResponse::default() }
}

fn said(headers: &HeaderMap) -> Vec<(String, String)> {
    let pairs = headers.iter();
    pairs.map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A field as a client reads it: for each item its name and two Integers.
fn read(field: &HeaderValue, first: &str, second: &str) -> Vec<(String, i64, i64)> {
    let list = Parser::new(field.as_bytes()).parse::<List>().expect("a list of structured fields");
    let item = |entry: &ListEntry| {
        let ListEntry::Item(item) = entry else { panic!("an item: {entry:?}") };
        let BareItem::String(name) = &item.bare_item else { panic!("a String: {item:?}") };
        let number = |key: &str| match item.params.get(key) {
            Some(BareItem::Integer(number)) => i64::from(*number),
            other => panic!("{key} is an Integer: {other:?}"),
        };
        assert_eq!(item.params.len(), 2, "{item:?}");
        (name.as_str().to_owned(), number(first), number(second))
    };
    list.iter().map(item).collect()
}

#[test]
fn an_allowed_call_says_what_is_left() {
    let count = allowed(vec![state("minute", 9, 59_000_001), state("day", 3, 0), state("burst", 3, 1)]);
    let modern = [
        ("ratelimit-policy", r#""minute";q=10;w=60, "day";q=10;w=60, "burst";q=10;w=60"#),
        ("ratelimit", r#""minute";r=9;t=60, "day";r=3;t=0, "burst";r=3;t=1"#),
    ];
    let legacy = [("x-ratelimit-limit", "10"), ("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "1")];
    assert_eq!(said(&headers(&count, &[], true)), pairs(&[&modern[..], &legacy].concat()));
    assert_eq!(said(&headers(&count, &[], false)), pairs(&modern));
    assert!(violated(&count).is_empty());
}

#[test]
fn a_denied_call_says_when_to_come_back_and_never_a_later_reset() {
    let exceeded = |state| LimitState { exceeded: true, ..state };
    let count = CheckResponse {
        allowed: false,
        denied_by: Some("day".into()),
        retry_after_us: 12_000_001,
        limits: vec![
            exceeded(state("minute", 0, 1)),
            exceeded(state("day", 2, 80_000_000)),
            state("month", 7, 90_000_000),
        ],
        ..CheckResponse::default()
    };
    let headers = headers(&count, &[], true);
    assert_eq!(headers[RETRY_AFTER], "13");
    assert_eq!(headers[&STATE], r#""minute";r=0;t=1, "day";r=2;t=13, "month";r=7;t=90"#);
    assert_eq!(headers[&X_REMAINING], "2");
    assert_eq!(headers[&X_RESET], "80");
    assert_eq!(violated(&count), ["minute", "day"]);
}

#[test]
fn shadow_limits_stand_nowhere() {
    let shadow = LimitState { shadow: true, exceeded: true, ..state("trial", 0, 1_000_000) };
    let count = allowed(vec![shadow.clone(), state("minute", 9, 1_000_000)]);
    assert_eq!(headers(&count, &[], true)[&STATE], r#""minute";r=9;t=1"#);
    assert_eq!(headers(&count, &[], true)[&X_REMAINING], "9");
    assert!(headers(&allowed(vec![shadow.clone()]), &[], true).is_empty(), "there is nothing to say");
    let denied = CheckResponse {
        allowed: false,
        denied_by: Some("minute".into()),
        limits: vec![shadow, state("minute", 0, 1)],
        ..CheckResponse::default()
    };
    assert_eq!(violated(&denied), ["minute"]);
}

#[test]
fn a_bucket_is_said_to_fill_in_the_time_that_it_takes() {
    let bucket = |limit, window_seconds, burst| Limit {
        name: "bucket".into(),
        limit,
        window_seconds,
        burst,
        algorithm: Algorithm::TokenBucket.into(),
        ..Limit::default()
    };
    for (limit, holds, expected) in [
        (bucket(10, 1, 50), 50, r#""bucket";q=50;w=5"#),
        (bucket(10, 60, 0), 10, r#""bucket";q=10;w=60"#),
        (bucket(7, 60, 3), 3, r#""bucket";q=3;w=26"#),
        (bucket(1000, 1, 5), 5, r#""bucket";q=5;w=1"#),
        // An override replaces what the bucket holds, not its refill.
        (bucket(10, 1, 50), 500, r#""bucket";q=500;w=50"#),
        (bucket(1, 34_560_000, 1), 1_000_000_000, r#""bucket";q=1000000000;w=999999999999999"#),
    ] {
        let state = LimitState {
            limit: holds,
            window_seconds: limit.window_seconds,
            algorithm: Algorithm::TokenBucket.into(),
            ..state("bucket", 1, 1)
        };
        assert_eq!(headers(&allowed(vec![state]), &[&limit], true)[&POLICY], expected);
    }
}

#[test]
fn no_limits_no_headers() {
    assert!(headers(&allowed(Vec::new()), &[], true).is_empty());
}

#[test]
fn a_parser_of_structured_fields_reads_what_was_meant() {
    let longest = "z".repeat(64);
    let odd = ["-", ".", "_", "0", "...", "--", "-1", "a.b_c-d", "q", "w", "r", "t", &longest];
    let many = (0..19).map(|number| format!("limit-{number}"));
    let names: Vec<_> = odd.into_iter().map(str::to_owned).chain(many).collect();
    let limits: Vec<_> = (0_u32..)
        .zip(&names)
        .map(|(place, name)| LimitState {
            limit: 1_000_000_000 - u64::from(place),
            window_seconds: 34_560_000 - place,
            ..state(name, u64::from(place), 34_560_000_000_000 - u64::from(place) * 1_000_000)
        })
        .collect();
    let headers = headers(&allowed(limits.clone()), &[], true);
    let expected: Vec<_> = (0_i64..)
        .zip(&names)
        .map(|(place, name)| (name.clone(), 1_000_000_000 - place, 34_560_000 - place))
        .collect();
    assert_eq!(read(&headers[&POLICY], "q", "w"), expected);
    let expected: Vec<_> =
        (0_i64..).zip(&names).map(|(place, name)| (name.clone(), place, 34_560_000 - place)).collect();
    assert_eq!(read(&headers[&STATE], "r", "t"), expected);
    assert_eq!(names.len(), 32, "as many as a call can have");
}

#[test]
fn the_largest_numbers_are_structured_fields_too() {
    let state = LimitState {
        limit: u64::from(u32::MAX),
        window_seconds: u32::MAX,
        ..state("x", u64::from(u32::MAX), u64::MAX)
    };
    let headers = headers(&allowed(vec![state]), &[], true);
    assert_eq!(read(&headers[&POLICY], "q", "w"), [("x".into(), 4_294_967_295, 4_294_967_295)]);
    assert_eq!(read(&headers[&STATE], "r", "t")[0].2, 18_446_744_073_710);
}
