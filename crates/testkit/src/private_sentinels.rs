//! A primary, its replica, and the Sentinels that watch them, of a test's own.

use std::{fs, path::Path, process::Command};

use futures_util::future::join_all;
use tempfile::TempDir;
use tollgate_kernel::SecretString;

use crate::{
    authority::Authority,
    private_cluster::offset,
    private_redis::{self, PrivateRedis},
    process::{self, Process, until},
};

/// The way to a Sentinel that is no network's, in its folder.
const SOCKET: &str = "sentinel.sock";

/// How the Sentinels call the primary.
const NAME: &str = "mine";

/// A primary that is failed over to its replica when it does not answer for three seconds. Ended on drop.
pub struct PrivateSentinels {
    /// The primary, as it began.
    pub primary: PrivateRedis,
    /// Its replica.
    pub replica: PrivateRedis,
    sentinels: Vec<Sentinel>,
    scheme: &'static str,
}

struct Sentinel {
    // Its configuration, which it writes to.
    folder: TempDir,
    port: u16,
    _ended_on_drop: Process,
}

impl PrivateSentinels {
    /// Starts all of them, three Sentinels of which two must agree.
    pub async fn start() -> Self {
        let primary = PrivateRedis::start().await;
        let port = primary.port().to_string();
        let replica = PrivateRedis::start_with(&replica_of(&port)).await;
        Self::watching(primary, replica, "redis", "").await
    }

    /// Starts the same with a replica whose clock is so many seconds behind.
    pub async fn start_behind(seconds: i64) -> Self {
        let primary = PrivateRedis::start().await;
        let port = primary.port().to_string();
        let replica = PrivateRedis::start_skewed(-seconds, &replica_of(&port)).await;
        Self::watching(primary, replica, "redis", "").await
    }

    /// Starts the same, of which all speak nothing but TLS, with the caller and with each other.
    pub async fn start_tls(authority: &Authority) -> Self {
        let among_them = ["--tls-replication", "yes"];
        let primary = PrivateRedis::start_tls(authority, &among_them).await;
        let port = primary.port().to_string();
        let follows = [&among_them[..], &replica_of(&port)].concat();
        let replica = PrivateRedis::start_tls(authority, &follows).await;
        let (ca, own) = (authority.file(), authority.certify(&["127.0.0.1"]));
        let settings = format!(
            "tls-ca-cert-file {}\ntls-cert-file {}\ntls-key-file {}\ntls-auth-clients no\ntls-replication yes\n",
            ca.display(),
            own.certificate.display(),
            own.key.display()
        );
        Self::watching(primary, replica, "rediss", &settings).await
    }

    async fn watching(
        primary: PrivateRedis,
        replica: PrivateRedis,
        scheme: &'static str,
        settings: &str,
    ) -> Self {
        until("the replica follows", || async {
            let info: String = replica.ask("INFO replication").await.unwrap_or_default();
            info.contains("master_link_status:up")
        })
        .await;
        let sentinels = join_all((0..3).map(|_| Sentinel::start(primary.port(), settings))).await;
        let all = Self { primary, replica, sentinels, scheme };
        for sentinel in &all.sentinels {
            until("the Sentinels know each other", || sentinel.knows(2, 1)).await;
        }
        all
    }

    /// `redis+sentinel://…/name`, or over TLS `rediss+sentinel://…/name`
    pub fn url(&self) -> SecretString {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("{}+sentinel://{}/{NAME}", self.scheme, hosts.join(",")).into()
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
    /// Over TLS, if there are settings for it.
    async fn start(primary: u16, settings: &str) -> Self {
        let mut failure = "";
        for _ in 0..process::PORTS {
            let (folder, port) =
                (tempfile::tempdir().expect("there is a temporary folder"), process::free_port());
            let file = folder.path().join("sentinel.conf");
            let listens = if settings.is_empty() {
                format!("port {port}\n")
            } else {
                format!("port 0\ntls-port {port}\n{settings}")
            };
            let text = format!(
                "{listens}bind 127.0.0.1\ndir {0}\nunixsocket {0}/{SOCKET}\nsentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
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
                matches!(named(folder.path()).await, Some((_, named)) if named == primary)
            });
            match ready.await {
                Ok(()) => return Self { folder, port, _ended_on_drop: process },
                Err(why) => failure = why,
            }
        }
        panic!("a Sentinel: {failure}")
    }

    /// Whether it knows so many other Sentinels and replicas.
    async fn knows(&self, others: usize, replicas: usize) -> bool {
        let mut command = redis::cmd("SENTINEL");
        command.arg("MASTER").arg(NAME);
        let fields =
            private_redis::ask::<Vec<String>>(&socket(self.folder.path()), command).await.unwrap_or_default();
        let is = |name: &str, value: usize| {
            let (pairs, _) = fields.as_chunks::<2>();
            pairs.iter().any(|[field, found]| field == name && *found == value.to_string())
        };
        is("num-other-sentinels", others) && is("num-slaves", replicas)
    }
}

/// The settings of a server that follows the one on this port.
fn replica_of(port: &str) -> [&str; 3] {
    ["--replicaof", "127.0.0.1", port]
}

fn socket(folder: &Path) -> String {
    format!("unix://{}/{SOCKET}", folder.display())
}

async fn named(folder: &Path) -> Option<(String, u16)> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(NAME);
    private_redis::ask(&socket(folder), command).await
}
