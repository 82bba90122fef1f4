//! How far an import has come: kept in a file beside the table, and shown on a terminal.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, hex};

use super::file::unreadable;

const WIDTH: u64 = 30;

/// What became of the rows up to a line, all of which the server has acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// SHA-256 of the file, in hex; of another file it says nothing.
    pub(super) file: String,
    /// Where to.
    pub(super) server: String,
    /// The last line of which the server has said what became of it.
    pub(super) line: u64,
    pub(super) created: u64,
    pub(super) existing: u64,
    pub(super) invalid: u64,
}

/// The digest of a file, and how many lines it has.
pub(super) fn measure(path: &Path) -> Result<(String, u64), Fault> {
    let unread = |error| unreadable(path, error);
    let mut reader = BufReader::new(File::open(path).map_err(unread)?);
    let (mut digest, mut lines) = (Context::new(&SHA256), 0);
    loop {
        let buffer = reader.fill_buf().map_err(unread)?;
        if buffer.is_empty() {
            break;
        }
        digest.update(buffer);
        lines += buffer.split(|byte| *byte == b'\n').skip(1).map(|_| 1).sum::<u64>();
        let used = buffer.len();
        reader.consume(used);
    }
    let digest = digest.finish();
    Ok((hex(digest.as_ref()), lines))
}

/// The file that keeps it.
pub(super) struct Kept(PathBuf);

impl Kept {
    /// Beside this table.
    pub(super) fn beside(table: &Path) -> Self {
        let mut name = table.as_os_str().to_owned();
        name.push(".progress");
        Self(name.into())
    }

    /// What is kept of this file on this server.
    pub(super) fn read(&self, file: &str, server: &str) -> Option<Progress> {
        let kept: Progress = serde_json::from_slice(&fs::read(&self.0).ok()?).ok()?;
        (kept.file == file && kept.server == server).then_some(kept)
    }

    /// In one step: whoever is killed meanwhile leaves the one before.
    pub(super) fn write(&self, progress: &Progress) -> Result<(), io::Error> {
        let mut new = self.0.as_os_str().to_owned();
        // Of its own: two imports of one table at once are two.
        new.push(format!(".{}", std::process::id()));
        fs::write(&new, serde_json::to_vec(progress)?)?;
        fs::rename(&new, &self.0)
    }

    /// It is done.
    pub(super) fn remove(&self) -> Result<(), io::Error> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A line on a terminal that fills; nothing elsewhere.
pub(super) struct Bar {
    lines: u64,
    shown: bool,
}

impl Bar {
    pub(super) fn new(lines: u64) -> Self {
        Self { lines: lines.max(1), shown: io::stderr().is_terminal() }
    }

    pub(super) fn show(&self, line: u64) {
        if self.shown {
            let done = (WIDTH * line.min(self.lines) / self.lines).min(WIDTH);
            let bar: String = (0..WIDTH).map(|at| if at < done { '#' } else { '.' }).collect();
            // What cannot be shown is no reason to stop.
            let _ = write!(io::stderr(), "\r[{bar}] line {line} of {}", self.lines.max(line));
        }
    }

    pub(super) fn end(&self) {
        if self.shown {
            let _ = writeln!(io::stderr());
        }
    }
}
