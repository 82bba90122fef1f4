//! A shell in an empty folder beside a fresh server, which knows what curl was answered.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::page::Step;
use crate::process::{PROGRAM, Server, empty};

/// Between what a step prints, what it comes to, and the next.
const CODE: char = '\u{1}';
const NEXT: char = '\u{2}';

/// A shell that is to be run.
pub(super) struct Shell {
    // Before the folder that it works in, so that it ends before that is gone.
    server: Server,
    dir: TempDir,
    programs: TempDir,
}

/// What became of all steps that were come to.
pub(super) struct Ran {
    pub(super) steps: Vec<Done>,
    /// What was said on standard error.
    pub(super) complaints: String,
}

/// What became of a step.
pub(super) struct Done {
    pub(super) code: i32,
    pub(super) printed: String,
    pub(super) calls: Vec<CurlCall>,
}

/// A call of curl.
pub(super) struct CurlCall {
    /// Empty: nobody answered.
    pub(super) status: String,
    arguments: String,
}

impl CurlCall {
    /// Whether its status is in what it prints.
    pub(super) fn shows_its_status(&self) -> bool {
        let shows = |word: &str| {
            word.contains("%{http_code}")
                || word == "--include"
                || word.strip_prefix('-').is_some_and(|flags| {
                    flags.contains('i') && flags.chars().all(|flag| flag.is_ascii_alphabetic())
                })
        };
        self.arguments.split_whitespace().any(shows)
    }
}

impl Shell {
    pub(super) fn beside_a_server() -> Self {
        let (dir, programs) = (empty(), empty());
        let server = Server::start(dir.path(), &[], &[]);
        let here = programs.path();
        symlink(PROGRAM, here.join("the-program")).expect("made");
        let gate = server.at("gate");
        // Where the Gate listens if nobody says otherwise.
        let tollgate = format!(
            "#!/bin/sh\nprogram='{here}/the-program'\n\
             case \"$1\" in keys) shift; exec \"$program\" keys --server http://{gate} \"$@\";; esac\n\
             exec \"$program\" \"$@\"\n",
            here = here.display()
        );
        let curl = format!(
            "#!/bin/sh\n{real} --dump-header '{here}/headers' \"$@\"\ncode=$?\n\
             status=$(sed -n 's|^HTTP/[^ ]* \\([0-9]*\\).*|\\1|p' '{here}/headers' | tail -n 1)\n\
             printf '%s %s\\n' \"$status\" \"$(printf '%s ' \"$@\" | tr '\\n' ' ')\" >> '{here}/calls'\n\
             : > '{here}/headers'\nexit $code\n",
            real = real("curl").display(),
            here = here.display()
        );
        // What is waited for is asked for again where it matters; here nothing is.
        for (name, script) in [("tollgate", &*tollgate), ("curl", &curl), ("sleep", "#!/bin/sh\n")] {
            fs::write(here.join(name), script).expect("written");
            fs::set_permissions(here.join(name), Permissions::from_mode(0o755)).expect("it is there");
        }
        fs::write(here.join("calls"), "").expect("written");
        Self { server, dir, programs }
    }

    /// Runs these steps, one after the other. What is not set is a mistake, and ends it.
    pub(super) fn run<'a>(&self, steps: impl Iterator<Item = &'a Step>) -> Ran {
        let here = self.programs.path().display().to_string();
        let mut script = format!(
            "end_of_step() {{ printf '\\001%s\\n' \"$1\"; cat '{here}/calls'; : > '{here}/calls'; printf '\\002'; }}\n"
        );
        for step in steps {
            script.push_str(&step.command);
            script.push_str("\nend_of_step $?\n");
        }
        let (http, gate) = (self.server.at("http").to_string(), self.server.at("gate").to_string());
        let script = script.replace("127.0.0.1:8080", &http).replace("127.0.0.1:9100", &gate);
        let script = script.replace("https://tollgate.example.com", &format!("http://{http}"));
        let path = format!("{here}:/usr/local/bin:/usr/bin:/bin");
        let mut command = Command::new("sh");
        command.arg("-uc").arg(script).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        let output = command.env("PATH", path).env("HOME", self.dir.path()).output().expect("it runs");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        let steps = printed.split(NEXT).filter_map(done).collect();
        Ran { steps, complaints: String::from_utf8_lossy(&output.stderr).into_owned() }
    }
}

/// What became of a step, if it came to its end.
fn done(printed: &str) -> Option<Done> {
    let (printed, rest) = printed.split_once(CODE)?;
    let (code, calls) = rest.split_once('\n')?;
    let calls = calls.lines().map(|line| {
        let (status, arguments) = line.split_once(' ').expect("a status and a space");
        CurlCall { status: status.to_owned(), arguments: arguments.to_owned() }
    });
    Some(Done { code: code.parse().expect("a code"), printed: printed.to_owned(), calls: calls.collect() })
}

/// The program that is installed.
fn real(name: &str) -> std::path::PathBuf {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin"].map(Path::new);
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is installed (Debian: {name})"))
}
