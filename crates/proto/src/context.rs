//! What a request carries through every role: its id and its W3C trace context.
//!
//! [`ContextLayer`] takes both from the headers of a request (HTTP or gRPC), or makes them, and keeps them in scope while
//! the request is handled; [`Context::current`] is what a call to another role sends on.
//!
//! Standard: W3C Trace Context level 2 (`traceparent`).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tollgate_kernel::{Entropy, hex, looks_secret, unhex};
use tower::{Layer, Service};
use tracing::Instrument;

/// The header and metadata name of the request id.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header and metadata name of the trace context.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: Context;
}

/// The id and the trace of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    request_id: Arc<str>,
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

impl Context {
    /// The context of a request with these headers. What is missing or malformed is made anew, never refused and never
    /// repeated back.
    pub fn from_headers(headers: &HeaderMap, entropy: &dyn Entropy) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (trace_id, flags) =
            text(&TRACEPARENT).and_then(parse_traceparent).unwrap_or_else(|| (entropy.bytes(), 0));
        let request_id = text(&REQUEST_ID)
            .filter(|id| is_request_id(id))
            .map_or_else(|| format!("req_{}", hex(&entropy.bytes::<12>())), str::to_owned);
        Self { request_id: request_id.into(), trace_id, parent_id: entropy.bytes(), flags }
    }

    /// The context of the request that is being handled, if one is.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs `future` with this context as the current one.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// The request's id: the client's own if it sent a plain one of at most 128 characters, and no credential.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex(&self.trace_id)
    }

    /// The `traceparent` to send on.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", hex(&self.trace_id), hex(&self.parent_id), self.flags)
    }

    /// Writes both headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let value = |text: &str| HeaderValue::from_str(text).expect("ids are visible ASCII");
        headers.insert(&REQUEST_ID, value(self.request_id()));
        headers.insert(&TRACEPARENT, value(&self.traceparent()));
    }
}

fn is_request_id(id: &str) -> bool {
    let is_plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    (1..=128).contains(&id.len()) && is_plain && !looks_secret(id)
}

/// A path for the log: its words and ids, and `…` for all else, since a client may have put a credential there. All of the name of
/// an RPC.
fn loggable(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    if let ["", service, method] = parts[..]
        && service.contains('.')
        && service.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
        && method.bytes().all(|b| b.is_ascii_alphabetic())
    {
        return path.to_owned();
    }
    parts
        .into_iter()
        .map(|part| if is_word(part) || is_id(part) { part } else { "…" })
        .collect::<Vec<_>>()
        .join("/")
}

/// Shorter than any credential, and plain.
fn is_word(part: &str) -> bool {
    part.len() <= 15
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
}

/// An id of ours: a short word, and 26 letters and digits. Nothing that is secret has this form and one of these words.
fn is_id(part: &str) -> bool {
    const KINDS: [&str; 10] = ["con", "dlv", "inv", "key", "pln", "rol", "sec", "svc", "usr", "whk"];
    part.split_once('_').is_some_and(|(kind, digits)| {
        (kind == "ws" || KINDS.contains(&kind))
            && digits.len() == 26
            && digits.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

/// The trace id and flags of a version-00 `traceparent`; a later version is read as far as 00 reaches.
fn parse_traceparent(text: &str) -> Option<([u8; 16], u8)> {
    let mut parts = text.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let [version] = lower_hex::<1>(version)?;
    let (trace, parent, [flags]) = (lower_hex::<16>(trace)?, lower_hex::<8>(parent)?, lower_hex::<1>(flags)?);
    let trailing = parts.next().is_some();
    let valid = version != 0xff && !(version == 0 && trailing) && trace != [0; 16] && parent != [0; 8];
    // Only the "sampled" flag is known; the others are not propagated.
    valid.then_some((trace, flags & 1))
}

/// In lower case only (W3C Trace Context section 3.2.2).
fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.bytes().all(is_lower).then(|| unhex(text)?.try_into().ok()).flatten()
}

/// Puts every request into its context and its log span, and names the request in the answer.
#[derive(Debug, Clone)]
pub struct ContextLayer(Arc<dyn Entropy>);

impl ContextLayer {
    /// A layer that draws new ids from `entropy`.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self(entropy)
    }
}

impl<S> Layer<S> for ContextLayer {
    type Service = ContextService<S>;

    fn layer(&self, inner: S) -> ContextService<S> {
        ContextService { inner, entropy: self.0.clone() }
    }
}

/// What [`ContextLayer`] makes.
#[derive(Debug, Clone)]
pub struct ContextService<S> {
    inner: S,
    entropy: Arc<dyn Entropy>,
}

impl<S, B, R> Service<Request<B>> for ContextService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let context = Context::from_headers(request.headers(), &*self.entropy);
        // Nothing of the query, and of the rest what can be no credential: all of it may be a mistake of the client's.
        let method = request.method().as_str();
        let span = tracing::info_span!(
            "request",
            id = context.request_id(),
            trace = context.trace_id(),
            method = if looks_secret(method) { "…" } else { method },
            path = loggable(request.uri().path()),
        );
        let handled = {
            let _entered = span.enter();
            CURRENT.sync_scope(context.clone(), || self.inner.call(request))
        };
        let answered = async move {
            let mut response = CURRENT.scope(context.clone(), handled).await?;
            context.write(response.headers_mut());
            Ok(response)
        };
        Box::pin(answered.instrument(span))
    }
}

#[cfg(test)]
mod tests {
    use tollgate_kernel::OsEntropy;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn with(name: &HeaderName, value: &str) -> Context {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header"));
        Context::from_headers(&headers, &OsEntropy)
    }

    #[test]
    fn a_trace_goes_on() {
        let context = with(&TRACEPARENT, GOOD);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.traceparent().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(context.traceparent().ends_with("-01"));
        assert_ne!(context.traceparent(), GOOD, "the parent is now this hop");
    }

    #[test]
    fn a_malformed_trace_is_replaced() {
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            assert_ne!(with(&TRACEPARENT, wrong).trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736", "{wrong}");
        }
    }

    #[test]
    fn of_a_path_words_and_ids_are_logged() {
        for path in [
            "/v1/keys/key_01jd3t9y2ve5rbq2m8xg7kz4hn/overrides/minute",
            "/v1/workspaces/ws_01jd3t9y2ve5rbq2m8xg7kz4hn",
            "/.well-known/jwks.json",
            "/v1/secret-scanning/github",
            "/tollgate.keys.v1.Keys/ListWebhookDeliveries",
            "/",
            "",
        ] {
            assert_eq!(loggable(path), path);
        }
        for (path, logged) in [
            ("/v1/keys/tg_live_1aB2cD3eF4gH", "/v1/keys/…"),
            ("/sk_0123456789/x", "/…/x"),
            ("/v1/0123456789abcdef", "/v1/…"),
            ("/xyz_01jd3t9y2ve5rbq2m8xg7kz4hn", "/…"),
            ("/a.b/tg_live_1", "/a.b/…"),
            ("/A.b/tg1", "/…/tg1"),
            ("//%74g_live", "//…"),
        ] {
            assert_eq!(loggable(path), logged);
        }
    }

    #[test]
    fn a_request_id_is_kept_if_it_is_plain() {
        assert_eq!(with(&REQUEST_ID, "order-7.a:b_c").request_id(), "order-7.a:b_c");
        for wrong in ["", "a b", "<script>", "tg_live_1aB2cD3eF4gH", &"x".repeat(129)] {
            assert!(with(&REQUEST_ID, wrong).request_id().starts_with("req_"), "{wrong}");
        }
    }
}
