//! Management routes: the role hears who calls and from where, and what it says comes out.

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, StatusCode},
};
use serde_json::json;
use tollgate_proto::kernel::caller::Principal;
use tollgate_verify::KeyKind;

use super::{TestEdge, bearer, fakes::workspace, request, unknown};
use crate::Config;

#[tokio::test]
async fn the_role_hears_who_calls_and_from_where() {
    let config: Config =
        serde_json::from_value(json!({ "trusted_proxies": ["10.0.0.0/8"] })).expect("a config");
    let edge = TestEdge::with(config, Vec::new());
    let service = bearer(&edge.keys.service_key(workspace(), &["keys.write"]));
    for (peer, ip) in [("10.0.0.1:1", "203.0.113.9"), ("198.51.100.7:1", "198.51.100.7")] {
        let headers = [("authorization", &*service), ("x-forwarded-for", "1.1.1.1, 203.0.113.9")];
        let path = "/v1/keys/key_00000000000000000000000001";
        let mut revoke = request(Method::DELETE, path, &headers, Body::empty());
        let peer: SocketAddr = peer.parse().expect("an address");
        revoke.extensions_mut().insert(ConnectInfo(peer));
        let answer = edge.send(revoke).await;
        assert_eq!(
            (answer.status, &answer.body),
            (StatusCode::OK, &json!({"effective": "lease_expired", "took_ms": 7}))
        );
        let [caller] = &edge.keys.callers()[..] else { panic!("asked once") };
        assert_eq!(caller.ip, ip);
        assert!(
            matches!(&caller.principal, Some(Principal::ServiceKey(it)) if it.service_key_id.starts_with("svc_"))
        );
    }
}

#[tokio::test]
async fn what_is_no_id_names_nothing() {
    let edge = TestEdge::new();
    let service = bearer(&edge.keys.service_key(workspace(), &["keys.write"]));
    for path in
        ["/v1/keys/nonsense", "/v1/keys/usr_00000000000000000000000001", "/v1/keys/%ff", "/v1/keys/%00"]
    {
        let nobody = bearer(&unknown(KeyKind::Service));
        for (caller, status) in [(&service, 404), (&nobody, 401)] {
            let revoke = request(Method::DELETE, path, &[("authorization", caller)], Body::empty());
            assert_eq!(edge.send(revoke).await.status, status, "{path}");
        }
    }
    assert!(edge.keys.callers().is_empty());
}
