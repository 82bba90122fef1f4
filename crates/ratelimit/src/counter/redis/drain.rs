//! Draining the tallies in Redis: exactly once, if whoever stores a batch does so under its id and then acknowledges it.
//!
//! A tally is renamed to a batch that waits for its acknowledgement; until then it is that batch again for everybody who
//! asks. The partitions are looked at in turn, so that a busy one does not hold up the others.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ::redis::{RedisResult, Script, cmd, pipe};
use tokio::sync::Mutex;
use tollgate_kernel::Entropy;

use super::{
    super::Undecided,
    Keys,
    active::LATELY,
    link::{Connection, Link},
};
use crate::tally::{Batch, BatchId, Cell, MAX_ROWS, Row};

/// How long a step may take: a large batch is half a megabyte.
const TIMEOUT: Duration = Duration::from_secs(2);
/// About how many partitions are looked at in one step.
const LOOK_AT: usize = 500;

/// Takes batches from the tallies.
pub(super) struct Drain {
    link: Link,
    keys: Keys,
    entropy: Arc<dyn Entropy>,
    take: Script,
    acknowledge: Script,
    retire: Script,
    round: Mutex<Round>,
}

/// One look at all active partitions.
#[derive(Default)]
struct Round {
    /// Partitions that have a tally. The first stays until it has none.
    turn: VecDeque<String>,
    /// How far the look has come in the set of active partitions.
    cursor: Cursor,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    #[default]
    Start,
    At(u64),
    End,
}

impl Drain {
    /// A drain over this connection.
    pub(super) fn new(link: Link, keys: Keys, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            link,
            keys,
            entropy,
            take: Script::new(include_str!("take.lua")),
            acknowledge: Script::new(include_str!("acknowledge.lua")),
            retire: Script::new(include_str!("retire.lua")),
            round: Mutex::default(),
        }
    }

    /// The next batch. None only if a whole round, begun after this was asked, found nothing.
    pub(super) async fn next(&self) -> Result<Option<Batch>, Undecided> {
        let mut round = self.round.lock().await;
        let whole = round.cursor == Cursor::Start;
        if let Some(batch) = self.next_in(&mut round).await? {
            return Ok(Some(batch));
        }
        if whole { Ok(None) } else { self.next_in(&mut round).await }
    }

    /// Forgets a batch. Its partition's turn is over.
    pub(super) async fn acknowledge(&self, id: &BatchId, partition: &str) -> Result<(), Undecided> {
        self.link.run(TIMEOUT, |connection| self.forget(connection, id, partition)).await?;
        self.round.lock().await.turn.pop_front_if(|first| first == partition);
        Ok(())
    }

    async fn next_in(&self, round: &mut Round) -> Result<Option<Batch>, Undecided> {
        loop {
            while let Some(partition) = round.turn.front() {
                let taken = self.link.run(TIMEOUT, |connection| self.take(connection, partition)).await?;
                if let Some(batch) = batch(partition, &taken)? {
                    return Ok(Some(batch));
                }
                round.turn.pop_front();
            }
            if round.cursor == Cursor::End {
                *round = Round::default();
                return Ok(None);
            }
            let (turn, cursor) =
                self.link.run(TIMEOUT, |connection| self.look(connection, round.cursor)).await?;
            *round = Round { turn, cursor };
        }
    }

    /// The next of the active partitions that have a tally; retires some that have none.
    async fn look(
        &self,
        mut connection: Connection,
        from: Cursor,
    ) -> RedisResult<(VecDeque<String>, Cursor)> {
        let from = if let Cursor::At(cursor) = from { cursor } else { 0 };
        let mut scan = cmd("ZSCAN");
        scan.arg(self.keys.active()).arg(from).arg("COUNT").arg(LOOK_AT);
        let (cursor, found): (u64, Vec<(String, f64)>) = scan.query_async(&mut connection.inner).await?;
        let cursor = if cursor == 0 { Cursor::End } else { Cursor::At(cursor) };
        if found.is_empty() {
            return Ok((VecDeque::new(), cursor));
        }
        let found: Vec<_> = found.into_iter().map(|(partition, _)| partition).collect();
        let mut keys = pipe();
        for partition in &found {
            keys.cmd("EXISTS").arg(self.keys.tally(partition)).arg(self.keys.pending(partition));
        }
        let keys: Vec<u64> = keys.query_async(&mut connection.inner).await?;
        let (with, without): (Vec<_>, Vec<_>) = found.into_iter().zip(keys).partition(|(_, keys)| *keys > 0);
        self.retire(connection, &without).await?;
        Ok((with.into_iter().map(|(partition, _)| partition).collect(), cursor))
    }

    async fn retire(&self, mut connection: Connection, partitions: &[(String, u64)]) -> RedisResult<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let mut script = self.retire.key(self.keys.active());
        script.arg(LATELY);
        for (partition, _) in partitions {
            script.arg(partition);
        }
        script.invoke_async(&mut connection.inner).await
    }

    async fn take(&self, mut connection: Connection, partition: &str) -> RedisResult<Vec<Vec<u8>>> {
        let id = BatchId::redis(&*self.entropy, partition).to_string();
        let mut script = self.take.key(self.keys.tally(partition));
        script.key(self.keys.pending(partition)).arg(id).arg(MAX_ROWS);
        script.invoke_async(&mut connection.inner).await
    }

    async fn forget(&self, mut connection: Connection, id: &BatchId, partition: &str) -> RedisResult<()> {
        let mut script = self.acknowledge.key(self.keys.pending(partition));
        script.arg(id.to_string()).invoke_async(&mut connection.inner).await
    }
}

/// What `take.lua` replies.
fn batch(partition: &str, reply: &[Vec<u8>]) -> Result<Option<Batch>, Undecided> {
    let Some((id, cells)) = reply.split_first() else { return Ok(None) };
    let parse = || {
        let id = std::str::from_utf8(id).ok()?.parse().ok()?;
        let (cells, rest) = cells.as_chunks::<2>();
        // The id is in a cell of its own.
        let cells = cells.iter().filter(|[cell, _]| cell != b"id");
        let rows: Option<Vec<_>> = cells.map(|[cell, counted]| row(cell, counted)).collect();
        rest.is_empty().then_some(Batch { id, partition: partition.to_owned(), rows: rows? })
    };
    parse().map(Some).ok_or_else(|| Undecided::Gone("the reply is not one of take.lua".into()))
}

/// `<minute> <code> <subject>` and the packed count and time of the last call, as `check.lua` writes them.
fn row(cell: &[u8], counted: &[u8]) -> Option<Row> {
    let mut parts = std::str::from_utf8(cell).ok()?.splitn(3, ' ');
    let (minute, code, subject) = (parts.next()?, parts.next()?, parts.next()?);
    let (&[count, last_at], []) = counted.as_chunks::<8>() else { return None };
    let cell = Cell { subject: subject.to_owned(), minute: minute.parse().ok()?, code: code.to_owned() };
    Some(Row { cell, count: u64::from_be_bytes(count), last_at: i64::from_be_bytes(last_at) })
}
