//! Makes what a run needs, as any client would: through the public API.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
    http::{HeaderName, HeaderValue},
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
        let mut api = Api { connection: Connection::new(http), host: http.to_string(), token: None };
        let random = (&OsEntropy as &dyn Entropy).bytes::<8>();
        let name = format!("{:016x}", u64::from_ne_bytes(random));
        let login =
            json!({"email": format!("bench-{name}@example.com"), "password": format!("a passphrase {name}")});
        api.post("/v1/auth/signup", &login).await?;
        api.token = Some(text(&api.post("/v1/auth/login", &login).await?, "access_token")?);
        let limits = LIMITS.map(|name| json!({"name": name, "limit": 1024, "window_seconds": 1}));
        let mut made = Vec::new();
        for number in 0..keys {
            let key = json!({"name": format!("bench {number}"), "limits": limits});
            made.push(text(&api.post("/v1/keys", &key).await?, "key")?);
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
        let request = |key: &String| {
            let name = HeaderName::from_static("x-api-key");
            let headers = HeaderMap::from_iter([(name, HeaderValue::try_from(key)?)]);
            Ok(HttpRequest { method: Method::GET, path: "/v1/whoami/key", headers, body: Bytes::new() })
        };
        let requests = self.keys.iter().map(request).collect::<Result<_, Problem>>()?;
        Ok(Calls::Http { to: self.http, requests })
    }

    /// `Gate/VerifyKey`, by the service key.
    pub(crate) fn verify_over_grpc(&self) -> Result<Calls, Problem> {
        let authorization = Some(format!("Bearer {}", self.service_key).parse()?);
        Ok(Calls::Gate { to: self.gate, authorization, requests: questions(&self.keys) })
    }
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

fn text(answer: &Value, field: &str) -> Result<String, Problem> {
    let text = answer[field].as_str().ok_or_else(|| format!("the answer has no {field}"))?;
    Ok(text.to_owned())
}

struct Api {
    connection: Connection,
    host: String,
    token: Option<String>,
}

impl Api {
    async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Problem> {
        let mut request =
            Request::post(path).header(HOST, &self.host).header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let answer = self.connection.send(request.body(Full::new(Bytes::from(body.to_string())))?).await?;
        if !(200..300).contains(&answer.status) {
            let said = String::from_utf8_lossy(&answer.body);
            return Err(format!("{path} answered {}: {said}", answer.status).into());
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }
}
