//! What each command does. The command line itself is in `cli`.

mod health;
mod keys;
mod operator;
mod secrets;

use std::{
    fmt,
    future::Future,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use tollgate_kernel::{Fault, OsEntropy, SystemClock};

use crate::{
    banner::banner,
    cli::{Cli, Command, Common, Operator, Secrets, Serve},
    config::{self, Config, Loaded, Mistakes},
    lifecycle::{self, Signals},
    roles::RoleSet,
    storage, telemetry, wiring,
};

/// Exit code of a process whose configuration is wrong; that of a wrong command line, too.
const WRONG_CONFIG: u8 = 2;

/// Why a command did not succeed.
enum Failure {
    Config(Mistakes),
    Fault(Fault),
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::Config(mistakes)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Fault(Fault::internal(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(mistakes) => write!(f, "{mistakes}"),
            Self::Fault(fault) => {
                writeln!(f, "{fault}")?;
                for violation in fault.violated() {
                    writeln!(f, "  {}: {}", violation.pointer.trim_start_matches('/'), violation.detail)?;
                }
                fault.cause().map_or(Ok(()), |cause| writeln!(f, "  cause: {cause}"))
            }
        }
    }
}

/// Does what the command line says.
pub fn run(cli: Cli) -> ExitCode {
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Standard error is all there is to complain to.
            let _ = write!(io::stderr(), "tollgate: {failure}");
            ExitCode::from(if matches!(failure, Failure::Config(_)) { WRONG_CONFIG } else { 1 })
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let common = cli.common;
    match cli.command {
        Command::Serve(options) => serve(&common, &options),
        Command::Migrate { roles } => migrate(&common, &RoleSet::of(&roles)),
        Command::Config => print(&config::printed(&config::load(&common, None, None)?.settings)),
        Command::Operator(Operator::Create { email, password_file }) => {
            let config = quiet(&common)?;
            let password = operator::password(password_file.as_deref())?;
            let id = block_on(operator::create(&config, &email, &password))?;
            print(&format!("{email} is an operator now: {id}\n"))
        }
        Command::Keys(options) => block_on(keys::run(&options)),
        Command::Openapi => {
            print(&(tollgate_edge::openapi().to_pretty_json().map_err(Fault::internal)? + "\n"))
        }
        Command::Secrets(Secrets::Init { dir, postgres, mode }) => {
            print(&secrets::init(&dir, &postgres, mode, &OsEntropy)?)
        }
        Command::Health => {
            let config = quiet(&common)?;
            block_on(health::ask(config.admin.listen))
        }
    }
}

fn serve(common: &Common, options: &Serve) -> Result<(), Failure> {
    let roles = RoleSet::of(&options.roles);
    let Loaded { config, warnings, .. } = config::load(common, Some(options), Some(&roles))?;
    telemetry::start(&config.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    block_on(async {
        // Before the banner: whoever reads it may send a signal at once.
        let signals = Signals::new()?;
        let running = wiring::start(&config, &roles, Arc::new(SystemClock), Arc::new(OsEntropy)).await?;
        print(&banner(&config, &roles, running.addresses()))?;
        lifecycle::until_told(running, signals, config.shutdown.timeout).await?;
        tracing::info!("stopped");
        Ok(())
    })
}

fn migrate(common: &Common, roles: &RoleSet) -> Result<(), Failure> {
    let config = quiet(common)?;
    let applied = block_on(async { Ok(storage::migrate(&config, roles).await?) })?;
    for (role, applied) in applied {
        print(&format!("{role}: {applied} applied\n"))?;
    }
    Ok(())
}

/// The configuration of a command that runs no role.
fn quiet(common: &Common) -> Result<Config, Mistakes> {
    let loaded = config::load(common, None, None)?;
    telemetry::start(&loaded.config.log);
    Ok(loaded.config)
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(work)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // `tollgate openapi | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
