//! An import that is killed in its middle goes on where it was, and two at once make each key once.

use std::{
    net::SocketAddr,
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::*;
use crate::process::tollgate;

const ROWS: usize = 1500;

/// A wire to the server that lets so many bytes through, and then holds the rest until it is let go.
struct Wire {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    left: AtomicUsize,
    free: AtomicBool,
    /// The bytes are used up.
    held: Notify,
}

impl Wire {
    async fn to(server: SocketAddr, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let state = Arc::new(State { left: bytes.into(), free: false.into(), held: Notify::new() });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, shared.clone()));
            }
        });
        Self { address, state }
    }

    fn let_go(&self) {
        self.state.free.store(true, Ordering::SeqCst);
    }
}

async fn carry(client: TcpStream, server: SocketAddr, state: Arc<State>) {
    let (mut from_client, mut to_client) = client.into_split();
    let server = TcpStream::connect(server).await.expect("it listens");
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        if !state.free.load(Ordering::SeqCst) {
            let taken = |left: usize| left.checked_sub(read);
            if state.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, taken).is_err() {
                state.held.notify_one();
                // Who was held here is not let go, and is cut off when it is gone: whoever comes after passes.
                let _ = tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await;
                return;
            }
        }
        if to_server.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

fn table() -> String {
    let rows = (0..ROWS).map(|it| format!("{},key {it},2025-03-01\n", sha256(&foreign(1000 + it))));
    ["key_hash,name,created\n".to_owned()].into_iter().chain(rows).collect()
}

impl Desk {
    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = tollgate(self.dir.path());
        command.args(["keys", "--server", &self.server]).args(arguments);
        command.env("TOLLGATE_SERVICE_KEY", &self.service_key).spawn().expect("the binary starts")
    }
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on_where_it_was() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.write", "keys.export"]).await;
    // Rows are more than 64 bytes each, so that it stops before the last; batches are 200 rows, so that some are done.
    let wire = Wire::to(app.gate_address(), ROWS * 64).await;
    let desk = Desk { server: format!("http://{}", wire.address), ..Desk::of(&app, &service) };
    desk.write("keys.csv", &table());
    let mut killed = desk.start(&["import", "keys.csv"]);
    wire.state.held.notified().await;
    kill_process(Pid::from_child(&killed), Signal::KILL).expect("it runs");
    killed.wait().expect("it ends");
    let kept: Value = serde_json::from_str(&desk.read("keys.csv.progress")).unwrap();
    let line = kept["line"].as_u64().expect("a line");
    assert!(line > 1 && line < ROWS as u64, "in the middle: {kept}");
    assert_eq!(kept["created"], json!(line - 1));

    wire.let_go();
    let said = desk.fine(&["import", "keys.csv"]).await;
    assert!(said.starts_with(&format!("going on after line {line}\n")), "{said}");
    let (created, existing) = counts(&said);
    assert_eq!(created + existing, ROWS as u64, "{said}");
    assert!(!desk.has("keys.csv.progress"));
    desk.fine(&["export", "all.ndjson"]).await;
    assert_eq!(desk.read("all.ndjson").lines().count(), ROWS, "each once");
    for number in [1000, 1000 + ROWS / 2, 1000 + ROWS - 1] {
        assert_eq!(user.verify(&foreign(number)).await["code"], "VALID");
    }
    app.finish().await;
}

/// `N created, M there already`.
fn counts(said: &str) -> (u64, u64) {
    let last = said.lines().last().expect("a line");
    let numbers: Vec<u64> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}

#[tokio::test]
async fn two_imports_of_one_table_at_once_make_each_key_once() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let service = user.service_key(&["keys.write", "keys.export"]).await;
    let (one, two) = (Desk::of(&app, &service), Desk::of(&app, &service));
    for desk in [&one, &two] {
        desk.write("keys.csv", &table());
    }
    let said = tokio::join!(one.fine(&["import", "keys.csv"]), two.fine(&["import", "keys.csv"]));
    let (first, second) = (counts(&said.0), counts(&said.1));
    assert_eq!(first.0 + second.0, ROWS as u64, "{said:?}");
    assert_eq!(first.1 + second.1, ROWS as u64, "{said:?}");
    one.fine(&["export", "all.csv"]).await;
    assert_eq!(one.read("all.csv").lines().count(), ROWS + 1);
    app.finish().await;
}

#[tokio::test]
async fn what_is_kept_of_another_table_says_nothing() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let desk = Desk::of(&app, &user.service_key(&["keys.write"]).await);
    let server = format!("{}/", desk.server);
    let row = |number| format!("key_hash\n{}\n", sha256(&foreign(number)));
    desk.write("keys.csv", &row(1));
    let stale =
        json!({ "file": "00", "server": server, "line": 2, "created": 1, "existing": 0, "invalid": 0 });
    desk.write("keys.csv.progress", &stale.to_string());
    assert_eq!(desk.fine(&["import", "keys.csv"]).await, "1 created, 0 there already, 0 invalid\n");
    // Of this table it says that all is done; `--restart` does not ask it.
    let done = json!({ "file": sha256(&row(1)), "server": server, "line": 2, "created": 1, "existing": 0, "invalid": 0 });
    desk.write("keys.csv.progress", &done.to_string());
    let said = desk.fine(&["import", "keys.csv"]).await;
    assert_eq!(said, "going on after line 2\n1 created, 0 there already, 0 invalid\n");
    desk.write("keys.csv.progress", &done.to_string());
    assert_eq!(
        desk.fine(&["import", "keys.csv", "--restart"]).await,
        "0 created, 1 there already, 0 invalid\n"
    );
    app.finish().await;
}
