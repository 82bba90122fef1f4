//! What the settings mean, section by section. Bounds and meanings are in `default.toml`; the roles own their sections.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use http::Uri;
use serde::{Deserialize, Deserializer, de::Error as _};
use tollgate_kernel::SecretString;
use tollgate_proto::mesh::MeshToken;

use super::{Mistakes, Settings, secret};

/// The configuration of one process.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where embedded storage is.
    pub data_dir: PathBuf,
    /// What everything secret in `identity` is derived from.
    pub master_key: Option<SecretString>,
    /// The HTTP server.
    pub http: Http,
    /// The Gate's gRPC server.
    pub gate: Gate,
    /// Metrics and health.
    pub admin: Admin,
    /// Bounds of every gRPC server.
    pub grpc: Grpc,
    /// What access tokens say.
    pub tokens: Tokens,
    /// PostgreSQL, if it is used.
    pub database: Database,
    /// Redis, if it is used.
    pub redis: Redis,
    /// The credential between the roles.
    pub mesh: Mesh,
    /// How changes reach the caches.
    pub changes: Changes,
    /// Log lines.
    pub log: Log,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// What is remembered of calls.
    pub usage: Usage,
    /// Where the identity role listens and is reached.
    pub identity_at: RemoteRole,
    /// Where the keys role listens and is reached.
    pub keys_at: RemoteRole,
    /// Where the ratelimit role listens and is reached.
    pub ratelimit_at: RemoteRole,
    /// The edge role's own settings.
    pub edge: tollgate_edge::Config,
    /// The identity role's own settings.
    pub identity: tollgate_identity::Config,
    /// The keys role's own settings.
    pub keys: tollgate_keys::Config,
    /// The ratelimit role's own settings.
    pub ratelimit: tollgate_ratelimit::Config,
}

/// Section `http`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where HTTP listens.
    pub listen: SocketAddr,
    /// Connections at one time; more wait in the operating system's queue.
    pub max_connections: usize,
    /// Until a connection has sent the header of its next request.
    #[serde(rename = "header_timeout_seconds", deserialize_with = "seconds")]
    pub header_timeout: Duration,
    /// All header fields of a request together.
    pub max_header_bytes: usize,
    /// Header fields of a request.
    pub max_headers: usize,
    /// Requests at one time on one HTTP/2 connection.
    pub max_streams: u32,
    /// How often a quiet HTTP/2 connection is asked whether it is still there.
    #[serde(rename = "keep_alive_seconds", deserialize_with = "seconds")]
    pub keep_alive: Duration,
}

/// Section `gate`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Where the Gate listens.
    pub listen: SocketAddr,
}

/// Section `admin`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where metrics and health listen.
    pub listen: SocketAddr,
}

/// Section `grpc`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Connections at one time, per port.
    pub max_connections: usize,
    /// Calls at one time on one connection.
    pub max_streams: u32,
    /// A request message.
    pub max_message_bytes: usize,
    /// A call that takes longer is given up, here and by whoever calls a role elsewhere.
    #[serde(rename = "timeout_ms", deserialize_with = "millis")]
    pub timeout: Duration,
    /// How often a quiet connection is asked whether it is still there.
    #[serde(rename = "keep_alive_seconds", deserialize_with = "seconds")]
    pub keep_alive: Duration,
}

/// Section `changes`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// How long a verifier that is cut off goes on trusting its cache.
    #[serde(rename = "lease_ms", deserialize_with = "lease")]
    pub lease: Duration,
    /// Memory of each cache of a verifier.
    pub cache_bytes: u64,
}

/// Section `tokens`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    /// `iss`
    pub issuer: String,
    /// `aud`
    pub audience: String,
}

/// Section `database`.
#[derive(Debug, Clone)]
pub struct Database {
    /// `postgres://…`; none: SQLite in the data directory.
    pub url: Option<SecretString>,
    /// Pool and statement bounds.
    pub bounds: DatabaseBounds,
}

/// The rest of section `database`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseBounds {
    /// Connections, per role.
    pub pool_size: usize,
    /// How long a request waits for a connection.
    #[serde(rename = "acquire_timeout_ms", deserialize_with = "millis")]
    pub acquire_timeout: Duration,
    /// How long one read, write or transaction may take.
    #[serde(rename = "work_timeout_ms", deserialize_with = "millis")]
    pub work_timeout: Duration,
}

/// Section `redis`.
#[derive(Debug, Clone)]
pub struct Redis {
    /// `redis://…`; none: counters in this process.
    pub url: Option<SecretString>,
    /// How TLS is spoken there, if the address asks for it.
    pub tls: tollgate_ratelimit::Tls,
}

/// Section `mesh`.
#[derive(Debug, Clone)]
pub struct Mesh {
    /// What one role shows to another.
    pub token: Option<SecretString>,
}

impl Mesh {
    /// The token as the servers and the clients between roles take it.
    pub fn shown(&self) -> MeshToken {
        MeshToken::new(self.token.clone())
    }
}

/// Section `log`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines there are.
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Section `shutdown`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutdown {
    /// How long requests have to finish and tallies to be flushed.
    #[serde(rename = "timeout_seconds", deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// Section `usage`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Whether the network and the program of a key's last call are remembered.
    pub record_client: bool,
}

/// Where a role listens, and where it is reached by processes that do not run it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteRole {
    /// Where it listens when this process runs it and not the others.
    pub listen: SocketAddr,
    /// Where it is reached when it runs elsewhere.
    #[serde(deserialize_with = "role_url")]
    pub url: Uri,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Top {
    #[serde(deserialize_with = "some_path")]
    data_dir: PathBuf,
}

/// Keys of a role's section that are not the role's own affair.
const OUTSIDE: [&str; 2] = ["listen", "url"];

/// Reads every section, so that every mistake is found.
pub(super) fn read(settings: &Settings, mistakes: &mut Mistakes) -> Option<Config> {
    let top = settings.read::<Top>("", &["master_key", "master_key_file"], mistakes);
    let master_key = secret(settings, "master_key", mistakes);
    let http = settings.read("http", &[], mistakes);
    let gate = settings.read("gate", &[], mistakes);
    let admin = settings.read("admin", &[], mistakes);
    let grpc = settings.read("grpc", &[], mistakes);
    let tokens = settings.read("tokens", &[], mistakes);
    let database_url = secret(settings, "database.url", mistakes);
    let database = settings.read("database", &["url", "url_file"], mistakes);
    let redis_url = secret(settings, "redis.url", mistakes);
    let redis_tls = settings.read("redis", &["url", "url_file"], mistakes);
    let mesh = Mesh { token: secret(settings, "mesh.token", mistakes) };
    let changes = settings.read("changes", &[], mistakes);
    let log = settings.read("log", &[], mistakes);
    let shutdown = settings.read("shutdown", &[], mistakes);
    let usage = settings.read("usage", &[], mistakes);
    let [identity_at, keys_at, ratelimit_at] =
        ["identity", "keys", "ratelimit"].map(|role| outside(settings, role, mistakes));
    let edge = settings.read("edge", &[], mistakes);
    let identity = settings.read("identity", &OUTSIDE, mistakes);
    let keys = settings.read("keys", &OUTSIDE, mistakes);
    let ratelimit = settings.read("ratelimit", &OUTSIDE, mistakes);
    Some(Config {
        data_dir: top?.data_dir,
        master_key,
        http: http?,
        gate: gate?,
        admin: admin?,
        grpc: grpc?,
        tokens: tokens?,
        database: Database { url: database_url, bounds: database? },
        redis: Redis { url: redis_url, tls: redis_tls? },
        mesh,
        changes: changes?,
        log: log?,
        shutdown: shutdown?,
        usage: usage?,
        identity_at: identity_at?,
        keys_at: keys_at?,
        ratelimit_at: ratelimit_at?,
        edge: edge?,
        identity: identity?,
        keys: keys?,
        ratelimit: ratelimit?,
    })
}

/// `listen` and `url` of a role's section.
fn outside(settings: &Settings, role: &str, mistakes: &mut Mistakes) -> Option<RemoteRole> {
    let names: Vec<String> = settings.iter().map(|(path, _)| path.to_owned()).collect();
    let others: Vec<&str> = names
        .iter()
        .filter_map(|path| path.strip_prefix(role)?.strip_prefix('.'))
        .filter(|key| !OUTSIDE.contains(key))
        .collect();
    settings.read(role, &others, mistakes)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    positive(deserializer).map(Duration::from_secs)
}

fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    positive(deserializer).map(Duration::from_millis)
}

fn lease<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let millis = u64::deserialize(deserializer)?;
    if !(200..=60_000).contains(&millis) {
        return Err(D::Error::custom("must be 200 to 60000"));
    }
    Ok(Duration::from_millis(millis))
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        0 => Err(D::Error::custom("must be at least 1")),
        number => Ok(number),
    }
}

fn some_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() { Err(D::Error::custom("must not be empty")) } else { Ok(path) }
}

fn role_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<Uri>()
        .ok()
        .filter(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some() && uri.path() == "/")
        .ok_or_else(|| D::Error::custom("must look like http://host:port"))
}
