//! Memory holds what is live, and little else.

use std::time::Duration;

use tollgate_kernel::OsEntropy;
use tollgate_testkit::MockClock;

use super::*;
use crate::call::{Charge, OnFailure, REMEMBERED, Rule, Tally};

const WINDOW: Duration = Duration::from_mins(1);

fn memory() -> (Memory, Arc<MockClock>) {
    let clock = MockClock::new();
    (Memory::new(clock.clone(), Arc::new(OsEntropy), 1_000_000), clock)
}

fn call(partition: &str, subject: &str) -> Call {
    let charge = Charge {
        key: Key::new("minute".to_owned(), subject),
        rule: Rule::Window { window: 60_000_000 },
        limit: 1,
        cost: 1,
        shadow: false,
        on_failure: OnFailure::Local,
        window_seconds: 60,
    };
    let partition = partition.to_owned();
    Call { partition, charges: vec![charge], tally: None, peek: false, request_id: None, hold: REMEMBERED }
}

fn check(memory: &Memory, call: &Call) -> Answer {
    memory.check(call, Scope::All).expect("decided")
}

fn held(memory: &Memory) -> usize {
    let things: usize = memory.shards.iter().map(|shard| lock(shard).partitions.len()).sum();
    things + memory.room.held()
}

#[test]
fn what_expired_is_forgotten_by_the_calls_that_follow() {
    let (memory, clock) = memory();
    for subject in 0..10_000 {
        let request_id = Some(Arc::from(subject.to_string()));
        let call = Call { request_id, ..call("one", &subject.to_string()) };
        check(&memory, &call);
        clock.advance(Duration::from_secs(1));
    }
    // A state lives for its window and the slack, a request id for ten minutes and the slack; and the partition.
    assert!(held(&memory) <= 1 + 120 + 660 + 4, "{}", held(&memory));
}

#[test]
fn live_state_is_never_forgotten() {
    let (memory, clock) = memory();
    check(&memory, &call("one", "kept"));
    clock.advance(WINDOW);
    clock.turn_back(Duration::from_micros(1));
    for subject in 0..10_000 {
        check(&memory, &call("one", &subject.to_string()));
    }
    let denial = check(&memory, &call("one", "kept")).denial;
    assert_eq!(denial.expect("denied").wait, 1);
}

#[test]
fn a_state_that_is_renewed_outlives_its_first_date() {
    let (memory, clock) = memory();
    for _ in 0..10 {
        assert!(check(&memory, &call("one", "renewed")).denial.is_none());
        clock.advance(WINDOW);
    }
    clock.turn_back(Duration::from_micros(1));
    check(&memory, &call("one", "other"));
    assert!(check(&memory, &call("one", "renewed")).denial.is_some());
}

#[test]
fn nothing_stays_of_a_call_that_left_nothing() {
    let (memory, _) = memory();
    let mut asked = call("one", "a");
    asked.charges[0].cost = 0;
    check(&memory, &asked);
    check(&memory, &Call { peek: true, ..call("two", "a") });
    assert_eq!(held(&memory), 0);

    let tally = Some(Tally { subject: "a".to_owned(), code: "VALID".to_owned(), ..Tally::default() });
    check(&memory, &Call { tally, charges: Vec::new(), ..asked });
    let batch = memory.drain().expect("a batch");
    memory.acknowledge(&batch.id);
    assert_eq!(held(&memory), 0);
}

fn settle(partition: &str, id: &str) -> Settle {
    Settle { partition: partition.to_owned(), request_id: Arc::from(id), costs: None }
}

fn put(subject: &str, until: i64) -> PutOverride {
    let (partition, key) = ("one".to_owned(), Key::new("minute".to_owned(), subject));
    PutOverride { partition, key, replaced: Override { limit: 5, until } }
}

#[test]
fn an_override_is_forgotten_after_its_end() {
    let (memory, clock) = memory();
    let until = clock.now().timestamp_micros() + 60_000_000;
    memory.put_override(&put("kept", until)).expect("put");
    memory.put_override(&put("deleted", until)).expect("put");
    memory.put_override(&put("deleted", until + 1)).expect("put again");
    memory.delete_override("one", &put("deleted", 0).key);
    assert_eq!(memory.overrides("one"), [(put("kept", 0).key, Override { limit: 5, until })]);
    clock.advance(2 * WINDOW);
    assert_eq!(memory.overrides("one"), []);
    check(&memory, &Call { peek: true, ..call("one", "other") });
    memory.forget_expired();
    assert_eq!(held(&memory), 0);
}

#[test]
fn a_partition_has_a_thousand_overrides_at_most() {
    let (memory, clock) = memory();
    let until = clock.now().timestamp_micros() + 60_000_000;
    for subject in 0..partition::MAX_OVERRIDES {
        memory.put_override(&put(&subject.to_string(), until)).expect("put");
    }
    let one_more = memory.put_override(&put("one more", until + 1));
    assert!(matches!(one_more, Err(Undecided::Crowded)), "{one_more:?}");
    memory.put_override(&put("7", until + 1)).expect("it takes its own place");
    clock.advance(WINDOW);
    memory.put_override(&put("one more", until + 2)).expect("the others have ended");
}

#[test]
fn without_room_nothing_live_is_forgotten() {
    let clock = MockClock::new();
    let memory = Memory::new(clock.clone(), Arc::new(OsEntropy), 100);
    for subject in 0..100 {
        check(&memory, &call("one", &subject.to_string()));
    }
    let one_more = || call("two", "one more");
    assert!(matches!(memory.check(&one_more(), Scope::All), Err(Undecided::Full)));
    assert!(check(&memory, &call("one", "7")).denial.is_some(), "what is there is decided as before");
    check(&memory, &Call { peek: true, ..one_more() });

    let mut allowed = one_more();
    allowed.charges[0].on_failure = OnFailure::Allow;
    allowed.tally = Some(Tally { subject: "a".to_owned(), code: "VALID".to_owned(), ..Tally::default() });
    let answer = check(&memory, &allowed);
    assert!(answer.denial.is_none() && answer.degraded);
    assert_eq!(memory.drain().expect("a batch").rows[0].count, 1);

    clock.advance(2 * WINDOW);
    assert!(check(&memory, &one_more()).denial.is_none(), "what has expired makes room, in whatever shard");
}

#[test]
fn a_state_with_many_entries_takes_more_room() {
    let clock = MockClock::new();
    let memory = Memory::new(clock.clone(), Arc::new(OsEntropy), 10);
    let mut many = call("one", "many");
    many.charges[0].limit = 1024;
    let mut passed = 0;
    while memory.check(&many, Scope::All).is_ok() {
        passed += 1;
        clock.advance(Duration::from_micros(1));
    }
    assert_eq!((passed, memory.room.held()), (640 - 1, 10));
}

#[test]
fn what_is_given_back_leaves_its_room() {
    let (memory, clock) = memory();
    for number in 0..200 {
        let mut lease = Call { request_id: Some(Arc::from(number.to_string())), ..call("one", "leases") };
        lease.charges[0].rule = Rule::Concurrency { lease: 60_000_000 };
        lease.charges[0].limit = 1000;
        assert!(check(&memory, &lease).denial.is_none());
    }
    let before = memory.room.held();
    for number in 0..200 {
        memory.settle(&settle("one", &number.to_string())).expect("settled");
    }
    assert_eq!(before - memory.room.held(), 200 / 64);
    clock.advance(Duration::from_hours(1));
    memory.forget_expired();
    assert_eq!(held(&memory), 0);
}

#[test]
fn a_snapshot_holds_all_of_it_and_is_taken_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = SnapshotFile::new(directory.path().join("counters"));
    let (memory, clock) = memory();
    let tally = Some(Tally { subject: "a".to_owned(), code: "VALID".to_owned(), ..Tally::default() });
    let asked = Call { request_id: Some(Arc::from("id")), tally, ..call("one", "a") };
    check(&memory, &asked);
    let batch = memory.drain().expect("a batch");
    check(&memory, &Call { request_id: None, ..asked.clone() });
    let until = clock.now().timestamp_micros() + 60_000_000;
    memory.put_override(&put("b", until)).expect("put");
    file.write(&memory.snapshot()).expect("written");

    let again = Memory::new(clock.clone(), Arc::new(OsEntropy), 1000);
    file.take_into(&again).expect("taken");
    assert_eq!(held(&again), held(&memory));
    assert_eq!(again.drain(), Some(batch.clone()), "under its old id");
    again.acknowledge(&batch.id);
    assert_eq!(again.drain().expect("another batch").rows[0].cell.code, "RATE_LIMITED");
    assert_eq!(again.overrides("one").len(), 1);
    assert!(check(&again, &Call { request_id: None, ..asked.clone() }).denial.is_some());
    assert!(check(&again, &asked).denial.is_none(), "a retry is answered as before");
    assert_eq!(again.settle(&settle("one", "id")).expect("settled"), [1]);

    let third = Memory::new(clock.clone(), Arc::new(OsEntropy), 1000);
    file.take_into(&third).expect("there is nothing");
    assert_eq!(held(&third), 0, "what was taken once is not there again");
    clock.advance(Duration::from_hours(1));
    again.forget_expired();
    while let Some(batch) = again.drain() {
        again.acknowledge(&batch.id);
    }
    assert_eq!(held(&again), 0, "what was restored expires as if it had been here all the time");
}

#[test]
fn a_file_that_cannot_be_read_is_kept_aside() {
    let (memory, clock) = memory();
    check(&memory, &call("one", "a"));
    let whole = memory.snapshot();
    let mut flipped = whole.clone();
    flipped[30] ^= 1;
    for wrong in
        [&flipped, &whole[..whole.len() - 1], &whole[1..], b"", b"something else that is long enough"]
    {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("counters");
        std::fs::write(&path, wrong).expect("written");
        let again = Memory::new(clock.clone(), Arc::new(OsEntropy), 1000);
        SnapshotFile::new(path.clone()).take_into(&again).expect("it begins anew");
        assert_eq!(held(&again), 0);
        assert!(!path.exists());
        assert_eq!(std::fs::read(directory.path().join("counters.bad")).expect("kept"), wrong);
    }
}
