//! What the process says about itself: log lines on standard error, metrics for the admin port.

use std::{io::IsTerminal as _, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::interval;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// How often the histograms are brought up to date when nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Starts the log of the process. The filter was checked with the rest of the configuration.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::new(&log.filter);
    let colours = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let lines = match log.format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed()
        }
    };
    Registry::default().with(lines.with_filter(filter)).init();
}

/// The metrics of the process. The recorder is one per process, as the `metrics` crate has it.
pub(crate) fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        PrometheusBuilder::new().install_recorder().expect("nothing else in this process installs a recorder")
    })
}

/// Keeps the histograms small while nobody asks for them. Never ends by itself.
pub(crate) async fn upkeep() {
    let mut tick = interval(UPKEEP);
    loop {
        tick.tick().await;
        metrics().run_upkeep();
    }
}
