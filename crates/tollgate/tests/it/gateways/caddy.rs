//! Caddy, with `forward_auth` written out.

use std::fs;

use tollgate_testkit::{Gateway, GatewayKind};

use super::bed::{Api, Bed, TRUST, Traits, configuration};
use crate::app::TestApp;

#[tokio::test]
#[ignore = "needs caddy"]
async fn caddy_lets_through_whom_tollgate_lets_through() {
    let (app, api) = (TestApp::with(&[TRUST]).await, Api::start().await);
    let gateway = Gateway::start(GatewayKind::Caddy, |folder, port, command| {
        let places = [
            ("reverse_proxy 127.0.0.1:8080", format!("reverse_proxy {}", app.http_address())),
            ("reverse_proxy 127.0.0.1:3000", format!("reverse_proxy {}", api.address)),
            ("http://:8000", format!("http://:{port}")),
        ];
        let file = folder.join("Caddyfile");
        fs::write(&file, configuration("caddy/Caddyfile", &places)).unwrap();
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        // Where it keeps its state.
        command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    });
    let gateway = gateway.await;
    Bed { app, api, gateway }.drive(&Traits { limits_of_passed: false, without_tollgate: 502 }).await;
}
