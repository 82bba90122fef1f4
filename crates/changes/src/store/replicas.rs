//! The table of replicas: what each says of its watchers, and who has died.

use std::time::Duration;

use diesel::{dsl::exists, prelude::*};
use diesel_async::RunQueryDsl;
use tollgate_db::{Error, read_db, tx_db, write_db};

use super::{
    AT_ONCE, Head, Log, Read, change, continued, follow, number,
    schema::{change_head, changes, replicas},
};
use crate::{Place, Sequence, silence::Renewed};

/// What a round writes of its replica.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal<'a> {
    pub(crate) replica: &'a str,
    /// Larger than that of any earlier round of the replica, also of one that failed.
    pub(crate) round: u64,
    pub(crate) lease: Duration,
    /// What its watchers have acknowledged.
    pub(crate) acknowledged: Sequence,
}

/// What a round's transaction has done.
pub(crate) struct RoundRead {
    /// If it is lost, nothing was written: what was to be said is of another history.
    pub(crate) read: Read,
    /// The replica was in the table while the log was read. If not, it is now.
    pub(crate) registered: bool,
}

impl Log {
    /// One transaction: reads the changes after a place, then renews the replica's row. See [`crate::hub`] for why in this order.
    pub(crate) async fn round(&self, renewal: Renewal<'_>, place: Place) -> Result<RoundRead, Error> {
        let lease = i64::try_from(renewal.lease.as_millis()).unwrap_or(i64::MAX);
        let row = (
            replicas::acknowledged.eq(number(renewal.acknowledged)),
            replicas::round.eq(number(renewal.round)),
            replicas::lease_ms.eq(lease),
        );
        tx_db!(self.db, |c| {
            let read = follow!(c, place);
            if let Read::Lost(_) = read {
                return Ok(RoundRead { read, registered: false });
            }
            let renewed = diesel::update(replicas::table.find(renewal.replica)).set(row).execute(c).await?;
            if renewed == 0 {
                let row = (replicas::id.eq(renewal.replica), row);
                diesel::insert_into(replicas::table).values(row).execute(c).await?;
            }
            Ok::<_, Error>(RoundRead { read, registered: renewed > 0 })
        })
    }

    /// Says what a replica's watchers have acknowledged, if the log has the place that the replica has read: else it is another
    /// history's, and is not written. A row that is gone stays gone: the next round makes it anew. Says whether it was written.
    pub(crate) async fn acknowledge(
        &self,
        replica: &str,
        acknowledged: Sequence,
        read: Place,
    ) -> Result<bool, Error> {
        let (sequence, tag) = (number(read.sequence), read.tag.0.cast_signed());
        let here = changes::table.filter(changes::sequence.eq(sequence).and(changes::tag.eq(tag)));
        let mark = change_head::pruned.eq(sequence).and(change_head::pruned_tag.eq(tag));
        let row =
            replicas::table.find(replica).filter(exists(here).or(exists(change_head::table.filter(mark))));
        let acknowledged = replicas::acknowledged.eq(number(acknowledged));
        let written = write_db!(self.db, |c| diesel::update(row).set(acknowledged).execute(c).await)?;
        Ok(written == 1)
    }

    /// Up to where the watchers of all replicas have acknowledged, in the log that has `place`; `None` if this log does not. Without
    /// replicas nobody is missing.
    pub(crate) async fn acknowledged(&self, place: Place) -> Result<Option<Sequence>, Error> {
        let (sequence, tag) = (number(place.sequence), place.tag.0.cast_signed());
        let least = replicas::table.select(diesel::dsl::min(replicas::acknowledged)).single_value();
        // One statement: it is the same database that has the change and the rows.
        let here = changes::table.filter(changes::sequence.eq(sequence).and(changes::tag.eq(tag)));
        let least: Option<Option<i64>> = read_db!(self.db, |c| here.select(least).first(c).await.optional())?;
        Ok(least.map(|least| least.map_or(Sequence::MAX, i64::unsigned_abs)))
    }

    /// Takes a replica out that nobody depends on any more.
    pub(crate) async fn leave(&self, replica: &str) -> Result<(), Error> {
        write_db!(self.db, |c| diesel::delete(replicas::table.find(replica)).execute(c).await)?;
        Ok(())
    }

    /// All replicas that are in the table.
    pub(crate) async fn replicas(&self) -> Result<Vec<Renewed<String>>, Error> {
        let rows = replicas::table.select((replicas::id, replicas::round, replicas::lease_ms));
        let rows: Vec<(String, i64, i64)> = read_db!(self.db, |c| rows.load(c).await)?;
        let renewed = |(id, round, lease): (String, i64, i64)| Renewed {
            id,
            round: round.unsigned_abs(),
            lease: Duration::from_millis(lease.unsigned_abs()),
        };
        Ok(rows.into_iter().map(renewed).collect())
    }

    /// Takes a replica out that has died, unless it has renewed its row after all.
    pub(crate) async fn forget(&self, dead: &Renewed<String>) -> Result<usize, Error> {
        let row = replicas::table.find(&dead.id).filter(replicas::round.eq(number(dead.round)));
        write_db!(self.db, |c| diesel::delete(row).execute(c).await)
    }
}
