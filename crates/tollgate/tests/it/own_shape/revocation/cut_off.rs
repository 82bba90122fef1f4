//! A part that hears nothing any more, though nobody has told it so: its lease runs out, and it heals by itself.

use rustix::process::Signal;
use tollgate_testkit::{Loss, Namespace, PrivatePostgres};

use super::{
    hammer::Hammer,
    world::{Revoked, World},
};

/// While the second edge cannot hear, a revoke through the first holds; the second refuses all. Gives what the revoke said.
async fn holds_while(world: &World, cut: impl FnOnce(), heal: impl FnOnce()) -> Revoked {
    let (key, kept) = (world.key().await, world.key().await);
    world.accepts_again(1, &kept).await;
    let hammer = Hammer::on(world, &key).await;
    cut();
    let revoked = world.revoke(0, &key).await;
    eprintln!("cut off: the revoke took {} ms: {}", revoked.took_ms, revoked.effective);
    assert_eq!(world.status(0, &key).await, 401);
    assert_eq!(world.status(0, &kept).await, 200);
    for refused in [&key, &kept] {
        assert_eq!(world.status(1, refused).await, 503, "it does not guess");
    }
    heal();
    world.accepts_again(1, &kept).await;
    assert_eq!(world.status(1, &key).await, 401);
    hammer.no_accept_after(revoked.returned).await;
    world.acknowledges_again().await;
    revoked
}

/// Here both words are right: "acknowledged" where the second edge's lease ran out before the waiting did, because its replica
/// then no longer counts it.
fn held(revoked: &Revoked) {
    assert!(["lease_expired", "acknowledged"].contains(&&*revoked.effective), "{revoked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_replica_that_is_stopped_takes_its_verifiers_out_of_service() {
    let postgres = PrivatePostgres::start().await;
    let url = postgres.url();
    let world = World::start([&url, &url]).await;
    let stop = || world.keys[1].signal(Signal::STOP);
    held(&holds_while(&world, stop, || world.keys[1].signal(Signal::CONT)).await);
}

/// What the second edge sends, or is sent, is dropped, but for the test's own questions.
async fn loses(loss: Loss, lease_ms: &str) -> Revoked {
    let (postgres, network) = (PrivatePostgres::start().await, Namespace::new());
    let world = World::apart(&postgres.url(), lease_ms, &network).await;
    let port = world.second_edge().port();
    holds_while(&world, || network.lose(loss, port), || network.heal()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL, Redis and root"]
async fn an_edge_whose_packets_are_lost_refuses_and_heals() {
    held(&loses(Loss::Both, "2000").await);
}

/// Its replica goes on counting it, because its questions come, four times a lease. So the revoke waits for all of the lease, which
/// is long enough for a busy machine to ask in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL, Redis and root"]
async fn an_edge_that_is_heard_and_does_not_hear_costs_a_lease() {
    let revoked = loses(Loss::Incoming, "8000").await;
    assert_eq!(revoked.effective, "lease_expired");
    assert!(revoked.took_ms >= 8_000, "{revoked:?}");
}
