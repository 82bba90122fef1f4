//! A Redis server of a test's own, to be killed and paused at will.

use std::{fs, path::Path, process::Command, time::Duration};

use rustix::process::Signal;
use tempfile::TempDir;
use tollgate_kernel::SecretString;

use crate::process::{self, Process};

/// A Redis server of its own, on a port of its own, with its data in a temporary folder. Ended on drop.
pub struct PrivateRedis {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

/// How long one answer may take, of a server that may not be there.
const ANSWER: Duration = Duration::from_secs(1);

impl PrivateRedis {
    /// Whether `redis-server` is installed.
    pub fn is_installed() -> bool {
        process::program("redis-server", &[]).is_some()
    }

    /// Starts a server.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let mut server = Self { folder, port: 0, process: None };
        let mut failure = String::new();
        for _ in 0..process::PORTS {
            server.port = process::free_port();
            match server.launch().await {
                Ok(()) => return server,
                Err(why) => failure = why,
            }
        }
        panic!("{failure}")
    }

    /// `redis://…`
    pub fn url(&self) -> SecretString {
        self.address().into()
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(Signal::TERM);
        }
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(Signal::KILL);
        }
    }

    /// Holds it still: its sockets stay open, and nothing answers.
    pub fn pause(&self) {
        self.running().signal_all(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.running().signal_all(Signal::CONT);
    }

    /// Starts it again, on the same port and with the same data; a running one is stopped first.
    pub async fn restart(&mut self) {
        self.stop();
        if let Err(why) = self.launch().await {
            panic!("{why}");
        }
    }

    async fn launch(&mut self) -> Result<(), String> {
        let (url, home) = (self.address(), self.folder.path());
        let log = self.folder.path().join("log");
        let mut process = Process::spawn(command(self.port, home), &log)
            .expect("redis-server is installed (Debian: redis-server)");
        let ready = process::ready(&mut process, || lives_in(&url, home)).await;
        ready.map_err(|why| {
            let log = fs::read_to_string(log).unwrap_or_default();
            format!("redis-server on port {}: {why}\n{log}", self.port)
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server was started")
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

// Every write is in the append-only file before it is answered, so a kill loses none.
fn command(port: u16, folder: &Path) -> Command {
    let program = process::program("redis-server", &[]).unwrap_or_else(|| "redis-server".into());
    let mut command = Command::new(program);
    let port = port.to_string();
    command.args(["--port", &port, "--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""]);
    command.arg("--dir").arg(folder);
    command
}

/// Whether a Redis server answers at this URL, within a second.
pub async fn redis_answers(url: &str) -> bool {
    ask::<String>(url, redis::cmd("PING")).await.is_some()
}

/// Whether the server at `url` answers and is ours: its data is in `folder`.
async fn lives_in(url: &str, folder: &Path) -> bool {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("dir");
    let answer = ask::<Vec<String>>(url, command).await.unwrap_or_default();
    // It says where it lives while it still reads its data, but not PONG.
    answer.get(1).is_some_and(|dir| same_file(Path::new(dir), folder)) && redis_answers(url).await
}

async fn ask<T: redis::FromRedisValue>(url: &str, command: redis::Cmd) -> Option<T> {
    let answer = async {
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    };
    tokio::time::timeout(ANSWER, answer).await.ok()?.ok()
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
