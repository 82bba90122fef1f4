//! A small HTTP client: what a test sends, and what it gets.

use std::{
    future::IntoFuture,
    net::{IpAddr, SocketAddr},
    pin::Pin,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// Connections to one server.
#[derive(Clone)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Body>,
    address: SocketAddr,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http(), address }
    }

    /// From this address of this machine.
    pub(crate) fn from(client: IpAddr, address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(client));
        Self { pool: Pool::builder(TokioExecutor::new()).build(connector), address }
    }

    /// A request, sent when it is awaited.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call {
            client: self.clone(),
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }
}

/// A request that is being put together.
pub(crate) struct Call {
    client: Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// Adds a header; one of the same name stays.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header's value"));
        self
    }

    pub(crate) fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }

    pub(crate) fn api_key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    pub(crate) fn json(self, value: &Value) -> Self {
        self.header("content-type", "application/json").body(value.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let uri = format!("http://{}{}", self.client.address, self.path);
            let mut request = Request::new(Body::from(self.body));
            *request.method_mut() = self.method;
            *request.uri_mut() = uri.parse().expect("a path");
            *request.headers_mut() = self.headers;
            let response = self.client.pool.request(request).await.expect("the server answers");
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("the answer ends").to_bytes();
            Answer { status: parts.status, headers: parts.headers, body }
        })
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().expect("visible ASCII"));
        assert!(values.next().is_none(), "{name} is there twice");
        first
    }

    /// The body, which must be JSON with this status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "{kind}");
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// What was taken away is gone from every verifier.
    #[track_caller]
    pub(crate) fn held(&self) {
        assert_eq!(self.status, 200, "{}", self.text());
        let effect: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(effect["effective"], "acknowledged", "{effect}");
    }

    /// The record that was changed; the change holds for every verifier.
    #[track_caller]
    pub(crate) fn changed(&self) -> Value {
        let record = self.json(200);
        assert_eq!(record["effect"]["effective"], "acknowledged", "{record}");
        record
    }

    /// The body, which must be a problem (RFC 9457) with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem: Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        for member in ["type", "title", "detail", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
        }
        assert_eq!(Some(problem["request_id"].as_str().unwrap()), self.header("x-request-id"));
        problem
    }

    /// A problem about these fields of the request, by JSON pointer.
    #[track_caller]
    pub(crate) fn violates(&self, status: u16, pointers: &[&str]) {
        let problem = self.problem(status, "INVALID_ARGUMENT");
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let named: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(named, pointers, "{problem}");
    }
}
