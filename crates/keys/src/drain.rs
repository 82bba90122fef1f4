//! Tallies into usage, exactly once.
//!
//! The ratelimit role hands out the same batch until it is acknowledged. A batch is stored in one transaction with its
//! id; an id that is there already adds nothing. So it may come twice (the acknowledgement was lost, two replicas drain
//! at once, this process died in between) and counts once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tollgate_kernel::{Fault, KeyId};
use tollgate_proto::{
    fault::from_status,
    ratelimit::{AckTalliesRequest, DrainTalliesRequest, TallyBatch, TallyRow},
    time,
};
use tonic::Request;

use crate::{
    KeysService,
    store::{Calls, LastUse},
    usage::minute_of,
};

/// Between two tries while the tallies or the database cannot be reached.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// One drain ends after so many batches even if there are more: whoever waits for it is not kept for ever.
const BATCHES_PER_DRAIN: usize = 1000;
/// A batch of one partition with fewer rows took all that the partition had.
pub(crate) const FULL_BATCH: usize = 5000;
// As long as the ratelimit role lets them be, and more: what is refused here would stop the drain, or be lost.
const BATCH_ID_BYTES: usize = 256;
const ID_BYTES: usize = 128;
const CODE_BYTES: usize = 64;
const NETWORK_BYTES: usize = 64;
const USER_AGENT_BYTES: usize = 200;
/// More calls of one row make no sense; and the sums of a batch stay in bounds.
const MOST_CALLS: i64 = 1 << 40;

/// A batch as it is stored: rows of the same calls are one row, and of each key the latest call.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    calls: BTreeMap<Calls, i64>,
    last: BTreeMap<KeyId, LastUse>,
    /// Rows that make no sense. They are not stored, since they would stop the drain for ever.
    nonsense: u64,
}

impl KeysService {
    /// Stores all tallies that were there when it was called, and says how many rows that were.
    ///
    /// Partitions come in turn. Under steady traffic there is always another batch, so a run also ends when a partition
    /// comes again that it has already emptied.
    pub async fn drain(&self) -> Result<u64, Fault> {
        let mut called = self.draining.lock().await;
        let (mut rows, mut emptied) = (0, BTreeSet::new());
        for _ in 0..BATCHES_PER_DRAIN {
            let answer = self.ratelimit.drain_tallies(Request::new(DrainTalliesRequest {})).await;
            let Some(batch) = answer.map_err(from_status)?.into_inner().batch else { break };
            rows += self.store_batch(&batch).await?;
            let acknowledged = AckTalliesRequest { batch_id: batch.id };
            self.ratelimit.ack_tallies(Request::new(acknowledged)).await.map_err(from_status)?;
            called.remember(&batch.rows);
            let partition = batch.rows.first().map(|row| row.partition.clone());
            if batch.rows.len() < FULL_BATCH && !emptied.insert(partition) {
                break;
            }
        }
        metrics::counter!("tollgate_keys_usage_rows_total").increment(rows);
        self.watch_quotas(&mut called).await;
        Ok(rows)
    }

    async fn store_batch(&self, batch: &TallyBatch) -> Result<u64, Fault> {
        if !(1..=BATCH_ID_BYTES).contains(&batch.id.len()) || batch.id.contains('\0') {
            return Err(Fault::internal("a batch of tallies without a proper id"));
        }
        let counted = Counted::of(&batch.rows);
        let new = self.store.usage_add(&batch.id, &counted.calls, &counted.last, self.clock.now()).await?;
        if !new {
            return Ok(0);
        }
        if counted.nonsense > 0 {
            tracing::warn!(
                batch = batch.id,
                rows = counted.nonsense,
                "tallies that make no sense were dropped"
            );
            metrics::counter!("tollgate_keys_usage_rows_dropped_total").increment(counted.nonsense);
        }
        Ok(counted.calls.len() as u64)
    }

    /// Drains at every interval until `stop`, then once more.
    pub(crate) async fn keep_draining(&self, stop: &CancellationToken) {
        let mut wait = self.config.drain_interval();
        while stop.run_until_cancelled(sleep(wait)).await.is_some() {
            wait = match self.drain().await {
                Ok(_) => self.config.drain_interval(),
                Err(fault) => {
                    report(&fault);
                    (wait * 2).min(LONGEST_WAIT)
                }
            };
        }
        if let Err(fault) = self.drain().await {
            report(&fault);
        }
    }
}

fn report(fault: &Fault) {
    metrics::counter!("tollgate_keys_usage_drain_failures_total").increment(1);
    tracing::warn!(
        code = fault.code().as_str(),
        cause = fault.cause(),
        "tallies could not be drained: {fault}"
    );
}

impl Counted {
    fn of(rows: &[TallyRow]) -> Self {
        let mut counted = Self::default();
        for row in rows {
            if counted.add(row).is_none() {
                counted.nonsense += 1;
            }
        }
        counted
    }

    /// `None`: the row makes no sense.
    fn add(&mut self, row: &TallyRow) -> Option<()> {
        let minute = time::from_wire(row.minute?, "").ok()?;
        let last_at = row.last_at.map_or(Some(minute), |at| time::from_wire(at, "").ok())?;
        let count = i64::try_from(row.count).ok().filter(|count| (1..=MOST_CALLS).contains(count))?;
        let calls = Calls {
            partition: word(&row.partition, ID_BYTES)?,
            minute: Some(minute_of(minute)).filter(|minute| *minute >= 0)?,
            subject: word(&row.subject, ID_BYTES)?,
            consumer: if row.group.is_empty() { String::new() } else { word(&row.group, ID_BYTES)? },
            code: word(&row.code, CODE_BYTES)?,
        };
        let sum = self.calls.entry(calls).or_default();
        *sum += count;
        if let Ok(key) = row.subject.parse::<KeyId>() {
            let user_agent = Some(&row.user_agent).filter(|text| is_user_agent(text)).cloned();
            let latest = LastUse { at: last_at, network: word(&row.network, NETWORK_BYTES), user_agent };
            let last = self.last.entry(key).or_insert_with(|| latest.clone());
            if last.at < latest.at {
                *last = latest;
            }
        }
        Some(())
    }
}

/// An id or a code: not empty, not long, and nothing that a database could not store.
fn word(text: &str, max: usize) -> Option<String> {
    let plain = (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    plain.then(|| text.to_owned())
}

/// As the ratelimit role lets it be, and not empty.
fn is_user_agent(text: &str) -> bool {
    (1..=USER_AGENT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use tollgate_kernel::Clock;
    use tollgate_testkit::MockClock;

    use super::*;

    fn row(subject: &str, code: &str, count: u64) -> TallyRow {
        let now = MockClock::new().now();
        TallyRow {
            partition: "ws_1".into(),
            subject: subject.into(),
            minute: Some(time::to_wire(now)),
            code: code.into(),
            count,
            last_at: Some(time::to_wire(now + TimeDelta::seconds(count.cast_signed()))),
            network: format!("192.0.2.{count}/32"),
            ..TallyRow::default()
        }
    }

    #[test]
    fn rows_of_the_same_calls_are_one() {
        let key = KeyId::from_uuid(uuid::Uuid::from_u128(5));
        let id = key.to_string();
        let counted = Counted::of(&[row(&id, "VALID", 3), row("usr_1", "VALID", 1), row(&id, "VALID", 2)]);
        assert_eq!(counted.calls.values().copied().collect::<Vec<_>>(), [5, 1]);
        // The network is that of the latest call.
        let (at, network) = (MockClock::new().now() + TimeDelta::seconds(3), Some("192.0.2.3/32".to_owned()));
        assert_eq!(counted.last[&key], LastUse { at, network, user_agent: None });
        assert_eq!((counted.last.len(), counted.nonsense), (1, 0));
    }

    #[test]
    fn what_cannot_be_stored_of_a_client_is_not_known() {
        let key = KeyId::from_uuid(uuid::Uuid::from_u128(5));
        let client = |network: &str, user_agent: &str| {
            let (network, user_agent) = (network.to_owned(), user_agent.to_owned());
            let counted =
                Counted::of(&[TallyRow { network, user_agent, ..row(&key.to_string(), "VALID", 1) }]);
            let last = counted.last[&key].clone();
            (last.network, last.user_agent)
        };
        let known = (Some("203.0.113.0/24".to_owned()), Some("curl/8 (é)".to_owned()));
        assert_eq!(client("203.0.113.0/24", "curl/8 (é)"), known);
        for (network, user_agent) in
            [("", ""), ("a b", "a\nb"), ("é", "\u{85}"), (&*"n".repeat(65), &*"u".repeat(201))]
        {
            assert_eq!(client(network, user_agent), (None, None));
        }
    }

    #[test]
    fn nonsense_is_counted_and_dropped() {
        let wrong = [
            row("", "VALID", 1),
            row("key\0", "VALID", 1),
            row("key_1", "", 1),
            row("key_1", "VALID", 0),
            row("key_1", "VALID", u64::MAX),
            row("key_1", "VALID", (1 << 40) + 1),
            row(&"k".repeat(129), "VALID", 1),
            TallyRow { group: "con 1".into(), ..row("key_1", "VALID", 1) },
            TallyRow { minute: None, ..row("key_1", "VALID", 1) },
            TallyRow {
                minute: Some(prost_types::Timestamp { seconds: -60, nanos: 0 }),
                ..row("key_1", "VALID", 1)
            },
        ];
        let counted = Counted::of(&wrong);
        assert_eq!(counted, Counted { nonsense: 10, ..Counted::default() });
    }
}
