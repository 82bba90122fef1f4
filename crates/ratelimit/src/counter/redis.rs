//! Counting in Redis: one script and one round trip per call, on one shared connection ([`link`]).
//!
//! Keys, all state of one call in one slot of a cluster:
//! - `<prefix>{<partition>}:l:<name>:<subject>`: a limit's accept times, oldest first, 8 bytes each, big-endian microseconds
//! - `<prefix>{<partition>}:r:<request id>`: what was answered to a request id
//! - `<prefix>{<partition>}:t`, `…:p`: the tally, and the batch taken from it that is not acknowledged ([`drain`])
//! - `<prefix>active`: the partitions that may have a tally, scored by the second in which one was last counted
//!
//! Time is the server's, unless a test moves it by hand.

mod active;
mod drain;
mod link;

use std::{sync::Arc, time::Duration};

use ::redis::{Client, RedisResult, Script, ScriptInvocation};
use tollgate_kernel::{Clock, Code, Entropy, ExposeSecret, Fault, SecretString};

use super::{Answer, Undecided};
use crate::{
    call::{Call, Key, PutOverride, Reset, Rule, Settle},
    engine::{Denial, Outlook, Override},
    tally::{Batch, BatchId, RATE_LIMITED},
};

use self::{
    active::Active,
    drain::Drain,
    link::{Connection, Link},
};

/// The counter in Redis.
pub(crate) struct Redis {
    link: Link,
    pace: Pace,
    clock: Arc<dyn Clock>,
    keys: Keys,
    script: Script,
    active: Active,
    drain: Drain,
}

/// How patient the role is with Redis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// For an answer.
    pub(crate) timeout: Duration,
    /// For a connection.
    pub(crate) connect_timeout: Duration,
    /// Between attempts to connect.
    pub(crate) retry_interval: Duration,
}

/// How things are named in Redis.
#[derive(Debug, Clone)]
struct Keys {
    prefix: String,
}

impl Redis {
    /// Opens the counter, within a Tokio runtime. Does not wait for a connection.
    pub(super) fn open(
        url: &SecretString,
        prefix: String,
        pace: Pace,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Fault> {
        // The error's text may repeat the address, and with it a password.
        let client = Client::open(url.expose_secret()).map_err(|_| {
            Fault::new(
                Code::InvalidArgument,
                "The Redis address must look like redis://[user:password@]host:port[/database].",
            )
        })?;
        let keys = Keys { prefix };
        Ok(Self {
            link: Link::open(client.clone(), pace),
            pace,
            clock,
            script: Script::new(include_str!("redis/check.lua")),
            active: Active::new(keys.clone()),
            // A connection of its own: a large batch must not stand in the way of a check.
            drain: Drain::new(Link::open(client, pace), keys.clone(), entropy),
            keys,
        })
    }

    /// Decides and counts one call.
    pub(super) async fn check(&self, call: &Call) -> Result<Answer, Undecided> {
        let exact = |charge: &crate::call::Charge| {
            matches!(charge.rule, Rule::Window { .. }) && charge.limit <= 1024 && !charge.shadow
        };
        if !call.charges.iter().all(exact) {
            return Err(unknown());
        }
        let reply = self.link.run(self.pace.timeout, |connection| self.ask(connection, call)).await?;
        answer(call, &reply)
    }

    /// Gives back what a remembered call did not cost; and how much of each limit.
    pub(super) async fn settle(&self, _: &Settle) -> Result<Vec<u64>, Undecided> {
        Err(unknown())
    }

    /// Forgets what limits have counted.
    pub(super) async fn reset(&self, _: &Reset) -> Result<(), Undecided> {
        Err(unknown())
    }

    /// Puts a number in place of a limit's own.
    pub(super) async fn put_override(&self, _: &PutOverride) -> Result<(), Undecided> {
        Err(unknown())
    }

    /// Ends an override, if it is there.
    pub(super) async fn delete_override(&self, _: &str, _: &Key) -> Result<(), Undecided> {
        Err(unknown())
    }

    /// The overrides of a partition that are in force, in no order.
    pub(super) async fn overrides(&self, _: &str) -> Result<Vec<(Key, Override)>, Undecided> {
        Err(unknown())
    }

    /// The next batch of tallies.
    pub(super) async fn drain(&self) -> Result<Option<Batch>, Undecided> {
        self.drain.next().await
    }

    /// Forgets a batch.
    pub(super) async fn acknowledge(&self, id: &BatchId, partition: &str) -> Result<(), Undecided> {
        self.drain.acknowledge(id, partition).await
    }

    /// Whether Redis answers: as patient as an attempt to connect, since readiness should not follow every hiccup.
    pub(super) async fn ping(&self) -> Result<(), Undecided> {
        Ok(self.link.run(self.pace.connect_timeout, link::ping).await?)
    }

    async fn ask(&self, mut connection: Connection, call: &Call) -> RedisResult<Vec<i64>> {
        if call.tally.is_some() && !call.peek {
            self.active.announce(&mut connection, &call.partition).await?;
        }
        self.invocation(call).invoke_async(&mut connection.inner).await
    }

    /// Keys and arguments as `check.lua` expects them.
    fn invocation(&self, call: &Call) -> ScriptInvocation<'_> {
        let mut script = self.script.prepare_invoke();
        let tally = call.tally.as_ref().filter(|_| !call.peek);
        for charge in &call.charges {
            script.key(self.keys.state(&call.partition, charge.key.name(), charge.key.subject()));
        }
        if tally.is_some() {
            script.key(self.keys.tally(&call.partition));
        }
        if let Some(id) = &call.request_id {
            script.key(self.keys.request(&call.partition, id.as_ref()));
        }
        let by_hand = self.clock.by_hand().map(|now| now.timestamp_micros().to_string());
        script.arg(by_hand.unwrap_or_default()).arg(call.charges.len()).arg(flag(call.peek));
        script.arg(tally.map(|tally| format!("{} {}", tally.code, tally.subject)).unwrap_or_default());
        script.arg(tally.map(|tally| format!("{RATE_LIMITED} {}", tally.subject)).unwrap_or_default());
        script.arg(flag(call.request_id.is_some()));
        for charge in &call.charges {
            let Rule::Window { window } = charge.rule else { continue };
            script.arg(charge.limit).arg(window).arg(charge.cost);
        }
        script
    }
}

impl Keys {
    fn state(&self, partition: &str, name: &str, subject: &str) -> String {
        format!("{}{{{partition}}}:l:{name}:{subject}", self.prefix)
    }

    fn request(&self, partition: &str, id: &str) -> String {
        format!("{}{{{partition}}}:r:{id}", self.prefix)
    }

    fn tally(&self, partition: &str) -> String {
        format!("{}{{{partition}}}:t", self.prefix)
    }

    fn pending(&self, partition: &str) -> String {
        format!("{}{{{partition}}}:p", self.prefix)
    }

    fn active(&self) -> String {
        format!("{}active", self.prefix)
    }
}

impl From<link::Failure> for Undecided {
    fn from(failure: link::Failure) -> Self {
        Self::Gone(Box::new(failure))
    }
}

fn flag(set: bool) -> &'static str {
    if set { "1" } else { "" }
}

/// What `check.lua` replies: nothing if the request id was used otherwise; else the position of the limit that denied
/// (from 1; 0: none), the wait, and `remaining` and `reset` of each limit.
fn answer(call: &Call, reply: &[i64]) -> Result<Answer, Undecided> {
    let Some((&[by, wait], outlooks)) = reply.split_first_chunk() else { return Err(Undecided::Reused) };
    let (outlooks, rest) = outlooks.as_chunks::<2>();
    let by = usize::try_from(by).ok().filter(|by| *by <= call.charges.len());
    let limits = call.charges.iter().map(|charge| charge.limit);
    let outlooks: Option<Vec<_>> =
        outlooks.iter().zip(limits).map(|(numbers, limit)| outlook(*numbers, limit)).collect();
    match (by, outlooks) {
        (Some(by), Some(outlooks)) if outlooks.len() == call.charges.len() && rest.is_empty() => {
            let denial = by.checked_sub(1).map(|by| Denial { by, wait });
            Ok(Answer { denial, outlooks, degraded: false })
        }
        _ => Err(Undecided::Gone("the reply is not one of check.lua".into())),
    }
}

fn outlook([remaining, reset]: [i64; 2], limit: u64) -> Option<Outlook> {
    let remaining = u64::try_from(remaining).ok()?;
    Some(Outlook { limit, remaining, reset, period: 0, exceeded: false })
}

fn unknown() -> Undecided {
    Undecided::Gone("the scripts do not know of it".into())
}

#[cfg(test)]
mod tests;
