//! A server process of our own: started, paused, killed and ended by its process id.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::env;

/// How long a server may take to start or to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait between two looks at a server that starts or ends.
const LOOK: Duration = Duration::from_millis(10);

/// How many ports to try: somebody else may take a free one before the server does.
pub(crate) const PORTS: usize = 5;

/// A running server; killed with its children on drop.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a server that writes to `log`, out of reach of the terminal's Ctrl-C: who started it ends it.
    pub(crate) fn spawn(mut command: Command, log: &Path) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        command.spawn().map(Self)
    }

    /// Its id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Sends a signal to the server alone.
    pub(crate) fn signal(&self, signal: Signal) {
        // Not waited for yet, so the id is still its own.
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }

    /// Sends a signal to the server, and then to its children: PostgreSQL's are each a process group of their own.
    pub(crate) fn signal_all(&self, signal: Signal) {
        self.signal(signal);
        for child in children(self.0.id()) {
            let _ = kill_process(child, signal);
        }
    }

    /// Asks it to end by `signal`, and kills it if it does not.
    pub(crate) fn end(mut self, signal: Signal) {
        self.signal_all(Signal::CONT);
        self.signal(signal);
        let looks = PATIENCE.as_millis() / LOOK.as_millis();
        for _ in 0..looks {
            if self.has_ended() {
                return;
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal_all(Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

/// The direct children of a process; none where there is no `/proc`.
pub(crate) fn children(parent: u32) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|id| parent_of(*id) == Some(parent))
        .filter_map(Pid::from_raw)
        .collect()
}

// proc_pid_stat(5): the fields after the name, which is in parentheses and may hold some itself.
fn parent_of(id: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// A port of loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Whether both paths lead to one file or folder, whatever they are called.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    id(a).is_some() && id(a) == id(b)
}

/// The program of this name: in `folders` first, then in `PATH`.
pub(crate) fn program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = env::get("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path).collect::<Vec<_>>();
    folders.iter().chain(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Asks until it is so, or patience has ended.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let asked = async {
        while !so().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{what}: it does not come true"));
}

/// Tries until it works, the server has ended, or patience has.
pub(crate) async fn ready<F: Future<Output = bool>>(
    process: &mut Process,
    mut answers: impl FnMut() -> F,
) -> Result<(), &'static str> {
    let tries = async {
        while !answers().await {
            if process.has_ended() {
                return Err("it ended");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, tries).await.unwrap_or(Err("it does not answer"))
}
