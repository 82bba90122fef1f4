//! A server of a test's own: started on a port of its own, killed, paused and started again at will, ended on drop.
//!
//! What each program needs for that is in its own file: see [`Program`].

use std::{fs, net::SocketAddr, path::Path, process::Command};

use rustix::process::Signal;
use tempfile::TempDir;
use tollgate_kernel::SecretString;

use crate::process::{self, Process};

/// How a program is run as a [`Private`] server.
#[expect(async_fn_in_trait, reason = "no test needs to send these futures elsewhere")]
pub trait Program {
    /// For what goes wrong.
    const NAME: &'static str;
    /// Asks it to end in good order, without waiting for its clients.
    const STOP: Signal;
    /// Asks it to end at once; what it holds of the machine is given back.
    const QUIT: Signal;

    /// Makes what the server needs before its first start, in this folder.
    fn prepare(&self, folder: &Path);

    /// The server, with its data in this folder, on this port of loopback.
    fn command(&self, folder: &Path, port: u16) -> Command;

    /// Whether the server at this address answers and is the one whose data is in this folder.
    async fn lives_in(address: SocketAddr, folder: &Path) -> bool;

    /// Where its clients find it.
    fn url(address: SocketAddr) -> String;
}

/// A server of its own, on a port of its own, with its data in a temporary folder. Ended on drop.
pub struct Private<P: Program> {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
    program: P,
}

impl<P: Program> Private<P> {
    pub(crate) async fn started(program: P) -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        program.prepare(folder.path());
        let mut server = Self { folder, port: 0, process: None, program };
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

    /// Its address as its clients take it; it lets everybody in.
    pub fn url(&self) -> SecretString {
        self.url_by(self.address())
    }

    /// The same for clients that reach it by a way of the test's own.
    pub fn url_by(&self, way: SocketAddr) -> SecretString {
        P::url(way).into()
    }

    /// Where its data is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        process::local(self.port)
    }

    /// Ends it in good order, without waiting for its clients.
    pub fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(P::STOP);
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
        let (address, folder) = (self.address(), self.folder.path());
        let log = folder.join("log");
        let mut process =
            Process::spawn(self.program.command(folder, self.port), &log).expect("the program is there");
        let ready = process::ready(&mut process, || P::lives_in(address, folder)).await;
        ready.map_err(|why| {
            let log = fs::read_to_string(log).unwrap_or_default();
            format!("{} on port {}: {why}\n{log}", P::NAME, self.port)
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server was started")
    }
}

impl<P: Program> Drop for Private<P> {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(P::QUIT);
        }
    }
}
