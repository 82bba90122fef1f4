//! A PostgreSQL server of a test's own, to be killed and paused at will, and a standby that may take its place.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use rustix::process::{Signal, geteuid};
use tokio::time::timeout;

use crate::{
    private::{Private, Program},
    process,
};

/// A PostgreSQL server of its own, on a port of its own, with its data in a temporary folder. Ended on drop.
///
/// It does not wait for the disk, so it survives its own death, not the machine's.
pub type PrivatePostgres = Private<Postgres>;

/// How PostgreSQL is run, and where its data comes from.
#[derive(Debug)]
pub struct Postgres {
    /// `None`: made anew. Else copied from the server at this address, which it follows by the same way.
    primary: Option<SocketAddr>,
}

/// How long one answer may take, of a server that may not be there.
const ANSWER: Duration = Duration::from_secs(1);

/// The programs that are needed, beside `setpriv` for root.
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_basebackup"];

#[derive(QueryableByName)]
struct DataDirectory {
    #[diesel(sql_type = Text)]
    data_directory: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl Private<Postgres> {
    /// Whether PostgreSQL's programs are installed, and can run: they refuse to be root, and need another user then.
    pub fn is_installed() -> bool {
        let all = PROGRAMS.iter().all(|name| find(name).is_some());
        all && (!geteuid().is_root() || (user().is_some() && process::program("setpriv", &[]).is_some()))
    }

    /// Makes a cluster and starts a server on it.
    pub async fn start() -> Self {
        Self::started(Postgres { primary: None }).await
    }

    /// Starts a standby that follows this server by `way`, which leads to it. From now on this server confirms no commit
    /// that the standby does not have, too.
    pub async fn standby(&self, way: SocketAddr) -> Self {
        let standby = Self::started(Postgres { primary: Some(way) }).await;
        // After the copy was made: once it is promoted, it has nobody to wait for.
        self.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'").await;
        self.execute("SELECT pg_reload_conf()").await;
        let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let waited = async { while self.count(synchronous).await == 0 {} };
        timeout(process::PATIENCE, waited).await.expect("the standby follows");
        standby
    }

    /// Makes a standby take its primary's place; it takes writes when this returns.
    pub async fn promote(&self) {
        self.execute("SELECT pg_promote()").await;
        let promoted = "SELECT count(*) WHERE NOT pg_is_in_recovery()";
        assert_eq!(self.count(promoted).await, 1, "it is a primary now");
    }

    /// Carries out these statements, as the superuser.
    pub async fn execute(&self, statements: &str) {
        self.connect().await.batch_execute(statements).await.expect("they can be carried out");
    }

    /// What a query says whose one column is called `count`.
    async fn count(&self, query: &str) -> i64 {
        let answer = diesel::sql_query(query).get_result::<Count>(&mut self.connect().await).await;
        answer.expect("the query can be carried out").count
    }

    async fn connect(&self) -> AsyncPgConnection {
        let connection = AsyncPgConnection::establish(&Postgres::url(self.address())).await;
        connection.expect("the server runs")
    }
}

impl Program for Postgres {
    const NAME: &'static str = "postgres";
    const STOP: Signal = Signal::INT;
    // In such order that its shared memory is given back.
    const QUIT: Signal = Signal::QUIT;

    fn prepare(&self, folder: &Path) {
        if let Some((user, group)) = user().filter(|_| geteuid().is_root()) {
            chown(folder, Some(user), Some(group)).expect("root may give a folder away");
        }
        let mut command = match self.primary {
            None => {
                let mut command = installed("initdb");
                command.args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
                command
            }
            Some(primary) => {
                let (host, port) = (primary.ip(), primary.port());
                let primary = format!("host={host} port={port} user=postgres application_name=standby");
                let mut command = installed("pg_basebackup");
                // With what it needs to follow from then on.
                command.args(["--write-recovery-conf", "--checkpoint=fast", "--dbname", &primary]);
                command
            }
        };
        let output = command.arg("--no-sync").arg("-D").arg(data(folder)).output().expect("it runs");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = installed("postgres");
        command.arg("-D").arg(data(folder)).arg("-p").arg(port.to_string());
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
            "fsync=off",
            "full_page_writes=off",
            "jit=off",
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
    }

    async fn lives_in(address: SocketAddr, folder: &Path) -> bool {
        let ask = async {
            let mut connection = AsyncPgConnection::establish(&Self::url(address)).await.ok()?;
            let show = diesel::sql_query("SHOW data_directory");
            show.get_result::<DataDirectory>(&mut connection).await.ok()
        };
        match timeout(ANSWER, ask).await {
            Ok(Some(answer)) => process::same_file(Path::new(&answer.data_directory), &data(folder)),
            _ => false,
        }
    }

    /// `postgres://…/postgres`, as the superuser.
    fn url(address: SocketAddr) -> String {
        format!("postgres://postgres@{address}/postgres")
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn installed(name: &str) -> Command {
    unprivileged(&find(name).expect("PostgreSQL is installed (Debian: postgresql)"))
}

// Distributions keep the server's programs out of PATH; of several versions, the newest.
fn find(name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort_by_key(|folder| {
        let version = folder.parent().and_then(|version| version.file_name()?.to_str()?.parse::<u32>().ok());
        std::cmp::Reverse(version)
    });
    process::program(name, &folders)
}

// As another user if we are root, which PostgreSQL refuses to be.
fn unprivileged(program: &Path) -> Command {
    let Some((user, group)) = user().filter(|_| geteuid().is_root()) else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
    command.arg(program).current_dir("/");
    command
}

/// The ids of the user `postgres`, or of `nobody`.
fn user() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let ids = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}

/// Whether a PostgreSQL server answers at this URL, within a second.
pub async fn postgres_answers(url: &str) -> bool {
    matches!(timeout(ANSWER, AsyncPgConnection::establish(url)).await, Ok(Ok(_)))
}
