//! Time as an input. Nothing else in the project asks the machine what time it is.

use std::fmt;

use chrono::{DateTime, Utc};

/// An instant of UTC, exact to the microsecond.
pub type Timestamp = DateTime<Utc>;

/// Where the time comes from: the machine, or a test's hand.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// The time, if it is moved by hand.
    ///
    /// An executor whose time comes from a server (Redis `TIME`) asks this first and uses the server's time on `None`,
    /// so that a test can move that time too.
    fn by_hand(&self) -> Option<Timestamp> {
        None
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Utc::now()
    }
}
