//! A part that hears nothing any more, though nobody has told it so: its lease runs out, and it heals by itself.

use rustix::process::Signal;
use tollgate_testkit::PrivatePostgres;

use super::{hammer::Hammer, world::World};

/// While the second edge cannot hear, a revoke through the first holds, by the lease; the second refuses all.
async fn holds_while(world: &World, cut: impl FnOnce(), heal: impl FnOnce()) {
    let (key, kept) = (world.key().await, world.key().await);
    world.accepts_again(1, &kept).await;
    let hammer = Hammer::on(world, &key).await;
    cut();
    let revoked = world.revoke(0, &key).await;
    // "acknowledged" where the second edge's lease ran out before the waiting did: its replica then no longer counts it. What
    // counts comes below: it accepts nothing.
    assert!(["lease_expired", "acknowledged"].contains(&&*revoked.effective), "{revoked:?}");
    eprintln!("cut off: the revoke took {} ms", revoked.took_ms);
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_replica_that_is_stopped_takes_its_verifiers_out_of_service() {
    let postgres = PrivatePostgres::start().await;
    let url = postgres.url();
    let world = World::start([&url, &url]).await;
    let stop = || world.keys[1].signal(Signal::STOP);
    holds_while(&world, stop, || world.keys[1].signal(Signal::CONT)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_edge_whose_packets_are_lost_refuses_and_heals() {
    let postgres = PrivatePostgres::start().await;
    let world = World::wired(&postgres.url()).await;
    holds_while(&world, || world.wire().hold(), || world.wire().resume()).await;
}
