//! The state of a call's limits as headers: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10;
//! structured fields, RFC 9651), `Retry-After`, and the older `X-RateLimit-*` of the tightest limit. Pure.
//!
//! All times are seconds, rounded up: whoever waits that long has waited long enough.

use std::{cmp::Reverse, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use tollgate_proto::ratelimit::{CheckResponse, LimitState};

use crate::problem::whole_seconds;

/// What the call's limits are: `"name";q=<units>;w=<seconds>`, for each.
pub(crate) static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Where they stand: `"name";r=<units left>;t=<seconds until full>`, for each.
pub(crate) static STATE: HeaderName = HeaderName::from_static("ratelimit");
/// Units per window of the tightest limit.
pub(crate) static X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// Units that it has left.
pub(crate) static X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// Seconds until it is full again.
pub(crate) static X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The headers of this answer. None if no limit applies.
pub(crate) fn headers(count: &CheckResponse) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(tightest) = tightest(count) else { return headers };
    let policies =
        list(&count.limits, |it| format!("\"{}\";q={};w={}", it.name, it.limit, it.window_seconds));
    let states =
        list(&count.limits, |it| format!("\"{}\";r={};t={}", it.name, it.remaining, seconds(it.reset_us)));
    headers.insert(&POLICY, policies);
    headers.insert(&STATE, states);
    headers.insert(&X_LIMIT, tightest.limit.into());
    headers.insert(&X_REMAINING, tightest.remaining.into());
    headers.insert(&X_RESET, seconds(tightest.reset_us).into());
    if !count.allowed {
        headers.insert(RETRY_AFTER, whole_seconds(Duration::from_micros(count.retry_after_us)).into());
    }
    headers
}

/// The one that denied; else the one with the least left, of several the one that is full again last.
fn tightest(count: &CheckResponse) -> Option<&LimitState> {
    let denied = count.limits.iter().find(|it| count.denied_by.as_deref() == Some(&it.name));
    denied.or_else(|| count.limits.iter().min_by_key(|it| (it.remaining, Reverse(it.reset_us))))
}

fn list(limits: &[LimitState], item: impl Fn(&LimitState) -> String) -> HeaderValue {
    let items: Vec<_> = limits.iter().map(item).collect();
    HeaderValue::from_str(&items.join(", ")).expect("names of limits are of [a-z0-9_.-]")
}

fn seconds(micros: u64) -> u64 {
    micros.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, remaining: u64, reset_us: u64) -> LimitState {
        LimitState {
            name: name.into(),
            limit: 10,
            remaining,
            reset_us,
            window_seconds: 60,
            ..LimitState::default()
        }
    }

    fn said(count: &CheckResponse) -> Vec<(String, String)> {
        let headers = headers(count);
        let pairs = headers.iter();
        pairs.map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned())).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_allowed_call_says_what_is_left() {
        let limits = vec![state("minute", 9, 59_000_001), state("day", 3, 0), state("burst", 3, 1)];
        let count = CheckResponse { allowed: true, limits, ..CheckResponse::default() };
        let expected = pairs(&[
            ("ratelimit-policy", r#""minute";q=10;w=60, "day";q=10;w=60, "burst";q=10;w=60"#),
            ("ratelimit", r#""minute";r=9;t=60, "day";r=3;t=0, "burst";r=3;t=1"#),
            ("x-ratelimit-limit", "10"),
            ("x-ratelimit-remaining", "3"),
            ("x-ratelimit-reset", "1"),
        ]);
        assert_eq!(said(&count), expected);
    }

    #[test]
    fn a_denied_call_says_when_to_come_back() {
        let count = CheckResponse {
            allowed: false,
            denied_by: Some("day".into()),
            retry_after_us: 12_000_001,
            limits: vec![state("minute", 0, 1), state("day", 2, 13_000_000)],
            ..CheckResponse::default()
        };
        let headers = headers(&count);
        assert_eq!(headers[RETRY_AFTER], "13");
        assert_eq!(
            (&headers[&X_REMAINING], &headers[&X_RESET]),
            (&"2".parse().expect("ok"), &"13".parse().expect("ok"))
        );
    }

    #[test]
    fn no_limits_no_headers() {
        assert!(said(&CheckResponse { allowed: true, ..CheckResponse::default() }).is_empty());
    }
}
