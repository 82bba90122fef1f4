//! Usage: stored by the drain, exactly once; read by the minute, hour or day.
//!
//! These writes change nothing that people own, so they go past [`super::change`].

use std::collections::BTreeMap;

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;
use tollgate_db::{DbId, DbTime, insert_many, read_db, sql_types, tx_db};
use tollgate_kernel::{Fault, KeyId, Timestamp};

use super::{
    Store,
    schema::{usage, usage_batches},
};

/// Rows per statement: 5 values each, far below what either database takes.
const ROWS_PER_STATEMENT: usize = 1000;

/// What is counted together; in the order of the primary key, so that two drains lock rows in one order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Calls {
    pub(crate) partition: String,
    pub(crate) subject: String,
    /// Minutes since 1970.
    pub(crate) minute: i64,
    pub(crate) code: String,
}

/// How many minutes a point of usage covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Minute,
    Hour,
    Day,
}

/// The start in minutes since 1970, the code, the count.
pub(crate) type UsageRow = (i64, String, i64);

impl Step {
    pub(crate) const fn minutes(self) -> i64 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 1440,
        }
    }

    // Text and not a bound value: PostgreSQL groups by an expression only if it is the very one that is selected.
    // A division of whole numbers, which both databases cut; there are no minutes before 1970.
    const fn columns(self) -> [&'static str; 2] {
        match self {
            Self::Minute => ["minute, code, CAST(SUM(count) AS BIGINT)", "minute, code"],
            Self::Hour => ["minute / 60, code, CAST(SUM(count) AS BIGINT)", "minute / 60, code"],
            Self::Day => ["minute / 1440, code, CAST(SUM(count) AS BIGINT)", "minute / 1440, code"],
        }
    }
}

impl Store {
    /// Adds a batch of calls, unless it was added before. Says whether it was added now.
    pub(crate) async fn usage_add(
        &self,
        batch: &str,
        calls: &BTreeMap<Calls, i64>,
        last: &BTreeMap<KeyId, Timestamp>,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let calls: Vec<_> = calls.iter().collect();
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
                upsert_calls(rows).execute(c).await?;
            }
            for rows in last.chunks(ROWS_PER_STATEMENT) {
                upsert_last(rows).execute(c).await?;
            }
            Ok::<_, tollgate_db::Error>(true)
        });
        Ok(added?)
    }

    /// The counts of a subject from a minute up to another, in order of time, then code; at most `max`.
    pub(crate) async fn usage_of(
        &self,
        partition: &str,
        subject: &str,
        minutes: std::ops::Range<i64>,
        step: Step,
        max: i64,
    ) -> Result<Vec<UsageRow>, Fault> {
        let [selected, grouped] = step.columns();
        let mut rows: Vec<UsageRow> = read_db!(self.db, |c| usage::table
            .filter(usage::partition.eq(partition))
            .filter(usage::subject.eq(subject))
            .filter(usage::minute.ge(minutes.start))
            .filter(usage::minute.lt(minutes.end))
            .group_by(sql::<BigInt>(grouped))
            .order(sql::<BigInt>(grouped))
            .limit(max)
            .select(sql::<(BigInt, Text, BigInt)>(selected))
            .load(c)
            .await)?;
        for row in &mut rows {
            row.0 *= step.minutes();
        }
        // PostgreSQL orders texts by its locale.
        rows.sort();
        Ok(rows)
    }
}

type CallValues = (
    diesel::dsl::AsExprOf<String, Text>,
    diesel::dsl::AsExprOf<String, Text>,
    diesel::dsl::AsExprOf<i64, BigInt>,
    diesel::dsl::AsExprOf<String, Text>,
    diesel::dsl::AsExprOf<i64, BigInt>,
);

fn upsert_calls(rows: &[(&Calls, &i64)]) -> tollgate_db::InsertMany<CallValues> {
    let values = rows.iter().map(|row| {
        (
            row.0.partition.clone().into_sql::<Text>(),
            row.0.subject.clone().into_sql::<Text>(),
            row.0.minute.into_sql::<BigInt>(),
            row.0.code.clone().into_sql::<Text>(),
            (*row.1).into_sql::<BigInt>(),
        )
    });
    let values = values.collect();
    insert_many(
        "usage",
        &["partition", "subject", "minute", "code", "count"],
        values,
        "ON CONFLICT (partition, subject, minute, code) DO UPDATE SET count = usage.count + excluded.count",
    )
}

type LastValues =
    (diesel::dsl::AsExprOf<DbId, sql_types::Id>, diesel::dsl::AsExprOf<DbTime, sql_types::Time>);

fn upsert_last(rows: &[(&KeyId, &Timestamp)]) -> tollgate_db::InsertMany<LastValues> {
    let values = rows.iter().map(|row| {
        (DbId::from(*row.0).into_sql::<sql_types::Id>(), DbTime(*row.1).into_sql::<sql_types::Time>())
    });
    let values = values.collect();
    insert_many(
        "last_used",
        &["key_id", "at"],
        values,
        "ON CONFLICT (key_id) DO UPDATE SET at = excluded.at WHERE last_used.at < excluded.at",
    )
}
