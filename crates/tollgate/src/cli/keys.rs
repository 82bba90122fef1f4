//! `tollgate keys …`: what can be done about the keys of a running server.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use http::Uri;

const EXAMPLES: &str = "\
Examples:
  tollgate keys import api_keys.csv           a table with key_hash, name, created_at, is_active
  tollgate keys import api_keys.csv --map user_id=consumer --create-consumers
  tollgate keys import api_keys.csv --dry-run what would come of it
  tollgate keys export keys.ndjson            all that are not revoked, with their hashes
  tollgate keys verify < a-key                is it good, and why not

The service key is read from the file that --service-key-file names, or from the variable
TOLLGATE_SERVICE_KEY. It says the workspace. Importing needs its permission keys.write, exporting keys.export.";

/// Options of `keys`, and what to do.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Keys {
    /// Where the server's Gate (gRPC) is
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:9100")]
    pub server: Uri,
    /// Read the service key from this file [default: the variable `TOLLGATE_SERVICE_KEY`]
    #[arg(long, global = true, value_name = "FILE")]
    pub service_key_file: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done about keys.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Bring in keys that were made elsewhere, by their hashes
    ///
    /// What is there already stays as it is, so an import may be run again: interrupted, it goes on where it was. The
    /// exit code is 1 if a row could not be taken; the others are.
    Import(Import),
    /// Take out all keys that are not revoked, with the hashes of their secrets: what `import` takes
    Export(Export),
    /// List keys, the newest first
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 25)]
        limit: u32,
    },
    /// Make a key; prints it, this once
    Create {
        /// What it is called
        name: String,
        /// `live` or `test`
        #[arg(long, value_name = "ENVIRONMENT", value_enum, default_value_t)]
        environment: Environment,
        /// What it may do; may be given several times
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// End a key for good
    Revoke {
        /// Its id: key_…
        id: String,
    },
    /// Ask whether a call with a key may pass; the key is the first line of standard input. Exit code 0 if so
    ///
    /// Counts and charges nothing. A key is never an argument, because arguments are visible to every process on the machine.
    Verify {
        /// A scope that the call needs; may be given several times
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
}

/// Where a key may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// In earnest.
    #[default]
    Live,
    /// For trying out.
    Test,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object on each line.
    Ndjson,
    /// RFC 4180, with a line of names first.
    Csv,
}

/// Options of `keys import`.
#[derive(Debug, Args)]
pub struct Import {
    /// A table of keys: .ndjson (or .jsonl), or .csv
    pub file: PathBuf,
    /// How it is written [default: what its name says]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,
    /// What a column means: COLUMN=FIELD, or COLUMN=- to leave it out; commas between several
    #[arg(long, value_name = "COLUMN=FIELD", value_delimiter = ',')]
    pub map: Vec<String>,
    /// The plan of rows that name none [default: the workspace's own]
    #[arg(long, value_name = "NAME")]
    pub plan: Option<String>,
    /// The environment of rows that name none
    #[arg(long, value_name = "ENVIRONMENT", value_enum, default_value_t)]
    pub environment: Environment,
    /// Make the consumers that rows name and that are not there
    #[arg(long)]
    pub create_consumers: bool,
    /// Say what would come of it, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Begin from the first line, whatever an import before has done
    #[arg(long)]
    pub restart: bool,
    /// Write what became of each row into this file, as NDJSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// Options of `keys export`.
#[derive(Debug, Args)]
pub struct Export {
    /// Into this new file, for its owner only [default: standard output]
    pub file: Option<PathBuf>,
    /// How it is written [default: what the file's name says; NDJSON on standard output]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,
}
