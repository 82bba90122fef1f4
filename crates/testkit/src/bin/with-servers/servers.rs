//! Which servers there are, and where they come from.

use std::any::Any;

use tollgate_kernel::ExposeSecret;
use tollgate_testkit::{Namespace, PrivatePostgres, PrivateRedis, env, postgres_answers, redis_answers};

use crate::{container::Container, packages};

/// Both servers, up; what was started for them ends on drop.
pub(crate) struct Servers {
    database: Server,
    redis: Server,
}

struct Server {
    url: String,
    // None if it is somebody else's.
    _ended_on_drop: Option<Box<dyn Any>>,
}

impl Servers {
    /// Brings both up, and installs what tests need beside them.
    pub(crate) async fn start() -> Result<Self, String> {
        let docker = Container::possible();
        if !Namespace::is_installed() && packages::ours_to_install() {
            // Without them the tests that lose packets say what they need.
            packages::install("iproute2")?;
            packages::install("nftables")?;
        }
        if !curl_is_installed() && packages::ours_to_install() {
            packages::install("curl")?;
        }
        Ok(Self { database: database(docker).await?, redis: redis(docker).await? })
    }

    /// Where PostgreSQL is.
    pub(crate) fn database(&self) -> &str {
        &self.database.url
    }

    /// Where Redis is.
    pub(crate) fn redis(&self) -> &str {
        &self.redis.url
    }
}

/// What the examples of the documentation are pasted for.
fn curl_is_installed() -> bool {
    std::process::Command::new("curl").arg("--version").output().is_ok_and(|said| said.status.success())
}

async fn database(docker: bool) -> Result<Server, String> {
    if let Some(url) = env::get(env::DATABASE) {
        let answers = postgres_answers(&url).await;
        return named(env::DATABASE, url, answers);
    }
    if docker && let Some(container) = container(Container::postgres()) {
        let url = format!("postgres://postgres@{}/postgres", container.address());
        if container.ready(|| postgres_answers(&url)).await {
            return Ok(Server { url, _ended_on_drop: Some(Box::new(container)) });
        }
    }
    if !PrivatePostgres::is_installed() {
        packages::install("postgresql")?;
    }
    if !PrivatePostgres::is_installed() {
        return Err("postgresql was installed, and initdb, postgres or setpriv are not there".to_owned());
    }
    let server = PrivatePostgres::start().await;
    let url = server.url().expose_secret().to_owned();
    Ok(Server { url, _ended_on_drop: Some(Box::new(server)) })
}

async fn redis(docker: bool) -> Result<Server, String> {
    if let Some(url) = env::get(env::REDIS) {
        let answers = redis_answers(&url).await;
        return named(env::REDIS, url, answers);
    }
    if docker && let Some(container) = container(Container::redis()) {
        let url = format!("redis://{}", container.address());
        if container.ready(|| redis_answers(&url)).await {
            return Ok(Server { url, _ended_on_drop: Some(Box::new(container)) });
        }
    }
    if !PrivateRedis::is_installed() {
        packages::install("redis-server")?;
    }
    let server = PrivateRedis::start().await;
    let url = server.url().expose_secret().to_owned();
    Ok(Server { url, _ended_on_drop: Some(Box::new(server)) })
}

fn named(variable: &str, url: String, answers: bool) -> Result<Server, String> {
    // The URL may hold a password, so it is not repeated.
    if answers {
        Ok(Server { url, _ended_on_drop: None })
    } else {
        Err(format!("nothing answers at {variable}"))
    }
}

fn container(started: Result<Container, String>) -> Option<Container> {
    started.inspect_err(|why| eprintln!("with-servers: Docker runs, but: {why}")).ok()
}
