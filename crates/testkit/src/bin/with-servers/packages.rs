//! Installing what is missing, where that is ours to do: as root, on Debian and Ubuntu.

use std::{path::Path, process::Command};

use rustix::process::geteuid;

/// Whether packages may be installed.
pub(crate) fn ours_to_install() -> bool {
    geteuid().is_root() && Path::new("/usr/bin/apt-get").exists()
}

/// Installs a package by apt-get, or says what to do instead.
pub(crate) fn install(package: &str) -> Result<(), String> {
    if !ours_to_install() {
        return Err(format!(
            "{package} is needed: start Docker, install it (Debian and Ubuntu: apt-get install {package}), \
             or name running servers in TEST_DATABASE_URL and TEST_REDIS_URL"
        ));
    }
    eprintln!("with-servers: installing {package}");
    apt_get(&["update"])?;
    apt_get(&["install", "--yes", "--no-install-recommends", package])
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
