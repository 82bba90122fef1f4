//! A client, an API, and what every gateway between them must do.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Json, Router, body::Bytes, extract::State};
use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tollgate_testkit::Gateway;

use crate::{
    app::TestApp,
    http::{Answer, Call, Client},
};

/// Where the client is: not where the gateway is, which Tollgate believes.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// What Tollgate is told so that it believes a gateway on 127.0.0.1.
pub(super) const TRUST: (&str, &str) = ("TOLLGATE__EDGE__TRUSTED_PROXIES", "127.0.0.1/32");

/// A configuration in `deploy/gateways`, with the addresses of this test in place of its own.
pub(super) fn configuration(file: &str, places: &[(&str, String)]) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/gateways").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    places.iter().fold(text, |text, (theirs, ours)| {
        assert_eq!(text.matches(theirs).count(), 1, "{theirs} is in {file} once");
        text.replace(theirs, ours)
    })
}

/// Somebody's API: answers 200 with what reached it, and counts.
pub(super) struct Api {
    pub(super) address: SocketAddr,
    calls: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Api {
    pub(super) async fn start() -> Self {
        async fn say(State(calls): State<Arc<AtomicUsize>>, headers: HeaderMap, body: Bytes) -> Json<Value> {
            calls.fetch_add(1, Ordering::SeqCst);
            let header = |name: &http::HeaderName| {
                let values = headers.get_all(name).iter().map(|it| it.to_str().unwrap());
                (name.to_string(), values.collect::<Vec<_>>().join("|").into())
            };
            let headers: Map<_, _> = headers.keys().map(header).collect();
            Json(json!({ "headers": headers, "body": String::from_utf8_lossy(&body) }))
        }
        let calls = Arc::new(AtomicUsize::new(0));
        let router = Router::new().fallback(say).with_state(calls.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = async move { axum_serve(listener, router).await };
        Self { address, calls, serving: tokio::spawn(serving) }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn axum_serve(listener: TcpListener, router: Router) {
    use hyper_util::{rt::TokioIo, server::conn::auto::Builder, service::TowerToHyperService};
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        let connection = async move {
            let builder = Builder::new(hyper_util::rt::TokioExecutor::new());
            // A gateway that goes away ends its connections as it likes.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        };
        tokio::spawn(connection);
    }
}

/// What differs between gateways.
pub(super) struct Traits {
    /// Whether the client hears where its limits stand when its call has passed.
    pub(super) limits_of_passed: bool,
    /// The status without Tollgate.
    pub(super) without_tollgate: u16,
}

/// A client in front of a gateway.
pub(super) struct Bed {
    pub(super) app: TestApp,
    pub(super) api: Api,
    pub(super) gateway: Gateway,
}

impl Bed {
    pub(super) fn client(&self) -> Client {
        Client::from(CLIENT, self.gateway.address())
    }

    fn get(&self) -> Call {
        self.client().call(Method::GET, "/orders")
    }

    /// Everything that a gateway must do.
    pub(super) async fn drive(self, traits: &Traits) {
        self.introduces_keys(traits).await;
        self.introduces_users().await;
        self.refuses().await;
        self.says_when_to_come_back().await;
        self.fails_closed(traits).await;
    }

    async fn introduces_keys(&self, traits: &Traits) {
        let user = self.app.user().await;
        let here = json!([format!("{CLIENT}/32")]);
        let key =
            user.key().with("scopes", json!(["a", "b"])).with("allowed_ips", here.clone()).create().await;
        let call = forged(self.client().call(Method::POST, "/orders")).api_key(&key.key).body("one");
        let passed = call.await;
        let seen = reached(&passed);
        assert_eq!(seen["body"], "one");
        for (name, value) in [
            ("x-tollgate-key-id", key.id.as_str()),
            ("x-tollgate-workspace-id", &user.workspace_id),
            ("x-tollgate-scopes", "a b"),
            ("x-tollgate-plan", "basic"),
        ] {
            assert_eq!(seen["headers"][name], value, "{name}: {seen}");
        }
        nothing_of(&seen, &["x-tollgate-user-id", "x-tollgate-status", "x-api-key", "authorization"]);
        nothing_of(&seen, &["x-tollgate-consumer-id", "x-tollgate-key-retires-at"]);
        assert_eq!(passed.header("ratelimit").is_some(), traits.limits_of_passed, "{:?}", passed.headers);

        let consumer = user.consumer(json!({ "name": "a" })).await;
        let key =
            user.key().with("consumer_id", consumer["id"].clone()).with("allowed_ips", here).create().await;
        let rotated = user.post(&format!("{}/rotate", key.path()), &json!({})).await.json(200);
        self.app.secret("a rotated key", rotated["key"].as_str().expect("a key"));
        let retires = &rotated["previous"]["retires_at"];
        let seen =
            reached(&forged(self.client().call(Method::POST, "/orders")).api_key(&key.key).body("two").await);
        assert_eq!(seen["headers"]["x-tollgate-consumer-id"], consumer["id"], "{seen}");
        assert_eq!(seen["headers"]["x-tollgate-key-retires-at"], *retires, "{seen}");
    }

    async fn introduces_users(&self) {
        let user = self.app.user().await;
        let passed = forged(self.get()).bearer(&user.tokens.access).await;
        let seen = reached(&passed);
        assert_eq!(seen["headers"]["x-tollgate-user-id"], user.id.as_str(), "{seen}");
        let others = ["key-id", "workspace-id", "consumer-id", "scopes", "key-retires-at", "plan", "status"];
        nothing_of(&seen, &others.map(|it| format!("x-tollgate-{it}")));
        nothing_of(&seen, &["authorization"]);
    }

    async fn refuses(&self) {
        let before = self.api.calls();
        let user = self.app.user().await;
        let key = user.key().create().await;
        let elsewhere = user.key().with("allowed_ips", json!(["192.0.2.0/24"])).create().await;

        let nobody = forged(self.get()).await;
        refused(&nobody, 401, "UNAUTHENTICATED");
        assert_eq!(nobody.header("www-authenticate"), Some(r#"Bearer realm="tollgate""#));
        let wrong = self.get().api_key("tg_live_nonsense").await;
        refused(&wrong, 401, "UNAUTHENTICATED");
        let invalid = r#"Bearer realm="tollgate", error="invalid_token""#;
        assert_eq!(wrong.header("www-authenticate"), Some(invalid));

        for two in
            [self.get().api_key(&key.key).api_key(&key.key), self.get().api_key(&key.key).bearer(&key.key)]
        {
            refused(&two.await, 400, "BAD_REQUEST");
        }
        // What the client says of its own address is not believed.
        let lied = self.get().header("x-forwarded-for", "192.0.2.7").api_key(&elsewhere.key).await;
        assert_eq!(lied.status, 403, "{}", lied.text());
        assert_eq!(self.api.calls(), before, "nothing of it reached the API");
    }

    async fn says_when_to_come_back(&self) {
        let user = self.app.user().await;
        let key = user.key().limit(1, 60).create().await;
        reached(&self.get().api_key(&key.key).await);
        let before = self.api.calls();
        let denied = self.get().api_key(&key.key).await;
        refused(&denied, 429, "RATE_LIMITED");
        assert_eq!(denied.header("retry-after"), Some("60"));
        for name in ["ratelimit", "ratelimit-policy"] {
            assert!(denied.header(name).is_some_and(|it| it.contains("per-60")), "{:?}", denied.headers);
        }
        assert_eq!(self.api.calls(), before);
    }

    async fn fails_closed(self, traits: &Traits) {
        let Self { app, api, gateway } = self;
        let user = app.user().await;
        let key = user.key().create().await;
        let client = Client::from(CLIENT, gateway.address());
        let call = || client.call(Method::GET, "/orders").api_key(&key.key);
        reached(&call().await);
        let (key, before) = (key.key.clone(), api.calls());
        app.finish().await;
        let answer = client.call(Method::GET, "/orders").api_key(&key).await;
        assert_eq!(answer.status, traits.without_tollgate, "{}", answer.text());
        assert_eq!(api.calls(), before, "nobody passes");
    }
}

/// With what a client would like the API to believe.
fn forged(call: Call) -> Call {
    let names =
        ["user-id", "key-id", "workspace-id", "consumer-id", "scopes", "key-retires-at", "plan", "status"];
    names.iter().fold(call, |call, name| call.header(&format!("x-tollgate-{name}"), "forged"))
}

/// What the API saw of a call that passed.
#[track_caller]
fn reached(answer: &Answer) -> Value {
    let seen = answer.json(200);
    assert!(!seen.to_string().contains("forged"), "{seen}");
    seen
}

#[track_caller]
fn nothing_of<S: AsRef<str>>(seen: &Value, names: &[S]) {
    for name in names {
        assert_eq!(seen["headers"].get(name.as_ref()), None, "{}: {seen}", name.as_ref());
    }
}

/// A problem (RFC 9457), in Tollgate's words or the gateway's.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{:?}", answer.headers);
    let problem: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{problem}");
}
