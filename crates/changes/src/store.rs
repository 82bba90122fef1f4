//! The log of changes in the role's database: appended by mutations, read by replicas, pruned by age.
//!
//! **Commit order is sequence order, without gaps.** A sequence is taken by updating the one row of `change_head`, whose lock is
//! held until the transaction ends: the next one to take a sequence waits for that, so it commits later, and a transaction that
//! rolls back gives its sequence back. Hence whoever reads the log up to `n` has read everything up to `n`. (A database sequence
//! would give neither: it is taken outside of transactions.) Append last in a transaction, so that the lock is held briefly.

pub(crate) mod schema;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{Db, DbTime, Error, read_db, tx_db, write_db};
use tollgate_kernel::Timestamp;

use crate::{
    hub::Sequence,
    store::schema::{change_head, changes, replicas},
};

/// Appends to the log inside a transaction: `append!(c, subject, now)?` gives the change's [`Sequence`](crate::Sequence).
///
/// `c` is the connection of `tx_db!`. Gives `QueryResult<Sequence>`.
#[macro_export]
macro_rules! append {
    ($c:expr, $subject:expr, $at:expr) => {
        async {
            use diesel::ExpressionMethods as _;
            use $crate::__private::change_head;
            let next = diesel::update(change_head::table)
                .set(change_head::last.eq(change_head::last + 1_i64))
                .returning(change_head::last);
            let sequence: i64 = diesel_async::RunQueryDsl::get_result(next, $c).await?;
            let row = $crate::__private::Row::new(sequence, $subject, $at);
            let insert = diesel::insert_into($crate::__private::changes::table).values(row);
            diesel_async::RunQueryDsl::execute(insert, $c).await?;
            Ok::<$crate::Appended, diesel::result::Error>($crate::__private::appended(sequence))
        }
        .await
    };
}

// The changes after a place. A macro, because the type of the query has no name that is worth writing.
macro_rules! after {
    ($place:expr) => {
        changes::table
            .filter(changes::sequence.gt($place))
            .order(changes::sequence)
            .select((changes::sequence, changes::subject))
            .limit(AT_ONCE)
    };
}

/// A row of the log, to be inserted.
#[doc(hidden)]
#[derive(Debug, Insertable)]
#[diesel(table_name = changes)]
pub struct Row {
    sequence: i64,
    subject: String,
    at: DbTime,
}

impl Row {
    /// A change of `subject`.
    pub fn new(sequence: i64, subject: tollgate_verify::Subject, at: Timestamp) -> Self {
        Self { sequence, subject: subject.to_string(), at: at.into() }
    }
}

/// What [`append!`](crate::append) gives.
#[doc(hidden)]
pub fn appended(sequence: i64) -> crate::Appended {
    crate::Appended(sequence.unsigned_abs())
}

/// A change, as it is read: its place, and its subject as text.
pub(crate) type Change = (Sequence, String);

/// The role's log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    db: Db,
}

/// What a round's transaction has read.
pub(crate) struct RoundRead {
    pub(crate) changes: Vec<Change>,
    /// The last change that was pruned, after that reading.
    pub(crate) pruned: Sequence,
    /// The replica was in the table while the log was read. If not, it is now.
    pub(crate) registered: bool,
}

/// Changes that are read, or pruned, at once; more in the next step.
const AT_ONCE: i64 = 1_000;

impl Log {
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }

    /// The last sequence that was given, and the last that was pruned.
    pub(crate) async fn head(&self) -> Result<(Sequence, Sequence), Error> {
        let head = change_head::table.select((change_head::last, change_head::pruned));
        let (last, pruned): (i64, i64) = read_db!(self.db, |c| head.first(c).await)?;
        Ok((last.unsigned_abs(), pruned.unsigned_abs()))
    }

    /// The changes after a place, in order; a part of them if there are many.
    pub(crate) async fn after(&self, place: Sequence) -> Result<Vec<Change>, Error> {
        let place = number(place);
        let rows: Vec<(i64, String)> = read_db!(self.db, |c| after!(place).load(c).await)?;
        Ok(rows.into_iter().map(change).collect())
    }

    /// One transaction: reads the changes after a place, then renews the replica's row. See [`crate::hub`] for why in this order.
    pub(crate) async fn round(
        &self,
        replica: &str,
        acknowledged: Sequence,
        place: Sequence,
    ) -> Result<RoundRead, Error> {
        let (place, acknowledged) = (number(place), number(acknowledged));
        tx_db!(self.db, |c| {
            let rows: Vec<(i64, String)> = after!(place).load(c).await?;
            // After the changes: what is not pruned by now was there to be read.
            let pruned: i64 = change_head::table.select(change_head::pruned).first(c).await?;
            let renewed = diesel::update(replicas::table.find(replica))
                .set(replicas::acknowledged.eq(acknowledged))
                .execute(c)
                .await?;
            if renewed == 0 {
                diesel::insert_into(replicas::table)
                    .values((replicas::id.eq(replica), replicas::acknowledged.eq(acknowledged)))
                    .execute(c)
                    .await?;
            }
            let changes = rows.into_iter().map(change).collect();
            Ok::<_, Error>(RoundRead { changes, pruned: pruned.unsigned_abs(), registered: renewed > 0 })
        })
    }

    /// Says what a replica's watchers have acknowledged. A row that is gone stays gone: the next round makes it anew.
    pub(crate) async fn acknowledge(&self, replica: &str, acknowledged: Sequence) -> Result<(), Error> {
        let row = replicas::table.find(replica);
        let acknowledged = replicas::acknowledged.eq(number(acknowledged));
        write_db!(self.db, |c| diesel::update(row).set(acknowledged).execute(c).await)?;
        Ok(())
    }

    /// What each replica's watchers have acknowledged.
    pub(crate) async fn acknowledged(&self) -> Result<Vec<Sequence>, Error> {
        let rows: Vec<i64> =
            read_db!(self.db, |c| replicas::table.select(replicas::acknowledged).load(c).await)?;
        Ok(rows.into_iter().map(i64::unsigned_abs).collect())
    }

    /// Takes a replica out that nobody depends on any more.
    pub(crate) async fn leave(&self, replica: &str) -> Result<(), Error> {
        write_db!(self.db, |c| diesel::delete(replicas::table.find(replica)).execute(c).await)?;
        Ok(())
    }

    /// Takes out the replicas that have not renewed their row for half a minute, by the database's own clock: many leases.
    pub(crate) async fn forget_the_dead(&self) -> Result<usize, Error> {
        let dead = "DELETE FROM replicas WHERE renewed_at < clock_timestamp() - interval '30 seconds'";
        write_db!(self.db, |c| diesel::sql_query(dead).execute(c).await)
    }

    /// Forgets changes from before `time`, a part of them if there are many; says how many. Followers that have not read them start
    /// anew.
    pub(crate) async fn prune(&self, time: Timestamp) -> Result<usize, Error> {
        let old = changes::at.lt(DbTime(time));
        tx_db!(self.db, |c| {
            let old: Option<i64> =
                changes::table.filter(old).select(diesel::dsl::max(changes::sequence)).first(c).await?;
            let Some(old) = old else { return Ok(0) };
            // Takes the lock: of those who prune at the same time, none sets the mark back.
            let locked = diesel::update(change_head::table).set(change_head::pruned.eq(change_head::pruned));
            let pruned: i64 = locked.returning(change_head::pruned).get_result(c).await?;
            let upto = old.min(pruned + AT_ONCE).max(pruned);
            diesel::update(change_head::table).set(change_head::pruned.eq(upto)).execute(c).await?;
            let forgotten =
                diesel::delete(changes::table.filter(changes::sequence.le(upto))).execute(c).await?;
            Ok::<_, Error>(forgotten)
        })
    }
}

fn number(place: Sequence) -> i64 {
    i64::try_from(place).expect("nobody makes 2^63 changes")
}

fn change((sequence, subject): (i64, String)) -> Change {
    (sequence.unsigned_abs(), subject)
}
