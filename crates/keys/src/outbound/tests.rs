//! Against real servers on this machine: what is reached, what is not, and when it is given up.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Answers with what it is told to, in turn.
#[derive(Default)]
struct Names {
    answers: Mutex<Vec<Vec<SocketAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    fn new(answers: Vec<Vec<SocketAddr>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers), asked: AtomicUsize::new(0) })
    }
}

#[async_trait::async_trait]
impl Resolve for Names {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().expect("whole");
        if answers.is_empty() { Err(io::Error::other("no such name")) } else { Ok(answers.remove(0)) }
    }
}

fn rules(private: bool) -> Rules {
    Rules { private, timeout: Duration::from_secs(30), trusted: PathBuf::new() }
}

fn post() -> Outgoing {
    let headers = HeaderMap::from_iter([(http::header::ACCEPT, http::HeaderValue::from_static("a/b"))]);
    Outgoing { method: Method::POST, headers, body: Bytes::from_static(b"the body"), read: 1024 }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Answers one request and gives what was asked.
fn answering(listener: TcpListener, answer: &'static str) -> JoinHandle<String> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        answer_on(&mut stream, answer).await
    })
}

async fn answer_on(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), answer: &str) -> String {
    let mut asked = String::new();
    while !asked.ends_with("the body") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece).await.expect("a request");
        assert!(read > 0, "it ended early: {asked}");
        asked.push_str(std::str::from_utf8(&piece[..read]).expect("text"));
    }
    stream.write_all(answer.as_bytes()).await.expect("written");
    stream.shutdown().await.ok();
    asked
}

fn target(url: &str) -> Target {
    Target::parse(url, true).expect("a target")
}

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let (listener, address) = listener().await;
    let server = answering(listener, OK);
    let outbound = Outbound::new(rules(true), Arc::new(Machine));
    let url = format!("http://127.0.0.1:{}/a?b=c", address.port());
    let answer = outbound.send(&target(&url), post()).await.expect("an answer");
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"hello"[..]));
    let asked = server.await.expect("asked");
    assert!(asked.starts_with("POST /a?b=c HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: 127.0.0.1:{}\r\n", address.port())), "{asked}");
    assert!(asked.contains("accept: a/b\r\n") && asked.contains("content-length: 8\r\n"), "{asked}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (listener, address) = listener().await;
    let answer = "HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let server = answering(listener, answer);
    let outbound = Outbound::new(rules(true), Arc::new(Machine));
    let answer = outbound.send(&target(&format!("http://{address}/")), post()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    server.await.expect("asked once");
}

#[tokio::test]
async fn no_more_is_read_than_was_to_be_read() {
    let (listener, address) = listener().await;
    // An answer that never ends.
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let asked = stream.read(&mut [0; 1024]).await.expect("a request");
        assert!(asked > 0);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("written");
        let chunk = format!("1000\r\n{}\r\n", "a".repeat(4096));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    });
    let outbound = Outbound::new(rules(true), Arc::new(Machine));
    let request = Outgoing { read: 10_000, ..post() };
    let answer = outbound.send(&target(&format!("http://{address}/")), request).await.expect("an answer");
    assert_eq!(answer.body.len(), 10_000);
    server.await.expect("the connection was closed");
}

#[tokio::test]
async fn what_is_not_allowed_is_not_connected_to() {
    let (listener, address) = listener().await;
    let outbound = Outbound::new(rules(false), Names::new(vec![vec![address]]));
    let public = Target::parse("https://public.example.com/", false).expect("a target");
    assert_eq!(outbound.send(&public, post()).await.expect_err("refused"), Failure::Address);
    let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().expect("an address"), address.port());
    let outbound = Outbound::new(rules(false), Names::new(vec![vec![mapped]]));
    assert_eq!(outbound.send(&public, post()).await.expect_err("refused"), Failure::Address);
    // Also where private networks are allowed: what is sent without TLS stays on this machine, and metadata is never reached.
    for elsewhere in ["10.0.0.1:80", "169.254.169.254:80"] {
        let names = Names::new(vec![vec![elsewhere.parse().expect("an address")]]);
        let outbound = Outbound::new(rules(true), names);
        let local = target("http://localhost/");
        assert_eq!(
            outbound.send(&local, post()).await.expect_err("refused"),
            Failure::Address,
            "{elsewhere}"
        );
    }
    // Nobody has connected: the first to do so is this test.
    let mine = TcpStream::connect(address).await.expect("connected");
    let (_, seen) = listener.accept().await.expect("a connection");
    assert_eq!(seen, mine.local_addr().expect("an address"));
}

#[tokio::test]
async fn a_name_that_resolves_otherwise_a_moment_later_changes_nothing() {
    let (public, private) = (listener().await, listener().await);
    // What is checked is what the first answer says; a second look would lead elsewhere.
    let names = Names::new(vec![vec![public.1], vec![private.1]]);
    let outbound = Outbound::new(rules(true), names.clone());
    let server = answering(public.0, OK);
    let answer = outbound.send(&target("http://localhost/"), post()).await.expect("an answer");
    assert_eq!(answer.status, StatusCode::OK);
    server.await.expect("the address that was checked is the one that was asked");
    assert_eq!(names.asked.load(Ordering::SeqCst), 1, "and there was no second look");
    drop(private);
}

#[tokio::test]
async fn of_several_addresses_the_forbidden_ones_are_passed_over() {
    let (listener, address) = listener().await;
    let metadata = "169.254.169.254:80".parse().expect("an address");
    let outbound = Outbound::new(rules(true), Names::new(vec![vec![metadata, address]]));
    let server = answering(listener, OK);
    outbound.send(&target("http://localhost/"), post()).await.expect("an answer");
    server.await.expect("asked");
}

#[tokio::test]
async fn what_fails_is_named() {
    let (listener, address) = listener().await;
    drop(listener);
    let outbound = Outbound::new(rules(true), Arc::new(Machine));
    let url = format!("http://{address}/");
    assert_eq!(outbound.send(&target(&url), post()).await.expect_err("refused"), Failure::Connect);
    let nowhere = Outbound::new(rules(true), Names::new(vec![vec![]]));
    assert_eq!(nowhere.send(&target(&url), post()).await.expect_err("refused"), Failure::Dns);
    assert_eq!(nowhere.send(&target(&url), post()).await.expect_err("refused"), Failure::Dns);
    for garbage in ["", "no HTTP at all\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort"] {
        let (listener, address) = self::listener().await;
        let server = answering(listener, garbage);
        let failure = outbound.send(&target(&format!("http://{address}/")), post()).await.expect_err(garbage);
        assert_eq!(failure, Failure::Http, "{garbage}");
        server.await.expect("asked");
    }
}

#[tokio::test]
async fn who_never_answers_is_given_up() {
    let (listener, address) = listener().await;
    let outbound =
        Outbound::new(Rules { timeout: Duration::from_millis(50), ..rules(true) }, Arc::new(Machine));
    let target = target(&format!("http://{address}/"));
    let (failure, held) = tokio::join!(outbound.send(&target, post()), listener.accept());
    assert_eq!(failure.expect_err("nobody answers"), Failure::Timeout);
    drop(held);
}

/// A server for `localhost` whose certificate is from a maker of its own, and the maker's certificate as PEM.
fn tls_server() -> (TlsAcceptor, String) {
    let maker_key = KeyPair::generate().expect("a key");
    let mut maker = CertificateParams::new(Vec::new()).expect("parameters");
    maker.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = maker.self_signed(&maker_key).expect("signed").pem();
    let issuer = Issuer::new(maker, maker_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate =
        CertificateParams::new(names).expect("parameters").signed_by(&key, &issuer).expect("signed");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
        )
        .expect("a server");
    (TlsAcceptor::from(Arc::new(config)), pem)
}

#[tokio::test]
async fn only_who_is_trusted_is_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let trusted = dir.path().join("ca.pem");
    let (acceptor, pem) = tls_server();
    fs::write(&trusted, pem).expect("written");
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let mut heard = Vec::new();
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.expect("a connection");
            heard.push(match acceptor.accept(stream).await {
                Ok(mut stream) => answer_on(&mut stream, OK).await,
                Err(_) => "a refusal".to_owned(),
            });
        }
        heard
    });
    let trusting = Outbound::new(Rules { trusted, ..rules(true) }, Arc::new(Machine));
    let port = address.port();
    for host in ["localhost", "127.0.0.1"] {
        let answer = trusting.send(&target(&format!("https://{host}:{port}/")), post()).await;
        assert_eq!(answer.expect("an answer").status, StatusCode::OK, "{host}");
    }
    let strange = Outbound::new(rules(true), Arc::new(Machine));
    let refused = strange.send(&target(&format!("https://localhost:{port}/")), post()).await;
    assert_eq!(refused.expect_err("nobody trusts it"), Failure::Tls);
    let heard = server.await.expect("asked");
    assert!(heard[0].contains(&format!("host: localhost:{port}\r\n")), "{heard:?}");
    assert_eq!(heard[2], "a refusal", "and nothing was said to it");
}
