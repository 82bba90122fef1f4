//! Makes keys as many as are wanted, straight into the tables: through the API it would take hours, and measure something else.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use tollgate_kernel::{
    Clock, ConsumerId, ExposeSecret, Id, IdKind, KeyId, OsEntropy, PlanId, SecretId, SecretString,
    SystemClock, Timestamp, WorkspaceId,
};
use tollgate_testkit::Bulk;
use tollgate_verify::{KeyKind, mint};

use crate::{Problem, set_up::Api};

/// Rows in one statement.
const ROWS: usize = 1_000;
/// Statements in one transaction.
const STATEMENTS: usize = 20;
/// How many consumers share half of the keys.
const CONSUMERS: usize = 1_000;
/// How many values `metadata.customer` has.
pub(super) const CUSTOMERS: usize = 50_000;
/// How many `metadata.region` has.
pub(super) const REGIONS: usize = 400;
/// Over how many days keys were made.
const DAYS: i64 = 90;
/// What names end with.
const WORDS: [&str; 4] = ["shop", "billing", "crawler", "partner"];

/// What keys refer to.
pub(super) struct Tables {
    workspace: WorkspaceId,
    pub(super) plans: Vec<PlanId>,
    pub(super) consumers: Vec<ConsumerId>,
    /// When the oldest key was made.
    pub(super) oldest: Timestamp,
    /// The id of a role that no key has, and how often it was changed.
    role: String,
    changes: u32,
}

/// What the making came to.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Made {
    pub(super) seconds: f64,
    /// All tables of the role with their indexes.
    pub(super) megabytes: f64,
}

/// How a database writes what other databases write otherwise.
#[derive(Clone, Copy)]
enum Words {
    Postgres,
    Sqlite,
}

/// A clock that stands still.
#[derive(Debug)]
struct Still(Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

impl Tables {
    /// Those of the caller's workspace: its plans, each with limits wide enough for every call of a run.
    pub(super) async fn new(api: &mut Api) -> Result<Self, Problem> {
        let mut plans = Vec::new();
        for name in ["one", "two", "three"] {
            let limits =
                ["minute", "day"].map(|name| json!({"name": name, "limit": 1024, "window_seconds": 1}));
            let plan = api.post("/v1/plans", &json!({"name": name, "limits": limits})).await?;
            plans.push(plan["id"].as_str().ok_or("a plan has an id")?.parse()?);
        }
        let workspaces = api.get("/v1/workspaces").await?;
        let workspace = workspaces["data"][0]["id"].as_str().ok_or("there is a workspace")?.parse()?;
        let consumers = (0..CONSUMERS).map(|_| ConsumerId::new(&SystemClock, &OsEntropy)).collect();
        let oldest = SystemClock.now() - TimeDelta::days(DAYS);
        let role = api.post("/v1/roles", &json!({"name": "bench", "scopes": ["bench.begin"]})).await?;
        let role = role["id"].as_str().ok_or("a role has an id")?.to_owned();
        Ok(Self { workspace, plans, consumers, oldest, role, changes: 0 })
    }

    /// Makes every cache forget the keys of the workspace.
    pub(super) async fn forget(&mut self, api: &mut Api) -> Result<(), Problem> {
        self.changes += 1;
        let scope = format!("bench.round-{}", self.changes);
        api.patch(&format!("/v1/roles/{}", self.role), &json!({ "scopes": [scope] })).await?;
        Ok(())
    }
}

/// Makes them, and gives those that pass: nine in ten of the even ones.
pub(super) async fn keys(
    url: &SecretString,
    tables: &Tables,
    count: usize,
) -> Result<(Vec<String>, Made), Problem> {
    let mut bulk = Bulk::open(url, "keys").await?;
    let words = if matches!(bulk, Bulk::Postgres(_)) { Words::Postgres } else { Words::Sqlite };
    let started = Instant::now();
    bulk.execute(&consumers(tables, words)).await?;
    let mut passing = Vec::new();
    let mut number = 0;
    while number < count {
        let mut statements = String::from("BEGIN;");
        for _ in 0..STATEMENTS {
            let last = count.min(number + ROWS);
            statements += &piece(tables, words, number..last, count, &mut passing);
            number = last;
            if number == count {
                break;
            }
        }
        statements += "COMMIT;";
        bulk.execute(&statements).await?;
    }
    // What the database does by itself after a while.
    for statement in words.settle() {
        bulk.execute(statement).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let bytes = bulk.number(words.size()).await?;
    Ok((passing, Made { seconds, megabytes: megabytes(bytes) }))
}

fn consumers(tables: &Tables, words: Words) -> String {
    let mut rows = String::new();
    for id in &tables.consumers {
        let comma = if rows.is_empty() { "" } else { "," };
        let (id, workspace, at) = (words.id(*id), words.id(tables.workspace), words.time(tables.oldest));
        let _ = write!(
            rows,
            "{comma}({id},{workspace},'a consumer','a consumer','[]','{{}}',TRUE,'usr_bench',{at})"
        );
    }
    let columns = "id,workspace_id,name,name_folded,limits,metadata,enabled,created_by,created_at";
    format!("INSERT INTO consumers ({columns}) VALUES {rows};")
}

/// The statements that make some of the keys, their secrets, and what is known of their last uses.
fn piece(
    tables: &Tables,
    words: Words,
    numbers: std::ops::Range<usize>,
    count: usize,
    passing: &mut Vec<String>,
) -> String {
    let (mut keys, mut secrets, mut uses) = (String::new(), String::new(), String::new());
    for number in numbers {
        let at = tables.oldest + TimeDelta::seconds(DAYS * 86_400 * whole(number) / whole(count));
        let (id, minted) = (KeyId::new(&Still(at), &OsEntropy), mint(KeyKind::Live, &OsEntropy));
        let passes = number.is_multiple_of(2) && !number.is_multiple_of(20);
        if passes {
            passing.push(minted.key.expose_secret().to_owned());
        }
        let comma = if keys.is_empty() { "" } else { "," };
        keys += comma;
        keys += &key(tables, words, number, id, &minted.start, at, passes);
        let mut digest = String::new();
        minted.digest.iter().for_each(|byte| write!(digest, "{byte:02x}").expect("a text takes it"));
        let secret = SecretId::new(&Still(at), &OsEntropy);
        let _ = write!(
            secrets,
            "{comma}({},{},'{}',{},{},'')",
            words.id(secret),
            words.id(id),
            minted.public_id,
            words.bytes(&digest),
            words.time(at)
        );
        if number % 2 == 1 {
            let comma = if uses.is_empty() { "" } else { "," };
            let _ = write!(uses, "{comma}({},{})", words.id(id), words.time(at + TimeDelta::hours(1)));
        }
    }
    let columns = "id,workspace_id,plan_id,name,name_folded,environment,start,scopes,limits,allowed_ips,metadata,\
                   enabled,expires_at,revoked_at,created_by,created_at,secret_made_at,consumer_id";
    let mut all = format!(
        "INSERT INTO keys ({columns}) VALUES {keys};\
         INSERT INTO secrets (id,key_id,public_id,digest,created_at,start) VALUES {secrets};"
    );
    if !uses.is_empty() {
        let _ = write!(all, "INSERT INTO last_used (key_id,at) VALUES {uses};");
    }
    all
}

/// One row. Of those that need not pass some are of the test environment, disabled, revoked, or end.
fn key(
    tables: &Tables,
    words: Words,
    number: usize,
    id: KeyId,
    start: &str,
    at: DateTime<Utc>,
    passes: bool,
) -> String {
    let nothing = words.nothing();
    let name = format!("key {number:07} of {}", WORDS[number % WORDS.len()]);
    let environment = if !passes && number.is_multiple_of(5) { "test" } else { "live" };
    let (customer, region, tier) = (number % CUSTOMERS, number % REGIONS, number % 3);
    let metadata = format!(r#"{{"customer":"c{customer}","region":"r{region}","tier":{tier}}}"#);
    let enabled = passes || !number.is_multiple_of(7);
    let expires =
        if passes { "NULL".to_owned() } else { words.time(at + TimeDelta::days(whole(number) % 365)) };
    let revoked = if !passes && number.is_multiple_of(11) { words.time(at) } else { "NULL".to_owned() };
    let consumer =
        if number % 4 < 2 { words.id(tables.consumers[number % CONSUMERS]) } else { "NULL".to_owned() };
    format!(
        "({},{},{},'{name}','{name}','{environment}','{start}',{nothing},'[]',{nothing},'{metadata}',{enabled},{expires},\
         {revoked},'usr_bench',{},{},{consumer})",
        words.id(id),
        words.id(tables.workspace),
        words.id(tables.plans[number % tables.plans.len()]),
        words.time(at),
        words.time(at),
    )
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).expect("nobody makes 2^63 keys")
}

#[expect(clippy::cast_precision_loss, reason = "a database is smaller than 2^52 bytes")]
fn megabytes(bytes: i64) -> f64 {
    bytes as f64 / 1e6
}

impl Words {
    fn id<K: IdKind>(self, id: Id<K>) -> String {
        match self {
            Self::Postgres => format!("'{}'", id.uuid()),
            Self::Sqlite => format!("x'{}'", id.uuid().simple()),
        }
    }

    fn time(self, at: Timestamp) -> String {
        match self {
            Self::Postgres => format!("'{}'", at.to_rfc3339()),
            Self::Sqlite => at.timestamp_micros().to_string(),
        }
    }

    fn bytes(self, hex: &str) -> String {
        match self {
            Self::Postgres => format!(r"'\x{hex}'"),
            Self::Sqlite => format!("x'{hex}'"),
        }
    }

    /// An empty list of texts.
    const fn nothing(self) -> &'static str {
        match self {
            Self::Postgres => "'{}'",
            Self::Sqlite => "'[]'",
        }
    }

    const fn settle(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["VACUUM ANALYZE", "CHECKPOINT"],
            Self::Sqlite => &["PRAGMA wal_checkpoint(TRUNCATE)"],
        }
    }

    /// An expression.
    const fn size(self) -> &'static str {
        match self {
            Self::Postgres => "pg_database_size(current_database())",
            Self::Sqlite => "(SELECT page_count * page_size FROM pragma_page_count, pragma_page_size)",
        }
    }
}
