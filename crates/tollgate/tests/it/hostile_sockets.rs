//! Bytes that no HTTP client sends, by hand.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::app::TestApp;

/// What comes back until the server closes; a request ends with `connection: close`.
async fn sent(app: &TestApp, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.http_address()).await.expect("it listens");
    // The server may close before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn headers_have_a_bound_in_size_and_number() {
    let app = TestApp::new().await;
    let large =
        format!("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {}\r\n\r\n", "a".repeat(20_000));
    assert_eq!(status(&sent(&app, large.as_bytes()).await), "431");
    let lines = (0..65).map(|number| format!("x-{number}: a\r\n")).collect::<Vec<_>>().concat();
    let many = format!("GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lines}\r\n");
    assert_eq!(status(&sent(&app, many.as_bytes()).await), "431");
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(40_000));
    assert!(["414", "431"].contains(&status(&sent(&app, long.as_bytes()).await)));
    let fine = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(status(&sent(&app, fine.as_bytes()).await), "200");
    app.finish().await;
}

#[tokio::test]
async fn nonsense_is_400_and_nothing_else() {
    let app = TestApp::new().await;
    for wrong in [
        &b"\x00\x01\x02\x03\r\n\r\n"[..],
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nx-api-key: a\x00b\r\nconnection: close\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nx y: z\r\nconnection: close\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: nine\r\n\r\n",
    ] {
        let answer = sent(&app, wrong).await;
        assert!(
            ["400", "505", ""].contains(&status(&answer)),
            "{}: {answer}",
            String::from_utf8_lossy(wrong)
        );
    }
    app.get("/livez").await.json(200);
    app.finish().await;
}

#[tokio::test]
async fn a_slow_header_is_cut_off() {
    let app = TestApp::with(&[("TOLLGATE__HTTP__HEADER_TIMEOUT_SECONDS", "1")]).await;
    // Never finished: only the server can end this.
    let answer = sent(&app, b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert!(["", "408"].contains(&status(&answer)), "{answer}");
    app.finish().await;
}

#[tokio::test]
async fn a_body_that_ends_early_writes_nothing() {
    let app = TestApp::new().await;
    let user = app.user().await;
    let mut stream = TcpStream::connect(app.http_address()).await.expect("it listens");
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n",
        user.tokens.access
    );
    stream.write_all(head.as_bytes()).await.expect("written");
    stream.write_all(br#"{"name":"#).await.expect("written");
    drop(stream);
    assert_eq!(user.get("/v1/keys").await.json(200)["data"], serde_json::json!([]));
    app.finish().await;
}

#[tokio::test]
async fn http_2_is_spoken_and_bounded_too() {
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let app = TestApp::new().await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<axum::body::Body>();
    let request = |value: &str| {
        let uri = format!("http://{}/livez", app.http_address());
        http::Request::get(uri).header("x-large", value).body(axum::body::Body::empty()).expect("a request")
    };
    let fine = client.request(request("a")).await.expect("an answer");
    assert_eq!((fine.status().as_u16(), fine.version()), (200, http::Version::HTTP_2));
    // The limit was announced, so that a client may refuse by itself.
    if let Ok(large) = client.request(request(&"a".repeat(20_000))).await {
        assert_eq!(large.status(), 431);
    }
    let fine = client.request(request("a")).await.expect("an answer");
    assert_eq!(fine.status(), 200);
    app.finish().await;
}
