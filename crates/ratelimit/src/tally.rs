//! Tallies: how many calls of one subject in one minute ended with one code, and the batches in which they are drained.

use std::{fmt, str::FromStr};

use chrono::DateTime;
use tollgate_kernel::{Entropy, Fault};
use tollgate_proto::{ratelimit as wire, time::to_wire};

use crate::call::Tally;

/// How a call is counted that a limit denied, whatever code it would have had.
pub(crate) const RATE_LIMITED: &str = "RATE_LIMITED";
/// The same, if that limit is a calendar's.
pub(crate) const QUOTA_EXCEEDED: &str = "QUOTA_EXCEEDED";
/// Most rows in one batch; a tally with more is drained in several. A row has at most some 760 bytes, and a batch travels in
/// one message of at most 4 MiB.
pub(crate) const MAX_ROWS: usize = 5000;

const MINUTE: i64 = 60_000_000;

/// The rows of one partition that are stored together, exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    pub(crate) partition: String,
    pub(crate) rows: Vec<Row>,
}

/// How many calls of one subject, while it belonged to one group, in one minute ended with one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) cell: Cell,
    pub(crate) count: u64,
    /// The latest of the calls, in microseconds.
    pub(crate) last_at: i64,
    /// Whose call that was.
    pub(crate) client: Client,
}

/// Who called, in one text: a network and what the caller says of its program, with a space between them. Neither is known:
/// nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) String);

/// Where a call is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Cell {
    pub(crate) subject: String,
    /// What it belonged to; empty: nothing.
    pub(crate) group: String,
    /// Minutes since the Unix epoch.
    pub(crate) minute: i64,
    pub(crate) code: String,
}

/// Names a batch for ever, and says where it waits for its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BatchId {
    /// In one process: `m-<32 hexadecimal digits>`.
    Memory(String),
    /// In Redis, in this partition: `r-<32 hexadecimal digits>-<partition>`.
    Redis { token: String, partition: String },
}

impl BatchId {
    /// A new batch of a process.
    pub(crate) fn memory(entropy: &dyn Entropy) -> Self {
        Self::Memory(token(entropy))
    }

    /// A new batch of a partition in Redis.
    pub(crate) fn redis(entropy: &dyn Entropy, partition: &str) -> Self {
        Self::Redis { token: token(entropy), partition: partition.to_owned() }
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(token) => write!(f, "m-{token}"),
            Self::Redis { token, partition } => write!(f, "r-{token}-{partition}"),
        }
    }
}

impl FromStr for BatchId {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let parse = || {
            if let Some(token) = text.strip_prefix("m-") {
                return is_token(token).then(|| Self::Memory(token.to_owned()));
            }
            let (token, partition) = text.strip_prefix("r-")?.split_once('-')?;
            let (token, partition) = (token.to_owned(), partition.to_owned());
            (is_token(&token) && is_name(&partition)).then_some(Self::Redis { token, partition })
        };
        parse().ok_or_else(|| Fault::invalid("/batch_id", "is not the id of a batch"))
    }
}

impl Cell {
    /// The cell of a call at this time, in microseconds.
    pub(crate) fn at(now: i64, tally: &Tally, code: &str) -> Self {
        let (subject, group) = (tally.subject.clone(), tally.group.clone());
        Self { subject, group, minute: Self::minute(now), code: code.to_owned() }
    }

    /// The minute of a time in microseconds.
    pub(crate) fn minute(now: i64) -> i64 {
        now.div_euclid(MINUTE)
    }
}

impl Client {
    /// A network that is a name without spaces, and a user agent.
    pub(crate) fn new(network: &str, user_agent: &str) -> Self {
        if network.is_empty() && user_agent.is_empty() {
            return Self::default();
        }
        Self(format!("{network} {user_agent}"))
    }

    /// The network and the user agent.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.0.split_once(' ').unwrap_or_default()
    }
}

impl From<Batch> for wire::TallyBatch {
    fn from(batch: Batch) -> Self {
        let at = |micros| DateTime::from_timestamp_micros(micros).map(to_wire);
        let rows = batch.rows.into_iter().map(|row| {
            let (network, user_agent) = row.client.parts();
            wire::TallyRow {
                partition: batch.partition.clone(),
                minute: at(row.cell.minute * MINUTE),
                count: row.count,
                last_at: at(row.last_at),
                network: network.to_owned(),
                user_agent: user_agent.to_owned(),
                subject: row.cell.subject,
                group: row.cell.group,
                code: row.cell.code,
            }
        });
        Self { id: batch.id.to_string(), rows: rows.collect() }
    }
}

/// Whether a text can name a partition or a subject: 1 to 128 visible ASCII characters without braces, which would end
/// the hash tag of a partition in Redis.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(plain)
}

/// 32 hexadecimal digits that nobody guesses.
pub(crate) fn token(entropy: &dyn Entropy) -> String {
    format!("{:032x}", u128::from_be_bytes(entropy.bytes()))
}

fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::OsEntropy;

    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        for id in [BatchId::memory(&OsEntropy), BatchId::redis(&OsEntropy, "ws_1-m-2")] {
            assert_eq!(id.to_string().parse::<BatchId>().expect("an id"), id);
        }
    }

    #[test]
    fn a_client_survives_its_text() {
        for (network, user_agent) in
            [("", ""), ("203.0.113.0/24", ""), ("", "curl/8"), ("2001:db8:1::/48", "Mozilla/5.0 (X11; é)")]
        {
            assert_eq!(Client::new(network, user_agent).parts(), (network, user_agent));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let token = "0".repeat(32);
        for wrong in
            ["", "m-", "r-1-a", &format!("r-{token}-"), &format!("r-{token}-a{{b}}"), &format!("x-{token}")]
        {
            assert!(wrong.parse::<BatchId>().is_err(), "{wrong}");
        }
    }
}
