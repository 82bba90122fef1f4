//! Everything that the process under test logs, kept so that it can be searched for what must not be in it.

use std::{
    io,
    sync::{Mutex, OnceLock},
};

use tracing_subscriber::{
    EnvFilter, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Ours at the finest level, the others at the level that is the default.
const FILTER: &str = "info,tollgate=trace,tollgate_db=trace,tollgate_edge=trace,tollgate_identity=trace,\
                      tollgate_keys=trace,tollgate_proto=trace,tollgate_ratelimit=trace,tollgate_verify=trace";

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

/// Starts to keep log lines, if nobody has; says how many bytes there are already.
pub(crate) fn capture() -> usize {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Lines);
        tracing_subscriber::registry().with(EnvFilter::new(FILTER)).with(lines).init();
    });
    LINES.lock().unwrap().len()
}

/// Without this test, a search of the logs that finds nothing might be a search of nothing.
#[tokio::test]
#[should_panic(expected = "a canary was logged")]
async fn a_secret_in_the_logs_is_found() {
    let app = crate::app::TestApp::new().await;
    app.secret("a canary", "canary-in-a-request-id");
    app.get("/livez").header("x-request-id", "canary-in-a-request-id").await.json(200);
    app.finish().await;
}

/// What was logged from this byte on.
pub(crate) fn since(start: usize) -> String {
    String::from_utf8_lossy(&LINES.lock().unwrap()[start..]).into_owned()
}
