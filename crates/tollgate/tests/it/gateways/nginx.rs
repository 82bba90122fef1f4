//! nginx, with `auth_request`.

use std::fs;

use tollgate_testkit::{Gateway, GatewayKind};

use super::bed::{Api, Bed, TRUST, Traits, configuration};
use crate::app::TestApp;

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_lets_through_whom_tollgate_lets_through() {
    let (app, api) = (TestApp::with(&[TRUST]).await, Api::start().await);
    let gateway = Gateway::start(GatewayKind::Nginx, |folder, port, command| {
        let places = [
            ("127.0.0.1:8080", app.http_address().to_string()),
            ("127.0.0.1:3000", api.address.to_string()),
            ("127.0.0.1:8000", format!("127.0.0.1:{port}")),
        ];
        let ours = folder.join("tollgate.conf");
        fs::write(&ours, configuration("nginx/tollgate.conf", &places)).unwrap();
        // What Debian's /etc/nginx/nginx.conf is around it.
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|it| format!("{it}_temp_path {}/{it};", folder.display())).join(" ");
        let whole = format!(
            "daemon off; worker_processes 1; error_log stderr; pid {}/pid; events {{}}\n\
             http {{ access_log off; {temporary} include {}; }}\n",
            folder.display(),
            ours.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, whole).unwrap();
        command.args(["-e", "stderr", "-c"]).arg(file);
    });
    let gateway = gateway.await;
    Bed { app, api, gateway }.drive(&Traits { limits_of_passed: true, without_tollgate: 503 }).await;
}
