//! A primary, its replica, and the Sentinels that watch them, of a test's own.

use std::{fs, process::Command};

use futures_util::future::join_all;
use tempfile::TempDir;
use tollgate_kernel::SecretString;

use crate::{
    private_cluster::offset,
    private_redis::{self, PrivateRedis},
    process::{self, Process, until},
};

/// How the Sentinels call the primary.
const NAME: &str = "mine";

/// A primary that is failed over to its replica when it does not answer for three seconds. Ended on drop.
pub struct PrivateSentinels {
    /// The primary, as it began.
    pub primary: PrivateRedis,
    /// Its replica.
    pub replica: PrivateRedis,
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    // Its configuration, which it writes to.
    _folder: TempDir,
    port: u16,
    _ended_on_drop: Process,
}

impl PrivateSentinels {
    /// Starts all of them, three Sentinels of which two must agree.
    pub async fn start() -> Self {
        let primary = PrivateRedis::start().await;
        let of = ["--replicaof", "127.0.0.1", &primary.port().to_string()];
        let replica = PrivateRedis::start_with(&of).await;
        until("the replica follows", || async {
            let info: String = replica.ask("INFO replication").await.unwrap_or_default();
            info.contains("master_link_status:up")
        })
        .await;
        let sentinels = join_all((0..3).map(|_| Sentinel::start(primary.port()))).await;
        let all = Self { primary, replica, sentinels };
        for sentinel in &all.sentinels {
            until("the Sentinels know each other", || sentinel.knows(2, 1)).await;
        }
        all
    }

    /// `redis+sentinel://…/name`
    pub fn url(&self) -> SecretString {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/{NAME}", hosts.join(",")).into()
    }

    /// Waits until the replica has all that the primary has.
    pub async fn caught_up(&self) {
        until("the replica catches up", || async {
            let there = offset(&self.primary, "master_repl_offset:").await;
            there.is_some() && there == offset(&self.replica, "slave_repl_offset:").await
        })
        .await;
    }

    /// Waits until the replica is the primary.
    pub async fn failed_over(&self) {
        until("the replica takes over", || async {
            let info: String = self.replica.ask("INFO replication").await.unwrap_or_default();
            info.contains("role:master")
        })
        .await;
    }
}

impl Sentinel {
    async fn start(primary: u16) -> Self {
        let mut failure = "";
        for _ in 0..process::PORTS {
            let (folder, port) =
                (tempfile::tempdir().expect("there is a temporary folder"), process::free_port());
            let file = folder.path().join("sentinel.conf");
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
                 sentinel down-after-milliseconds {NAME} 3000\nsentinel failover-timeout {NAME} 10000\n",
                folder.path().display()
            );
            fs::write(&file, text).expect("the folder is ours");
            let mut command = Command::new("redis-server");
            command.arg(&file).arg("--sentinel");
            let mut process =
                Process::spawn(command, &folder.path().join("log")).expect("redis-server is installed");
            // Only ours knows our primary.
            let ready = process::ready(&mut process, || async {
                matches!(named(port).await, Some((_, named)) if named == primary)
            });
            match ready.await {
                Ok(()) => return Self { _folder: folder, port, _ended_on_drop: process },
                Err(why) => failure = why,
            }
        }
        panic!("a Sentinel: {failure}")
    }

    /// Whether it knows so many other Sentinels and replicas.
    async fn knows(&self, others: usize, replicas: usize) -> bool {
        let mut command = redis::cmd("SENTINEL");
        command.arg("MASTER").arg(NAME);
        let url = format!("redis://127.0.0.1:{}", self.port);
        let fields = private_redis::ask::<Vec<String>>(&url, command).await.unwrap_or_default();
        let is = |name: &str, value: usize| {
            let (pairs, _) = fields.as_chunks::<2>();
            pairs.iter().any(|[field, found]| field == name && *found == value.to_string())
        };
        is("num-other-sentinels", others) && is("num-slaves", replicas)
    }
}

async fn named(port: u16) -> Option<(String, u16)> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(NAME);
    private_redis::ask(&format!("redis://127.0.0.1:{port}"), command).await
}
