//! Every call is drained exactly once, whoever drains, and however often somebody dies between taking and storing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::JoinSet;
use tollgate_kernel::Code;
use tollgate_proto::ratelimit::{CheckRequest, TallyBatch, TallyRow};
use tollgate_ratelimit::RateLimitService;

use crate::support::{Role, acknowledge, call, charge, check, drain, on_every_counter, tally};

/// A call that is only counted.
fn tallied(partition: &str, subject: &str) -> CheckRequest {
    let partition = partition.to_owned();
    CheckRequest { partition, tally: Some(tally(subject)), ..Default::default() }
}

/// Where batches are stored: each under its id, once, as a table with a unique column does.
#[derive(Default, Clone)]
struct Stored(Arc<Mutex<HashMap<String, TallyBatch>>>);

impl Stored {
    fn store(&self, batch: &TallyBatch) {
        let mut stored = self.0.lock().expect("nobody panicked");
        let before = stored.entry(batch.id.clone()).or_insert_with(|| batch.clone());
        assert_eq!(before, batch, "a batch is the same whenever it comes");
    }

    fn calls(&self) -> u64 {
        let stored = self.0.lock().expect("nobody panicked");
        stored.values().flat_map(|batch| &batch.rows).map(|row| row.count).sum()
    }
}

async fn drain_all(service: &RateLimitService, stored: &Stored) {
    while let Some(batch) = drain(service).await.expect("drained") {
        stored.store(&batch);
        acknowledge(service, &batch.id).await.expect("acknowledged");
    }
}

fn counts(mut batch: TallyBatch) -> Vec<(String, String, u64)> {
    batch.rows.sort_by(|a, b| (&a.subject, &a.code).cmp(&(&b.subject, &b.code)));
    batch.rows.into_iter().map(|row| (row.subject, row.code, row.count)).collect()
}

/// The minute and the latest call of a row, in seconds.
fn seconds(row: &TallyRow) -> Option<(i64, i64)> {
    Some((row.minute?.seconds, row.last_at?.seconds))
}

on_every_counter! {
    async fn calls_are_counted_by_what_became_of_them(role: Role) {
        for _ in 0..5 {
            let request = CheckRequest { tally: Some(tally("key")), ..call(vec![charge("minute", 2, 60)]) };
            role.check(request).await;
        }
        let mut refused = tallied("workspace", "key");
        refused.tally.as_mut().expect("set").code = "REVOKED".into();
        assert!(role.check(refused).await.allowed);
        role.check(tallied("workspace", "other")).await;
        let batch = role.drain().await.expect("a batch");
        assert!(batch.rows.iter().all(|row| row.partition == "workspace"));
        let expected = [("key", "RATE_LIMITED", 3), ("key", "REVOKED", 1), ("key", "VALID", 2), ("other", "VALID", 1)];
        let expected = expected.map(|(subject, code, count)| (subject.to_owned(), code.to_owned(), count));
        assert_eq!(counts(batch), expected);
    }

    async fn a_row_is_a_minute_and_knows_the_latest_call(role: Role) {
        // 2026-01-01T00:00:30Z
        role.clock.advance(Duration::from_secs(30));
        role.check(tallied("workspace", "key")).await;
        role.clock.advance(Duration::from_secs(29));
        role.check(tallied("workspace", "key")).await;
        role.clock.advance(Duration::from_secs(1));
        role.check(tallied("workspace", "key")).await;
        let start = 1_767_225_600;
        let mut rows: Vec<_> = role.drain().await.expect("a batch").rows.iter().filter_map(seconds).collect();
        rows.sort_unstable();
        assert_eq!(rows, [(start, start + 59), (start + 60, start + 60)]);
    }

    async fn a_subject_is_counted_apart_for_each_group(role: Role) {
        let of = |group: &str| {
            let mut request = tallied("workspace", "key");
            group.clone_into(&mut request.tally.as_mut().expect("set").group);
            request
        };
        for group in ["", "con_1", "con_2", "con_1"] {
            role.check(of(group)).await;
        }
        let mut rows: Vec<_> = role.drain().await.expect("a batch").rows;
        rows.sort_by(|a, b| a.group.cmp(&b.group));
        let counts: Vec<_> = rows.iter().map(|row| (&*row.subject, &*row.group, row.count)).collect();
        assert_eq!(counts, [("key", "", 1), ("key", "con_1", 2), ("key", "con_2", 1)]);
    }

    async fn a_row_knows_who_called_last(role: Role) {
        let by = |subject: &str, network: &str, user_agent: &str| {
            let mut request = tallied("workspace", subject);
            let tally = request.tally.as_mut().expect("set");
            (tally.network, tally.user_agent) = (network.to_owned(), user_agent.to_owned());
            request
        };
        let seen = async || {
            let batch = role.drain().await.expect("a batch");
            role.acknowledge(&batch).await;
            let mut rows: Vec<_> =
                batch.rows.into_iter().map(|row| (row.subject, row.network, row.user_agent, row.count)).collect();
            rows.sort();
            rows
        };
        let row = |subject: &str, network: &str, user_agent: &str, count| {
            (subject.to_owned(), network.to_owned(), user_agent.to_owned(), count)
        };
        role.clock.advance(Duration::from_secs(10));
        let longest = "é".repeat(100);
        role.check(by("longest", &"n".repeat(64), &longest)).await;
        role.check(by("latest", "192.0.2.0/24", "a b  c")).await;
        role.clock.advance(Duration::from_secs(1));
        role.check(by("latest", "2001:db8::/48", "")).await;
        // One whose clock is behind was not the latest.
        role.clock.turn_back(Duration::from_secs(1));
        role.check(by("latest", "", "behind")).await;
        role.check(tallied("workspace", "unknown")).await;
        assert_eq!(seen().await, [
            row("latest", "2001:db8::/48", "", 3),
            row("longest", &"n".repeat(64), &longest, 1),
            row("unknown", "", "", 1),
        ]);
        // Nothing of it stays.
        role.check(tallied("workspace", "latest")).await;
        assert_eq!(seen().await, [row("latest", "", "", 1)]);
    }

    async fn a_batch_comes_again_until_it_is_acknowledged(role: Role) {
        role.check(tallied("workspace", "key")).await;
        let batch = role.drain().await.expect("a batch");
        role.check(tallied("workspace", "key")).await;
        assert_eq!(role.drain().await, Some(batch.clone()), "what is counted meanwhile waits");
        assert_eq!(drain(&role.another()).await.expect("drained"), Some(batch.clone()), "to whoever asks");
        role.acknowledge(&batch).await;
        let next = role.drain().await.expect("another batch");
        assert_ne!(next.id, batch.id);
        role.acknowledge(&batch).await;
        assert_eq!(role.drain().await, Some(next.clone()), "an old acknowledgement forgets nothing new");
        role.acknowledge(&next).await;
        role.acknowledge(&next).await;
        assert_eq!(role.drain().await, None);
    }

    async fn what_is_no_batch_id_is_refused(role: Role) {
        for id in ["", "nonsense", "r-123-workspace"] {
            let fault = acknowledge(&role.service, id).await.expect_err("refused");
            assert_eq!(fault.code(), Code::InvalidArgument);
        }
    }

    async fn partitions_take_turns(role: Role) {
        for partition in ["a", "b", "c"] {
            role.check(tallied(partition, "key")).await;
        }
        let mut seen = Vec::new();
        for _ in 0..3 {
            let batch = role.drain().await.expect("a batch");
            role.acknowledge(&batch).await;
            let partition = batch.rows[0].partition.clone();
            // It is busy again at once, and still the others have their turn first.
            role.check(tallied(&partition, "key")).await;
            seen.push(partition);
        }
        seen.sort();
        assert_eq!(seen, ["a", "b", "c"]);
    }

    async fn a_large_tally_comes_in_pieces(role: Role) {
        let mut tasks = JoinSet::new();
        for number in 0..5_100 {
            let service = role.service.clone();
            tasks.spawn(async move { check(&service, tallied("workspace", &number.to_string())).await });
        }
        assert!(tasks.join_all().await.into_iter().all(|answer| answer.is_ok()));
        let first = role.drain().await.expect("a batch");
        assert_eq!(first.rows.len(), 5_000);
        let stored = Stored::default();
        drain_all(&role.service, &stored).await;
        assert_eq!(stored.calls(), 5_100);
        assert_eq!(stored.0.lock().expect("nobody panicked").len(), 2);
    }

    async fn two_drainers_store_every_call_once(role: Role) {
        let stored = Stored::default();
        let mut calls = JoinSet::new();
        for number in 0..2_000 {
            let service = role.service.clone();
            let request = tallied(&format!("p{}", number % 5), &format!("k{}", number % 17));
            calls.spawn(async move { check(&service, request).await.expect("decided").allowed });
        }
        let mut drainers = JoinSet::new();
        for service in [role.another(), role.another()] {
            let stored = stored.clone();
            drainers.spawn(async move {
                for _ in 0..40 {
                    // Taken and never acknowledged, as by one who was killed; and then in good order.
                    drain(&service).await.expect("drained");
                    let Some(batch) = drain(&service).await.expect("drained") else { continue };
                    stored.store(&batch);
                    acknowledge(&service, &batch.id).await.expect("acknowledged");
                }
            });
        }
        assert_eq!(calls.join_all().await.len(), 2_000);
        drainers.join_all().await;
        drain_all(&role.service, &stored).await;
        assert_eq!(stored.calls(), 2_000);
    }
}
