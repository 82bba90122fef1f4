//! `tollgate health`: what a container's health check runs.

use std::{net::SocketAddr, time::Duration};

use http::{StatusCode, Uri};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tollgate_kernel::{Code, Fault};

use super::Failure;

const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the admin port of this machine whether the server is ready.
pub(super) async fn ask(mut admin: SocketAddr) -> Result<(), Failure> {
    if admin.ip().is_unspecified() {
        admin.set_ip(if admin.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let uri: Uri = format!("http://{admin}/readyz").parse().map_err(Fault::internal)?;
    let client = Client::builder(TokioExecutor::new()).build_http::<axum::body::Body>();
    let answer = tokio::time::timeout(PATIENCE, client.get(uri)).await;
    let not_ready =
        |why: String| Fault::new(Code::Unavailable, format!("The server at {admin} is not ready: {why}."));
    match answer {
        Ok(Ok(response)) if response.status() == StatusCode::OK => Ok(()),
        Ok(Ok(response)) => Err(not_ready(format!("it says {}", response.status())).into()),
        Ok(Err(error)) => Err(not_ready("it cannot be reached".into()).caused_by(error).into()),
        Err(_) => Err(not_ready("it did not answer in 5 s".into()).into()),
    }
}
