//! Usage: stored by the drain, exactly once; read by the minute, hour or day.
//!
//! Every call is in three rows, one of each grain, which are added in the drain's own transaction. So hours and days agree
//! with the minutes however late a tally comes and however many replicas drain: there is nothing that catches up.
//!
//! These writes change nothing that people own, so they go past [`super::change`].

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use diesel::{
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{BigInt, Nullable, Text},
    sqlite::Sqlite,
};
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, insert_many, read_db, sql_types, tx_db};
use tollgate_kernel::{Fault, KeyId, Timestamp};
use tollgate_verify::Environment;

use super::{
    Store,
    schema::{keys, last_used, usage, usage_batches},
};

/// Rows per statement: 8 values each, far below what either database takes.
const ROWS_PER_STATEMENT: usize = 1000;

/// What is counted together; in the order of the primary key, so that two drains lock rows in one order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Calls {
    pub(crate) partition: String,
    /// Minutes since 1970.
    pub(crate) minute: i64,
    pub(crate) subject: String,
    /// Whose the subject was; empty: nobody's in particular.
    pub(crate) consumer: String,
    pub(crate) code: String,
}

/// A call that may be the latest of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastUse {
    pub(crate) at: Timestamp,
    pub(crate) network: Option<String>,
    pub(crate) user_agent: Option<String>,
}

/// The latest call of a key that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = last_used, check_for_backend(Pg, Sqlite))]
pub(crate) struct LastUsed {
    pub(crate) at: DbTime,
    pub(crate) network: Option<String>,
    pub(crate) user_agent: Option<String>,
}

/// How many minutes a point of usage covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Minute,
    Hour,
    Day,
}

/// Which calls.
#[derive(Debug, Clone)]
pub(crate) struct UsageFilter {
    pub(crate) partition: String,
    pub(crate) subject: Option<String>,
    pub(crate) consumer: Option<String>,
    pub(crate) code: Option<String>,
    /// Of the keys.
    pub(crate) environment: Option<Environment>,
    /// Whole steps, in minutes since 1970.
    pub(crate) minutes: Range<i64>,
    pub(crate) step: Step,
}

/// By what calls are summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    Key,
    Consumer,
    Code,
}

/// The start in minutes since 1970, the code, the count.
pub(crate) type UsageRow = (i64, String, i64);
/// The name, its count, and the count of all groups.
pub(crate) type GroupRow = (String, i64, i64);

impl Step {
    pub(crate) const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    pub(crate) const fn minutes(self) -> i64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 1440,
        }
    }

    /// The step that this minute is part of.
    pub(crate) const fn of(self, minute: i64) -> i64 {
        minute - minute.rem_euclid(self.minutes())
    }
}

impl Grouping {
    // Text and not a bound value: PostgreSQL groups by an expression only if it is the very one that is selected.
    const fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Key => {
                ["subject, CAST(SUM(count) AS BIGINT), CAST(SUM(SUM(count)) OVER () AS BIGINT)", "subject"]
            }
            Self::Consumer => {
                ["consumer, CAST(SUM(count) AS BIGINT), CAST(SUM(SUM(count)) OVER () AS BIGINT)", "consumer"]
            }
            Self::Code => {
                ["code, CAST(SUM(count) AS BIGINT), CAST(SUM(SUM(count)) OVER () AS BIGINT)", "code"]
            }
        }
    }
}

/// The rows that a filter lets through, with these columns, grouped by these. Stamped, because a boxed query is of one
/// database.
macro_rules! usage_rows {
    ($filter:expr, $columns:expr, $grouped:expr) => {{
        let filter: &UsageFilter = $filter;
        let mut query = usage::table
            .group_by($grouped)
            .select($columns)
            .filter(usage::partition.eq(&filter.partition))
            .filter(usage::grain.eq(filter.step.minutes()))
            .filter(usage::minute.ge(filter.minutes.start))
            .filter(usage::minute.lt(filter.minutes.end))
            .into_boxed();
        if let Some(subject) = &filter.subject {
            query = query.filter(usage::subject.eq(subject));
        }
        if let Some(consumer) = &filter.consumer {
            query = query.filter(usage::consumer.eq(consumer));
        }
        if let Some(code) = &filter.code {
            query = query.filter(usage::code.eq(code));
        }
        if let Some(environment) = filter.environment {
            query = query.filter(usage::environment.eq(environment.as_str()));
        }
        query
    }};
}

/// The counts by step and code.
macro_rules! usage_points {
    ($filter:expr) => {
        usage_rows!(
            $filter,
            sql::<(BigInt, Text, BigInt)>("minute, code, CAST(SUM(count) AS BIGINT)"),
            sql::<(BigInt, Text)>("minute, code")
        )
    };
}

#[cfg(test)]
pub(super) use {usage_points, usage_rows};

impl Store {
    /// Adds a batch of calls, unless it was added before. Says whether it was added now.
    pub(crate) async fn usage_add(
        &self,
        batch: &str,
        calls: &BTreeMap<Calls, i64>,
        last: &BTreeMap<KeyId, LastUse>,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        // A key's environment is for good, and the key was there before its calls.
        let environments = self.environments_of(last.keys()).await?;
        let calls = of_every_grain(calls);
        let last: Vec<_> = last.iter().collect();
        let added: Result<bool, tollgate_db::Error> = tx_db!(self.db, |c| {
            // Of two who bring the same batch at once, the second waits here for the first, and then inserts nothing.
            let new = diesel::insert_into(usage_batches::table)
                .values((usage_batches::id.eq(batch), usage_batches::applied_at.eq(DbTime(now))))
                .on_conflict_do_nothing()
                .execute(c)
                .await?;
            if new == 0 {
                return Ok(false);
            }
            for rows in calls.chunks(ROWS_PER_STATEMENT) {
                upsert_calls(rows, &environments).execute(c).await?;
            }
            for rows in last.chunks(ROWS_PER_STATEMENT) {
                upsert_last(rows).execute(c).await?;
            }
            Ok::<_, tollgate_db::Error>(true)
        });
        Ok(added?)
    }

    /// Of these keys, of as many as there are.
    async fn environments_of(&self, ids: impl Iterator<Item = &KeyId>) -> Result<Environments, Fault> {
        let ids: Vec<DbId> = ids.map(|id| DbId::from(*id)).collect();
        let mut all = Environments::new();
        for some in ids.chunks(ROWS_PER_STATEMENT) {
            let found: Vec<(DbId, String)> = read_db!(self.db, |c| keys::table
                .filter(keys::id.eq_any(some))
                .select((keys::id, keys::environment))
                .load(c)
                .await)?;
            all.extend(found.into_iter().map(|(id, name)| (KeyId::from(id).to_string(), name)));
        }
        Ok(all)
    }

    /// The counts of each step by code, in order of time, then code; at most `max`.
    pub(crate) async fn usage_points(&self, filter: &UsageFilter, max: i64) -> Result<Vec<UsageRow>, Fault> {
        let mut rows: Vec<UsageRow> = read_db!(self.db, |c| usage_points!(filter)
            .order(sql::<(BigInt, Text)>("minute, code"))
            .limit(max)
            .load(c)
            .await)?;
        // PostgreSQL orders texts by its locale.
        rows.sort();
        Ok(rows)
    }

    /// The counts of the whole span by group, the largest first, then by name; at most `max`.
    pub(crate) async fn usage_groups(
        &self,
        filter: &UsageFilter,
        by: Grouping,
        max: i64,
    ) -> Result<Vec<GroupRow>, Fault> {
        let [columns, grouped] = by.columns();
        let mut rows: Vec<GroupRow> = read_db!(self.db, |c| usage_rows!(
            filter,
            sql::<(Text, BigInt, BigInt)>(columns),
            sql::<Text>(grouped)
        )
        .order(sql::<(BigInt, Text)>("2 DESC, 1"))
        .limit(max)
        .load(c)
        .await)?;
        rows.sort_by(|(a, many, _), (b, more, _)| (Reverse(many), a).cmp(&(Reverse(more), b)));
        Ok(rows)
    }
}

/// The same calls by the minute, hour and day.
fn of_every_grain(calls: &BTreeMap<Calls, i64>) -> Vec<(Step, Calls, i64)> {
    let of_grain = |step: Step| {
        let mut sums = BTreeMap::new();
        for (calls, count) in calls {
            let calls = Calls { minute: step.of(calls.minute), ..calls.clone() };
            *sums.entry(calls).or_insert(0) += count;
        }
        sums.into_iter().map(move |(calls, count)| (step, calls, count))
    };
    Step::ALL.into_iter().flat_map(of_grain).collect()
}

type CallValues = (
    diesel::dsl::AsExprOf<String, Text>,
    diesel::dsl::AsExprOf<i64, BigInt>,
    diesel::dsl::AsExprOf<i64, BigInt>,
    diesel::dsl::AsExprOf<String, Text>,
    diesel::dsl::AsExprOf<String, Text>,
    diesel::dsl::AsExprOf<String, Text>,
    diesel::dsl::AsExprOf<i64, BigInt>,
    diesel::dsl::AsExprOf<String, Text>,
);

/// The environments of keys by their ids, as text.
type Environments = HashMap<String, String>;

fn upsert_calls(
    rows: &[(Step, Calls, i64)],
    environments: &Environments,
) -> tollgate_db::InsertMany<CallValues> {
    let values = rows.iter().map(|(step, calls, count)| {
        (
            calls.partition.clone().into_sql::<Text>(),
            step.minutes().into_sql::<BigInt>(),
            calls.minute.into_sql::<BigInt>(),
            calls.subject.clone().into_sql::<Text>(),
            calls.consumer.clone().into_sql::<Text>(),
            calls.code.clone().into_sql::<Text>(),
            (*count).into_sql::<BigInt>(),
            environments.get(&calls.subject).cloned().unwrap_or_default().into_sql::<Text>(),
        )
    });
    let values = values.collect();
    insert_many(
        "usage",
        &["partition", "grain", "minute", "subject", "consumer", "code", "count", "environment"],
        values,
        "ON CONFLICT (partition, grain, minute, subject, consumer, code) \
         DO UPDATE SET count = usage.count + excluded.count",
    )
}

type LastValues = (
    diesel::dsl::AsExprOf<DbId, sql_types::Id>,
    diesel::dsl::AsExprOf<DbTime, sql_types::Time>,
    diesel::dsl::AsExprOf<i64, BigInt>,
    diesel::dsl::AsExprOf<Option<String>, Nullable<Text>>,
    diesel::dsl::AsExprOf<Option<String>, Nullable<Text>>,
);

/// Once in a minute for each key, and never backwards.
fn upsert_last(rows: &[(&KeyId, &LastUse)]) -> tollgate_db::InsertMany<LastValues> {
    let values = rows.iter().map(|(key, last)| {
        (
            DbId::from(**key).into_sql::<sql_types::Id>(),
            DbTime(last.at).into_sql::<sql_types::Time>(),
            last.at.timestamp().div_euclid(60).into_sql::<BigInt>(),
            last.network.clone().into_sql::<Nullable<Text>>(),
            last.user_agent.clone().into_sql::<Nullable<Text>>(),
        )
    });
    let values = values.collect();
    insert_many(
        "last_used",
        &["key_id", "at", "minute", "network", "user_agent"],
        values,
        "ON CONFLICT (key_id) DO UPDATE SET at = excluded.at, minute = excluded.minute, \
         network = excluded.network, user_agent = excluded.user_agent \
         WHERE last_used.minute < excluded.minute AND last_used.at < excluded.at",
    )
}
