//! Servers in Docker containers, removed on drop.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

/// How long a container may take until its server answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running container.
pub(crate) struct Container {
    id: String,
    address: String,
}

impl Container {
    /// Whether a Docker daemon answers.
    pub(crate) fn possible() -> bool {
        docker(&["info"]).is_ok()
    }

    /// PostgreSQL, open to this machine.
    pub(crate) fn postgres() -> Result<Self, String> {
        let trust = "POSTGRES_HOST_AUTH_METHOD=trust";
        let server = ["postgres:16-alpine", "-c", "fsync=off", "-c", "max_connections=300"];
        Self::run("5432", &[&["--env", trust], &server[..]].concat())
    }

    /// Redis, open to this machine.
    pub(crate) fn redis() -> Result<Self, String> {
        Self::run("6379", &["redis:7-alpine"])
    }

    /// `127.0.0.1` and the port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until its server answers. Says so on the terminal if it does not.
    pub(crate) async fn ready<F: Future<Output = bool>>(&self, answers: impl Fn() -> F) -> bool {
        let tries = async {
            while !answers().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let ready = tokio::time::timeout(PATIENCE, tries).await.is_ok();
        if !ready {
            eprintln!("with-servers: the container {} does not answer at {}", self.id, self.address);
        }
        ready
    }

    fn run(port: &str, rest: &[&str]) -> Result<Self, String> {
        let publish = format!("127.0.0.1::{port}");
        let run = ["run", "--detach", "--rm", "--publish", &publish];
        let mut container = Self { id: docker(&[&run[..], rest].concat())?, address: String::new() };
        container.address = docker(&["port", &container.id, port])?;
        Ok(container)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(why) = docker(&["rm", "--force", "--volumes", &self.id]) {
            eprintln!("with-servers: the container {} is left behind: {why}", self.id);
        }
    }
}

/// What `docker` prints in its first line, or what it complains of.
fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = if output.status.success() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(text);
    if output.status.success() {
        Ok(text.lines().next().unwrap_or_default().to_owned())
    } else {
        Err(text.trim().to_owned())
    }
}
