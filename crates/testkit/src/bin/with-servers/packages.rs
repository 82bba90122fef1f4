//! Installing what is missing, where that is ours to do: as root, on Debian and Ubuntu.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

use rustix::process::geteuid;

/// What Debian asks before it starts a server that it has installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether packages may be installed.
pub(crate) fn ours_to_install() -> bool {
    geteuid().is_root() && Path::new("/usr/bin/apt-get").exists()
}

/// Installs a package by apt-get, or says what to do instead.
pub(crate) fn install(package: &str) -> Result<(), String> {
    install_all(&[package]).map_err(|why| {
        format!("{why}; or start Docker, or name running servers in TEST_DATABASE_URL and TEST_REDIS_URL")
    })
}

/// Installs packages by apt-get, without starting what is in them, or says what to do instead.
pub(crate) fn install_all(packages: &[&str]) -> Result<(), String> {
    let words = packages.join(" ");
    if !ours_to_install() {
        return Err(format!("needed: {words} (Debian and Ubuntu: apt-get install {words})"));
    }
    eprintln!("with-servers: installing {words}");
    apt_get(&["update"])?;
    let _policy = NothingStarts::new()?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

/// As long as it lives, packages start no servers; unless somebody has a policy already, which then holds.
struct NothingStarts {
    ours: bool,
}

impl NothingStarts {
    fn new() -> Result<Self, String> {
        let ours = !Path::new(POLICY).exists();
        let this = Self { ours };
        if ours {
            // 101: an action that is not allowed.
            let script = fs::write(POLICY, "#!/bin/sh\nexit 101\n");
            let script = script.and_then(|()| fs::set_permissions(POLICY, Permissions::from_mode(0o755)));
            script.map_err(|error| format!("{POLICY}: {error}"))?;
        }
        Ok(this)
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("with-servers: {POLICY} is left behind: {error}");
        }
    }
}

fn apt_get(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    let status = command.args(["-q"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("apt-get {}: {status}", arguments.join(" "))),
        Err(error) => Err(format!("apt-get: {error}")),
    }
}
