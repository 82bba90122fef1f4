//! A network of a test's own, whose packets can be lost.

use std::{
    ffi::OsStr,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::geteuid;

use crate::process;

/// A network namespace that is joined to this one by a pair of interfaces. Needs root. Gone on drop; let the processes in it
/// end before.
pub struct Namespace {
    name: String,
    here: Ipv4Addr,
    there: Ipv4Addr,
}

/// Which packets are lost in a [`Namespace`]. Those of connections to the port that is named pass all the same, so that a test
/// can ask who listens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing comes in, and nothing goes out.
    Both,
    /// What is sent from within arrives, and TCP's own word for that comes back; data that is sent to it is lost.
    Incoming,
}

/// Networks of this process so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Networks of four addresses in 198.18.0.0/15, which is kept for tests (RFC 2544, section C.2.2).
const NETWORKS: u32 = 1 << 15;

impl Namespace {
    /// Whether the programs are installed: `ip` and `nft`.
    pub fn is_installed() -> bool {
        ["ip", "nft"].iter().all(|name| find(name).is_some())
    }

    /// A network in which nothing is lost.
    ///
    /// # Panics
    /// Without root, `ip` or `nft`.
    pub fn new() -> Self {
        assert!(geteuid().is_root(), "a network namespace is root's to make: run this test as root");
        let (id, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let number = id.wrapping_mul(4).wrapping_add(count);
        let at = |number: u32, host| {
            Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + 4 * (number % NETWORKS) + host)
        };
        // A process that was killed has left its own behind.
        let taken = addresses();
        let is_free = |number: &u32| !taken.contains(&format!(" {}/30 ", at(*number, 1)));
        let number =
            (0..NETWORKS).map(|step| number.wrapping_add(1024 * step)).find(is_free).expect("one is free");
        let at = |host| at(number, host);
        // Fits into the 15 bytes of an interface's name.
        let namespace = Self { name: format!("tg{id}n{count}"), here: at(1), there: at(2) };
        let (name, here, there) = (&namespace.name, namespace.here, namespace.there);
        ip(&format!("netns add {name}"));
        ip(&format!("link add {name} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add {here}/30 dev {name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("-n {name} addr add {there}/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} link set lo up"));
        namespace
    }

    /// This machine's address, as it is reached from within.
    pub fn here(&self) -> IpAddr {
        self.here.into()
    }

    /// The address within, as it is reached from this machine.
    pub fn there(&self) -> IpAddr {
        self.there.into()
    }

    /// A program that runs within. The process that is started becomes the program.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = installed("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// From now on packets are lost, but those of connections to `port` within.
    pub fn lose(&self, loss: Loss, port: u16) {
        // Whatever ends a write is marked to be pushed; what TCP says for itself is not.
        let (incoming, outgoing) = match loss {
            Loss::Both => ("", "drop"),
            Loss::Incoming => ("tcp flags & psh == 0 accept;", "accept"),
        };
        self.nft(&format!(
            "table ip loss {{
                chain incoming {{
                    type filter hook input priority 0; policy drop; tcp dport {port} accept; {incoming}
                }}
                chain outgoing {{ type filter hook output priority 0; policy {outgoing}; tcp sport {port} accept; }}
            }}"
        ));
    }

    /// Nothing is lost any more.
    pub fn heal(&self) {
        self.nft("delete table ip loss");
    }

    fn nft(&self, rules: &str) {
        let nft = find("nft").expect("nftables is installed (Debian: nftables)");
        let mut child = self.command(nft).args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("it starts");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(rules.as_bytes()).expect("nft reads");
        drop(input);
        assert!(child.wait().expect("it ends").success(), "nft does not take: {rules}");
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The interface on this side goes with the one on the other.
        let deleted = installed("ip").args(["netns", "del", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("the network namespace {} is left behind", self.name);
        }
    }
}

/// All of this machine, as `ip` lists them.
fn addresses() -> String {
    let listed = installed("ip").args(["-oneline", "-4", "addr"]).output().expect("it starts");
    String::from_utf8_lossy(&listed.stdout).into_owned()
}

fn ip(arguments: &str) {
    let output = installed("ip").args(arguments.split(' ')).output().expect("it starts");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn installed(name: &str) -> Command {
    Command::new(find(name).expect("iproute2 is installed (Debian: iproute2)"))
}

// Not in everybody's PATH.
fn find(name: &str) -> Option<PathBuf> {
    process::program(name, &["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).to_owned()))
}
