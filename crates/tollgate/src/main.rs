//! The program.

use std::process::ExitCode;

use clap::Parser;
use tollgate::{cli::Cli, commands};

// A quarter more calls per second than with the system's allocator (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run(Cli::parse())
}
