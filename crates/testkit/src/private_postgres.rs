//! A PostgreSQL server of a test's own, to be killed and paused at will.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use diesel::{QueryableByName, sql_types::Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;
use tokio::time::timeout;
use tollgate_kernel::SecretString;

use crate::process::{self, Process};

/// A PostgreSQL server of its own, on a port of its own, with its data in a temporary folder. Ended on drop.
///
/// It does not wait for the disk, so it survives its own death, not the machine's.
pub struct PrivatePostgres {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

/// How long one answer may take, of a server that may not be there.
const ANSWER: Duration = Duration::from_secs(1);

#[derive(QueryableByName)]
struct DataDirectory {
    #[diesel(sql_type = Text)]
    data_directory: String,
}

impl PrivatePostgres {
    /// Whether PostgreSQL's programs are installed, and can run: they refuse to be root, and need another user then.
    pub fn is_installed() -> bool {
        let all = ["initdb", "postgres"].iter().all(|name| find(name).is_some());
        all && (!geteuid().is_root() || (user().is_some() && process::program("setpriv", &[]).is_some()))
    }

    /// Makes a cluster and starts a server on it.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        if let Some((user, group)) = user().filter(|_| geteuid().is_root()) {
            chown(folder.path(), Some(user), Some(group)).expect("root may give a folder away");
        }
        let mut server = Self { folder, port: 0, process: None };
        server.initialize();
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

    /// `postgres://…/postgres`, as the superuser.
    pub fn url(&self) -> SecretString {
        self.address().into()
    }

    /// Carries out these statements, as the superuser.
    pub async fn execute(&self, statements: &str) {
        let connection = AsyncPgConnection::establish(&self.address()).await;
        let mut connection = connection.expect("the server runs");
        connection.batch_execute(statements).await.expect("they can be carried out");
    }

    /// Ends it in good order, without waiting for its clients.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(Signal::INT);
        }
    }

    /// Kills it and its children, as a crash would.
    pub fn kill(&mut self) {
        // Dropping a process kills it with its children.
        drop(self.process.take());
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
        let (url, home) = (self.address(), &self.data());
        let log = self.folder.path().join("log");
        let mut process = Process::spawn(self.command(), &log).expect("PostgreSQL is installed");
        let ready = process::ready(&mut process, || lives_in(&url, home)).await;
        ready.map_err(|why| {
            let log = fs::read_to_string(log).unwrap_or_default();
            format!("postgres on port {}: {why}\n{log}", self.port)
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn initialize(&self) {
        let mut command =
            unprivileged(&find("initdb").expect("PostgreSQL is installed (Debian: postgresql)"));
        command.arg("-D").arg(self.data());
        command.args(["-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let output = command.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self) -> Command {
        let mut command =
            unprivileged(&find("postgres").expect("PostgreSQL is installed (Debian: postgresql)"));
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
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

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server was started")
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // At once, but in such order that its shared memory is given back.
        if let Some(process) = self.process.take() {
            process.end(Signal::QUIT);
        }
    }
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

/// Whether the server at `url` answers and is ours: its data is in `folder`.
async fn lives_in(url: &str, folder: &Path) -> bool {
    let ask = async {
        let mut connection = AsyncPgConnection::establish(url).await.ok()?;
        let show = diesel::sql_query("SHOW data_directory");
        show.get_result::<DataDirectory>(&mut connection).await.ok()
    };
    match timeout(ANSWER, ask).await {
        Ok(Some(answer)) => same_file(Path::new(&answer.data_directory), folder),
        _ => false,
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    id(a).is_some() && id(a) == id(b)
}
