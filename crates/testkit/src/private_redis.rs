//! A Redis server of a test's own, to be killed and paused at will.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use rustix::process::Signal;
use tollgate_kernel::SecretString;

use crate::{
    authority::Authority,
    private::{Private, Program},
    process,
    skew::Skew,
};

/// A Redis server of its own, on a port of its own, with its data in a temporary folder. Ended on drop.
pub type PrivateRedis = Private<Redis>;

/// How Redis is run.
#[derive(Debug)]
pub struct Redis {
    settings: Vec<String>,
    is_tls: bool,
    skew: Option<Skew>,
}

/// The way to the server that is no network's, in the folder of its data.
const SOCKET: &str = "redis.sock";

/// How long one answer may take, of a server that may not be there.
const ANSWER: Duration = Duration::from_secs(1);

impl Private<Redis> {
    /// Whether `redis-server` is installed.
    pub fn is_installed() -> bool {
        process::program("redis-server", &[]).is_some()
    }

    /// Starts a server.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with these settings too: `["--name", "value", …]`.
    pub async fn start_with(settings: &[&str]) -> Self {
        Self::started(Redis { settings: words(settings), is_tls: false, skew: None }).await
    }

    /// Starts a server with these settings whose clock is so many seconds ahead; behind, if there are fewer than none.
    pub async fn start_skewed(seconds: i64, settings: &[&str]) -> Self {
        let skew = Some(Skew::of(seconds));
        Self::started(Redis { settings: words(settings), is_tls: false, skew }).await
    }

    /// Starts a server that speaks nothing but TLS, as 127.0.0.1, and says who it is by this authority; with these settings
    /// too. It asks nobody who they are.
    pub async fn start_tls(authority: &Authority, settings: &[&str]) -> Self {
        let own = authority.certify(&["127.0.0.1"]);
        let file = |path: &Path| path.to_str().expect("a temporary folder has a plain name").to_owned();
        let (ca, certificate, key) = (file(&authority.file()), file(&own.certificate), file(&own.key));
        let tls = ["--tls-ca-cert-file", &ca, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let asks_nobody = ["--tls-auth-clients", "no"];
        let settings = words(&[&tls[..], &asks_nobody, settings].concat());
        Self::started(Redis { settings, is_tls: true, skew: None }).await
    }

    /// Its address over TLS.
    pub fn tls_url(&self) -> SecretString {
        format!("rediss://{}", self.address()).into()
    }

    /// The port that it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// What it answers to a command, as [`redis_asked`] does; by a way that is no network's.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &str) -> Option<T> {
        redis_asked(&socket(self.folder()), words).await
    }

    /// Carries out a command, written in words.
    pub async fn execute(&self, words: &str) {
        let done = self.ask::<redis::Value>(words).await;
        done.unwrap_or_else(|| panic!("the Redis at {} refuses {words}", self.address()));
    }
}

impl Program for Redis {
    const NAME: &'static str = "redis-server";
    const STOP: Signal = Signal::TERM;
    const QUIT: Signal = Signal::KILL;

    fn prepare(&self, _: &Path) {}

    // Every write is in the append-only file before it is answered, so a kill loses none: by its default, Redis holds a write
    // back while the disk is busy.
    fn command(&self, folder: &Path, port: u16) -> Command {
        let program = process::program("redis-server", &[]);
        let mut command = Command::new(program.expect("Redis is installed (Debian: redis-server)"));
        let port = port.to_string();
        if self.is_tls {
            command.args(["--port", "0", "--tls-port", &port]);
        } else {
            command.args(["--port", &port]);
        }
        command.args(["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "no"]);
        if self.settings.iter().any(|it| it == "--cluster-enabled") {
            command.arg("--cluster-port").arg(bus_port(folder, &port).to_string());
        }
        if let Some(skew) = &self.skew {
            skew.apply(&mut command);
        }
        command.args(["--save", ""]).arg("--dir").arg(folder);
        command.arg("--unixsocket").arg(folder.join(SOCKET)).args(&self.settings);
        command
    }

    async fn lives_in(_: SocketAddr, folder: &Path) -> bool {
        redis_answers(&socket(folder)).await
    }

    fn url(address: SocketAddr) -> String {
        format!("redis://{address}")
    }
}

/// Where it speaks with the other nodes of its cluster: another for each of its ports, since either may be taken when it starts,
/// and the same when it starts again.
fn bus_port(folder: &Path, port: &str) -> u16 {
    let file = folder.join(format!("bus-of-{port}"));
    if let Ok(kept) = fs::read_to_string(&file) {
        return kept.parse().expect("it was written here");
    }
    let bus = process::free_port();
    fs::write(file, bus.to_string()).expect("the folder is ours");
    bus
}

fn socket(folder: &Path) -> String {
    format!("unix://{}", folder.join(SOCKET).display())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Whether a Redis server answers at this URL, within a second.
pub async fn redis_answers(url: &str) -> bool {
    ask::<String>(url, redis::cmd("PING")).await.is_some()
}

/// What the server at this URL answers to a command, written in words. None if it does not answer within a second, or
/// refuses.
pub async fn redis_asked<T: redis::FromRedisValue>(url: &str, words: &str) -> Option<T> {
    let mut words = words.split_whitespace();
    let mut command = redis::cmd(words.next()?);
    command.arg(words.collect::<Vec<_>>());
    ask(url, command).await
}

pub(crate) async fn ask<T: redis::FromRedisValue>(url: &str, command: redis::Cmd) -> Option<T> {
    let answer = async {
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    };
    tokio::time::timeout(ANSWER, answer).await.ok()?.ok()
}
