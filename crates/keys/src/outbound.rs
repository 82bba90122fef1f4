//! Requests that this role sends to others: to the receivers of webhooks, and for the keys that GitHub signs with.
//!
//! Whoever makes an endpoint chooses where this process connects to, so a request goes to the public internet only. A host is
//! resolved once for a request, what it resolves to is checked, and the connection is made to the very address that was checked: a
//! name that resolves otherwise a moment later changes nothing. Redirects are not followed, no connection is kept, and no proxy of
//! the environment is asked.

pub(crate) mod address;

use std::{
    fmt, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    sync::OnceCell,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use self::address::{Target, allowed, is_loopback};

/// How many addresses of one host are tried.
const ADDRESSES: usize = 4;

/// What a process lets requests do.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Whether they may go to private networks.
    pub(crate) private: bool,
    /// For all of a request.
    pub(crate) timeout: Duration,
    /// More certificates that are trusted, in PEM; empty: those of the machine only.
    pub(crate) trusted: PathBuf,
}

/// How hosts come to have addresses.
#[async_trait::async_trait]
pub(crate) trait Resolve: Send + Sync {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// As the machine does it.
pub(crate) struct Machine;

#[async_trait::async_trait]
impl Resolve for Machine {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }
}

/// Sends requests.
pub(crate) struct Outbound {
    rules: Rules,
    resolver: Arc<dyn Resolve>,
    tls: OnceCell<TlsConnector>,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Bytes of the answer's body that are read; what comes after them is not.
    pub(crate) read: usize,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// As much of it as was to be read.
    pub(crate) body: Bytes,
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It took too long.
    Timeout,
    /// The host has no address.
    Dns,
    /// The host has no address that may be sent to.
    Address,
    /// Nobody answers there.
    Connect,
    /// The other side is not who it should be, or does not speak TLS.
    Tls,
    /// The answer is no HTTP, or was cut off.
    Http,
}

impl Failure {
    /// For the log of deliveries. Says nothing about what was found at the address.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Address => "address",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
        }
    }
}

impl Outbound {
    pub(crate) fn new(rules: Rules, resolver: Arc<dyn Resolve>) -> Self {
        Self { rules, resolver, tls: OnceCell::new() }
    }

    /// Whether private networks may be sent to.
    pub(crate) fn private(&self) -> bool {
        self.rules.private
    }

    /// How long a request takes at most.
    pub(crate) fn longest(&self) -> Duration {
        self.rules.timeout
    }

    /// Sends it, once.
    pub(crate) async fn send(&self, target: &Target, request: Outgoing) -> Result<Answer, Failure> {
        timeout(self.rules.timeout, self.exchange(target, request)).await.unwrap_or(Err(Failure::Timeout))
    }

    async fn exchange(&self, target: &Target, request: Outgoing) -> Result<Answer, Failure> {
        let stream = self.connect(target).await?;
        if !target.tls {
            return speak(stream, target, request).await;
        }
        let connector = self.tls.get_or_try_init(|| self.connector()).await?;
        let name = ServerName::try_from(target.host.clone()).map_err(|_| Failure::Tls)?;
        let stream = connector.connect(name, stream).await.map_err(|_| Failure::Tls)?;
        speak(stream, target, request).await
    }

    /// Connects to an address that was checked.
    async fn connect(&self, target: &Target) -> Result<TcpStream, Failure> {
        let found = self.resolver.resolve(&target.host, target.port).await.map_err(|_| Failure::Dns)?;
        if found.is_empty() {
            return Err(Failure::Dns);
        }
        let may = |address: &SocketAddr| {
            allowed(address.ip(), self.rules.private) && (target.tls || is_loopback(address.ip()))
        };
        let mut failure = Failure::Address;
        for address in found.into_iter().filter(may).take(ADDRESSES) {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(_) => failure = Failure::Connect,
            }
        }
        Err(failure)
    }

    /// Trusts what the machine trusts, and what the rules add.
    async fn connector(&self) -> Result<TlsConnector, Failure> {
        let more = self.rules.trusted.clone();
        let roots = tokio::task::spawn_blocking(move || roots(&more)).await.map_err(|_| Failure::Tls)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has what these versions need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn roots(more: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if !more.as_os_str().is_empty() {
        match fs::read(more) {
            Ok(pem) => {
                let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
                roots.add_parsable_certificates(certificates);
            }
            Err(error) => {
                tracing::error!(file = %more.display(), %error, "the certificates to trust cannot be read");
            }
        }
    }
    if roots.is_empty() {
        tracing::warn!("this machine trusts no certificates, so nothing can be sent by https");
    }
    roots
}

async fn speak<S>(stream: S, target: &Target, request: Outgoing) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Http)?;
    let Outgoing { method, headers, body, read } = request;
    let mut message = Request::new(Full::new(body));
    *message.method_mut() = method;
    *message.uri_mut() = target.path.parse().map_err(|_| Failure::Http)?;
    *message.headers_mut() = headers;
    let host = target.authority.parse().map_err(|_| Failure::Http)?;
    message.headers_mut().insert(HOST, host);
    let exchange = async {
        let response = sender.send_request(message).await.map_err(|_| Failure::Http)?;
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while bytes.len() < read {
            let Some(frame) = body.frame().await else { break };
            if let Ok(data) = frame.map_err(|_| Failure::Http)?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        bytes.truncate(read);
        Ok(Answer { status: head.status, body: bytes.into() })
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => return answer,
        // The other side has closed: what it said before is still to be had.
        _ = connection => {}
    }
    exchange.await
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
