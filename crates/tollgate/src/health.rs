//! Whether a process is ready: probes of its parts and of the roles elsewhere, and what the gRPC health service says.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tollgate_edge::Probe;
use tollgate_kernel::Fault;
use tollgate_proto::{fault::from_status, mesh::Outgoing};
use tonic::{service::interceptor::InterceptedService, transport::Channel};
use tonic_health::{
    pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    server::HealthReporter,
};

/// How often the gRPC health service is brought up to date.
const EVERY: Duration = Duration::from_secs(2);

/// A probe out of what asks a part.
pub(crate) fn probe<F, A>(name: &'static str, check: F) -> Probe
where
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Fault>> + Send + 'static,
{
    Probe { name, check: Arc::new(move || check().boxed()) }
}

/// Fails once the process is told to stop, so that no more requests are sent to it.
pub(crate) fn not_draining(draining: CancellationToken) -> Probe {
    probe("running", move || {
        let stopping = draining.is_cancelled();
        async move { if stopping { Err(Fault::unavailable("stopping")) } else { Ok(()) } }
    })
}

/// A role in another process, as its own health service sees it.
pub(crate) fn elsewhere(name: &'static str, channel: Mesh) -> Probe {
    probe(name, move || is_serving(HealthClient::new(channel.clone())))
}

/// A connection to a role, with the credential of the mesh.
type Mesh = InterceptedService<Channel, Outgoing>;

async fn is_serving(mut client: HealthClient<Mesh>) -> Result<(), Fault> {
    let request = HealthCheckRequest { service: String::new() };
    let answer = client.check(request).await.map_err(from_status)?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(Fault::unavailable(format!("it says {other:?}"))),
    }
}

/// Says over gRPC what the probes say, again and again. Never ends by itself.
pub(crate) async fn keep(health: HealthReporter, probes: Vec<Probe>, services: Vec<&'static str>) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        report(&health, &probes, &services).await;
    }
}

/// Says over gRPC what the probes say now.
pub(crate) async fn report(health: &HealthReporter, probes: &[Probe], services: &[&'static str]) {
    let mut ready = true;
    for probe in probes {
        ready &= (probe.check)().await.is_ok();
    }
    let status =
        if ready { tonic_health::ServingStatus::Serving } else { tonic_health::ServingStatus::NotServing };
    for service in services {
        health.set_service_status(*service, status).await;
    }
}
