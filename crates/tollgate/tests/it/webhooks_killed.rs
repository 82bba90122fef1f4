//! A process is killed while it tells an endpoint something: what was sent and not written down comes again under its id, and
//! counts once; what was waiting comes too.

use std::{collections::BTreeSet, time::Duration};

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tollgate_kernel::{Clock as _, SystemClock};
use tollgate_testkit::MockClock;

use crate::{
    app::{Stores, TestApp},
    http::Answer,
    own_shape::processes::Person,
    process::{Server, borrowed, empty},
    shape::Shape,
    webhooks::SETTINGS,
};

/// However slow this machine is, the process that is killed waits for its answer until then.
const PATIENT: (&str, &str) = ("TOLLGATE__KEYS__WEBHOOK_TIMEOUT_MS", "300000");
/// Longer than what it has claimed is its own: the longest that a request may take, and a minute.
const CLAIM: Duration = Duration::from_mins(8);

/// When the process dies.
#[derive(Clone, Copy)]
enum Death {
    /// The receiver has the message and never answers.
    BeforeTheAnswer,
    /// The answer has been sent, to a process that does nothing any more.
    AfterTheAnswer,
}

/// An endpoint that answers when a test says so.
struct Receiver(TcpListener);

/// What arrived, by a connection that waits for an answer.
struct Arrived {
    id: String,
    body: Value,
    stream: TcpStream,
}

impl Receiver {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.0.local_addr().expect("it listens"))
    }

    /// The next message, all of it, however long that takes.
    async fn next(&self) -> Arrived {
        let (stream, _) = self.0.accept().await.expect("somebody connects");
        let mut reader = BufReader::new(stream);
        let (mut id, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).await.expect("a line");
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                // The first line has no colon with a space, and the last is empty.
                if line == "\r\n" {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "webhook-id" => value.clone_into(&mut id),
                "content-length" => length = value.parse().expect("a number"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.expect("the whole body");
        let body = serde_json::from_slice(&body).expect("JSON");
        Arrived { id, body, stream: reader.into_inner() }
    }
}

impl Arrived {
    /// Says that it has arrived. When this returns, the answer is where the process can read it.
    async fn answer(mut self) {
        let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        self.stream.write_all(answer).await.expect("written");
        self.stream.shutdown().await.expect("written");
    }

    fn key(&self) -> &Value {
        &self.body["data"]["key"]["id"]
    }
}

/// All that the endpoint was told, once nothing of it is pending any more.
async fn settled(list: impl AsyncFn() -> Answer) -> Vec<Value> {
    loop {
        let listed = list().await.json(200)["data"].as_array().unwrap().clone();
        if listed.iter().all(|it| it["status"] != "pending") {
            return listed;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_answer_it_tells_again_under_the_same_id() {
    killed(Death::BeforeTheAnswer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_answer_and_writing_it_down_it_tells_again_under_the_same_id() {
    killed(Death::AfterTheAnswer).await;
}

async fn killed(death: Death) {
    let (shape, dir, receiver) = (Shape::of_this_run(), empty(), Receiver::new().await);
    let stores = Stores::of(shape).await;
    let variables = [&borrowed(stores.settings())[..], &SETTINGS, &[PATIENT]].concat();
    let server = Server::start(dir.path(), &[], &variables);
    let person = Person::new(server.http()).await;
    let hook = json!({ "url": receiver.url(), "events": ["key.created"] });
    let hook = format!("/v1/webhooks/{}", person.post("/v1/webhooks", &hook).await["id"].as_str().unwrap());
    let told = format!("{hook}/deliveries");

    let first = person.post("/v1/keys", &json!({ "name": "told" })).await;
    let arrived = receiver.next().await;
    assert_eq!(arrived.key(), &first["id"]);
    arrived.answer().await;
    settled(async || server.http().call(Method::GET, &told).bearer(&person.access).await).await;

    let second = person.post("/v1/keys", &json!({ "name": "being told" })).await;
    let sent = receiver.next().await;
    assert_eq!(sent.key(), &second["id"]);
    let before = (sent.id.clone(), sent.body.clone());
    // An endpoint that does not answer is told nothing more meanwhile.
    let third = person.post("/v1/keys", &json!({ "name": "waiting" })).await;
    let unanswered = match death {
        Death::BeforeTheAnswer => Some(sent),
        Death::AfterTheAnswer => {
            server.halt();
            sent.answer().await;
            None
        }
    };
    server.signal(Signal::KILL);
    server.ended().await;
    drop(unanswered);

    let clock = MockClock::new();
    clock.set(SystemClock.now() + CLAIM);
    let app = TestApp::start_at(shape, stores, &SETTINGS, clock).await;
    let mut again = Vec::new();
    for _ in 0..2 {
        let arrived = receiver.next().await;
        again.push((arrived.id.clone(), arrived.body.clone()));
        arrived.answer().await;
    }
    let of = |key: &Value| {
        again.iter().filter(|(_, body)| body["data"]["key"]["id"] == key["id"]).collect::<Vec<_>>()
    };
    assert_eq!(of(&second), [&before], "the same message under the same id");
    assert_eq!(of(&third).len(), 1, "what was waiting is not lost");
    let list = settled(async || app.get(&told).bearer(&person.access).await).await;
    let messages: BTreeSet<_> = list.iter().map(|it| it["message_id"].as_str()).collect();
    assert_eq!((list.len(), messages.len()), (3, 3), "{list:?}");
    for it in &list {
        assert_eq!(
            (&it["status"], &it["attempts"]),
            (&json!("delivered"), &json!(1)),
            "written down once: {it}"
        );
    }
    // Nothing else is on its way: what comes next is what is asked for now.
    let test = app.post(&format!("{hook}/test")).bearer(&person.access).json(&json!({})).await.json(202);
    let arrived = receiver.next().await;
    assert_eq!(json!(arrived.id), test["message_id"]);
    arrived.answer().await;
    settled(async || app.get(&told).bearer(&person.access).await).await;
    app.finish().await;
}
