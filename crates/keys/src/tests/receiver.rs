//! A receiver of webhooks on this machine, that answers as it is told.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

/// What arrived.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Stops with the test.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    answers: Arc<Mutex<VecDeque<u16>>>,
    arrived: mpsc::UnboundedReceiver<Arrived>,
    server: JoinHandle<()>,
}

type Shared = (Arc<Mutex<VecDeque<u16>>>, mpsc::UnboundedSender<Arrived>);

/// An answer that never comes.
pub(crate) const NEVER: u16 = 0;

impl Receiver {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, arrived) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(VecDeque::new()));
        let router = Router::new().route("/hook", post(receive)).with_state((answers.clone(), sender));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { address, answers, arrived, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next requests are answered so; those after them with 204.
    pub(crate) fn answers(&self, statuses: impl IntoIterator<Item = u16>) {
        self.answers.lock().expect("whole").extend(statuses);
    }

    /// The next that arrives.
    pub(crate) async fn next(&mut self) -> Arrived {
        self.arrived.recv().await.expect("the server runs")
    }

    /// All that have arrived.
    pub(crate) fn all(&mut self) -> Vec<Arrived> {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_else(|| panic!("no {name}"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub(crate) fn event(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }
}

async fn receive(State((answers, sender)): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let answer = answers.lock().expect("whole").pop_front().unwrap_or(204);
    let body = String::from_utf8(body.to_vec()).expect("text");
    sender.send(Arrived { headers, body }).expect("the test listens");
    if answer == NEVER {
        std::future::pending::<()>().await;
    }
    StatusCode::from_u16(answer).expect("a status")
}
