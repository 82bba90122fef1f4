//! HAProxy, with a script in Lua that asks.

use std::fs;

use tollgate_testkit::{Gateway, GatewayKind};

use super::bed::{Api, Bed, TRUST, Traits, configuration};
use crate::app::TestApp;

#[tokio::test]
#[ignore = "needs haproxy"]
async fn haproxy_lets_through_whom_tollgate_lets_through() {
    let (app, api) = (TestApp::with(&[TRUST]).await, Api::start().await);
    let gateway = Gateway::start(GatewayKind::Haproxy, |folder, port, command| {
        let script = folder.join("tollgate.lua");
        fs::write(&script, configuration("haproxy/tollgate.lua", &[])).unwrap();
        let places = [
            ("/etc/haproxy/tollgate.lua", script.display().to_string()),
            ("127.0.0.1:8080", app.http_address().to_string()),
            ("127.0.0.1:3000", api.address.to_string()),
            ("127.0.0.1:8000", format!("127.0.0.1:{port}")),
        ];
        let file = folder.join("haproxy.cfg");
        fs::write(&file, configuration("haproxy/haproxy.cfg", &places)).unwrap();
        command.args(["-db", "-f"]).arg(file);
    });
    let gateway = gateway.await;
    Bed { app, api, gateway }.drive(&Traits { limits_of_passed: true, without_tollgate: 503 }).await;
}
