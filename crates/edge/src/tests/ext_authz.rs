//! Envoy hears what the gate says over HTTP.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_kernel::{ExposeSecret, SecretString};
use tollgate_proto::envoy::{
    auth::{
        AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
        attribute_context::{HttpRequest, Peer, Request as Asked},
        authorization_client::AuthorizationClient,
        check_response::HttpResponse,
    },
    core::{Address, HeaderMap, HeaderValue, HeaderValueOption, SocketAddress, address},
};
use tonic::{Request, Status, service::interceptor::InterceptedService, transport::server::TcpConnectInfo};

use super::{TestEdge, bearer, fakes::workspace};
use crate::Config;

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Every header by itself, as with `encode_raw_headers`.
fn raw(headers: Headers<'_>) -> HttpRequest {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).into(),
        raw_value: (*value).into(),
        ..HeaderValue::default()
    };
    let headers = headers.iter().map(header).collect();
    HttpRequest { header_map: Some(HeaderMap { headers }), ..HttpRequest::default() }
}

/// One value per name.
fn joined(headers: Headers<'_>) -> HttpRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    HttpRequest { headers, ..HttpRequest::default() }
}

fn from(source: &str, http: HttpRequest) -> CheckRequest {
    let address = address::Address::SocketAddress(SocketAddress { address: source.into() });
    let source = Peer { address: Some(Address { address: Some(address) }) };
    let request = Asked { http: Some(http) };
    CheckRequest { attributes: Some(AttributeContext { source: Some(source), request: Some(request) }) }
}

/// The answer to an Envoy at `peer`.
async fn ask(edge: &TestEdge, peer: &str, question: CheckRequest) -> Result<CheckResponse, Status> {
    let remote_addr: Option<SocketAddr> = Some(format!("{peer}:4711").parse().expect("an address"));
    let connected = move |mut request: Request<()>| {
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr });
        Ok(request)
    };
    let service = InterceptedService::new(edge.edge.ext_authz(), connected);
    Ok(AuthorizationClient::new(service).check(question).await?.into_inner())
}

async fn passed(edge: &TestEdge, http: HttpRequest) -> OkHttpResponse {
    let answer = ask(edge, "10.0.0.1", from("203.0.113.9", http)).await.expect("an answer");
    assert_eq!(answer.status.expect("a status").code, 0);
    match answer.http_response {
        Some(HttpResponse::OkResponse(ok)) => ok,
        other => panic!("{other:?}"),
    }
}

async fn denied(edge: &TestEdge, http: HttpRequest) -> (i32, DeniedHttpResponse, Value) {
    let answer = ask(edge, "10.0.0.1", from("203.0.113.9", http)).await.expect("an answer");
    assert_ne!(answer.status.expect("a status").code, 0);
    let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else { panic!("it passed") };
    let body = serde_json::from_str(&denied.body).expect("JSON");
    (denied.status.as_ref().expect("a status").code, denied, body)
}

fn value<'a>(headers: &'a [HeaderValueOption], name: &str) -> Option<&'a str> {
    let mut all = headers.iter().filter_map(|it| it.header.as_ref()).filter(|it| it.key == name);
    let first = all.next().map(|it| it.value.as_str());
    assert!(all.next().is_none(), "{name} is there twice");
    first
}

#[tokio::test]
async fn who_passes_is_introduced_and_what_the_client_says_of_itself_is_removed() {
    let edge = TestEdge::new();
    let key = edge.keys.key(workspace(), |_| {});
    let forged = [(":path", "/orders"), ("x-tollgate-user-id", "root"), ("x-api-key", key.expose_secret())];
    for http in [raw(&forged), joined(&forged)] {
        let ok = passed(&edge, http).await;
        let asked = edge.ratelimit.asked();
        assert_eq!(value(&ok.headers, "x-tollgate-key-id"), Some(asked[0].charges[0].subject.as_str()));
        assert_eq!(value(&ok.headers, "x-tollgate-plan"), Some("basic"));
        assert_eq!(value(&ok.headers, "x-tollgate-scopes"), Some("orders.read"));
        let absent =
            ["user-id", "consumer-id", "key-retires-at", "status"].map(|it| format!("x-tollgate-{it}"));
        assert_eq!(ok.headers_to_remove, absent);
        assert!(ok.headers.iter().all(|it| it.append_action == 2), "set, not appended");
        assert_eq!(value(&ok.response_headers_to_add, "ratelimit"), Some(r#""minute";r=9;t=60"#));
        assert_eq!(value(&ok.response_headers_to_add, "x-tollgate-plan"), None);
    }
}

#[tokio::test]
async fn who_does_not_gets_the_answer_of_http() {
    let edge = TestEdge::new();
    let workspace = workspace();
    let key = edge.keys.key(workspace, |_| {});
    let elsewhere = edge.keys.key(workspace, |it| it.allowed_ips = vec!["192.0.2.0/24".into()]);
    let bearer = bearer(&key);
    let table: [(Headers<'_>, &[&str]); 6] = [
        (&[], &["www-authenticate"]),
        (&[("x-api-key", "tg_live_nonsense")], &["www-authenticate"]),
        (&[("x-api-key", key.expose_secret()), ("authorization", &bearer)], &["www-authenticate"]),
        (&[("x-api-key", key.expose_secret()), ("x-api-key", key.expose_secret())], &["www-authenticate"]),
        (&[("x-api-key", elsewhere.expose_secret())], &[]),
        (&[("x-api-key", key.expose_secret())], &["retry-after", "ratelimit", "ratelimit-policy"]),
    ];
    edge.ratelimit.deny();
    for (headers, named) in table {
        let over_http = edge.get("/v1/gate", headers).await;
        let (status, response, mut body) = denied(&edge, raw(headers)).await;
        assert_eq!(status, i32::from(over_http.status.as_u16()), "{headers:?}");
        for name in [named, &["content-type"]].concat() {
            assert_eq!(value(&response.headers, name), Some(over_http.header(name)), "{headers:?}");
        }
        body["request_id"] = over_http.body["request_id"].clone();
        assert_eq!(body, over_http.body, "{headers:?}");
    }
}

#[tokio::test]
async fn what_is_joined_by_commas_is_no_credential() {
    let edge = TestEdge::new();
    let key = edge.keys.key(workspace(), |_| {});
    let twice = format!("{0},{0}", key.expose_secret());
    assert_eq!(denied(&edge, joined(&[("x-api-key", &twice)])).await.0, 401);
    assert_eq!(denied(&edge, joined(&[("authorization", &format!("Bearer {twice}"))])).await.0, 401);
    assert_eq!(denied(&edge, raw(&[("x-api-key", "a\0b")])).await.0, 400);
    assert_eq!(denied(&edge, raw(&[("no name", "a")])).await.0, 400);
    let asked: Vec<_> = edge.ratelimit.asked().into_iter().map(|it| it.partition).collect();
    assert_eq!(asked, ["instance", "instance"], "what can be read is no key");
}

#[tokio::test]
async fn the_client_s_address_is_believed_of_a_trusted_envoy_only() {
    let config: Config =
        serde_json::from_value(json!({ "trusted_proxies": ["10.0.0.0/8"] })).expect("a config");
    let edge = TestEdge::with(config, Vec::new());
    let key = edge.keys.key(workspace(), |it| it.allowed_ips = vec!["192.0.2.0/24".into()]);
    // Envoy, who connected to it, X-Forwarded-For, whether the client is where the key may be used.
    for (peer, source, forwarded, passes) in [
        ("10.0.0.1", "192.0.2.7", None, true),
        ("10.0.0.1", "192.0.2.7", Some("198.51.100.1, 192.0.2.7"), true),
        ("10.0.0.1", "198.51.100.1", None, false),
        // The client writes what it likes.
        ("10.0.0.1", "198.51.100.1", Some("192.0.2.7"), false),
        // Another trusted proxy before Envoy.
        ("10.0.0.1", "10.0.0.2", Some("192.0.2.7"), true),
        ("10.0.0.1", "10.0.0.2", Some("192.0.2.7, 10.0.0.2"), true),
        ("10.0.0.1", "10.0.0.2", Some("192.0.2.7, 198.51.100.1"), false),
        ("10.0.0.1", "a pipe", Some("192.0.2.7"), true),
        // Not a trusted one.
        ("203.0.113.1", "192.0.2.7", Some("192.0.2.7"), false),
        ("192.0.2.1", "198.51.100.1", Some("198.51.100.1"), true),
    ] {
        let mut headers = vec![("x-api-key", key.expose_secret())];
        headers.extend(forwarded.map(|it| ("x-forwarded-for", it)));
        let answer = ask(&edge, peer, from(source, raw(&headers))).await.expect("an answer");
        let ok = matches!(answer.http_response, Some(HttpResponse::OkResponse(_)));
        assert_eq!(ok, passes, "{peer} {source} {forwarded:?}");
    }
}

#[tokio::test]
async fn a_failure_of_ours_is_no_verdict() {
    let edge = TestEdge::new();
    let key = edge.keys.key(workspace(), |_| {});
    edge.ratelimit.fail();
    let question = from("203.0.113.9", raw(&[("x-api-key", key.expose_secret())]));
    let status = ask(&edge, "10.0.0.1", question).await.expect_err("no answer");
    assert_eq!(status.code(), tonic::Code::Unavailable);
    let nothing: SecretString = "tg_live_nonsense".into();
    let nothing = raw(&[("x-api-key", nothing.expose_secret())]);
    assert_eq!(denied(&edge, nothing).await.0, 401, "what needs no other role is answered");
}
