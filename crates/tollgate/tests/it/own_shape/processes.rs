//! The binary as people use it: the session of the README, signals, wrong configurations, four processes.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;
use tollgate_kernel::ExposeSecret as _;
use tollgate_proto::{identity_rpcs, keys_rpcs, mesh::MeshToken, rate_limit_rpcs, remote::Remote};
use tollgate_testkit::{TestDatabase, TestRedis};

use crate::{
    actors::{email, password},
    http::Client,
    process::{Server, empty, run},
};

/// The beginning of a request that never ends.
const ENDLESS: &str = "POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                       content-length: 9\r\nexpect: 100-continue\r\n\r\n";

/// Asks again until the answer is right; the machine's time is the limit, as for whoever uses it.
async fn eventually<T>(within: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(within, asking).await.expect("it comes true in time")
}

/// Somebody at the server's HTTP interface.
pub(crate) struct Person {
    pub(crate) http: Client,
    pub(crate) access: String,
    refresh: String,
}

impl Person {
    pub(crate) async fn new(http: Client) -> Self {
        let body = json!({ "email": email(), "password": password() });
        http.call(Method::POST, "/v1/auth/signup").json(&body).await.json(201);
        let tokens = http.call(Method::POST, "/v1/auth/login").json(&body).await.json(200);
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token"), http }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.http.call(Method::GET, path).bearer(&self.access).await.json(200)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        self.http.call(Method::POST, path).bearer(&self.access).json(body).await.json(201)
    }
}

/// The session of the README, 1 to 7.
async fn session(http: Client, gate: std::net::SocketAddr) {
    let person = Person::new(http.clone()).await;
    assert!(person.get("/v1/me").await["id"].is_string());

    let limits = json!([{ "name": "burst", "limit": 10, "window_seconds": 60 }]);
    let made = person.post("/v1/keys", &json!({ "name": "laptop", "limits": limits })).await;
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let whoami = || http.call(Method::GET, "/v1/whoami/key").api_key(key);
    let mut passed = 0;
    for _ in 0..12 {
        passed += u32::from(whoami().await.status == 200);
    }
    assert_eq!(passed, 10);
    let denied = whoami().await;
    denied.problem(429, "RATE_LIMITED");
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(denied.header(name).is_some(), "{name}");
    }

    let service = json!({ "name": "my api", "permissions": ["keys.verify"] });
    let service = person.post("/v1/service-keys", &service).await["key"].as_str().unwrap().to_owned();
    let ask = http.call(Method::POST, "/v1/keys/verify").bearer(&service).json(&json!({ "key": key }));
    assert_eq!(ask.await.json(200)["code"], "RATE_LIMITED");
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{gate}")).unwrap();
    let channel = endpoint.connect().await.expect("the Gate listens");
    let mut request =
        tonic::Request::new(tollgate_proto::gate::VerifyKeyRequest { key: key.into(), ..Default::default() });
    request.metadata_mut().insert("authorization", format!("Bearer {service}").parse().unwrap());
    let mut client = tollgate_proto::gate::gate_client::GateClient::new(channel);
    let verdict = client.verify_key(request).await.expect("a verdict").into_inner().verdict.unwrap();
    assert_eq!(verdict.code(), tollgate_proto::gate::Code::RateLimited);

    // Within two seconds, on a machine that does nothing else.
    let path = format!("/v1/keys/{id}/usage");
    let usage = eventually(Duration::from_secs(20), async || {
        let usage = person.get(&path).await;
        (usage["total"] == 15 && usage["last_used_at"].is_string()).then_some(usage)
    });
    let usage = usage.await;
    // Of one minute, or of two.
    let valid = usage["data"].as_array().unwrap().iter().filter(|it| it["code"] == "VALID");
    assert_eq!(valid.map(|it| it["count"].as_u64().unwrap()).sum::<u64>(), 10);

    let revoke = http.call(Method::DELETE, &format!("/v1/keys/{id}")).bearer(&person.access);
    revoke.await.held();
    whoami().await.problem(401, "UNAUTHENTICATED");
    let logout = json!({ "refresh_token": person.refresh });
    http.call(Method::POST, "/v1/auth/logout").json(&logout).await.held();
    eventually(Duration::from_secs(20), async || {
        let me = http.call(Method::GET, "/v1/me").bearer(&person.access).await;
        (me.status == 401).then_some(())
    })
    .await;
    assert_eq!(http.call(Method::GET, "/openapi.json").await.status, 200);
}

#[tokio::test]
async fn one_process_on_an_empty_directory_does_the_session_of_the_readme() {
    let dir = empty();
    let server = Server::start(dir.path(), &[], &[]);
    for word in ["http", "docs", "gate", "admin", "data", "counters", "tollgate operator create"] {
        assert!(server.banner.contains(word), "{word} is not in {}", server.banner);
    }
    assert!(!server.banner.contains("identity  "), "all in one opens no port for a role: {}", server.banner);
    session(server.http(), server.at("gate")).await;
    let metrics = Client::new(server.at("admin")).call(Method::GET, "/metrics").await;
    assert_eq!(metrics.status, 200);

    let data = dir.path().join("tollgate-data");
    for (path, mode) in
        [(data.clone(), 0o700), (data.join("master_key"), 0o600), (data.join("keys.db"), 0o600)]
    {
        let found =
            std::fs::metadata(&path).unwrap_or_else(|_| panic!("{}", path.display())).permissions().mode();
        assert_eq!(found & 0o777, mode, "{}", path.display());
    }
    let (status, log) = server.stop().await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn a_stop_flushes_usage() {
    let dir = empty();
    // A drain that would come by itself in an hour.
    let rarely = [("TOLLGATE__KEYS__DRAIN_INTERVAL_MS", "3600000")];
    let server = Server::start(dir.path(), &[], &rarely);
    let person = Person::new(server.http()).await;
    let made = person.post("/v1/keys", &json!({ "name": "a" })).await;
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    for _ in 0..7 {
        server.http().call(Method::GET, "/v1/whoami").api_key(key).await.json(200);
    }
    let (status, log) = server.stop().await;
    assert!(status.success(), "{log}");

    let again = Server::start(dir.path(), &[], &rarely);
    let person = Person { http: again.http(), ..person };
    assert_eq!(person.get(&format!("/v1/keys/{id}/usage")).await["total"], 7);
}

#[tokio::test]
async fn a_request_that_has_begun_is_finished() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = empty();
    let server = Server::start(dir.path(), &[], &[]);
    let mut stream = tokio::net::TcpStream::connect(server.at("http")).await.expect("it listens");
    let body = json!({ "email": email(), "password": password() }).to_string();
    let head = format!(
        "POST /v1/auth/signup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    // The server asks for the body, so the request has begun.
    let mut buffer = [0; 25];
    stream.read_exact(&mut buffer).await.expect("100 Continue");
    server.signal(Signal::TERM);
    stream.write_all(body.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (status, log) = server.ended().await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn a_second_signal_aborts() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = empty();
    let server = Server::start(dir.path(), &[], &[]);
    // A request that never ends keeps the server from stopping.
    let mut stream = tokio::net::TcpStream::connect(server.at("http")).await.expect("it listens");
    stream.write_all(ENDLESS.as_bytes()).await.expect("written");
    let mut buffer = [0; 25];
    stream.read_exact(&mut buffer).await.expect("100 Continue");
    server.signal(Signal::TERM);
    // Two signals at once would be one: the first has been seen when nobody can connect any more.
    eventually(Duration::from_secs(20), async || {
        tokio::net::TcpStream::connect(server.at("http")).await.err().map(drop)
    })
    .await;
    server.signal(Signal::TERM);
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("a second signal"), "{log}");
}

#[tokio::test]
async fn a_client_that_never_ends_is_cut_off_and_usage_is_flushed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = empty();
    let impatient =
        [("TOLLGATE__SHUTDOWN__TIMEOUT_SECONDS", "2"), ("TOLLGATE__KEYS__DRAIN_INTERVAL_MS", "3600000")];
    let server = Server::start(dir.path(), &[], &impatient);
    let person = Person::new(server.http()).await;
    let made = person.post("/v1/keys", &json!({ "name": "a" })).await;
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    server.http().call(Method::GET, "/v1/whoami").api_key(key).await.json(200);
    let mut stream = tokio::net::TcpStream::connect(server.at("http")).await.expect("it listens");
    stream.write_all(ENDLESS.as_bytes()).await.expect("written");
    let mut buffer = [0; 25];
    stream.read_exact(&mut buffer).await.expect("100 Continue");
    let (status, log) = server.stop().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("Cut off") && log.contains("edge"), "{log}");

    let again = Server::start(dir.path(), &[], &[]);
    let person = Person { http: again.http(), ..person };
    assert_eq!(person.get(&format!("/v1/keys/{id}/usage")).await["total"], 1);
}

#[test]
fn a_wrong_configuration_says_what_where_and_how_and_opens_no_port() {
    let dir = empty();
    std::fs::write(dir.path().join("tollgate.toml"), "[http]\nlisten = \"here\"\nlissen = 1\n").unwrap();
    for (arguments, variables, expected) in [
        (vec!["serve"], vec![], vec!["2 mistakes", "http.listen", "http.lissen", "tollgate.toml", "mend:"]),
        (
            vec!["serve", "--config", "/dev/null", "keys"],
            vec![("TOLLGATE__KEYS__LISTEN", "0.0.0.0:0")],
            vec!["database.url", "DATABASE_URL=postgres://", "keys.listen", "TOLLGATE__MESH__TOKEN_FILE"],
        ),
        (vec!["serve", "--config", "missing.toml"], vec![], vec!["missing.toml", "cannot be read"]),
        (
            vec!["serve", "--config", "/dev/null"],
            vec![("DATABASE_URL", "mysql://root:hunter2hunter2@h/d")],
            vec![
                "database.url",
                "environment variable DATABASE_URL",
                "postgres://user:password@host/database",
            ],
        ),
    ] {
        let said = run(dir.path(), &arguments, &variables, "");
        assert_eq!(said.code, 2, "{}", said.err);
        assert_eq!(said.out, "", "nothing was started");
        for part in expected {
            assert!(said.err.contains(part), "{part} is not in\n{}", said.err);
        }
        assert!(!said.err.contains("hunter2"), "{}", said.err);
    }
    assert!(!dir.path().join("tollgate-data").exists());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let dir = empty();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["serve", "--http", &address, "--gate", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let said = run(dir.path(), &arguments, &[], "");
    assert_eq!(said.code, 1);
    assert!(said.err.contains(&address) && said.err.contains("http.listen"), "{}", said.err);
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let dir = empty();
    let _first = Server::start(dir.path(), &[], &[]);
    let arguments = ["serve", "--http", "127.0.0.1:0", "--gate", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let said = run(dir.path(), &arguments, &[], "");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("Another tollgate"), "{}", said.err);
}

#[tokio::test]
async fn json_logs_are_json_line_by_line() {
    let dir = empty();
    let server = Server::start(dir.path(), &["--log-format", "json"], &[("TOLLGATE__LOG__FILTER", "debug")]);
    let secret = password();
    let body = json!({ "email": email(), "password": secret });
    server.http().call(Method::POST, "/v1/auth/login").json(&body).await.problem(401, "UNAUTHENTICATED");
    let (_, log) = server.stop().await;
    assert!(log.lines().count() > 2, "{log}");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string());
    }
    assert!(!log.contains(&secret));
}

#[tokio::test]
async fn health_says_whether_the_server_is_ready() {
    let dir = empty();
    let server = Server::start(dir.path(), &[], &[]);
    let admin = server.at("admin").to_string();
    let variables = [("TOLLGATE__ADMIN__LISTEN", admin.as_str())];
    let said = run(dir.path(), &["health"], &variables, "");
    assert_eq!(said.code, 0, "{}", said.err);
    server.stop().await;
    let said = run(dir.path(), &["health"], &variables, "");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("is not ready"), "{}", said.err);
}

#[test]
fn the_commands_explain_themselves() {
    let dir = empty();
    for (arguments, expected) in [
        (vec!["--help"], vec!["serve", "migrate", "config", "operator", "openapi", "secrets", "Examples:"]),
        (
            vec!["serve", "--help"],
            vec!["--http", "--gate", "--admin", "--data-dir", "ratelimit", "Examples:"],
        ),
        (vec!["operator", "create", "--help"], vec!["--email", "--password-file"]),
        (vec!["openapi"], vec!["\"openapi\": \"3.1", "/v1/keys/verify"]),
        (vec!["config"], vec!["[http]", "listen = \"127.0.0.1:8080\"", "[identity.throttle.login_pair]"]),
    ] {
        let said = run(dir.path(), &arguments, &[], "");
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        for part in expected {
            assert!(said.out.contains(part), "{arguments:?}: {part} is not in\n{}", said.out);
        }
    }
}

#[test]
fn the_printed_configuration_reads_back_as_the_same() {
    let dir = empty();
    let first = run(dir.path(), &["config"], &[], "").out;
    std::fs::write(dir.path().join("tollgate.toml"), &first).unwrap();
    let said = run(dir.path(), &["config"], &[], "");
    assert_eq!(said.code, 0, "{}", said.err);
    let values = |text: &str| {
        text.lines().map(|line| line.split("   # from:").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&said.out), values(&first));
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn four_processes_do_the_session_of_the_readme() {
    let dir = empty();
    let (database, redis) = (TestDatabase::postgres().await, TestRedis::shared());
    let said = run(dir.path(), &["secrets", "init", "--dir", "secrets"], &[], "");
    assert_eq!(said.code, 0, "{}", said.err);
    let (database, redis_url) = (database.url(), redis.url());
    let mut variables = vec![
        ("DATABASE_URL", database.expose_secret()),
        ("REDIS_URL", redis_url.expose_secret()),
        ("TOLLGATE__RATELIMIT__REDIS_PREFIX", redis.prefix()),
        ("TOLLGATE__RATELIMIT__REDIS_TIMEOUT_MS", "10000"),
        ("TOLLGATE__MASTER_KEY_FILE", "secrets/master_key"),
        ("TOLLGATE__MESH__TOKEN_FILE", "secrets/mesh_token"),
    ];
    let ratelimit = Server::start(dir.path(), &["ratelimit"], &variables);
    let ratelimit_url = format!("http://{}", ratelimit.at("ratelimit"));
    variables.push(("TOLLGATE__RATELIMIT__URL", &ratelimit_url));

    let mut early = vec!["serve", "keys"];
    early.extend(["--admin", "127.0.0.1:0"]);
    let refused = run(dir.path(), &early, &variables, "");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("tollgate migrate"), "{}", refused.err);
    for applied in ["12 applied", "0 applied"] {
        let said = run(dir.path(), &["migrate"], &variables, "");
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.contains(&format!("keys: {applied}")), "{}", said.out);
    }

    let identity = Server::start(dir.path(), &["identity"], &variables);
    let keys = Server::start(dir.path(), &["keys"], &variables);
    let identity_url = format!("http://{}", identity.at("identity"));
    let keys_url = format!("http://{}", keys.at("keys"));
    variables
        .extend([("TOLLGATE__IDENTITY__URL", identity_url.as_str()), ("TOLLGATE__KEYS__URL", &keys_url)]);
    let edge = Server::start(dir.path(), &["edge"], &variables);
    session(edge.http(), edge.at("gate")).await;
    mesh_token_is_needed(keys.at("keys")).await;
    let mesh = std::fs::read_to_string(dir.path().join("secrets/mesh_token")).expect("it was made");
    every_rpc_is_answered(&mesh, [&identity_url, &keys_url, &ratelimit_url]).await;
    for server in [edge, keys, identity, ratelimit] {
        let (status, log) = server.stop().await;
        assert!(status.success(), "{log}");
    }
}

/// Nobody but the mesh speaks to a role, not even on loopback, once there is a token.
async fn mesh_token_is_needed(keys: std::net::SocketAddr) {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{keys}")).unwrap();
    let channel = endpoint.connect().await.expect("the role listens");
    let mut client = tollgate_proto::keys::keys_client::KeysClient::new(channel);
    let request = tollgate_proto::keys::ListKeysRequest::default();
    let refused = client.list_keys(request).await.expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
}

/// A method that a role's service does not have compiles: the generated trait has a body for it.
async fn every_rpc_is_answered(mesh: &str, [identity, keys, ratelimit]: [&str; 3]) {
    let remote = |url: &str| Remote {
        address: url.parse().expect("a URL"),
        mesh: MeshToken::new(Some(mesh.trim().to_owned().into())),
        timeout: Duration::from_secs(20),
    };
    macro_rules! ask {
        ($role:ident in $package:ident: $($method:ident($request:ident) -> $response:ident;)*) => {
            let role = remote($role).$role();
            let mut let_in = false;
            $(
                let answer = role.$method(tonic::Request::new(tollgate_proto::$package::$request::default())).await;
                let code = answer.err().map(|status| status.code());
                assert_ne!(code, Some(tonic::Code::Unimplemented), stringify!($method));
                let_in |= code != Some(tonic::Code::Unauthenticated);
            )*
            assert!(let_in, "the mesh token is the right one");
        };
    }
    identity_rpcs!(ask! { identity in identity: });
    keys_rpcs!(ask! { keys in keys: });
    rate_limit_rpcs!(ask! { ratelimit in ratelimit: });
}
