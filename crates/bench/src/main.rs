//! The load generator behind `scripts/bench`: how many verifies per second, how long each takes, and how that compares
//! with a bare axum "hello" and a bare tonic echo on the same machine in the same minutes.
//!
//! - [`plan`]: what is measured, in which order.
//! - [`shape`]: starts the server in its three shapes, and the baselines, as processes of their own.
//! - [`set_up`]: makes the user, the keys and the service key through the public API.
//! - [`cache`]: the same with the coherent cache and without it.
//! - [`revocation`], [`hammer`]: how long a revoke takes, and that nothing is accepted after it.
//! - [`keys`]: a million keys: made, verified, listed, revoked.
//! - [`limits`]: what a decision about limits costs by itself, beside others who make such decisions.
//! - [`adversary`]: that whoever tries at every millisecond gets no more than a limit says, on Redis and on a Redis Cluster.
//! - [`calls`], [`http`]: the calls that are made. [`load`]: how they are made. [`report`]: what came out.
//!
//! Load goes to loopback, or to the address that `against` names, and every run ends by itself.

mod adversary;
mod baseline;
mod cache;
mod calls;
mod hammer;
mod http;
mod keys;
mod limits;
mod load;
mod plan;
mod report;
mod revocation;
mod set_up;
mod shape;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::{revocation::Case, shape::Shape};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What went wrong, for the person at the terminal.
type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Measures how many calls per second Tollgate verifies, and how long each takes.
#[derive(Debug, Parser)]
#[command(name = "tollgate-bench", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server in each shape, measure, and stop it
    Run {
        /// The server's program
        #[arg(long, value_name = "PATH", default_value = "target/release/tollgate")]
        tollgate: PathBuf,
        /// Which shapes; those with PostgreSQL and Redis use the servers of `TEST_DATABASE_URL` and `TEST_REDIS_URL`
        #[arg(long, value_enum, value_delimiter = ',', default_values = ["sqlite", "postgres", "split"])]
        shapes: Vec<Shape>,
        /// What the server logs; at `info` it writes a line per request
        #[arg(long, value_name = "FILTER", default_value = "warn")]
        log: String,
        #[command(flatten)]
        measure: Measure,
    },
    /// Compare each shape with the same without a cache, in turn
    Cache {
        /// The server's program
        #[arg(long, value_name = "PATH", default_value = "target/release/tollgate")]
        tollgate: PathBuf,
        /// Which shapes; those with PostgreSQL and Redis use the servers of `TEST_DATABASE_URL` and `TEST_REDIS_URL`
        #[arg(long, value_enum, value_delimiter = ',', default_values = ["sqlite", "postgres", "split"])]
        shapes: Vec<Shape>,
        /// What the server logs
        #[arg(long, value_name = "FILTER", default_value = "warn")]
        log: String,
        #[command(flatten)]
        measure: Measure,
    },
    /// Compare what a decision about limits costs in process, over gRPC and over Redis with Limitador and plain counters
    Ratelimit {
        /// The server's program
        #[arg(long, value_name = "PATH", default_value = "target/release/tollgate")]
        tollgate: PathBuf,
        /// What the server logs
        #[arg(long, value_name = "FILTER", default_value = "warn")]
        log: String,
        #[command(flatten)]
        measure: Measure,
    },
    /// Revoke keys that connections present to two edges all the time; fails if one is accepted afterwards
    Revocation {
        /// The server's program
        #[arg(long, value_name = "PATH", default_value = "target/release/tollgate")]
        tollgate: PathBuf,
        /// What the revokes meet
        #[arg(long, value_enum, value_delimiter = ',', default_values = ["well", "silent", "stopped"])]
        cases: Vec<Case>,
        /// Keys that are revoked in each case; a tenth of them where a replica is held still
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rounds: u32,
        /// Connections that present the key, half of them to either edge
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1024))]
        connections: u32,
        /// What the server logs
        #[arg(long, value_name = "FILTER", default_value = "error")]
        log: String,
    },
    /// Try at every millisecond for three windows, on Redis and on a Redis Cluster; fails if one try too many passes
    Adversary {
        /// Microseconds between two tries
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        step: u64,
    },
    /// Make very many keys, and compare verifying and listing them with a few
    Keys {
        /// The server's program
        #[arg(long, value_name = "PATH", default_value = "target/release/tollgate")]
        tollgate: PathBuf,
        /// Which shapes; those with PostgreSQL and Redis use the servers of `TEST_DATABASE_URL` and `TEST_REDIS_URL`
        #[arg(long, value_enum, value_delimiter = ',', default_values = ["sqlite", "postgres"])]
        shapes: Vec<Shape>,
        /// How many keys are very many
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(10_000..=10_000_000))]
        many: u32,
        /// What the server logs
        #[arg(long, value_name = "FILTER", default_value = "warn")]
        log: String,
        /// Rounds of each measurement
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
        rounds: u32,
    },
    /// Measure a server that runs already
    Against {
        /// Its HTTP address
        #[arg(long, value_name = "ADDR")]
        http: SocketAddr,
        /// Its Gate
        #[arg(long, value_name = "ADDR")]
        gate: SocketAddr,
        #[command(flatten)]
        measure: Measure,
    },
    /// Serve the hello and the echo that the others are compared with (what `run` starts beside them)
    Baseline,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, Args)]
struct Measure {
    /// Times that every target is measured, one after the other; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of each of the two measurements of a target in a round, in seconds
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Calls under way at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// API keys, or subjects of limits, that the calls are spread over
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    keys: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    // Dropped when a signal comes, so that what was started is ended and what was made is removed.
    let done = tokio::select! {
        done = run(Cli::parse().command) => done,
        stopped = stopped() => stopped,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("tollgate-bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Problem> {
    match command {
        Command::Run { tollgate, shapes, log, measure } => plan::run(&tollgate, &shapes, &log, measure).await,
        Command::Cache { tollgate, shapes, log, measure } => {
            cache::run(&tollgate, &shapes, &log, measure).await
        }
        Command::Ratelimit { tollgate, log, measure } => limits::run(&tollgate, &log, measure).await,
        Command::Revocation { tollgate, cases, rounds, connections, log } => {
            revocation::run(&tollgate, &cases, &log, rounds, connections).await
        }
        Command::Adversary { step } => adversary::run(Duration::from_micros(step)).await,
        Command::Keys { tollgate, shapes, many, log, rounds } => {
            keys::run(&tollgate, &shapes, many, &log, rounds).await
        }
        Command::Against { http, gate, measure } => plan::against(http, gate, measure).await,
        Command::Baseline => baseline::serve().await,
    }
}

async fn stopped() -> Result<(), Problem> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminate.recv() => {}
    }
    Err("stopped before the end".into())
}
