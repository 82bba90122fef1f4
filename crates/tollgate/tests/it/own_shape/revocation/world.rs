//! Six processes: two edges, each with a keys replica of its own, and one identity and one ratelimit for both.

use std::{net::SocketAddr, path::Path, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use tollgate_kernel::{ExposeSecret as _, SecretString};
use tollgate_testkit::{Namespace, PrivateRedis};

use super::hammer::Hammer;
use crate::{
    actors::{email, password},
    http::{Call, Client},
    process::{Server, empty, run},
};

/// How long to wait for what must come true by itself.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

const SETTINGS: [(&str, &str); 9] = [
    // Longer than the leases, which a revoke may take.
    ("TOLLGATE__GRPC__TIMEOUT_MS", "20000"),
    // A key that is revoked is hammered on.
    ("TOLLGATE__EDGE__PER_IP__PROTECTED", "0"),
    ("TOLLGATE__MESH__TOKEN", "a-mesh-token-of-the-tests"),
    ("TOLLGATE__MASTER_KEY", "0000000000000000000000000000000000000000000000000000000000000000"),
    ("TOLLGATE__IDENTITY__PASSWORD__MEMORY_KIB", "7168"),
    ("TOLLGATE__IDENTITY__PASSWORD__PASSES", "1"),
    ("TOLLGATE__DATABASE__POOL_SIZE", "4"),
    ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "10000"),
    ("TOLLGATE__RATELIMIT__REDIS_CONNECT_TIMEOUT_MS", "10000"),
];

/// Where roles listen.
const ROLES: [&str; 3] =
    ["TOLLGATE__RATELIMIT__LISTEN", "TOLLGATE__IDENTITY__LISTEN", "TOLLGATE__KEYS__LISTEN"];

/// The processes, and somebody who owns keys.
pub(super) struct World {
    edges: [Server; 2],
    /// `edges[n]` knows of `keys[n]` only.
    pub(super) keys: [Server; 2],
    access: String,
    _others: [Server; 2],
    _redis: PrivateRedis,
    _dir: TempDir,
}

/// A key that was made.
pub(super) struct Key {
    id: String,
    pub(super) key: String,
}

/// What a revoke said, and when.
#[derive(Debug)]
pub(super) struct Revoked {
    pub(super) effective: String,
    pub(super) took_ms: u64,
    /// No request that starts after this may be accepted.
    pub(super) returned: Instant,
}

impl World {
    /// On these databases, which the test keeps: each for the keys replica at its place, and the first for identity.
    pub(super) async fn start(databases: [&SecretString; 2]) -> Self {
        Self::build(databases, "2000", None).await
    }

    /// The same with a lease that does not run out on a busy machine, so that every revoke is acknowledged.
    pub(super) async fn patient(databases: [&SecretString; 2]) -> Self {
        Self::build(databases, "8000", None).await
    }

    /// The same with the second edge in a network of its own, which the test keeps.
    pub(super) async fn apart(database: &SecretString, lease_ms: &str, network: &Namespace) -> Self {
        Self::build([database, database], lease_ms, Some(network)).await
    }

    async fn build(databases: [&SecretString; 2], lease_ms: &str, network: Option<&Namespace>) -> Self {
        let (dir, redis) = (empty(), PrivateRedis::start().await);
        let redis_url = redis.url();
        // Where the edge that is apart reaches the others; else the loopback that is the default.
        let here = network.map(|network| format!("{}:0", network.here()));
        let mut variables = SETTINGS.to_vec();
        variables.push(("REDIS_URL", redis_url.expose_secret()));
        variables.push(("TOLLGATE__CHANGES__LEASE_MS", lease_ms));
        variables.extend(here.iter().flat_map(|here| ROLES.map(|role| (role, here.as_str()))));
        let ratelimit = Server::start(dir.path(), &["ratelimit"], &variables);
        let ratelimit_url = format!("http://{}", ratelimit.at("ratelimit"));
        variables.push(("TOLLGATE__RATELIMIT__URL", &ratelimit_url));

        let [first, second] =
            databases.map(|url| [variables.clone(), vec![("DATABASE_URL", url.expose_secret())]].concat());
        let said = run(dir.path(), &["migrate"], &first, "");
        assert_eq!(said.code, 0, "{}", said.err);
        let identity = Server::start(dir.path(), &["identity"], &first);
        let keys = [&first, &second].map(|variables| Server::start(dir.path(), &["keys"], variables));

        let identity_url = format!("http://{}", identity.at("identity"));
        variables.push(("TOLLGATE__IDENTITY__URL", &identity_url));
        let [first, second] = [0, 1].map(|number: usize| format!("http://{}", keys[number].at("keys")));
        let variables = |keys| [&variables[..], &[("TOLLGATE__KEYS__URL", keys)]].concat();
        let near = Server::start(dir.path(), &["edge"], &variables(&first));
        let other = match network {
            None => Server::start(dir.path(), &["edge"], &variables(&second)),
            Some(network) => edge_in(network, dir.path(), &variables(&second)),
        };
        let access = log_in(&near.http()).await;
        Self { edges: [near, other], keys, access, _others: [identity, ratelimit], _redis: redis, _dir: dir }
    }

    /// Connections of one's own to an edge.
    pub(super) fn edge(&self, edge: usize) -> Client {
        self.edges[edge].http()
    }

    /// Where the second edge answers.
    pub(super) fn second_edge(&self) -> SocketAddr {
        self.edges[1].at("http")
    }

    /// A new key, which no limit keeps from being accepted.
    pub(super) async fn key(&self) -> Key {
        let much = |name: &str| json!({ "name": name, "limit": 1024, "window_seconds": 1 });
        // Those of the plan are replaced.
        let body = json!({ "name": "a key", "limits": [much("minute"), much("day")] });
        let made = self.call(0, Method::POST, "/v1/keys").json(&body).await.json(201);
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        Key { id: text("id"), key: text("key") }
    }

    /// Revokes through an edge and its keys replica.
    pub(super) async fn revoke(&self, through: usize, key: &Key) -> Revoked {
        self.try_revoke(through, key).await.expect("it is revoked")
    }

    /// The same while something is broken: the status, if it is the server's fault that nothing is known to hold.
    pub(super) async fn try_revoke(&self, through: usize, key: &Key) -> Result<Revoked, u16> {
        let answer = self.call(through, Method::DELETE, &format!("/v1/keys/{}", key.id)).await;
        let returned = Instant::now();
        if answer.status.is_server_error() {
            return Err(answer.status.as_u16());
        }
        let said: Value = answer.json(200);
        let effective = said["effective"].as_str().expect("text").to_owned();
        Ok(Revoked { effective, took_ms: said["took_ms"].as_u64().expect("a number"), returned })
    }

    /// A fresh key is hammered and revoked; no late accept.
    pub(super) async fn round(&self, through: usize) -> Revoked {
        let key = self.key().await;
        let hammer = Hammer::on(self, &key).await;
        let revoked = self.revoke(through, &key).await;
        hammer.no_accept_after(revoked.returned).await;
        revoked
    }

    /// Rounds through either replica until the word is that all have acknowledged; none of them has a late accept.
    pub(super) async fn acknowledges_again(&self) {
        let rounds = async {
            for through in [0, 1] {
                while self.round(through).await.effective != "acknowledged" {}
            }
        };
        timeout(PATIENCE, rounds).await.expect("it heals by itself");
    }

    /// What an edge says to this key.
    pub(super) async fn status(&self, edge: usize, key: &Key) -> u16 {
        whoami(&self.edge(edge), &key.key).await.status.as_u16()
    }

    /// Waits until an edge accepts this key.
    pub(super) async fn accepts_again(&self, edge: usize, key: &Key) {
        let asking = async { while self.status(edge, key).await != 200 {} };
        timeout(PATIENCE, asking).await.expect("it heals by itself");
    }

    /// Waits until an edge refuses this key.
    pub(super) async fn refuses(&self, edge: usize, key: &Key) {
        let asking = async { while self.status(edge, key).await != 401 {} };
        timeout(PATIENCE, asking).await.expect("it hears of it");
    }

    fn call(&self, edge: usize, method: Method, path: &str) -> Call {
        self.edge(edge).call(method, path).bearer(&self.access)
    }
}

/// A call to a protected route with a key.
pub(super) fn whoami(edge: &Client, key: &str) -> Call {
    edge.call(Method::GET, "/v1/whoami/key").api_key(key)
}

async fn log_in(http: &Client) -> String {
    let body = json!({ "email": email(), "password": password() });
    http.call(Method::POST, "/v1/auth/signup").json(&body).await.json(201);
    let tokens = http.call(Method::POST, "/v1/auth/login").json(&body).await.json(200);
    tokens["access_token"].as_str().expect("text").to_owned()
}

fn edge_in(network: &Namespace, dir: &Path, variables: &[(&str, &str)]) -> Server {
    let there = format!("{}:0", network.there());
    let variables = [variables, &[("TOLLGATE__HTTP__LISTEN", &there)]].concat();
    Server::start_in(network, dir, &["edge"], &variables)
}
