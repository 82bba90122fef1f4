//! The state of a call's limits as headers: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10;
//! structured fields, RFC 9651), `Retry-After`, and, where they are wanted, the older `X-RateLimit-*` of the tightest
//! limit. Pure.
//!
//! Shadow limits stand in none of them: they deny nothing, and who calls has nothing to do with them. The unit is left out,
//! and so reads as `requests` (section 3.1.2): a call to a protected route takes one of each limit. All times are seconds,
//! rounded up: whoever waits that long has waited long enough.

use std::{cmp::Reverse, iter, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};
use tollgate_proto::ratelimit::{Algorithm, CheckResponse, Limit, LimitState};

use crate::{
    problem::whole_seconds,
    routes::verify::{is_matter_of_time, remaining_credits},
};

/// What the call's limits are: `"name";q=<units>;w=<seconds>`, for each.
pub(crate) static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Where they stand: `"name";r=<units left>;t=<seconds>`, for each.
pub(crate) static STATE: HeaderName = HeaderName::from_static("ratelimit");
/// Units per window of the tightest limit.
pub(crate) static X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// Units that it has left.
pub(crate) static X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// Seconds until it is full again.
pub(crate) static X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What is left of the credits that the call spends.
pub(crate) static CREDITS: HeaderName = HeaderName::from_static("x-tollgate-credits-remaining");

/// The largest Integer of a structured field (RFC 9651 section 3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// How a limit that is enforced stands, and what it is.
type Enforced<'a> = (&'a LimitState, Option<&'a Limit>);

/// The headers of this answer about calls under these limits, in the order in which they were charged. None if no limit is enforced and no credit is spent. `legacy`: with `X-RateLimit-*`.
pub(crate) fn headers(count: &CheckResponse, limits: &[&Limit], legacy: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(remaining) = remaining_credits(count) {
        headers.insert(&CREDITS, remaining.into());
    }
    let wait = (!count.allowed && is_matter_of_time(count))
        .then(|| whole_seconds(Duration::from_micros(count.retry_after_us)));
    if let Some(wait) = wait {
        headers.insert(RETRY_AFTER, wait.into());
    }
    let of = limits.iter().copied().map(Some).chain(iter::repeat(None));
    let enforced: Vec<_> = count.limits.iter().zip(of).filter(|(it, _)| !it.shadow).collect();
    let Some(tightest) = tightest(count, enforced.iter().map(|(it, _)| *it)) else { return headers };
    headers
        .insert(&POLICY, list(&enforced, |(it, limit)| format!("q={};w={}", it.limit, window(it, *limit))));
    let state = list(&enforced, |(it, _)| format!("r={};t={}", it.remaining, reset(count, it, wait)));
    headers.insert(&STATE, state);
    if legacy {
        headers.insert(&X_LIMIT, tightest.limit.into());
        headers.insert(&X_REMAINING, tightest.remaining.into());
        headers.insert(&X_RESET, seconds(tightest.reset_us).into());
    }
    headers
}

/// The names of the limits that denied the call: all that were in its way, which one denial names only one of.
pub(crate) fn violated(count: &CheckResponse) -> Vec<String> {
    let names = count.limits.iter().filter(|it| stands_in_the_way(count, it)).map(|it| it.name.clone());
    let credits = count.credit.as_ref().filter(|credit| credit.denied).map(|_| "credits".to_owned());
    if count.allowed { Vec::new() } else { names.chain(credits).collect() }
}

/// The one that denied; else the one with the least left, of several the one that is full again last.
fn tightest<'a>(
    count: &CheckResponse,
    enforced: impl Iterator<Item = &'a LimitState> + Clone,
) -> Option<&'a LimitState> {
    let denied = enforced.clone().find(|it| count.denied_by.as_deref() == Some(&it.name));
    denied.or_else(|| enforced.min_by_key(|it| (it.remaining, Reverse(it.reset_us))))
}

fn stands_in_the_way(count: &CheckResponse, state: &LimitState) -> bool {
    let lacks_credits = count.credit.as_ref().is_some_and(|credit| credit.denied);
    let named = !lacks_credits && count.denied_by.as_deref() == Some(&state.name);
    !state.shadow && (state.exceeded || named)
}

/// `w`: the time in which `q` units come. `q` of a bucket is what it holds, so that is how long the empty one takes to be
/// full; who spreads `q` calls over it never finds the bucket empty. Of all others it is their window, or the present period.
fn window(state: &LimitState, limit: Option<&Limit>) -> u64 {
    let seconds = u64::from(state.window_seconds);
    let bucket = limit.filter(|it| it.algorithm() == Algorithm::TokenBucket);
    let window = bucket.map_or(seconds, |it| state.limit.saturating_mul(seconds).div_ceil(it.limit.max(1)));
    // Section 3.1.3: not zero.
    window.clamp(1, MAX_INTEGER)
}

/// `t`: until the limit is full again. Of one that denied: at most until this call passes, because section 6 wants no
/// `Retry-After` that is earlier than `t`, and then some of it is there again, which is what section 4.1.2 asks for.
fn reset(count: &CheckResponse, state: &LimitState, wait: Option<u64>) -> u64 {
    let reset = seconds(state.reset_us);
    match wait {
        Some(wait) if stands_in_the_way(count, state) => reset.min(wait),
        _ => reset,
    }
}

fn list(enforced: &[Enforced<'_>], parameters: impl Fn(&Enforced<'_>) -> String) -> HeaderValue {
    let items: Vec<_> = enforced.iter().map(|it| format!("\"{}\";{}", it.0.name, parameters(it))).collect();
    HeaderValue::from_str(&items.join(", ")).expect("names of limits are of [a-z0-9_.-]")
}

fn seconds(micros: u64) -> u64 {
    micros.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests;
