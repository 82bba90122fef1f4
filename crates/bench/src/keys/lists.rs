//! Every filter and every order of the list, page after page; and many keys revoked at once.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    make::{CUSTOMERS, REGIONS, Tables},
    p99,
};
use crate::{Problem, report::median, set_up::Api};

/// Each list is asked for in so many rounds, with all others between: the machine's moods are not one list's.
const ROUNDS: usize = 3;
/// Pages of each list in a round.
const PAGES: usize = 200;
/// How many pages one reader follows before it begins anew, with other values.
const FOLLOWED: usize = 5;

/// What one list came to.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    list: &'static str,
    pages: usize,
    /// Of all pages.
    keys: usize,
    /// The medians of the rounds' own.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// What one list took.
#[derive(Default)]
struct Times {
    /// Of each page, in milliseconds, by rounds.
    rounds: [Vec<f64>; ROUNDS],
    keys: usize,
    /// How often it was begun.
    begun: usize,
}

/// What one revoking of many came to.
#[derive(Debug, Serialize)]
pub(super) struct Revoked {
    pub(super) keys: u64,
    pub(super) seconds: f64,
    pub(super) took_ms: u64,
}

/// What is asked of one list, with a number that differs each time it begins.
type Query = fn(&Tables, usize) -> String;

/// Days after the oldest key, in a query.
fn day(tables: &Tables, days: u64) -> String {
    (tables.oldest + Duration::from_hours(24 * days)).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

const LISTS: [(&str, Query); 29] = [
    ("newest first", |_, _| "limit=25".to_owned()),
    ("100 to a page", |_, _| "limit=100".to_owned()),
    ("sort=created_at&order=asc", |_, _| "sort=created_at&order=asc".to_owned()),
    ("sort=expires_at&order=asc", |_, _| "sort=expires_at&order=asc".to_owned()),
    ("sort=last_used_at", |_, _| "sort=last_used_at".to_owned()),
    ("sort=last_used_at&order=asc", |_, _| "sort=last_used_at&order=asc".to_owned()),
    ("sort=name", |_, _| "sort=name".to_owned()),
    ("status=active", |_, _| "status=active".to_owned()),
    ("status=revoked", |_, _| "status=revoked".to_owned()),
    ("status=expired", |_, _| "status=expired".to_owned()),
    ("status=disabled", |_, _| "status=disabled".to_owned()),
    ("environment=test", |_, _| "environment=test".to_owned()),
    ("plan_id", |tables, number| format!("plan_id={}", tables.plans[number % 3])),
    ("consumer_id", |tables, number| format!("consumer_id={}", tables.consumers[number * 4 % 1000])),
    ("consumer_id&sort=name", |tables, number| {
        format!("sort=name&consumer_id={}", tables.consumers[number * 4 % 1000])
    }),
    ("expiring_before, few", |tables, _| format!("expiring_before={}", day(tables, 1))),
    ("expiring_before, many", |tables, _| format!("expiring_before={}", day(tables, 300))),
    ("unused_since, half", |tables, number| format!("unused_since={}", day(tables, number as u64 % 90))),
    ("unused_since, the used", |tables, number| {
        format!("sort=last_used_at&unused_since={}", day(tables, number as u64 % 90))
    }),
    ("sort=last_used_at&environment=test", |_, _| "sort=last_used_at&environment=test".to_owned()),
    ("created_after&created_before", |tables, number| {
        let from = number as u64 % 89;
        format!("created_after={}&created_before={}", day(tables, from), day(tables, from + 1))
    }),
    ("metadata.customer, 20 keys", |_, number| format!("metadata.customer=c{}", number * 37 % CUSTOMERS)),
    ("metadata.region, 2500 keys", |_, number| format!("metadata.region=r{}", number * 37 % REGIONS)),
    ("metadata.region&sort=last_used_at", |_, number| {
        format!("sort=last_used_at&metadata.region=r{}", number * 37 % REGIONS)
    }),
    ("metadata.tier, a third", |_, number| format!("metadata.tier={}", number % 3)),
    ("metadata of both", |_, number| {
        let customer = number * 37 % CUSTOMERS;
        format!("metadata.customer=c{customer}&metadata.tier={}&status=active&sort=name", number % 3)
    }),
    ("q, a quarter", |_, _| "q=crawler".to_owned()),
    ("q, one key", |_, number| format!("q=%20{:07}%20", number * 7919 % 1_000_000)),
    ("q, none, with all others", |tables, number| {
        let plan = tables.plans[number % 3];
        format!("q=nothing&status=active&environment=live&plan_id={plan}&metadata.tier=1&sort=expires_at")
    }),
];

/// What is asked for between pages, to tell what the machine does from what the lists do: one small thing.
const BESIDE: &str = "beside them: GET /v1/workspaces";

/// Asks for pages of each list.
pub(super) async fn measure(api: &mut Api, tables: &Tables) -> Result<Vec<Listed>, Problem> {
    let mut all: Vec<Times> = LISTS.iter().map(|_| Times::default()).collect();
    let mut beside = Times::default();
    for round in 0..ROUNDS {
        for ((_, query), times) in LISTS.iter().zip(&mut all) {
            while times.rounds[round].len() < PAGES {
                let query = query(tables, times.begun);
                times.begun += 1;
                let mut cursor = String::new();
                for _ in 0..FOLLOWED {
                    let (took, page) = timed(api, &format!("/v1/keys?{query}{cursor}")).await?;
                    times.rounds[round].push(took);
                    times.keys += page["data"].as_array().map_or(0, Vec::len);
                    beside.rounds[round].push(timed(api, "/v1/workspaces").await?.0);
                    let Some(next) = page["next_cursor"].as_str() else { break };
                    cursor = format!("&cursor={next}");
                }
            }
        }
    }
    let names = LISTS.iter().map(|(list, _)| *list).chain([BESIDE]);
    Ok(names.zip(all.into_iter().chain([beside])).map(|(list, times)| times.told(list)).collect())
}

/// How many milliseconds the answer took, and the answer.
async fn timed(api: &mut Api, path: &str) -> Result<(f64, Value), Problem> {
    let sent = Instant::now();
    let answer = api.get(path).await?;
    Ok((sent.elapsed().as_secs_f64() * 1e3, answer))
}

impl Times {
    fn told(self, list: &'static str) -> Listed {
        let (pages, keys) = (self.rounds.iter().map(Vec::len).sum(), self.keys);
        let max_ms = self.rounds.iter().flatten().copied().fold(0.0, f64::max);
        let p50_ms = median(self.rounds.iter().map(|it| median(it.clone())).collect());
        let p99_ms = median(self.rounds.into_iter().map(p99).collect());
        Listed { list, pages, keys, p50_ms, p99_ms, max_ms }
    }
}

impl Listed {
    pub(super) fn row(&self) -> String {
        let Self { list, pages, keys, p50_ms, p99_ms, max_ms } = self;
        format!("{list} | {pages} | {keys} | {p50_ms:.2} | {p99_ms:.2} | {max_ms:.2}")
    }
}

/// As many as one call takes, or as there are.
pub(super) async fn revoke(api: &mut Api) -> Result<Revoked, Problem> {
    let body = json!({ "filter": { "metadata": { "tier": 1 } }, "dry_run": false });
    let sent = Instant::now();
    let done = api.post("/v1/keys/revoke", &body).await?;
    let seconds = sent.elapsed().as_secs_f64();
    let number = |field: &str| done[field].as_u64().ok_or_else(|| format!("the answer has no {field}"));
    Ok(Revoked { keys: number("revoked")?, seconds, took_ms: number("took_ms")? })
}
