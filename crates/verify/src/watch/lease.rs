//! The verifier's half of the protocol, as a pure state machine: for how long may what is cached be used?
//!
//! A lease is counted from the moment at which a ping was *sent*: the pong proves that the stream holds everything that was
//! committed before the ping arrived, so all that was committed before it was sent. Only durations on this machine's own
//! monotonic clock are compared.

use std::{collections::VecDeque, time::Duration};

/// Pings in flight at most; the oldest is forgotten, which can only shorten the lease.
const PINGS: usize = 64;

/// What a verifier knows about the completeness of one role's change stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    length: Duration,
    next_nonce: u64,
    in_flight: VecDeque<(u64, Duration)>,
    until: Duration,
}

impl Lease {
    /// A lease that trusts nothing yet.
    pub fn new(length: Duration) -> Self {
        Self { length, next_nonce: 1, in_flight: VecDeque::new(), until: Duration::ZERO }
    }

    /// The role waits no longer than this for a verifier that does not answer.
    pub fn at_most(&mut self, length: Duration) {
        self.length = self.length.min(length);
    }

    /// A ping leaves at `now`, with this nonce.
    pub fn ping(&mut self, now: Duration) -> u64 {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        if self.in_flight.len() == PINGS {
            self.in_flight.pop_front();
        }
        self.in_flight.push_back((nonce, now));
        nonce
    }

    /// A pong has come, and every change before it on the stream is applied.
    pub fn pong(&mut self, nonce: u64) {
        while let Some(&(sent, at)) = self.in_flight.front() {
            if sent > nonce {
                return;
            }
            self.in_flight.pop_front();
            if sent == nonce {
                self.until = self.until.max(at + self.length);
            }
        }
    }

    /// The stream is lost: pings on it will not be answered. What is trusted stays so until its time is over.
    pub fn lost(&mut self) {
        self.in_flight.clear();
    }

    /// Nothing that was proved before holds any longer (the cache was emptied, or is about another history).
    pub fn void(&mut self) {
        self.in_flight.clear();
        self.until = Duration::ZERO;
    }

    /// Whether what is cached may be used at `now`.
    pub fn trusts(&self, now: Duration) -> bool {
        now < self.until
    }

    /// The moment at which trust ends if no pong comes.
    pub fn until(&self) -> Duration {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn it_counts_from_the_ping_not_from_the_pong() {
        let mut lease = Lease::new(S(2));
        assert!(!lease.trusts(S(10)));
        let nonce = lease.ping(S(10));
        lease.pong(nonce);
        assert!(lease.trusts(Duration::from_nanos(11_999_999_999)));
        assert!(!lease.trusts(S(12)));
    }

    #[test]
    fn only_an_answer_to_its_own_ping_counts() {
        let mut lease = Lease::new(S(2));
        let first = lease.ping(S(10));
        lease.pong(first + 7);
        assert!(!lease.trusts(S(10)), "an answer to nothing");
        let second = lease.ping(S(11));
        lease.lost();
        lease.pong(second);
        assert!(!lease.trusts(S(11)), "an answer on a stream that is gone");
    }

    #[test]
    fn the_shorter_of_two_leases_counts() {
        let mut lease = Lease::new(S(5));
        lease.at_most(S(2));
        lease.at_most(S(9));
        let nonce = lease.ping(S(10));
        lease.pong(nonce);
        assert_eq!(lease.until(), S(12));
    }

    #[test]
    fn a_late_pong_does_not_shorten_it() {
        let mut lease = Lease::new(S(2));
        let (first, second) = (lease.ping(S(10)), lease.ping(S(11)));
        lease.pong(second);
        lease.pong(first);
        assert_eq!(lease.until(), S(13));
    }
}
