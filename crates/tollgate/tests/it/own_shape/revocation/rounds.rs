//! Round after round of a fresh key that is hammered and revoked, with all well, and without PostgreSQL's notifications.

use std::time::Duration;

use tokio::time::Instant;
use tollgate_testkit::PrivatePostgres;

use super::world::World;

/// How many, and for how long at most: a machine that is slow does fewer.
const ROUNDS: usize = 100;
const TIME: Duration = Duration::from_secs(15);

/// Revokes alternately through either replica; all are acknowledged. Prints how long the revokes took.
async fn rounds(world: &World, what: &str, count: usize) {
    let end = Instant::now() + TIME;
    let mut took = Vec::new();
    while took.len() < 2 || took.len() < count && Instant::now() < end {
        let revoked = world.round(took.len() % 2).await;
        assert_eq!(revoked.effective, "acknowledged", "{revoked:?}");
        took.push(revoked.took_ms);
    }
    took.sort_unstable();
    let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    eprintln!("{what}: {} revokes, p50 {p50} ms, p99 {p99} ms", took.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn no_request_that_starts_after_a_revoke_has_returned_is_accepted() {
    let postgres = PrivatePostgres::start().await;
    let url = postgres.url();
    let world = World::patient([&url, &url]).await;
    rounds(&world, "all well", ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn without_notifications_it_takes_longer_and_holds_all_the_same() {
    let postgres = PrivatePostgres::start().await;
    let url = postgres.url();
    let world = World::patient([&url, &url]).await;
    let silence = "DROP TRIGGER changes_tell ON keys.changes; DROP TRIGGER replicas_tell ON keys.replicas";
    postgres.execute(silence).await;
    rounds(&world, "without notifications", 10).await;
}
