//! Counting in Redis: one script and one round trip per call, on connections that calls share ([`link`]), to one server, to a
//! primary that Sentinels know, or to the nodes of a cluster ([`servers`]).
//!
//! Keys, all state of one call in one slot of a cluster:
//! - `<prefix>{<partition>}:l:<name>:<subject>`: the state of a limit, packed as `log.lua` says
//! - `<prefix>{<partition>}:o`: numbers in place of limits' own, by the name of the state
//! - `<prefix>{<partition>}:r:<request id>`: what was answered to a request id, and what can be given back
//! - `<prefix>{<partition>}:b:<token>`, `…:a`: a block of calls that were charged ahead, and when the last of them ends
//! - `<prefix>{<partition>}:t`, `…:p`: the tally, and the batch taken from it that is not acknowledged ([`drain`])
//! - `<prefix>active`: the partitions that may have a tally, scored by the second in which one was last counted; in a cluster
//!   several of these, `<prefix>{<number>}active` ([`keys`])
//!
//! An account of credits is a state like a limit's. A server that comes back may have less than it had answered for, or be
//! another, with a copy that is older: spent credits would be there again. So the state bears the `run_id` of the server that
//! wrote it, and on any other there is nothing of the account.
//!
//! Time is the server's, unless a test moves it by hand.

mod active;
pub(crate) mod address;
mod cluster;
mod credits;
mod drain;
mod keys;
mod link;
mod map;
mod reply;
mod script;
mod scripts;
mod sentinel;
mod server;
mod servers;
mod trust;
mod wire;

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use ::redis::{FromRedisValue, Value, cmd};
use chrono::TimeDelta;
use tollgate_kernel::{Clock, Code, Entropy, ExposeSecret, Fault, SecretString};

use super::{
    Answer, Undecided,
    ahead::{Block, Charged, Wanted},
};
use crate::{
    call::{Call, Charge, Key, PutOverride, Reset, Settle},
    engine::Override,
    settings::Tls,
    tally::{Batch, BatchId},
};

use self::{
    active::Active,
    address::Address,
    drain::Drain,
    keys::Keys,
    link::{Connection, Failure, Via},
    reply::Checked,
    script::{Invocation, Script},
    scripts::Scripts,
    server::Setup,
    servers::Servers,
};

/// The counter in Redis.
pub(crate) struct Redis {
    servers: Arc<Servers>,
    pace: Pace,
    clock: Arc<dyn Clock>,
    keys: Keys,
    scripts: Scripts,
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

impl Redis {
    /// Opens the counter, within a Tokio runtime. Does not wait for a connection.
    pub(super) fn open(
        url: &SecretString,
        tls: &Tls,
        prefix: String,
        pace: Pace,
        refuse_eviction: bool,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Fault> {
        // What was given is not repeated: it may hold a password.
        let address = Address::parse(url.expose_secret()).ok_or_else(|| {
            let message = format!("The Redis address must look like {}.", address::FORMS);
            Fault::new(Code::InvalidArgument, message)
        })?;
        let tls = address::is_tls(url.expose_secret()).then(|| trust::config(tls)).transpose()?;
        let shared = available_parallelism().map_or(1, usize::from);
        let setup = Setup { pace, tls, shared, refuse_eviction, generations: 0.into() };
        let servers = Arc::new(Servers::open(address, Arc::new(setup)));
        let keys = Keys::new(prefix, servers.is_cluster());
        Ok(Self {
            pace,
            clock,
            scripts: Scripts::new(),
            active: Active::new(keys.clone()),
            drain: Drain::new(servers.clone(), keys.clone(), entropy),
            servers,
            keys,
        })
    }

    /// Decides and counts one call.
    pub(super) async fn check(&self, call: &Call) -> Result<Answer, Undecided> {
        let (answer, _) = self.decide(call, None).await?;
        Ok(answer)
    }

    /// Decides and counts one call, and may charge some like it ahead.
    pub(super) async fn check_ahead(
        &self,
        call: &Call,
        wanted: &Wanted,
    ) -> Result<(Answer, Charged), Undecided> {
        self.decide(call, Some(wanted)).await
    }

    /// Ends a block: gives back what was not used of it, and tallies the rest. Once, however often it is said.
    pub(super) async fn release(&self, block: &Block) -> Result<(), Undecided> {
        let partition = block.partition();
        let tally = block.tallies().then(|| self.keys.tally(partition));
        if tally.is_some() {
            self.announce(partition).await?;
        }
        let keys = [self.keys.block(partition, block.id())].into_iter().chain(tally);
        let mut script = self.prepare(&self.scripts.release, keys);
        scripts::release(&mut script, block);
        self.run(partition, &script).await
    }

    /// Gives back what a remembered call did not cost; and how much of each limit.
    pub(super) async fn settle(&self, settle: &Settle) -> Result<Vec<u64>, Undecided> {
        let partition = &*settle.partition;
        let mut script =
            self.prepare(&self.scripts.settle, [self.keys.request(partition, &settle.request_id)]);
        scripts::settle(&mut script, settle, &self.keys.states(partition));
        let reply: Vec<Value> = self.run(partition, &script).await?;
        reply::settled(&reply)
    }

    /// Forgets what limits have counted.
    pub(super) async fn reset(&self, reset: &Reset) -> Result<(), Undecided> {
        let partition = &*reset.partition;
        let states = reset.keys.iter().map(|key| self.state(partition, key));
        let keys = states.chain([self.keys.ahead(partition)]);
        self.change(partition, &self.prepare(&self.scripts.reset, keys)).await.map(drop)
    }

    /// Puts a number in place of a limit's own.
    pub(super) async fn put_override(&self, put: &PutOverride) -> Result<(), Undecided> {
        let partition = &*put.partition;
        let keys = [self.keys.overrides(partition), self.keys.ahead(partition)];
        let mut script = self.prepare(&self.scripts.put_override, keys);
        scripts::put_override(&mut script, put, &self.state(partition, &put.key));
        let waited = self.change(partition, &script).await?;
        if waited < 0 { Err(Undecided::Crowded) } else { Ok(()) }
    }

    /// Ends an override, if it is there.
    pub(super) async fn delete_override(&self, partition: &str, key: &Key) -> Result<(), Undecided> {
        let keys = [self.keys.overrides(partition), self.keys.ahead(partition)];
        let mut script = self.prepare(&self.scripts.restore, keys);
        script.arg(self.state(partition, key));
        self.change(partition, &script).await.map(drop)
    }

    /// The overrides of a partition that are in force, in no order.
    pub(super) async fn overrides(&self, partition: &str) -> Result<Vec<(Key, Override)>, Undecided> {
        let script = self.prepare(&self.scripts.overrides, [self.keys.overrides(partition)]);
        let reply: Vec<(String, u64, i64)> = self.run(partition, &script).await?;
        reply::overrides(&self.keys, partition, &reply)
    }

    /// Waits for the first attempt to connect.
    ///
    /// # Errors
    /// Why a server that answers must not be counted in.
    pub(super) async fn examine(&self) -> Result<(), Fault> {
        // One attempt to read the map of a cluster, and one to connect to each node.
        match self.servers.unfit(2 * self.pace.connect_timeout).await {
            None => Ok(()),
            Some(why) => Err(Fault::new(Code::InvalidArgument, why)),
        }
    }

    /// The next batch of tallies.
    pub(super) async fn drain(&self) -> Result<Option<Batch>, Undecided> {
        self.drain.next().await
    }

    /// Forgets a batch.
    pub(super) async fn acknowledge(&self, id: &BatchId, partition: &str) -> Result<(), Undecided> {
        self.drain.acknowledge(id, partition).await
    }

    /// Whether Redis answers, every primary of a cluster: as patient as an attempt to connect, since readiness should not follow
    /// every hiccup.
    pub(super) async fn ping(&self) -> Result<(), Undecided> {
        let ping = async |connection: Connection| connection.query::<()>(&cmd("PING")).await;
        Ok(self.servers.run_on_each(self.pace.connect_timeout, ping).await?)
    }

    async fn decide(&self, call: &Call, wanted: Option<&Wanted>) -> Result<(Answer, Charged), Undecided> {
        let now = self.clock.now().timestamp_micros();
        let first = self.ask(call, wanted, now).await?;
        let decided = match first {
            // The clock of Redis, or what it has counted, is in another period than this process.
            Checked::OutOfBounds(at) => self.ask(call, wanted, at).await?,
            decided @ Checked::Decided(..) => decided,
        };
        match decided {
            Checked::Decided(answer, charged) => Ok((answer, charged)),
            Checked::OutOfBounds(_) => Err(Undecided::Gone("the time is beyond every calendar".into())),
        }
    }

    /// Asks once, with the periods of calendars around `hint`.
    async fn ask(&self, call: &Call, wanted: Option<&Wanted>, hint: i64) -> Result<Checked, Undecided> {
        let (partition, limit) = (call.partition.as_str(), self.pace.timeout);
        let script = self.check_script(call, wanted, hint);
        let is_tallied = call.tally.is_some() && !call.peek;
        // In a cluster the announcement may be on another node.
        let is_apart = is_tallied && self.servers.is_cluster();
        if is_apart {
            self.announce(partition).await?;
        }
        let ask = async |connection| {
            if is_tallied && !is_apart {
                self.active.announce(&connection, partition).await?;
            }
            script.run::<Vec<i64>>(&connection).await
        };
        let reply = self.servers.run(partition, Via::Shared, limit, ask).await?;
        reply::checked(call, wanted.is_some(), &reply)
    }

    async fn announce(&self, partition: &str) -> Result<(), Undecided> {
        let announce = async |connection| self.active.announce(&connection, partition).await;
        let tag = &self.keys.corner(partition).tag;
        Ok(self.servers.run(tag, Via::Shared, self.pace.timeout, announce).await?)
    }

    /// Makes a change, and waits until calls that were charged before it are accepted no more, anywhere. For how many
    /// microseconds; less than none: the change was not made.
    async fn change(&self, partition: &str, script: &Invocation<'_>) -> Result<i64, Undecided> {
        // As of when the script was asked: who moves the time by hand may have seen what it did before the answer is here.
        let asked = self.clock.by_hand();
        let micros: i64 = self.run(partition, script).await?;
        match asked {
            None => tokio::time::sleep(Duration::from_micros(micros.max(0).unsigned_abs())).await,
            Some(asked) => {
                let end = asked + TimeDelta::microseconds(micros);
                while self.clock.now() < end {
                    tokio::task::yield_now().await;
                }
            }
        }
        Ok(micros)
    }

    /// Keys and arguments as `check/begin.lua` says, and `check/ahead.lua`.
    fn check_script(&self, call: &Call, wanted: Option<&Wanted>, hint: i64) -> Invocation<'_> {
        let script = match wanted {
            Some(_) => &self.scripts.check_ahead,
            None if call.charges.iter().any(Charge::is_credit) => &self.scripts.check_credits,
            None => &self.scripts.check,
        };
        let partition = &*call.partition;
        let states = call.charges.iter().map(|charge| self.state(partition, &charge.key));
        let overrides = (!call.charges.is_empty()).then(|| self.keys.overrides(partition));
        let tally = call.tally.as_ref().filter(|_| !call.peek).map(|_| self.keys.tally(partition));
        let request = call.request_id.as_ref().map(|id| self.keys.request(partition, id));
        let block = wanted.map(|it| [self.keys.ahead(partition), self.keys.block(partition, &it.id)]);
        let keys = states.chain(overrides).chain(tally).chain(request).chain(block.into_iter().flatten());
        let mut script = self.prepare(script, keys);
        scripts::check(&mut script, call, wanted, hint);
        script
    }

    /// A script with its keys, and the time.
    fn prepare<'a>(&self, script: &'a Script, keys: impl IntoIterator<Item = String>) -> Invocation<'a> {
        let by_hand = self.clock.by_hand().map(|now| now.timestamp_micros().to_string());
        let mut script = script.prepare();
        for key in keys {
            script.key(key);
        }
        script.arg(by_hand.unwrap_or_default());
        script
    }

    async fn run<T: FromRedisValue>(&self, partition: &str, script: &Invocation<'_>) -> Result<T, Undecided> {
        let run = async |connection| script.run(&connection).await;
        Ok(self.servers.run(partition, Via::Shared, self.pace.timeout, run).await?)
    }

    fn state(&self, partition: &str, key: &Key) -> String {
        self.keys.state(partition, key.name(), key.subject())
    }
}

impl From<Failure> for Undecided {
    fn from(failure: Failure) -> Self {
        Self::Gone(Box::new(failure))
    }
}

#[cfg(test)]
mod tests;
