//! What is held, for how long, and what it takes to be asked for again.

use std::{future::ready, sync::atomic::AtomicBool};

use tollgate_kernel::{Code, UserId};
use tollgate_testkit::MockClock;
use uuid::Uuid;

use super::*;
use crate::recorded::Recorded;

/// A record that depends on one user.
#[derive(Debug, PartialEq)]
pub(super) struct Record(pub(super) u128);

fn user(number: u128) -> Subject {
    Subject::User(UserId::from_uuid(Uuid::from_u128(number)))
}

impl Follows for Record {
    fn subjects(&self) -> Vec<Subject> {
        vec![user(self.0)]
    }

    fn bytes(&self) -> u64 {
        64
    }
}

/// Room for so many records.
const fn room(records: u64) -> u64 {
    records * (64 + OVERHEAD)
}

/// `None`: nothing can be missing.
fn belief(max_age: Option<Duration>, trust: &Trust) -> Belief<'_> {
    max_age.map_or(Belief::Complete(trust), Belief::Younger)
}

pub(super) struct Fixture {
    pub(super) trusts: Arc<AtomicBool>,
    trust: Trust,
    pub(super) cache: Cache<u128, Record>,
    pub(super) changes: Changes,
    pub(super) clock: Arc<MockClock>,
    reads: AtomicU64,
}

impl Fixture {
    fn new(records: u64, changes: Changes) -> Self {
        Self::with(records, Duration::ZERO, changes)
    }

    /// Absence is held for a second.
    pub(super) fn holding_absence(records: u64) -> Self {
        Self::with(records, Duration::from_secs(1), Changes::new())
    }

    fn with(records: u64, absence: Duration, changes: Changes) -> Self {
        let clock = MockClock::new();
        let cache = Cache::new("test", room(records), absence, changes.clone(), clock.clone());
        let trusts = Arc::new(AtomicBool::new(true));
        let asked = trusts.clone();
        let trust: Trust = Arc::new(move || asked.load(Ordering::SeqCst));
        Self { trusts, trust, cache, changes, clock, reads: AtomicU64::new(0) }
    }

    /// While nothing can be missing.
    pub(super) fn complete(&self) -> Belief<'_> {
        Belief::Complete(&self.trust)
    }

    /// Gets the record and says whether that took reading it.
    async fn reads(&self, key: u128, max_age: Option<Duration>) -> bool {
        let before = self.reads.load(Ordering::SeqCst);
        let read = || {
            self.reads.fetch_add(1, Ordering::SeqCst);
            ready(Ok(Some(Record(key))))
        };
        let record = self.cache.get(&key, belief(max_age, &self.trust), read).await.expect("read");
        assert_eq!(record.as_deref(), Some(&Record(key)));
        self.reads.load(Ordering::SeqCst) > before
    }

    /// Asks for what is not there, and says whether that took reading.
    async fn reads_nothing(&self, key: u128) -> bool {
        let before = self.reads.load(Ordering::SeqCst);
        let read = || {
            self.reads.fetch_add(1, Ordering::SeqCst);
            ready(Ok(None))
        };
        assert_eq!(self.cache.get(&key, self.complete(), read).await.expect("read"), None);
        self.reads.load(Ordering::SeqCst) > before
    }
}

#[tokio::test]
async fn a_record_is_read_once_until_it_changes() {
    let it = Fixture::new(10, Changes::new());
    assert!(it.reads(1, None).await);
    assert!(!it.reads(1, None).await);
    it.changes.publish(user(2));
    assert!(!it.reads(1, None).await, "another one's change");
    it.changes.publish(user(1));
    assert!(it.reads(1, None).await);
    assert!(!it.reads(1, None).await);
}

#[tokio::test]
async fn a_record_is_believed_for_its_maximum_age() {
    let it = Fixture::new(10, Changes::new());
    let second = Some(Duration::from_secs(1));
    assert!(it.reads(1, second).await);
    it.clock.advance(Duration::from_micros(999_999));
    assert!(!it.reads(1, second).await);
    it.clock.advance(Duration::from_micros(1));
    assert!(it.reads(1, second).await);
    it.clock.turn_back(Duration::from_micros(1));
    assert!(it.reads(1, second).await, "a clock that was turned back says nothing about the age");
    it.clock.turn_back(Duration::from_hours(1));
    assert!(!it.reads(1, None).await, "without a maximum age the clock does not matter");
}

#[tokio::test]
async fn a_read_that_takes_longer_than_the_maximum_age_is_an_answer_all_the_same() {
    let it = Fixture::new(10, Changes::new());
    let slow = || {
        it.clock.advance(Duration::from_secs(2));
        ready(Ok(Some(Record(1))))
    };
    let record = it.cache.get(&1, Belief::Younger(Duration::from_secs(1)), slow).await.expect("read");
    assert_eq!(record.as_deref(), Some(&Record(1)));
    assert!(it.reads(1, Some(Duration::from_secs(1))).await, "but it is not held");
}

#[tokio::test]
async fn the_capacity_is_a_bound() {
    let it = Fixture::new(100, Changes::new());
    for key in 0..10_000 {
        assert!(it.reads(key, None).await);
    }
    assert!(it.cache.entries.len() <= 100);
    assert!(!it.reads(9_999, None).await, "it does hold something");
    assert_eq!(it.cache.flights.begun(), 10_000);
}

#[tokio::test]
async fn when_changes_are_forgotten_so_is_what_they_might_have_ended() {
    let it = Fixture::new(10, Changes::remembering(4));
    assert!(it.reads(1, None).await);
    for other in 10..14 {
        it.changes.publish(user(other));
    }
    assert!(!it.reads(1, None).await, "all changes are remembered");
    it.changes.publish(user(14));
    assert!(it.reads(1, None).await, "one is forgotten, and it might have been of this record");
    assert!(!it.reads(1, None).await);
}

#[tokio::test]
async fn absence_and_faults_are_not_held() {
    let it = Fixture::new(10, Changes::new());
    assert_eq!(it.cache.get(&1, it.complete(), || ready(Ok(None))).await.expect("read"), None);
    let down = || ready(Err(Fault::unavailable("down").retry_after(Duration::from_secs(3))));
    let fault = it.cache.get(&1, it.complete(), down).await.expect_err("down");
    assert_eq!((fault.code(), fault.wait()), (Code::Unavailable, Some(Duration::from_secs(3))));
    assert_eq!(fault.cause().as_deref(), Some("down"));
    let wrong = || ready(Err(Fault::invalid("/key", "is wrong")));
    assert_eq!(it.cache.get(&1, it.complete(), wrong).await.expect_err("wrong").violated().len(), 1);
    assert!(it.reads(1, None).await);
    assert!(it.cache.get(&1, it.complete(), down).await.is_ok(), "what is held needs no reading");
}

#[tokio::test]
async fn without_trust_every_call_asks_and_trust_brings_the_record_back() {
    let it = Fixture::new(10, Changes::new());
    assert!(it.reads(1, None).await);
    it.trusts.store(false, Ordering::SeqCst);
    assert!(it.reads(1, None).await);
    assert!(it.reads(1, None).await);
    it.trusts.store(true, Ordering::SeqCst);
    assert!(!it.reads(1, None).await, "nothing was missing after all");
    it.trusts.store(false, Ordering::SeqCst);
    it.changes.reset();
    it.trusts.store(true, Ordering::SeqCst);
    assert!(it.reads(1, None).await, "something may have been missing");
}

#[tokio::test]
async fn a_record_that_never_stands_still_is_a_fault_and_not_a_guess() {
    let it = Fixture::new(10, Changes::new());
    let racing = || {
        it.reads.fetch_add(1, Ordering::SeqCst);
        async {
            it.changes.publish(user(1));
            Ok(Some(Record(1)))
        }
    };
    let fault = it.cache.get(&1, it.complete(), racing).await.expect_err("never stands still");
    assert_eq!(fault.code(), Code::Unavailable);
    assert_eq!(it.reads.load(Ordering::SeqCst), ATTEMPTS as u64);
}

#[tokio::test]
async fn absence_is_held_for_a_second_or_until_something_is_made() {
    let it = Fixture::holding_absence(1_000);
    assert!(it.reads_nothing(1).await);
    it.clock.advance(Duration::from_micros(999_999));
    assert!(!it.reads_nothing(1).await);
    it.clock.advance(Duration::from_micros(1));
    assert!(it.reads_nothing(1).await);
    it.changes.publish(user(1));
    assert!(!it.reads_nothing(1).await, "a change of what exists says nothing about what does not");
    it.changes.publish(Subject::Born);
    assert!(it.reads(1, None).await, "it may have been made");
    assert!(!it.reads(1, None).await);
    it.clock.turn_back(Duration::from_hours(1));
    assert!(it.reads_nothing(2).await);
    it.clock.turn_back(Duration::from_micros(1));
    assert!(it.reads_nothing(2).await, "a clock that was turned back says nothing about the age");
}

#[tokio::test]
async fn absence_needs_trust_as_a_record_does() {
    let it = Fixture::holding_absence(1_000);
    assert!(it.reads_nothing(1).await);
    it.trusts.store(false, Ordering::SeqCst);
    assert!(it.reads_nothing(1).await);
    it.trusts.store(true, Ordering::SeqCst);
    assert!(!it.reads_nothing(1).await);
    it.changes.reset();
    assert!(it.reads_nothing(1).await);
}

#[tokio::test]
async fn of_a_record_and_its_absence_what_was_read_last_is_held() {
    let it = Fixture::holding_absence(1_000);
    assert!(it.reads(1, None).await);
    it.trusts.store(false, Ordering::SeqCst);
    assert!(it.reads_nothing(1).await);
    it.trusts.store(true, Ordering::SeqCst);
    assert!(!it.reads_nothing(1).await);
    it.trusts.store(false, Ordering::SeqCst);
    assert!(it.reads(1, None).await);
    it.trusts.store(true, Ordering::SeqCst);
    assert!(!it.reads(1, None).await);
}

#[tokio::test]
async fn what_does_not_exist_cannot_push_out_what_does() {
    let it = Fixture::holding_absence(1_000);
    for key in 0..100 {
        assert!(it.reads(key, None).await);
    }
    let records = it.cache.entries.weight();
    for garbage in 1_000..20_000 {
        assert!(it.reads_nothing(garbage).await);
    }
    assert!(!it.reads_nothing(19_999).await, "it does hold something");
    assert!(it.cache.absences.weight() <= room(1_000) / ABSENT_PART);
    assert_eq!(it.cache.entries.weight(), records);
    for key in 0..100 {
        assert!(!it.reads(key, None).await, "{key}");
    }
}

#[tokio::test]
async fn hits_absences_misses_fences_ages_and_bytes_are_measured() {
    let recorded = Recorded::default();
    let it = metrics::with_local_recorder(&recorded, || Fixture::holding_absence(1_000));
    it.reads(1, None).await;
    it.reads(1, None).await;
    it.clock.advance(Duration::from_millis(500));
    it.reads(1, None).await;
    it.reads_nothing(3).await;
    it.reads_nothing(3).await;
    let once = AtomicU64::new(0);
    let raced = || {
        if once.fetch_add(1, Ordering::SeqCst) == 0 {
            it.changes.publish(user(2));
        }
        ready(Ok(Some(Record(2))))
    };
    it.cache.get(&2, it.complete(), raced).await.expect("read the second time");
    let counts = ["hits", "absent_hits", "misses", "fenced"]
        .map(|name| recorded.count(&format!("tollgate_verify_cache_{name}_total test")));
    assert_eq!(counts, [2, 1, 3, 1]);
    assert_eq!(recorded.observed("tollgate_verify_cache_age_seconds test"), [0.0, 0.5, 0.0]);
    let held = 2 * (64 + OVERHEAD) + OVERHEAD;
    assert_eq!(
        recorded.gauge("tollgate_verify_cache_bytes test").to_bits(),
        f64::from(u32::try_from(held).expect("few")).to_bits()
    );
}
