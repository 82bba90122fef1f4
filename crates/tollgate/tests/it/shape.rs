//! In which shape the system under test runs: named by `TOLLGATE_TEST_SHAPE`.

use std::sync::OnceLock;

/// What is behind the same interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All roles in one process, SQLite and counters in memory. Needs nothing.
    Sqlite,
    /// All roles in one process, PostgreSQL and Redis.
    Postgres,
    /// Four sets of roles over gRPC, PostgreSQL and Redis.
    Split,
}

impl Shape {
    /// The shape of this run. Printed once.
    #[expect(clippy::disallowed_methods, reason = "how a test run is told its shape")]
    pub(crate) fn of_this_run() -> Self {
        static SHAPE: OnceLock<Shape> = OnceLock::new();
        *SHAPE.get_or_init(|| {
            let shape = match std::env::var("TOLLGATE_TEST_SHAPE").as_deref() {
                Err(_) | Ok("" | "sqlite") => Self::Sqlite,
                Ok("postgres") => Self::Postgres,
                Ok("split") => Self::Split,
                Ok(other) => panic!("TOLLGATE_TEST_SHAPE={other}: write sqlite, postgres or split"),
            };
            // Past the capture of output, so that the log of a run says it whatever passes.
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("shape: {shape:?}\n").as_bytes());
            shape
        })
    }
}
