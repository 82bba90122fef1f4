//! PostgreSQL's primary dies, or is cut off with some of its clients, and a synchronous standby takes its place.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tollgate_testkit::PrivatePostgres;

use super::{
    hammer::Hammer,
    wire::Wire,
    world::{Key, World},
};

/// Keys that are revoked at the moment of the primary's death.
const RACING: usize = 8;

/// Two PostgreSQL servers.
struct Pair {
    primary: PrivatePostgres,
    standby: PrivatePostgres,
    /// How the standby follows. While it is held, the primary confirms no commit.
    replication: Wire,
}

impl Pair {
    async fn start() -> Self {
        let primary = PrivatePostgres::start().await;
        let replication = Wire::to(primary.address()).await;
        let standby = primary.standby(replication.address()).await;
        Self { primary, standby, replication }
    }

    /// Promotes the standby, and leads those who use the primary to it.
    async fn fail_over(&self, clients: &Wire) {
        self.standby.promote().await;
        clients.lead_to(self.standby.address());
    }
}

/// Revokes these keys at the same time, through either edge, and kills the primary when the first is done. Gives those of which
/// it was said that they are revoked, and the others, of which nothing is known.
async fn revoked_while_it_dies(
    world: &World,
    keys: Vec<Key>,
    primary: &mut PrivatePostgres,
) -> (Vec<Key>, Vec<Key>) {
    let revoke = async |(number, key)| (world.try_revoke(number % 2, &key).await, key);
    let mut racing: FuturesUnordered<_> = keys.into_iter().enumerate().map(revoke).collect();
    let (mut revoked, mut unknown) = (Vec::new(), Vec::new());
    while let Some((answer, key)) = racing.next().await {
        // Only the first time there is something to kill.
        primary.kill();
        if answer.is_ok() { &mut revoked } else { &mut unknown }.push(key);
    }
    (revoked, unknown)
}

async fn refused(world: &World, keys: &[Key]) {
    for key in keys {
        for edge in [0, 1] {
            assert_eq!(world.status(edge, key).await, 401, "edge {edge}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_standby_in_the_place_of_a_dead_primary_has_forgotten_no_revoke() {
    let mut pair = Pair::start().await;
    let way = Wire::to(pair.primary.address()).await;
    let url = pair.primary.url_by(way.address());
    let world = World::start([&url, &url]).await;
    let (before, after, kept) = (world.key().await, world.key().await, world.key().await);
    let mut racing = Vec::new();
    for _ in 0..RACING {
        racing.push(world.key().await);
    }
    let (at_before, at_after) = (Hammer::on(&world, &before).await, Hammer::on(&world, &after).await);
    let revoked = world.revoke(0, &before).await;
    for key in &racing {
        for edge in [0, 1] {
            world.accepts_again(edge, key).await;
        }
    }
    let (confirmed, unknown) = revoked_while_it_dies(&world, racing, &mut pair.primary).await;
    eprintln!("the primary died: {} revokes held, of {} nothing is known", confirmed.len(), unknown.len());
    let nobody = world.try_revoke(1, &after).await;
    assert!(nobody.is_err(), "there is no database: {nobody:?}");

    pair.fail_over(&way).await;
    for edge in [0, 1] {
        world.accepts_again(edge, &kept).await;
    }
    refused(&world, &confirmed).await;
    at_before.no_accept_after(revoked.returned).await;
    let revoked = world.revoke(1, &after).await;
    at_after.no_accept_after(revoked.returned).await;
    for key in &unknown {
        world.revoke(0, key).await;
    }
    refused(&world, &unknown).await;
    refused(&world, &[before, after]).await;
    world.acknowledges_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn who_is_left_with_the_old_primary_accepts_nothing() {
    let pair = Pair::start().await;
    let (first, second) = (Wire::to(pair.primary.address()).await, Wire::to(pair.primary.address()).await);
    let urls = [&first, &second].map(|way| pair.primary.url_by(way.address()));
    let world = World::start([&urls[0], &urls[1]]).await;
    let (before, after, kept) = (world.key().await, world.key().await, world.key().await);
    let (at_before, at_after) = (Hammer::on(&world, &before).await, Hammer::on(&world, &after).await);
    let revoked_before = world.revoke(1, &before).await;

    // The old primary lives on, and the second keys replica with it. Neither hears of what comes.
    pair.replication.hold();
    pair.fail_over(&first).await;
    world.accepts_again(0, &kept).await;
    let revoked = world.revoke(0, &after).await;
    eprintln!("split: {} after {} ms", revoked.effective, revoked.took_ms);
    assert_eq!(world.status(0, &after).await, 401);
    for key in [&after, &kept] {
        assert_eq!(world.status(1, key).await, 503, "it does not guess");
    }
    let nobody = world.try_revoke(1, &kept).await;
    assert!(nobody.is_err(), "the old primary confirms nothing: {nobody:?}");
    at_before.goes_on().await;

    second.lead_to(pair.standby.address());
    for edge in [0, 1] {
        world.accepts_again(edge, &kept).await;
    }
    at_before.no_accept_after(revoked_before.returned).await;
    at_after.no_accept_after(revoked.returned).await;
    refused(&world, &[before, after]).await;
    world.acknowledges_again().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_change_that_only_the_old_primary_had_hides_none_of_the_new_one() {
    let pair = Pair::start().await;
    let way = Wire::to(pair.primary.address()).await;
    let url = pair.primary.url_by(way.address());
    let world = World::start([&url, &url]).await;
    let (lost, kept) = (world.key().await, world.key().await);
    let at_kept = Hammer::on(&world, &kept).await;
    // On the primary and not on the standby, and so confirmed to nobody.
    pair.replication.hold();
    let nobody = world.try_revoke(0, &lost).await;
    assert!(nobody.is_err(), "the standby does not have it: {nobody:?}");
    // The primary no longer waits for the standby, so that both replicas and both edges come to know of the change.
    pair.primary.execute("ALTER SYSTEM SET synchronous_standby_names = ''").await;
    pair.primary.execute("SELECT pg_reload_conf()").await;
    for edge in [0, 1] {
        world.refuses(edge, &lost).await;
        world.accepts_again(edge, &kept).await;
    }

    // Its log ends one change earlier, so the next revoke takes the place of the one that is lost.
    pair.fail_over(&way).await;
    for edge in [0, 1] {
        world.accepts_again(edge, &kept).await;
    }
    let revoked = world.revoke(0, &kept).await;
    eprintln!("in another history: {} after {} ms", revoked.effective, revoked.took_ms);
    at_kept.no_accept_after(revoked.returned).await;
    refused(&world, &[kept]).await;
    world.acknowledges_again().await;
}
