//! The turnstile as Envoy asks it: the service `envoy.service.auth.v3.Authorization`, for its `ext_authz` filter.
//!
//! It says what `ANY /v1/gate` says, and as that door it asks no credential of the gateway: who reaches this port can do
//! no more with it than send requests to the API behind the gateway.

use std::net::{IpAddr, SocketAddr};

use axum::{body::to_bytes, response::IntoResponse as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate_kernel::Fault;
use tollgate_proto::envoy::{
    self,
    auth::{
        AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
        attribute_context::HttpRequest,
        authorization_server::{Authorization, AuthorizationServer},
        check_response::HttpResponse,
    },
    core::{HeaderValueOption, address::Address, header_value_option::HeaderAppendAction},
};
use tonic::{Code, Request, Response, Status};

use crate::{
    app::App,
    client_ip::client_ip,
    extract::{ClientIp, Presented},
    problem::Problem,
    protected::Accepts,
    routes::gate::{INTRODUCTION, who},
};

/// Largest question, in bytes: all headers of a request, of which Envoy takes 60 KiB by default, and some air.
const MAX_REQUEST: usize = 256 * 1024;

/// Implements `envoy.service.auth.v3.Authorization`.
#[derive(Clone)]
pub struct ExtAuthzService(App);

/// The service, bounded.
pub(crate) fn server(app: App) -> AuthorizationServer<ExtAuthzService> {
    AuthorizationServer::new(ExtAuthzService(app)).max_decoding_message_size(MAX_REQUEST)
}

#[tonic::async_trait]
impl Authorization for ExtAuthzService {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let peer = request.remote_addr();
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let answer = match self.passed(peer, attributes).await {
            Ok(headers) => let_through(&headers),
            Err(problem) => refused(problem).await?,
        };
        Ok(Response::new(answer))
    }
}

impl ExtAuthzService {
    /// Who passes, and the limits, as headers.
    async fn passed(&self, peer: Option<SocketAddr>, asked: AttributeContext) -> Result<HeaderMap, Problem> {
        let source = source(&asked);
        let headers = asked.request.and_then(|it| it.http).map_or_else(|| Ok(HeaderMap::new()), headers)?;
        let ip = peer.map(|peer| self.client(peer.ip(), source, &headers));
        let passed = self.0.gate.protect(Presented::of(&headers, ClientIp(ip)), Accepts::Either).await?;
        Ok(who(&passed.subject, passed.headers)?)
    }

    /// The client's address. What an Envoy that is no trusted proxy says of it is not believed.
    fn client(&self, envoy: IpAddr, source: Option<IpAddr>, headers: &HeaderMap) -> IpAddr {
        let trusted = &self.0.config.trusted_proxies;
        let believed = trusted.iter().any(|net| net.contains(&envoy.to_canonical()));
        client_ip(source.filter(|_| believed).unwrap_or(envoy), headers, trusted)
    }
}

/// Who connected to Envoy, by its word.
fn source(asked: &AttributeContext) -> Option<IpAddr> {
    let Address::SocketAddress(address) = asked.source.as_ref()?.address.as_ref()?.address.as_ref()?;
    address.address.parse().ok()
}

/// The headers of the client's request. Those that begin with a colon are HTTP/2's own (RFC 9113 section 8.3).
fn headers(request: HttpRequest) -> Result<HeaderMap, Problem> {
    let raw = request.header_map.unwrap_or_default().headers.into_iter().map(|it| {
        let value = if it.raw_value.is_empty() { it.value.into_bytes() } else { it.raw_value };
        (it.key, value)
    });
    let joined = request.headers.into_iter().map(|(name, value)| (name, value.into_bytes()));
    let mut headers = HeaderMap::new();
    for (name, value) in raw.chain(joined).filter(|(name, _)| !name.starts_with(':')) {
        let name = HeaderName::try_from(name).map_err(unreadable)?;
        let value = HeaderValue::try_from(value).map_err(unreadable)?;
        headers.try_append(name, value).map_err(unreadable)?;
    }
    Ok(headers)
}

fn unreadable<E>(_: E) -> Problem {
    Problem::bad_request("A header cannot be read.")
}

/// Who it is goes to the API behind Envoy; where the limits stand goes to the client. What a client has sent under one of
/// our names goes nowhere.
fn let_through(headers: &HeaderMap) -> CheckResponse {
    let ours = |name: &HeaderName| INTRODUCTION.contains(&name);
    let (introduction, limits): (Vec<_>, Vec<_>) = headers.iter().partition(|(name, _)| ours(name));
    let absent = INTRODUCTION.iter().filter(|name| !headers.contains_key(**name));
    CheckResponse {
        status: Some(envoy::Status { code: Code::Ok.into(), message: String::new() }),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: introduction.into_iter().map(set).collect(),
            headers_to_remove: absent.map(ToString::to_string).collect(),
            response_headers_to_add: limits.into_iter().map(set).collect(),
        })),
    }
}

/// The very answer that a protected route gives. A failure of ours is none: then Envoy's `failure_mode_allow` decides.
async fn refused(problem: Problem) -> Result<CheckResponse, Status> {
    let response = problem.into_response();
    if !response.status().is_client_error() {
        return Err(Status::unavailable("Tollgate cannot decide now."));
    }
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MAX_REQUEST).await.map_err(Fault::internal);
    let body = String::from_utf8(body.map_err(tollgate_proto::fault::to_status)?.into())
        .expect("a problem is JSON, which is UTF-8");
    Ok(CheckResponse {
        status: Some(envoy::Status { code: Code::PermissionDenied.into(), message: String::new() }),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(envoy::types::HttpStatus { code: parts.status.as_u16().into() }),
            headers: parts.headers.iter().map(set).collect(),
            body,
        })),
    })
}

/// A header that replaces others of its name.
fn set((name, value): (&HeaderName, &HeaderValue)) -> HeaderValueOption {
    let value = value.to_str().expect("our headers are visible ASCII").to_owned();
    HeaderValueOption {
        header: Some(envoy::core::HeaderValue { key: name.to_string(), value, raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    }
}
