//! Keys of another system, brought in by their hashes as people do it: a file, and the command line.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;
use serde_json::json;
use tokio::{process::Command, time::Instant};
use tollgate_kernel::{Entropy as _, OsEntropy};

use crate::{
    Problem,
    set_up::{Api, text},
    shape::Running,
};

/// Rows of the file.
const ROWS: u32 = 50_000;

/// What one import came to.
#[derive(Debug, Serialize)]
pub(super) struct Imported {
    pub(super) keys: u32,
    /// From the start of the program to its end.
    pub(super) seconds: f64,
}

/// Imports a file of SHA-256 hashes, all new.
pub(super) async fn import(tollgate: &Path, running: &Running, api: &mut Api) -> Result<Imported, Problem> {
    let service_key = json!({"name": "import", "permissions": ["keys.write"]});
    let service_key = text(&api.post("/v1/service-keys", &service_key).await?, "key")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("api_keys.csv");
    tokio::fs::write(&file, table()?).await?;
    let started = Instant::now();
    let done = Command::new(tollgate)
        .args(["keys", "import", "--server", &format!("http://{}", running.gate)])
        .arg(&file)
        .env("TOLLGATE_SERVICE_KEY", service_key)
        .output()
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
    if done.status.success() && said.contains(&format!("{ROWS} created")) {
        Ok(Imported { keys: ROWS, seconds })
    } else {
        Err(format!("the import said: {said}").into())
    }
}

/// A column of names and one of hashes: of nothing, but no hash tells.
fn table() -> Result<String, Problem> {
    let mut table = "name,key_hash\n".to_owned();
    for row in 0..ROWS {
        let mut hash = [0; 32];
        OsEntropy.fill(&mut hash);
        write!(table, "imported {row},")?;
        for byte in hash {
            write!(table, "{byte:02x}")?;
        }
        table.push('\n');
    }
    Ok(table)
}
