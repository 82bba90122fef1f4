//! The processes that are measured: started on free ports of loopback, on stores of their own, ended on drop.

mod alone;
mod doubled;

use std::{collections::HashMap, net::SocketAddr, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use tollgate_kernel::{Entropy, ExposeSecret, OsEntropy, SecretString};
use tollgate_testkit::{TestDatabase, TestRedis, env};

pub(crate) use self::{alone::Alone, doubled::Doubled};
use crate::Problem;

/// In which form the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shape {
    /// One process on SQLite, counters in memory
    Sqlite,
    /// One process on PostgreSQL and Redis
    Postgres,
    /// Four processes on PostgreSQL and Redis
    Split,
}

impl Shape {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Sqlite => "all-in-one, SQLite + memory",
            Self::Postgres => "all-in-one, PostgreSQL + Redis",
            Self::Split => "split, PostgreSQL + Redis",
        }
    }
}

/// What runs, and where.
pub(crate) struct Running {
    pub http: SocketAddr,
    pub gate: SocketAddr,
    /// Of the edge; the baseline has none.
    pub admin: Option<SocketAddr>,
    // In the order of dropping: first the processes, then what they used.
    _processes: Vec<Process>,
    stores: Option<Stores>,
}

struct Stores {
    settings: Vec<(String, String)>,
    folder: TempDir,
    servers: Option<(TestDatabase, TestRedis)>,
}

struct Process {
    /// By the first word of the lines that it printed: `http`, `gate`, `keys`…
    addresses: HashMap<String, SocketAddr>,
    child: Child,
}

impl Running {
    /// Starts the server in this shape, with these settings beside those that it needs.
    pub(crate) async fn start(
        shape: Shape,
        tollgate: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, Problem> {
        let mut stores = Stores::of(shape).await?;
        for (name, value) in settings {
            stores.set(name, value);
        }
        let mut processes = Vec::new();
        if shape == Shape::Split {
            stores.migrate(tollgate).await?;
            for role in ["ratelimit", "identity", "keys"] {
                processes.push(stores.role(tollgate, role).await?);
            }
            processes.push(Process::start(stores.serve(tollgate, &["edge"])).await?);
        } else {
            processes.push(Process::start(stores.serve(tollgate, &[])).await?);
        }
        Self::of(processes, Some(stores))
    }

    /// Where the roles' tables are, as the roles are told.
    pub(crate) fn database(&self) -> Result<SecretString, Problem> {
        let stores = self.stores.as_ref().ok_or("the baseline has no tables")?;
        let set = |name: &str| stores.settings.iter().find(|(it, _)| it == name).map(|(_, value)| value);
        let folder = || set("TOLLGATE__DATA_DIR").map(|folder| format!("sqlite://{folder}"));
        let url = set("DATABASE_URL").cloned().or_else(folder).ok_or("no database is set")?;
        Ok(url.into())
    }

    /// Starts the baseline: this very program.
    pub(crate) async fn baseline() -> Result<Self, Problem> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("baseline");
        Self::of(vec![Process::start(command).await?], None)
    }

    fn of(processes: Vec<Process>, stores: Option<Stores>) -> Result<Self, Problem> {
        let last = processes.last().ok_or("nothing was started")?;
        let (http, gate) = (last.address("http")?, last.address("gate")?);
        let admin = last.addresses.get("admin").copied();
        Ok(Self { http, gate, admin, _processes: processes, stores })
    }
}

impl Stores {
    async fn of(shape: Shape) -> Result<Self, Problem> {
        let servers = match shape {
            Shape::Sqlite => None,
            Shape::Postgres | Shape::Split => Some(servers().await?),
        };
        let mut stores = Self { settings: Vec::new(), folder: tempfile::tempdir()?, servers: None };
        let data = stores.folder.path().join("data").display().to_string();
        stores.set("TOLLGATE__DATA_DIR", &data);
        // All load comes from one address.
        for class in ["AUTH", "MANAGEMENT", "PROTECTED", "PUBLIC"] {
            stores.set(&format!("TOLLGATE__EDGE__PER_IP__{class}"), "0");
        }
        if let Some((database, redis)) = &servers {
            let key = (&OsEntropy as &dyn Entropy).bytes::<32>();
            stores.set("DATABASE_URL", database.url().expose_secret());
            stores.set("REDIS_URL", redis.url().expose_secret());
            stores.set("TOLLGATE__RATELIMIT__REDIS_PREFIX", redis.prefix());
            stores.set("TOLLGATE__MASTER_KEY", &key.map(|byte| format!("{byte:02x}")).concat());
        }
        Ok(Self { servers, ..stores })
    }

    fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts a role that others reach.
    async fn role(&mut self, tollgate: &Path, role: &str) -> Result<Process, Problem> {
        let process = Process::start(self.serve(tollgate, &[role])).await?;
        self.reach(role, process.address(role)?);
        Ok(process)
    }

    /// Whoever starts from now on finds the role here.
    fn reach(&mut self, role: &str, address: SocketAddr) {
        self.settings.retain(|(name, _)| *name != url_of(role));
        self.set(&url_of(role), &format!("http://{address}"));
    }

    /// A command of the server with these settings, and none of the caller's own.
    fn command(&self, tollgate: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(tollgate);
        let settings = self.settings.iter().map(|(name, value)| (name, value));
        command.args(words).args(["--config", "/dev/null"]).current_dir(self.folder.path());
        command.env_clear().envs(settings).stdin(Stdio::null());
        command
    }

    async fn migrate(&self, tollgate: &Path) -> Result<(), Problem> {
        let status = self.command(tollgate, &["migrate"]).stdout(Stdio::null()).status().await?;
        if status.success() { Ok(()) } else { Err(format!("`tollgate migrate` ended with {status}").into()) }
    }

    fn serve(&self, tollgate: &Path, roles: &[&str]) -> Command {
        const ANYWHERE: &str = "127.0.0.1:0";
        let mut command = self.command(tollgate, &[&["serve"], roles].concat());
        command.args(["--http", ANYWHERE, "--gate", ANYWHERE, "--admin", ANYWHERE]);
        for role in ["IDENTITY", "KEYS", "RATELIMIT"] {
            command.env(format!("TOLLGATE__{role}__LISTEN"), ANYWHERE);
        }
        command
    }
}

/// The setting that says where a role is.
fn url_of(role: &str) -> String {
    format!("TOLLGATE__{}__URL", role.to_uppercase())
}

/// A database and a corner of Redis of this run's own.
async fn servers() -> Result<(TestDatabase, TestRedis), Problem> {
    for name in [env::DATABASE, env::REDIS] {
        if env::get(name).is_none() {
            return Err(
                format!("{name} is not set: run this by scripts/bench, or leave this shape out").into()
            );
        }
    }
    Ok((TestDatabase::postgres().await, TestRedis::shared()))
}

impl Process {
    /// Starts it and reads what it prints until it is ready.
    async fn start(mut command: Command) -> Result<Self, Problem> {
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("its output is not there")?).lines();
        let mut addresses = HashMap::new();
        loop {
            let line = lines.next_line().await?.ok_or("a server ended before it was ready; see above")?;
            if line == "Ready." {
                break;
            }
            addresses.extend(address(&line));
        }
        // Goes on reading, so that the process never waits for somebody to read its log.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { addresses, child })
    }

    fn address(&self, word: &str) -> Result<SocketAddr, Problem> {
        self.addresses
            .get(word)
            .copied()
            .ok_or_else(|| format!("a server did not say where its {word} is").into())
    }
}

/// `  http       http://127.0.0.1:8080` and what may follow.
fn address(line: &str) -> Option<(String, SocketAddr)> {
    let mut words = line.split_whitespace();
    let word = words.next()?;
    let (_, rest) = words.next()?.split_once("://")?;
    let address = rest.split('/').next()?.parse().ok()?;
    Some((word.to_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_what_the_server_prints() {
        let read = |line| address(line).map(|(word, address)| format!("{word} {address}"));
        assert_eq!(read("  http       http://127.0.0.1:8080").as_deref(), Some("http 127.0.0.1:8080"));
        assert_eq!(read("  gate       http://[::1]:9100 (gRPC)").as_deref(), Some("gate [::1]:9100"));
        assert_eq!(
            read("  admin      http://127.0.0.1:9090/metrics").as_deref(),
            Some("admin 127.0.0.1:9090")
        );
        assert_eq!(read("  data       /tmp/data"), None);
        assert_eq!(read("Tollgate 0.1.0 runs edge."), None);
        assert_eq!(read(""), None);
    }
}
