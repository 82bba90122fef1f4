//! The processes of a shape, as talkative as they can be, on stores that can be lost.

use std::net::SocketAddr;

use http::Method;
use tempfile::TempDir;
use tollgate_kernel::ExposeSecret as _;
use tollgate_testkit::{PrivatePostgres, PrivateRedis};

use crate::{
    http::Client,
    process::{Server, borrowed, empty, run, split},
    shape::Shape,
    webhooks,
};

/// What all processes are told. The stores answer soon or not at all; what one address may do is not what this is about.
const SETTINGS: [(&str, &str); 9] = [
    ("TOLLGATE__LOG__FILTER", "trace"),
    ("TOLLGATE__EDGE__PER_IP__AUTH", "1000000000"),
    ("TOLLGATE__EDGE__PER_IP__MANAGEMENT", "1000000000"),
    ("TOLLGATE__EDGE__PER_IP__PROTECTED", "1000000000"),
    ("TOLLGATE__EDGE__PER_IP__PUBLIC", "1000000000"),
    ("TOLLGATE__DATABASE__ACQUIRE_TIMEOUT_MS", "2000"),
    ("TOLLGATE__DATABASE__WORK_TIMEOUT_MS", "2000"),
    ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "1000"),
    ("TOLLGATE__RATELIMIT__REDIS_CONNECT_TIMEOUT_MS", "1000"),
];

/// Processes and their stores.
pub(super) struct Deployment {
    // The edge is the last.
    servers: Vec<Server>,
    stores: Option<(PrivatePostgres, PrivateRedis)>,
    pub(super) dir: TempDir,
}

impl Deployment {
    pub(super) async fn start(shape: Shape) -> Self {
        let dir = empty();
        let stores = match shape {
            Shape::Sqlite => None,
            Shape::Postgres | Shape::Split => {
                Some((PrivatePostgres::start().await, PrivateRedis::start().await))
            }
        };
        let mut variables: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| variables.push((name.to_owned(), value.to_owned()));
        SETTINGS.iter().chain(&webhooks::SETTINGS).for_each(|(name, value)| set(name, value));
        if let Some((postgres, redis)) = &stores {
            set("DATABASE_URL", postgres.url().expose_secret());
            set("REDIS_URL", redis.url().expose_secret());
            // Lines for machines have the spans, too.
            set("TOLLGATE__LOG__FORMAT", "json");
        }
        let servers = if shape == Shape::Split {
            split(dir.path(), variables).0.into_iter().map(|(_, server)| server).collect()
        } else {
            set("TOLLGATE__MASTER_KEY_FILE", "secrets/master_key");
            let said = run(dir.path(), &["secrets", "init", "--dir", "secrets"], &[], "");
            assert_eq!(said.code, 0, "{}", said.err);
            vec![Server::start(dir.path(), &[], &borrowed(&variables))]
        };
        Self { servers, stores, dir }
    }

    fn edge(&self) -> &Server {
        self.servers.last().expect("something runs")
    }

    pub(super) fn http(&self) -> Client {
        self.edge().http()
    }

    pub(super) fn gate(&self) -> SocketAddr {
        self.edge().at("gate")
    }

    /// Kills the database, if it can be.
    pub(super) fn lose_postgres(&mut self) -> bool {
        self.stores.as_mut().map(|(postgres, _)| postgres.kill()).is_some()
    }

    pub(super) fn lose_redis(&mut self) {
        self.stores.as_mut().expect("there is one").1.kill();
    }

    pub(super) async fn restart_stores(&mut self) {
        let (postgres, redis) = self.stores.as_mut().expect("there are some");
        postgres.restart().await;
        redis.restart().await;
    }

    /// Ends all processes; what they have said: metrics, logs, and what they print at the start.
    pub(super) async fn end(self) -> Vec<(&'static str, String)> {
        let mut said = Vec::new();
        for server in self.servers.into_iter().rev() {
            let metrics = Client::new(server.at("admin")).call(Method::GET, "/metrics").await;
            said.push(("the metrics of a process", metrics.text()));
            said.push(("what a process prints", server.banner.clone()));
            said.push(("the log of a process", server.stop().await.1));
        }
        said
    }
}
