//! `/v1/webhooks`: what happens to keys arrives at a real receiver, signed.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{net::TcpListener, sync::mpsc};

use crate::{actors::User, app::TestApp};

/// Quick, to a receiver on this machine.
pub(crate) const SETTINGS: [(&str, &str); 3] = [
    ("TOLLGATE__KEYS__WEBHOOK_INTERVAL_MS", "20"),
    ("TOLLGATE__KEYS__WEBHOOK_PRIVATE_NETWORKS", "true"),
    ("TOLLGATE__KEYS__POLICY_INTERVAL_SECONDS", "1"),
];

/// What arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    headers: HeaderMap,
    body: String,
}

/// A receiver that answers as it is told.
pub(crate) struct Receiver {
    pub(crate) url: String,
    answers: Arc<Mutex<VecDeque<u16>>>,
    arrived: mpsc::UnboundedReceiver<Arrived>,
}

type Shared = (Arc<Mutex<VecDeque<u16>>>, mpsc::UnboundedSender<Arrived>);

impl Receiver {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, arrived) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let router = Router::new().route("/hook", post(receive)).with_state((answers.clone(), sender));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, answers, arrived }
    }

    /// The next that arrives, however long that takes.
    pub(crate) async fn next(&mut self) -> Arrived {
        self.arrived.recv().await.unwrap()
    }

    /// All that has arrived and was not looked at.
    pub(crate) fn so_far(&mut self) -> Vec<Arrived> {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).collect()
    }

    /// A webhook that leads here.
    pub(crate) async fn hook(&self, user: &User<'_>, events: &[&str]) -> Value {
        let made = user.post("/v1/webhooks", &json!({ "url": self.url, "events": events })).await;
        made.json(201)
    }
}

async fn receive(State((answers, sender)): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let answer = answers.lock().unwrap().pop_front().unwrap_or(204);
    // A test that has ended listens no more.
    sender.send(Arrived { headers, body: String::from_utf8(body.to_vec()).unwrap() }).ok();
    StatusCode::from_u16(answer).unwrap()
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// All of it.
    pub(crate) fn said(&self) -> String {
        format!("{:?} {}", self.headers, self.body)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether one of the signatures is by this secret, by another library than the product's.
    fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed =
            format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        self.header("webhook-signature").split(' ').any(|signature| {
            let tag = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(signed.as_bytes());
            mac.verify_slice(&tag).is_ok()
        })
    }
}

#[tokio::test]
async fn the_life_of_a_key_is_told() {
    let app = TestApp::with(&SETTINGS).await;
    let (user, mut receiver) = (app.user().await, Receiver::new().await);
    let made = receiver.hook(&user, &["key.created", "key.rotated", "key.revoked"]).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    app.secret("the secret of a webhook", &secret);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let shown = user.get(&path).await.json(200);
    assert_eq!((&shown["url"], &shown["secret"]), (&made["url"], &Value::Null));

    let key = user.key().create().await;
    let created = receiver.next().await;
    assert!(created.is_signed_by(&secret));
    let said = created.json();
    assert_eq!((&said["type"], &said["data"]["key"]["id"]), (&json!("key.created"), &json!(key.id)));
    assert!(!created.body.contains(&key.key[12..]), "{}", created.body);
    let rotated = user.post(&format!("{}/rotate", key.path()), &json!({})).await.changed();
    let again = receiver.next().await;
    assert_eq!(again.json()["type"], "key.rotated");
    assert!(!again.body.contains(&rotated["key"].as_str().unwrap()[12..]), "{}", again.body);
    user.delete(&key.path()).await.held();
    let revoked = receiver.next().await.json();
    assert_eq!(
        (&revoked["type"], revoked["data"]["key"]["revoked_at"].is_string()),
        (&json!("key.revoked"), true)
    );

    let other = user.post(&format!("{path}/rotate-secret"), &json!({})).await.json(200);
    let other = other["secret"].as_str().unwrap().to_owned();
    app.secret("the secret of a webhook", &other);
    let test = user.post(&format!("{path}/test"), &json!({})).await.json(202);
    let tested = receiver.next().await;
    assert_eq!(
        (tested.header("webhook-id"), &tested.json()["type"]),
        (test["message_id"].as_str().unwrap(), &json!("webhook.test"))
    );
    assert!(tested.is_signed_by(&secret) && tested.is_signed_by(&other));
    assert!(!created.is_signed_by(&other));
    assert_eq!(user.delete(&path).await.status, 204);
    user.get(&path).await.problem(404, "NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn what_does_not_arrive_comes_later_also_after_a_restart() {
    let app = TestApp::with(&SETTINGS).await;
    let (user, mut receiver) = (app.user().await, Receiver::new().await);
    let made = receiver.hook(&user, &["key.created"]).await;
    let secret = made["secret"].as_str().unwrap().to_owned();
    receiver.answers.lock().unwrap().extend([500, 503]);
    user.key().create().await;
    let first = receiver.next().await;
    let path = format!("/v1/webhooks/{}/deliveries", made["id"].as_str().unwrap());
    // It is tried again some time after it is written down that it failed.
    while user.get(&path).await.json(200)["data"][0]["attempts"] != 1 {}
    app.advance(10);
    let second = receiver.next().await;
    while user.get(&path).await.json(200)["data"][0]["attempts"] != 2 {}
    let access = user.tokens.access.clone();
    let app = app.restart(&SETTINGS).await;
    app.advance(600);
    let third = receiver.next().await;
    for it in [&second, &third] {
        assert_eq!((it.header("webhook-id"), &it.body), (first.header("webhook-id"), &first.body));
        assert!(it.is_signed_by(&secret));
    }
    assert_ne!(first.header("webhook-timestamp"), third.header("webhook-timestamp"));
    let list = app.get(&path).bearer(&access).await.json(200);
    let logged = &list["data"][0];
    assert_eq!(logged["event"], "key.created", "{logged}");
    let replay = format!("{path}/{}/replay", logged["id"].as_str().unwrap());
    let again = app.post(&replay).bearer(&access).await.json(202);
    assert_eq!(again["message_id"], first.header("webhook-id"));
    assert_eq!(receiver.next().await.body, first.body);
    let page = app.get(&format!("{path}?limit=1")).bearer(&access).await.json(200);
    assert!(page["next_cursor"].is_string(), "{page}");
    app.finish().await;
}

#[tokio::test]
async fn ends_and_quotas_are_announced() {
    let app = TestApp::with(&SETTINGS).await;
    let (user, mut receiver) = (app.user().await, Receiver::new().await);
    receiver.hook(&user, &["key.expiring", "quota.reached"]).await;
    let expiring = user.key().with("expires_in_days", json!(5)).create().await;
    let said = receiver.next().await.json();
    assert_eq!((&said["type"], &said["data"]["days"]), (&json!("key.expiring"), &json!(7)));
    assert_eq!(said["data"]["key"]["id"], json!(expiring.id));

    let daily =
        json!([{ "name": "daily", "limit": 5, "algorithm": "calendar", "calendar": { "period": "day" } }]);
    let key = user.key().with("limits", daily).create().await;
    for _ in 0..4 {
        key.whoami().await.json(200);
    }
    app.drain_usage().await;
    let said = receiver.next().await.json();
    let quota = &said["data"]["quota"];
    assert_eq!(
        (&quota["percent"], &quota["remaining"], &quota["limit"]),
        (&json!(80), &json!(1), &json!(5)),
        "{said}"
    );
    assert_eq!(
        (&quota["resets_at"], &said["data"]["key"]["id"]),
        (&json!("2026-01-02T00:00:00Z"), &json!(key.id))
    );
    app.advance(10);
    key.whoami().await.json(200);
    app.drain_usage().await;
    assert_eq!(receiver.next().await.json()["data"]["quota"]["percent"], 100);
    app.finish().await;
}

#[tokio::test]
async fn a_rotation_is_planned_announced_and_in_earnest() {
    let app = TestApp::with(&SETTINGS).await;
    let (user, mut receiver) = (app.user().await, Receiver::new().await);
    receiver.hook(&user, &["key.rotation_due", "key.retired"]).await;
    let key = user.key().create().await;
    let path = format!("{}/rotation", key.path());
    user.get(&path).await.problem(404, "NOT_FOUND");
    let put = |body: Value| app.call(Method::PUT, &path).bearer(&user.tokens.access).json(&body);
    put(json!({ "every_days": 0 })).await.violates(422, &["/every_days"]);
    let planned = put(json!({ "every_days": 5, "deadline_days": 1 })).await.json(200);
    let expected = json!({
        "every_days": 5, "deadline_days": 1, "due": false,
        "due_at": "2026-01-06T00:00:00Z", "retires_at": "2026-01-07T00:00:00Z",
    });
    assert_eq!(planned, expected);
    assert_eq!(user.get(&path).await.json(200), expected);
    app.advance(86_400 * 9 / 2);
    let told = receiver.next().await.json();
    assert_eq!((&told["type"], &told["data"]["days"]), (&json!("key.rotation_due"), &json!(1)));
    assert_eq!(told["data"]["key"]["id"], json!(key.id));
    app.advance(86_400 * 2);
    let mut told =
        [receiver.next().await.json()["type"].clone(), receiver.next().await.json()["type"].clone()];
    told.sort_by_key(Value::to_string);
    assert_eq!(told, [json!("key.retired"), json!("key.rotation_due")]);
    let user = user.again().await;
    assert_eq!(user.verify(&key.key).await["code"], "EXPIRED");
    let rotated = user.post(&format!("{}/rotate", key.path()), &json!({})).await.changed();
    let fresh = rotated["key"].as_str().unwrap();
    app.secret("a rotated key", fresh);
    assert_eq!(user.verify(fresh).await["code"], "VALID");
    assert_eq!(user.get(&path).await.json(200)["due"], false);
    assert_eq!(user.delete(&path).await.status, 204);
    user.get(&path).await.problem(404, "NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_is_for_owners_and_on_the_public_internet() {
    let app = TestApp::new().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let body = |url: &str| json!({ "url": url, "events": ["key.created"] });
    for url in [
        "http://127.0.0.1:1/",
        "https://127.0.0.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/",
        "x",
    ] {
        user.post("/v1/webhooks", &body(url)).await.violates(422, &["/url"]);
    }
    user.post("/v1/webhooks", &json!({ "url": "https://example.com/", "events": [] }))
        .await
        .violates(422, &["/events"]);
    user.post("/v1/webhooks", &json!({ "url": "https://example.com/", "events": ["a"] }))
        .await
        .violates(422, &["/events/0"]);
    let machine = user.service_key(&["keys.verify", "keys.read", "keys.write", "usage.read"]).await;
    machine.get("/v1/webhooks").await.problem(403, "FORBIDDEN");
    machine.post("/v1/webhooks", &body("https://example.com/")).await.problem(403, "FORBIDDEN");
    let made = user.post("/v1/webhooks", &body("https://example.com/")).await.json(201);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    stranger.get(&path).await.problem(404, "NOT_FOUND");
    user.patch(&path, &json!({ "enabled": null })).await.violates(422, &["/enabled"]);
    let changed = user.patch(&path, &json!({ "enabled": false, "description": "d" })).await.json(200);
    assert_eq!((&changed["enabled"], &changed["description"]), (&json!(false), &json!("d")));
    user.post(&format!("{path}/test"), &json!({})).await.problem(409, "CONFLICT");
    let unknown = format!("{path}/deliveries/dlv_00000000000000000000000001/replay");
    user.post(&unknown, &json!({})).await.problem(404, "NOT_FOUND");
    let listed = user.get("/v1/webhooks?limit=1").await.json(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    app.finish().await;
}

/// The receiver of the documentation, as a process. Ends with the test.
struct Documented(Child);

impl Drop for Documented {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
#[ignore = "needs python3"]
async fn the_receiver_of_the_documentation_works() {
    let app = TestApp::with(&SETTINGS).await;
    let user = app.user().await;
    let page = include_str!("../../../../docs/webhooks.md");
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    // The port must be known before the secret is: it is told where it will listen, and started when it knows what to believe.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let body = json!({ "url": format!("http://127.0.0.1:{port}/hook"), "events": ["key.created"] });
    let made = user.post("/v1/webhooks", &body).await.json(201);
    let mut command = Command::new("python3");
    command.args(["-c", program]).stdout(Stdio::piped());
    command.env("WEBHOOK_SECRET", made["secret"].as_str().unwrap()).env("PORT", port.to_string());
    // The time of a test stands still.
    command.env("WEBHOOK_OLDEST", "999999999999");
    let mut receiver = Documented(command.spawn().unwrap());
    let mut lines = BufReader::new(receiver.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), format!("listening on {port}"));
    let key = user.key().create().await;
    let line = tokio::task::spawn_blocking(move || lines.next().unwrap().unwrap()).await.unwrap();
    assert!(line.starts_with("key.created ") && line.contains(&key.id), "{line}");
    app.finish().await;
}
