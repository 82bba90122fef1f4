//! The calls that are made, and what their answers mean.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Request, header::HOST, http::HeaderValue};
use tokio::time::timeout;
use tollgate_proto::gate::{VerifyKeyRequest, VerifyKeyResponse, gate_client::GateClient};
use tonic::{metadata::AsciiMetadataValue, transport::Channel};

use crate::{
    Problem,
    http::{Answer, Connection},
};

/// A call that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many callers share one HTTP/2 connection.
const PER_CHANNEL: usize = 8;

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The call may pass.
    Allowed,
    /// The call may pass; a limit was decided without its store.
    Degraded,
    /// The call was refused: the limits of the run's keys were too narrow.
    Refused,
    /// No answer, or an error.
    Failed,
}

/// What is called, over and over, with one key after the other.
#[derive(Clone)]
pub(crate) enum Calls {
    Http { to: SocketAddr, requests: Arc<[HttpRequest]> },
    Gate { to: SocketAddr, authorization: Option<AsciiMetadataValue>, requests: Arc<[VerifyKeyRequest]> },
}

/// A request that is sent many times.
#[derive(Clone)]
pub(crate) struct HttpRequest {
    pub method: Method,
    pub path: &'static str,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// One of those who call at the same time.
pub(crate) struct Caller {
    door: Door,
    next: usize,
}

enum Door {
    Http {
        connection: Connection,
        host: HeaderValue,
        requests: Arc<[HttpRequest]>,
    },
    Gate {
        client: GateClient<Channel>,
        authorization: Option<AsciiMetadataValue>,
        requests: Arc<[VerifyKeyRequest]>,
    },
}

impl Calls {
    /// This many callers. They start at different keys.
    pub(crate) async fn callers(&self, count: usize) -> Result<Vec<Caller>, Problem> {
        let mut callers = Vec::with_capacity(count);
        let mut client = None;
        for number in 0..count {
            let (door, keys) = match self {
                Self::Http { to, requests } => {
                    let host = HeaderValue::try_from(to.to_string())?;
                    let connection = Connection::new(*to);
                    (Door::Http { connection, host, requests: requests.clone() }, requests.len())
                }
                Self::Gate { to, authorization, requests } => {
                    if number % PER_CHANNEL == 0 {
                        client = Some(gate_client(*to).await?);
                    }
                    let client = client.clone().expect("made for the first of each group");
                    let authorization = authorization.clone();
                    (Door::Gate { client, authorization, requests: requests.clone() }, requests.len())
                }
            };
            callers.push(Caller { door, next: number * keys / count });
        }
        Ok(callers)
    }
}

async fn gate_client(to: SocketAddr) -> Result<GateClient<Channel>, Problem> {
    let endpoint = Channel::from_shared(format!("http://{to}"))?.tcp_nodelay(true);
    Ok(GateClient::new(endpoint.connect().await?))
}

impl Caller {
    /// One call, with the next key.
    pub(crate) async fn call(&mut self) -> Outcome {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        timeout(TIMEOUT, self.door.call(number)).await.unwrap_or(Outcome::Failed)
    }
}

impl Door {
    async fn call(&mut self, number: usize) -> Outcome {
        match self {
            Self::Http { connection, host, requests } => {
                let request = requests[number % requests.len()].to_request(host);
                connection.send(request).await.map_or(Outcome::Failed, |answer| judge(&answer))
            }
            Self::Gate { client, authorization, requests } => {
                let mut request = tonic::Request::new(requests[number % requests.len()].clone());
                if let Some(value) = authorization {
                    request.metadata_mut().insert("authorization", value.clone());
                }
                let answer = client.verify_key(request).await;
                answer.map_or(Outcome::Failed, |answer| judge_verdict(answer.into_inner()))
            }
        }
    }
}

impl HttpRequest {
    pub(crate) fn to_request(&self, host: &HeaderValue) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = hyper::Uri::from_static(self.path);
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(HOST, host.clone());
        request
    }
}

/// By the first bytes of the answer: parsing it whole would cost what is to be measured.
fn judge(answer: &Answer) -> Outcome {
    const DEGRADED: &[u8] = br#""degraded":true"#;
    match answer.status {
        200 if answer.body.starts_with(br#"{"valid":false"#) => Outcome::Refused,
        200 if answer.body.windows(DEGRADED.len()).any(|part| part == DEGRADED) => Outcome::Degraded,
        200 => Outcome::Allowed,
        429 => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

fn judge_verdict(answer: VerifyKeyResponse) -> Outcome {
    match answer.verdict {
        Some(verdict) if verdict.valid && verdict.degraded => Outcome::Degraded,
        Some(verdict) if verdict.valid => Outcome::Allowed,
        Some(_) => Outcome::Refused,
        None => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use tollgate_proto::gate::Verdict;

    use super::*;

    fn answer(status: u16, body: &'static str) -> Outcome {
        judge(&Answer { status, body: Bytes::from_static(body.as_bytes()) })
    }

    #[test]
    fn an_answer_is_judged_by_its_beginning() {
        assert_eq!(answer(200, "hello"), Outcome::Allowed);
        assert_eq!(answer(200, r#"{"valid":true,"code":"VALID"}"#), Outcome::Allowed);
        assert_eq!(answer(200, r#"{"valid":true,"code":"VALID","degraded":true}"#), Outcome::Degraded);
        assert_eq!(answer(200, r#"{"valid":false,"code":"RATE_LIMITED","degraded":true}"#), Outcome::Refused);
        assert_eq!(answer(429, "{}"), Outcome::Refused);
        assert_eq!(answer(401, "{}"), Outcome::Failed);
        assert_eq!(answer(503, "{}"), Outcome::Failed);
    }

    #[test]
    fn a_verdict_is_judged_by_its_fields() {
        let judge = |valid, degraded| {
            let verdict = Verdict { valid, degraded, ..Verdict::default() };
            judge_verdict(VerifyKeyResponse { verdict: Some(verdict) })
        };
        assert_eq!(judge(true, false), Outcome::Allowed);
        assert_eq!(judge(true, true), Outcome::Degraded);
        assert_eq!(judge(false, true), Outcome::Refused);
        assert_eq!(judge_verdict(VerifyKeyResponse { verdict: None }), Outcome::Failed);
    }
}
