//! The command line, as clap reads it. What each command does is in `commands`.

pub mod keys;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{config::LogFormat, roles::Role};

const EXAMPLES: &str = "\
Examples:
  tollgate serve                              everything, on SQLite in ./tollgate-data
  DATABASE_URL=postgres://… REDIS_URL=redis://… tollgate serve
                                              everything, on PostgreSQL and Redis
  tollgate operator create --email ada@example.com
                                              make the first operator
  tollgate config                             what is in force, and where each value comes from";

const SERVE_EXAMPLES: &str = "\
Examples:
  tollgate serve                              all four roles in this process
  tollgate serve --http 0.0.0.0:8080          … reachable from other machines
  tollgate serve --http 127.0.0.1:0           … on a free port; the start prints which
  tollgate serve keys ratelimit               two of the roles; the others are elsewhere
  tollgate serve edge                         the doors alone

A deployment of several processes needs PostgreSQL (DATABASE_URL) and Redis (REDIS_URL),
and `tollgate migrate` before the first start. The roles find each other at the addresses
in [identity] url, [keys] url and [ratelimit] url.";

/// The login desk, the key cabinet and the turnstile in front of your API.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// What applies to every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Default, Args)]
pub struct Common {
    /// Read settings from this file [default: ./tollgate.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the all-in-one shape keeps its data [default: tollgate-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How log lines look [default: text]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all roles, or the named ones
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Bring the database's tables up to date
    ///
    /// Safe to run at any time and from several machines at once. `serve` does this itself when all roles run in one
    /// process; a deployment of several processes runs it as a step of its own before they start.
    Migrate {
        /// Of these roles only (identity, keys) [default: of all]
        #[arg(value_enum)]
        roles: Vec<Role>,
    },
    /// Print the configuration in force and where each value comes from; secrets are hidden
    Config,
    /// Manage operators, the administrators of this instance
    #[command(subcommand)]
    Operator(Operator),
    /// Import, export and manage the keys of a running server, with a service key
    Keys(keys::Keys),
    /// Print the OpenAPI 3.1 document of the HTTP interface
    Openapi,
    /// Make the secrets that a deployment of several processes shares
    #[command(subcommand)]
    Secrets(Secrets),
    /// Ask a server on this machine whether it is ready; exit code 0 if so (for container health checks)
    Health,
}

/// Options of `serve`.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// Run these only [default: all]
    #[arg(value_enum)]
    pub roles: Vec<Role>,
    /// Where HTTP listens [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Where the Gate (gRPC) listens [default: 127.0.0.1:9100]
    #[arg(long, value_name = "ADDR")]
    pub gate: Option<SocketAddr>,
    /// Where metrics and health listen [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
}

/// What can be done about operators.
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// Make a user who administers this instance
    ///
    /// Asks for the password without showing it; or reads one line of the file or of standard input. A password is
    /// never an argument, because arguments are visible to every process on the machine.
    Create {
        /// The operator's e-mail address
        #[arg(long)]
        email: String,
        /// Read the password from this file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
}

/// What can be done about secrets.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Make the secrets' files, those that do not exist yet: master key, mesh token, database password and address
    Init {
        /// Into this directory
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Where PostgreSQL will be reached: what the address of the database says
        #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5432")]
        postgres: String,
        /// Who may read the files, in octal: 0600 for one user; 0444 where a private volume is the protection
        #[arg(long, value_parser = octal, default_value = "0600")]
        mode: u32,
    },
}

fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "write the mode in octal, for example 0600".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn roles_are_words() {
        let cli = Cli::parse_from(["tollgate", "serve", "keys", "ratelimit", "--http", "127.0.0.1:0"]);
        let Command::Serve(serve) = cli.command else { panic!("serve") };
        assert_eq!(serve.roles, [Role::Keys, Role::Ratelimit]);
    }

    #[test]
    fn an_unknown_role_is_refused() {
        assert!(Cli::try_parse_from(["tollgate", "serve", "kyes"]).is_err());
    }

    #[test]
    fn a_key_is_never_an_argument() {
        for words in [
            &["tollgate", "keys", "list", "--service-key", "x"][..],
            &["tollgate", "keys", "verify", "sk_live_0123456789"],
        ] {
            assert!(Cli::try_parse_from(words).is_err());
        }
        let words = ["tollgate", "keys", "import", "a.csv", "--map", "a=hash,b=-", "--service-key-file", "f"];
        let Command::Keys(keys) = Cli::parse_from(words).command else { panic!("keys") };
        let keys::Action::Import(import) = keys.action else { panic!("import") };
        assert_eq!(import.map, ["a=hash", "b=-"]);
    }

    #[test]
    fn a_password_is_never_an_argument() {
        let words = ["tollgate", "operator", "create", "--email", "a@b.c", "--password", "x"];
        assert!(Cli::try_parse_from(words).is_err());
    }
}
