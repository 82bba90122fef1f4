//! Makes what a run needs, as any client would: through the public API.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
    http::{HeaderName, HeaderValue, request::Builder},
};
use serde_json::{Value, json};
use tollgate_kernel::{Entropy, OsEntropy};
use tollgate_proto::gate::VerifyKeyRequest;

use crate::{
    Problem,
    calls::{Calls, HttpRequest},
    http::Connection,
};

/// Wide enough for every call of a run to pass, and real: each call is counted against two limits. They have the names
/// of the plan's, which they replace.
const LIMITS: [&str; 2] = ["minute", "day"];

/// A server with everything that a run needs.
pub(crate) struct Prepared {
    http: SocketAddr,
    gate: SocketAddr,
    keys: Vec<String>,
    service_key: String,
}

impl Prepared {
    /// A user with this many keys, and a service key that may ask about them.
    pub(crate) async fn new(http: SocketAddr, gate: SocketAddr, keys: u32) -> Result<Self, Problem> {
        let mut api = Api::of_a_new_user(http).await?;
        let mut made = Vec::new();
        for _ in 0..keys {
            made.push(api.key().await?.key);
        }
        let service_key = json!({"name": "bench", "permissions": ["keys.verify"]});
        let service_key = text(&api.post("/v1/service-keys", &service_key).await?, "key")?;
        Ok(Self { http, gate, keys: made, service_key })
    }

    /// `POST /v1/keys/verify`, by the service key.
    pub(crate) fn verify_over_http(&self) -> Result<Calls, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {}", self.service_key))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = |key: &String| HttpRequest {
            method: Method::POST,
            path: "/v1/keys/verify",
            headers: headers.clone(),
            body: Bytes::from(json!({ "key": key }).to_string()),
        };
        Ok(Calls::Http { to: self.http, requests: self.keys.iter().map(request).collect() })
    }

    /// `GET /v1/whoami/key`, by each key.
    pub(crate) fn whoami(&self) -> Result<Calls, Problem> {
        let requests = self.keys.iter().map(|key| whoami(key)).collect::<Result<_, _>>()?;
        Ok(Calls::Http { to: self.http, requests })
    }

    /// `Gate/VerifyKey`, by the service key.
    pub(crate) fn verify_over_grpc(&self) -> Result<Calls, Problem> {
        let authorization = Some(format!("Bearer {}", self.service_key).parse()?);
        Ok(Calls::Gate { to: self.gate, authorization, requests: questions(&self.keys) })
    }
}

/// `GET /v1/whoami/key`, by this key.
pub(crate) fn whoami(key: &str) -> Result<HttpRequest, Problem> {
    let name = HeaderName::from_static("x-api-key");
    let headers = HeaderMap::from_iter([(name, HeaderValue::try_from(key)?)]);
    Ok(HttpRequest { method: Method::GET, path: "/v1/whoami/key", headers, body: Bytes::new() })
}

/// `GET /` of the baseline.
pub(crate) fn hello(http: SocketAddr) -> Calls {
    let (headers, body) = (HeaderMap::new(), Bytes::new());
    let request = HttpRequest { method: Method::GET, path: "/", headers, body };
    Calls::Http { to: http, requests: Arc::new([request]) }
}

/// The echo of the baseline, asked what the Gate is asked.
pub(crate) fn echo(gate: SocketAddr) -> Calls {
    let key = format!("tg_live_{}", "0".repeat(61));
    Calls::Gate { to: gate, authorization: None, requests: questions(&[key]) }
}

fn questions(keys: &[String]) -> Arc<[VerifyKeyRequest]> {
    keys.iter().map(|key| VerifyKeyRequest { key: key.clone(), ..VerifyKeyRequest::default() }).collect()
}

/// A text of an answer.
pub(crate) fn text(answer: &Value, field: &str) -> Result<String, Problem> {
    let text = answer[field].as_str().ok_or_else(|| format!("the answer has no {field}"))?;
    Ok(text.to_owned())
}

/// Somebody who has signed up, at one server.
pub(crate) struct Api {
    connection: Connection,
    host: String,
    token: Option<String>,
}

/// A key that was made.
pub(crate) struct Key {
    pub id: String,
    pub key: String,
}

impl Api {
    /// A new user.
    pub(crate) async fn of_a_new_user(http: SocketAddr) -> Result<Self, Problem> {
        let mut api = Self { connection: Connection::new(http), host: http.to_string(), token: None };
        let random = (&OsEntropy as &dyn Entropy).bytes::<8>();
        let name = format!("{:016x}", u64::from_ne_bytes(random));
        let login =
            json!({"email": format!("bench-{name}@example.com"), "password": format!("a passphrase {name}")});
        api.post("/v1/auth/signup", &login).await?;
        api.token = Some(text(&api.post("/v1/auth/login", &login).await?, "access_token")?);
        Ok(api)
    }

    /// The same user at another server.
    pub(crate) fn at(&self, http: SocketAddr) -> Self {
        Self { connection: Connection::new(http), host: http.to_string(), token: self.token.clone() }
    }

    /// A new key with limits as wide as they can be.
    pub(crate) async fn key(&mut self) -> Result<Key, Problem> {
        let limits = LIMITS.map(|name| json!({"name": name, "limit": 1024, "window_seconds": 1}));
        let made = self.post("/v1/keys", &json!({"name": "bench", "limits": limits})).await?;
        Ok(Key { id: text(&made, "id")?, key: text(&made, "key")? })
    }

    /// Revokes a key, and gives what the server says of that.
    pub(crate) async fn revoke(&mut self, key: &Key) -> Result<Value, Problem> {
        let path = format!("/v1/keys/{}", key.id);
        self.send(Request::delete(&path), &path, Bytes::new()).await
    }

    /// What is there.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Value, Problem> {
        self.send(Request::get(path), path, Bytes::new()).await
    }

    /// Changes what is there.
    pub(crate) async fn patch(&mut self, path: &str, body: &Value) -> Result<Value, Problem> {
        let request = Request::patch(path).header(CONTENT_TYPE, "application/json");
        self.send(request, path, Bytes::from(body.to_string())).await
    }

    /// Makes something, or asks with a body.
    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Problem> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json");
        self.send(request, path, Bytes::from(body.to_string())).await
    }

    async fn send(&mut self, request: Builder, path: &str, body: Bytes) -> Result<Value, Problem> {
        let mut request = request.header(HOST, &self.host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = self.connection.send(request.body(Full::new(body))?).await?;
        if !(200..300).contains(&answer.status) {
            let said = String::from_utf8_lossy(&answer.body);
            return Err(format!("{path} answered {}: {said}", answer.status).into());
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }
}
