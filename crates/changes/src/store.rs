//! The log of changes in the role's database: appended by mutations, read by replicas, pruned by age.
//!
//! **Commit order is sequence order, without gaps.** A sequence is taken by updating the one row of `change_head`, whose lock is
//! held until the transaction ends: the next one to take a sequence waits for that, so it commits later, and a transaction that
//! rolls back gives its sequence back. Hence whoever reads the log up to `n` has read everything up to `n`. (A database sequence
//! would give neither: it is taken outside of transactions.) Append last in a transaction, so that the lock is held briefly.
//!
//! **Every reading begins at a place and checks it**: the change there must still be the one that the reader knows, or the database has been
//! replaced by one with another history, and what comes after that place there says nothing about it.

mod history;
mod replicas;
pub(crate) mod schema;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tollgate_db::{Db, DbTime, Error, read_db, tx_db};
use tollgate_kernel::Timestamp;

use history::continued;
pub(crate) use replicas::Renewal;

use crate::{
    Entry, Place, Sequence, Tag,
    store::schema::{change_head, changes},
};

/// Appends to the log inside a transaction: `append!(c, entry)?` gives where the [`Entry`](crate::Entry) came to stand.
///
/// `c` is the connection of `tx_db!`. Gives `QueryResult<Appended>`.
#[macro_export]
macro_rules! append {
    ($c:expr, $entry:expr) => {
        async {
            use diesel::ExpressionMethods as _;
            use $crate::__private::{Row, appended, change_head, changes};
            let entry: $crate::Entry = $entry;
            let tag = $crate::__private::tag(&entry);
            let next = diesel::update(change_head::table)
                .set((change_head::last.eq(change_head::last + 1_i64), change_head::tag.eq(tag)))
                .returning(change_head::last);
            let sequence: i64 = diesel_async::RunQueryDsl::get_result(next, $c).await?;
            let insert = diesel::insert_into(changes::table).values(Row::new(sequence, &entry));
            diesel_async::RunQueryDsl::execute(insert, $c).await?;
            Ok::<$crate::Appended, diesel::result::Error>(appended(sequence, &entry))
        }
        .await
    };
}

// What is known of the log from a place on. A macro, because the type of the connection has no name that is worth writing.
macro_rules! follow {
    ($c:expr, $place:expr) => {{
        let rows = changes::table
            .filter(changes::sequence.ge(number($place.sequence)))
            .order(changes::sequence)
            .select((changes::sequence, changes::tag, changes::subject))
            .limit(AT_ONCE + 1);
        let rows: Vec<(i64, i64, String)> = rows.load($c).await?;
        // After the changes: what is not pruned by now was there to be read.
        let head: Head = change_head::table.select(Head::as_select()).first($c).await?;
        continued($place, rows.into_iter().map(change).collect(), &head)
    }};
}
use follow;

/// A row of the log, to be inserted.
#[doc(hidden)]
#[derive(Debug, Insertable)]
#[diesel(table_name = changes)]
pub struct Row {
    sequence: i64,
    tag: i64,
    subject: String,
    at: DbTime,
}

impl Row {
    /// What `entry` says, at its place.
    pub fn new(sequence: i64, entry: &Entry) -> Self {
        Self { sequence, tag: tag(entry), subject: entry.subject.to_string(), at: entry.at.into() }
    }
}

/// The tag of an entry, as it is stored.
#[doc(hidden)]
pub fn tag(entry: &Entry) -> i64 {
    entry.tag.0.cast_signed()
}

/// What [`append!`](crate::append) gives.
#[doc(hidden)]
pub fn appended(sequence: i64, entry: &Entry) -> crate::Appended {
    crate::Appended(Place { sequence: sequence.unsigned_abs(), tag: entry.tag })
}

/// Both ends of the log.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = change_head)]
struct Head {
    last: i64,
    tag: i64,
    pruned: i64,
    pruned_tag: i64,
}

impl Head {
    fn last(&self) -> Place {
        place(self.last, self.tag)
    }

    fn pruned(&self) -> Place {
        place(self.pruned, self.pruned_tag)
    }
}

/// A change, as it is read: its place, and its subject as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) place: Place,
    pub(crate) subject: String,
}

/// What was read from a place on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The changes after it, in order; a part of them if there are many.
    Continued(Vec<Change>),
    /// The place is not in this log: it is of another history, or changes after it are pruned. The log's last change is given.
    Lost(Place),
}

/// The role's log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    db: Db,
}

/// Changes that are read, or pruned, at once; more in the next step.
const AT_ONCE: i64 = 1_000;

impl Log {
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }

    /// The last change.
    pub(crate) async fn last(&self) -> Result<Place, Error> {
        Ok(self.head().await?.last())
    }

    /// How many changes the log holds. There are no gaps.
    pub(crate) async fn length(&self) -> Result<u64, Error> {
        let head = self.head().await?;
        Ok(head.last.abs_diff(head.pruned))
    }

    async fn head(&self) -> Result<Head, Error> {
        read_db!(self.db, |c| change_head::table.select(Head::as_select()).first(c).await)
    }

    /// The changes after a place.
    pub(crate) async fn after(&self, place: Place) -> Result<Read, Error> {
        read_db!(self.db, |c| async { Ok::<_, diesel::result::Error>(follow!(c, place)) }.await)
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
            if old <= pruned {
                return Ok(0);
            }
            let upto = old.min(pruned + AT_ONCE);
            // Whoever has read exactly as far can still tell that it was this log.
            let tag: i64 = changes::table.find(upto).select(changes::tag).first(c).await?;
            let mark = (change_head::pruned.eq(upto), change_head::pruned_tag.eq(tag));
            diesel::update(change_head::table).set(mark).execute(c).await?;
            let forgotten =
                diesel::delete(changes::table.filter(changes::sequence.le(upto))).execute(c).await?;
            Ok::<_, Error>(forgotten)
        })
    }
}

fn number(sequence: Sequence) -> i64 {
    i64::try_from(sequence).expect("nobody makes 2^63 changes")
}

fn place(sequence: i64, tag: i64) -> Place {
    Place { sequence: sequence.unsigned_abs(), tag: Tag(tag.cast_unsigned()) }
}

fn change((sequence, tag, subject): (i64, i64, String)) -> Change {
    Change { place: place(sequence, tag), subject }
}
