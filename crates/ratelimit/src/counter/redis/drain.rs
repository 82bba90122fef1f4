//! Draining the tallies in Redis: exactly once, if whoever stores a batch does so under its id and then acknowledges it.
//!
//! A tally is renamed to a batch that waits for its acknowledgement; until then it is that batch again for everybody who
//! asks. The partitions are looked at in turn, so that a busy one does not hold up the others, nor does a node of a cluster
//! that is down.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ::redis::{RedisResult, cmd, pipe};
use tokio::sync::Mutex;
use tollgate_kernel::Entropy;

use super::{
    super::Undecided,
    active::LATELY,
    keys::{Corner, Keys},
    link::{Connection, Failure, Via},
    script::Script,
    servers::Servers,
};
use crate::tally::{Batch, BatchId, Cell, Client, MAX_ROWS, Row};

/// How long a step may take: a large batch is half a megabyte.
const TIMEOUT: Duration = Duration::from_secs(2);
/// About how many partitions are looked at in one step.
const LOOK_AT: usize = 500;

/// Takes batches from the tallies.
pub(super) struct Drain {
    servers: Arc<Servers>,
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
    /// Which corner is looked at, and how far the look has come in it.
    corner: usize,
    cursor: u64,
    /// What could not be looked at.
    missed: Option<Failure>,
}

impl Drain {
    /// A drain of these servers.
    pub(super) fn new(servers: Arc<Servers>, keys: Keys, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            servers,
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
        let whole = round.is_new();
        if let Some(batch) = self.next_in(&mut round).await? {
            return Ok(Some(batch));
        }
        if whole { Ok(None) } else { self.next_in(&mut round).await }
    }

    /// Forgets a batch. Its partition's turn is over.
    pub(super) async fn acknowledge(&self, id: &BatchId, partition: &str) -> Result<(), Undecided> {
        let forget = |connection| self.forget(connection, id, partition);
        self.servers.run(partition, Via::Own, TIMEOUT, forget).await?;
        self.round.lock().await.turn.pop_front_if(|first| first == partition);
        Ok(())
    }

    async fn next_in(&self, round: &mut Round) -> Result<Option<Batch>, Undecided> {
        loop {
            while let Some(partition) = round.turn.front() {
                let take = |connection| self.take(connection, partition);
                match self.servers.run(partition, Via::Own, TIMEOUT, take).await {
                    Ok(taken) => {
                        if let Some(batch) = batch(partition, &taken)? {
                            return Ok(Some(batch));
                        }
                    }
                    Err(failure) => round.missed = Some(failure),
                }
                round.turn.pop_front();
            }
            let Some(corner) = self.keys.corners().get(round.corner) else {
                return match std::mem::take(round).missed {
                    None => Ok(None),
                    Some(failure) => Err(failure.into()),
                };
            };
            if let Err(failure) = self.look(round, corner).await {
                round.missed = Some(failure);
                round.pass();
            }
        }
    }

    /// Finds the next of the active partitions that have a tally; retires some that have none.
    async fn look(&self, round: &mut Round, corner: &Corner) -> Result<(), Failure> {
        let scan = |connection| self.scan(connection, corner, round.cursor);
        let (cursor, found) = self.servers.run(&corner.tag, Via::Own, TIMEOUT, scan).await?;
        let mut without = Vec::new();
        for near in self.servers.by_server(found, String::as_str) {
            let tag = near.first().map_or("", String::as_str);
            let exist = |connection| self.exist(connection, &near);
            let exist = self.servers.run(tag, Via::Own, TIMEOUT, exist).await?;
            for (partition, exists) in near.into_iter().zip(exist) {
                if exists { round.turn.push_back(partition) } else { without.push(partition) }
            }
        }
        if !without.is_empty() {
            let retire = |connection| self.retire(connection, corner, &without);
            self.servers.run(&corner.tag, Via::Own, TIMEOUT, retire).await?;
        }
        if cursor == 0 {
            round.pass();
        } else {
            round.cursor = cursor;
        }
        Ok(())
    }

    async fn scan(
        &self,
        connection: Connection,
        corner: &Corner,
        from: u64,
    ) -> RedisResult<(u64, Vec<String>)> {
        let mut scan = cmd("ZSCAN");
        scan.arg(&corner.key).arg(from).arg("COUNT").arg(LOOK_AT);
        let (cursor, found): (u64, Vec<(String, f64)>) = connection.query(&scan).await?;
        Ok((cursor, found.into_iter().map(|(partition, _)| partition).collect()))
    }

    /// Which of them have a tally. One whose slot is on its way to another node may have one.
    async fn exist(&self, connection: Connection, partitions: &[String]) -> RedisResult<Vec<bool>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let mut exist = pipe();
        for partition in partitions {
            exist.cmd("EXISTS").arg(self.keys.tally(partition)).arg(self.keys.pending(partition));
        }
        let exist = connection.each::<u64>(exist.ignore_errors()).await?;
        Ok(exist.into_iter().map(|keys| keys.map_or(true, |keys| keys > 0)).collect())
    }

    async fn retire(
        &self,
        connection: Connection,
        corner: &Corner,
        partitions: &[String],
    ) -> RedisResult<()> {
        let mut script = self.retire.prepare();
        script.key(corner.key.clone()).arg(LATELY).arg(partitions);
        script.run(&connection).await
    }

    async fn take(&self, connection: Connection, partition: &str) -> RedisResult<Vec<Vec<u8>>> {
        let id = BatchId::redis(&*self.entropy, partition).to_string();
        let mut script = self.take.prepare();
        script.key(self.keys.tally(partition)).key(self.keys.pending(partition)).arg(id).arg(MAX_ROWS);
        script.run(&connection).await
    }

    async fn forget(&self, connection: Connection, id: &BatchId, partition: &str) -> RedisResult<()> {
        let mut script = self.acknowledge.prepare();
        script.key(self.keys.pending(partition)).arg(id.to_string()).run(&connection).await
    }
}

impl Round {
    fn is_new(&self) -> bool {
        self.corner == 0 && self.cursor == 0 && self.turn.is_empty()
    }

    /// Goes on to the next corner.
    fn pass(&mut self) {
        self.corner += 1;
        self.cursor = 0;
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

/// The name of a cell, as [`row`] reads it.
pub(super) fn name(cell: &Cell) -> String {
    let space = if cell.group.is_empty() { "" } else { " " };
    format!("{} {} {}{space}{}", cell.minute, cell.code, cell.subject, cell.group)
}

/// `<minute> <code> <subject>[ <group>]`, and the packed count and time of the last call, and whose call that was, as
/// `check/answer.lua` writes them.
fn row(cell: &[u8], counted: &[u8]) -> Option<Row> {
    let mut parts = std::str::from_utf8(cell).ok()?.splitn(4, ' ');
    let (minute, code, subject) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let group = parts.next().unwrap_or_default();
    let cell = Cell { subject: subject.to_owned(), group: group.to_owned(), minute, code: code.to_owned() };
    let (count, rest) = counted.split_first_chunk()?;
    let (last_at, client) = rest.split_first_chunk()?;
    let client = Client(String::from_utf8(client.to_vec()).ok()?);
    Some(Row { cell, count: u64::from_be_bytes(*count), last_at: i64::from_be_bytes(*last_at), client })
}
