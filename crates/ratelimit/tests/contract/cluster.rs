//! A Redis Cluster in which slots move, and nodes die. Nobody restarts the role.

use std::{collections::BTreeSet, time::Duration};

use tokio::task::JoinSet;
use tollgate_kernel::{Code, Fault};
use tollgate_proto::ratelimit::{CheckRequest, OnFailure};
use tollgate_ratelimit::RateLimitService;
use tollgate_testkit::{PrivateCluster, PrivateRedis};

use crate::{
    faults::limited,
    support::{Role, acknowledge, check, drain, open, store, tally, until, until_up},
};

/// A call of this partition.
fn of(partition: &str, on_failure: OnFailure) -> CheckRequest {
    CheckRequest { partition: partition.to_owned(), tally: Some(tally("key")), ..limited(5, on_failure) }
}

/// A partition whose slot is on each of the three primaries.
async fn one_of_each(cluster: &PrivateCluster) -> [String; 3] {
    let mut found = [const { None }; 3];
    for partition in (0..).map(|number| format!("workspace-{number}")) {
        let owner = cluster.owner(0, &partition).await;
        found[owner].get_or_insert(partition);
        if let [Some(a), Some(b), Some(c)] = &found {
            return [a.clone(), b.clone(), c.clone()];
        }
    }
    unreachable!("partitions go on for ever")
}

async fn decided(service: &RateLimitService, partition: &str) -> (bool, bool, u64) {
    let answer = check(service, of(partition, OnFailure::Local)).await.expect("decided");
    (answer.allowed, answer.degraded, answer.limits[0].remaining)
}

/// Whether this node has told somebody to try again, for it has not all names of a slot.
async fn asked_again(node: &PrivateRedis) -> bool {
    let errors: String = node.ask("INFO errorstats").await.expect("it answers");
    errors.contains("errorstat_TRYAGAIN")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_slot_that_moves_is_followed() {
    let cluster = PrivateCluster::start(0).await;
    let role = Role::at(cluster.url(), "tollgate:");
    let [here, there, _] = one_of_each(&cluster).await;
    assert_eq!(decided(&role.service, &here).await, (true, false, 4));
    let impatient = open(store(cluster.url(), "tollgate:", Duration::from_millis(25)), role.clock.clone());
    until_up(&impatient, true).await;
    let (patient, call) = (role.service.clone(), of(&here, OnFailure::Deny));
    let mut waiting = JoinSet::new();
    let meanwhile = async {
        waiting.spawn(async move { check(&patient, call).await });
        until(async || asked_again(&cluster.nodes[0]).await).await;
        // Its names are with two nodes, and neither can look at all of them.
        let fault = check(&impatient, of(&here, OnFailure::Deny)).await.expect_err("undecided");
        assert_eq!(fault.code(), Code::Unavailable);
        assert_eq!(decided(&role.service, &there).await, (true, false, 4));
        assert!(waiting.try_join_next().is_none(), "it waits for the slot");
    };
    cluster.move_slot(&here, 0, 1, meanwhile).await;
    let waited = waiting.join_next().await.expect("it was asked").expect("it ran").expect("decided");
    assert_eq!((waited.allowed, waited.degraded, waited.limits[0].remaining), (true, false, 3));
    // The map is old; the call finds its way.
    assert_eq!(decided(&role.service, &here).await, (true, false, 2));
    assert_eq!(cluster.owner(0, &here).await, 1);
    let rows = drained(&role.service).await.expect("all nodes are there");
    assert_eq!(rows, BTreeSet::from([here, there]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn a_node_that_dies_in_mid_load_is_followed_to_its_replica() {
    let mut cluster = PrivateCluster::start(1).await;
    let role = Role::at(cluster.url(), "tollgate:");
    let [dying, other, another] = one_of_each(&cluster).await;
    until_up(&role.service, true).await;
    for left in (2..5).rev() {
        for partition in [&dying, &other, &another] {
            assert_eq!(decided(&role.service, partition).await, (true, false, left));
        }
    }
    cluster.caught_up(0, 3).await;
    cluster.nodes[0].kill();
    let fault = check(&role.service, of(&dying, OnFailure::Deny)).await.expect_err("nobody has its slot");
    assert_eq!(fault.code(), Code::Unavailable);
    assert!(role.service.ping().await.is_err());
    for partition in [&other, &another] {
        assert_eq!(decided(&role.service, partition).await, (true, false, 1), "others go on");
    }
    cluster.failed_over(1, &dying, 0).await;
    until_up(&role.service, true).await;
    // What it had counted was with its replica.
    until(async || check(&role.service, of(&dying, OnFailure::Deny)).await.is_ok()).await;
    assert_eq!(decided(&role.service, &dying).await, (true, false, 0));
    assert_eq!(decided(&role.service, &dying).await, (false, false, 0));
    let rows = drained(&role.service).await.expect("all nodes are there");
    assert_eq!(rows, BTreeSet::from([dying, other, another]));
}

/// The partitions of all batches that there are.
async fn drained(service: &RateLimitService) -> Result<BTreeSet<String>, Fault> {
    let mut partitions = BTreeSet::new();
    drain_into(&mut partitions, service).await.map(|()| partitions)
}

/// Adds the partitions of the batches that can be had.
async fn drain_into(partitions: &mut BTreeSet<String>, service: &RateLimitService) -> Result<(), Fault> {
    while let Some(batch) = drain(service).await? {
        partitions.extend(batch.rows.iter().map(|row| row.partition.clone()));
        acknowledge(service, &batch.id).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn every_partition_is_drained_from_wherever_it_is() {
    let mut cluster = PrivateCluster::start(0).await;
    let role = Role::at(cluster.url(), "tollgate:");
    let all: BTreeSet<_> = (0..100).map(|number| format!("workspace-{number}")).collect();
    for partition in &all {
        assert_eq!(decided(&role.service, partition).await, (true, false, 4));
    }
    let drainer = role.another();
    assert_eq!(drained(&drainer).await.expect("all nodes are there"), all);

    for partition in &all {
        assert_eq!(decided(&role.service, partition).await, (true, false, 3));
    }
    cluster.nodes[2].kill();
    let mut seen = BTreeSet::new();
    let fault = drain_into(&mut seen, &drainer).await.expect_err("one node is not there");
    assert_eq!(fault.code(), Code::Unavailable);
    assert!(!seen.is_empty() && seen.len() < all.len(), "the others are drained meanwhile: {}", seen.len());
    cluster.nodes[2].restart().await;
    until_up(&drainer, true).await;
    until(async || drain_into(&mut seen, &drainer).await.is_ok()).await;
    assert_eq!(seen, all);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis"]
async fn every_primary_is_examined() {
    let cluster = PrivateCluster::start(0).await;
    cluster.nodes[1].execute("CONFIG SET maxmemory-policy allkeys-lru").await;
    let role = Role::at(cluster.url(), "tollgate:");
    let fault = role.service.examine().await.expect_err("one of them evicts");
    assert!(fault.message().contains("maxmemory-policy"), "{fault}");
    let [here, there, _] = one_of_each(&cluster).await;
    assert!(!decided(&role.service, &here).await.1);
    assert!(decided(&role.service, &there).await.1, "what is not fit is as if it were gone");
}
