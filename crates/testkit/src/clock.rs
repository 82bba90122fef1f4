//! A clock that stands still until a test moves it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tollgate_kernel::{Clock, Timestamp};

/// 2026-01-01T00:00:00Z, in microseconds.
const START: i64 = 1_767_225_600_000_000;

/// A clock moved by hand, exact to the microsecond. Starts at 2026-01-01T00:00:00Z.
#[derive(Debug)]
pub struct MockClock(AtomicI64);

impl MockClock {
    /// A clock at its start.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START)))
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Moves it back, as a server's clock may be set.
    pub fn turn_back(&self, by: Duration) {
        self.0.fetch_sub(micros(by), Ordering::SeqCst);
    }

    /// Sets it.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.timestamp_micros(), Ordering::SeqCst);
    }
}

impl Clock for MockClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_timestamp_micros(self.0.load(Ordering::SeqCst)).expect("a test stays in the calendar")
    }

    fn by_hand(&self) -> Option<Timestamp> {
        Some(self.now())
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).expect("a test stays in the calendar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_by_hand_only() {
        let clock = MockClock::new();
        assert_eq!(clock.now().to_rfc3339(), "2026-01-01T00:00:00+00:00");
        clock.advance(Duration::from_secs(90));
        clock.turn_back(Duration::from_micros(1));
        assert_eq!(clock.by_hand(), Some(clock.now()));
        assert_eq!(clock.now().to_rfc3339(), "2026-01-01T00:01:29.999999+00:00");
    }
}
