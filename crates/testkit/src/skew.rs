//! A program whose clock is wrong: the time of day that it is told is off by some seconds, and nothing else is.
//!
//! A library of ours stands before the C library's clocks. It is compiled by the C compiler that this workspace is built with.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

/// Seconds that a program's clock is off. What it is made of is gone with it.
#[derive(Debug)]
pub(crate) struct Skew {
    _folder: TempDir,
    library: PathBuf,
    seconds: i64,
}

impl Skew {
    /// So many seconds ahead; behind, if there are fewer than none.
    pub(crate) fn of(seconds: i64) -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let (source, library) = (folder.path().join("skew.c"), folder.path().join("skew.so"));
        fs::write(&source, include_str!("skew.c")).expect("the folder is ours");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        let status = compiler.status().expect("there is a C compiler, as for the build");
        assert!(status.success(), "{compiler:?}: {status}");
        Self { _folder: folder, library, seconds }
    }

    /// Tells the program the wrong time.
    pub(crate) fn apply(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_SKEW_SECONDS", self.seconds.to_string());
    }
}
