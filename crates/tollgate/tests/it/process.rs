//! The real binary, as a process of its own: started, read, told to stop.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use tollgate_testkit::Namespace;

use crate::http::Client;

/// The program, in an empty directory and without the variables of this machine.
pub(crate) fn tollgate(dir: &Path) -> Command {
    alone(Command::new(PROGRAM), dir)
}

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate");

fn alone(mut command: Command, dir: &Path) -> Command {
    command.current_dir(dir).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A server in a process of its own. Killed on drop.
pub(crate) struct Server {
    child: Child,
    addresses: HashMap<String, SocketAddr>,
    pub(crate) banner: String,
    log: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts `serve` with these arguments and variables, on free ports, and waits until it says that it is ready.
    pub(crate) fn start(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_by(tollgate(dir), arguments, variables)
    }

    /// The same in a network of its own; it listens on loopback there if the variables do not say otherwise.
    pub(crate) fn start_in(
        network: &Namespace,
        dir: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        Self::start_by(alone(network.command(PROGRAM), dir), arguments, variables)
    }

    fn start_by(mut command: Command, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        command.arg("serve").args(arguments);
        for name in ["HTTP", "GATE", "ADMIN", "IDENTITY", "KEYS", "RATELIMIT"] {
            command.env(format!("TOLLGATE__{name}__LISTEN"), "127.0.0.1:0");
        }
        let mut child = command.envs(variables.iter().copied()).spawn().expect("the binary starts");
        let mut errors = child.stderr.take().expect("piped");
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).expect("the log is UTF-8");
            text
        });
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let mut server = Self { child, addresses: HashMap::new(), banner: String::new(), log: Some(log) };
        for line in out.lines() {
            let line = line.expect("the banner is UTF-8");
            server.banner.push_str(&line);
            server.banner.push('\n');
            if line == "Ready." {
                server.addresses = addresses(&server.banner);
                return server;
            }
        }
        let log = server.log.take().expect("not read yet").join();
        panic!("it did not start: {}{}", server.banner, log.expect("the log is read"));
    }

    /// Where it listens, by the banner's word.
    pub(crate) fn at(&self, word: &str) -> SocketAddr {
        *self.addresses.get(word).unwrap_or_else(|| panic!("{word} is not in {}", self.banner))
    }

    pub(crate) fn http(&self) -> Client {
        Client::new(self.at("http"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Holds it still, until it is killed: when this returns, no thread of it does anything any more.
    pub(crate) fn halt(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).expect("it runs");
        assert!(stopped.is_some_and(|(_, status)| status.stopped()), "it ended: {stopped:?}");
    }

    /// Waits for it to end; its exit status and its log.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        // Aside, so that the test's own connections go on and end as they should.
        let wait = move || {
            let status = self.child.wait().expect("it ends");
            (status, self.log.take().expect("read once").join().expect("the log is read"))
        };
        tokio::task::spawn_blocking(wait).await.expect("no panic")
    }

    /// SIGTERM, and what [`Server::ended`] gives.
    pub(crate) async fn stop(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.ended().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, or a test has failed.
        let ended = self.child.try_wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log.take().filter(|_| std::thread::panicking());
        if let Some(Ok(log)) = log.map(JoinHandle::join) {
            eprintln!("{:?}, which had {ended:?}, said:\n{log}", self.addresses);
        }
    }
}

fn addresses(banner: &str) -> HashMap<String, SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let (word, url) = (words.next()?, words.next()?);
        let authority = url.strip_prefix("http://")?.split('/').next()?;
        Some((word.to_owned(), authority.parse().ok()?))
    };
    banner.lines().filter_map(address).collect()
}

/// Environment variables.
pub(crate) type Variables = Vec<(String, String)>;

/// The four roles in processes of their own, the edge last, beside the secrets that they share; and what each was told.
pub(crate) fn split(dir: &Path, mut variables: Variables) -> (Vec<(&'static str, Server)>, Variables) {
    let said = run(dir, &["secrets", "init", "--dir", "secrets"], &[], "");
    assert_eq!(said.code, 0, "{}", said.err);
    for (name, file) in
        [("MASTER_KEY_FILE", "secrets/master_key"), ("MESH__TOKEN_FILE", "secrets/mesh_token")]
    {
        variables.push((format!("TOLLGATE__{name}"), file.to_owned()));
    }
    let said = run(dir, &["migrate"], &borrowed(&variables), "");
    assert_eq!(said.code, 0, "{}", said.err);
    let mut servers = Vec::new();
    for role in ["ratelimit", "identity", "keys"] {
        let server = Server::start(dir, &[role], &borrowed(&variables));
        let name = format!("TOLLGATE__{}__URL", role.to_uppercase());
        variables.push((name, format!("http://{}", server.at(role))));
        servers.push((role, server));
    }
    servers.push(("edge", Server::start(dir, &["edge"], &borrowed(&variables))));
    (servers, variables)
}

/// Variables as they are given to a process.
pub(crate) fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// What a command that ends by itself says.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end, with `input` as its standard input.
pub(crate) fn run(dir: &Path, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Said {
    let mut command = tollgate(dir);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said {
        code: output.status.code().expect("no signal"),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// An empty directory.
pub(crate) fn empty() -> TempDir {
    tempfile::tempdir().expect("there is a temporary folder")
}
