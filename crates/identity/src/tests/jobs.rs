//! What is deleted, and what is not.

use tollgate_testkit::on_every_database;

use super::support::{PASSWORD, World};

const DAY: u64 = 86_400;

on_every_database! {
    async fn old_sessions_go_and_live_ones_stay(database: TestDatabase) {
        let world = World::new(database).await;
        let ended = world.session().await;
        world.log_out(&ended.refresh_token, false).await.unwrap();
        world.wait(29 * DAY);
        let live = world.log_in("ann@example.com").await;
        world.identity.maintain().await;
        assert_eq!(world.identity.store.sessions_count().await, 2, "not yet");
        world.wait(DAY + 1);
        world.identity.maintain().await;
        assert_eq!(world.identity.store.sessions_count().await, 1);
        assert!(world.resolve(&live.session_id).await.is_some());
        assert!(world.try_log_in("ann@example.com", PASSWORD, "").await.is_ok(), "users stay");
    }

    async fn more_than_a_batch_goes_too(database: TestDatabase) {
        let world = World::new(database).await;
        for _ in 0..501 {
            let event = world.identity.event(crate::store::Action::Signup);
            world.identity.store.audit_insert(&event).await.unwrap();
        }
        world.wait(365 * DAY + 1);
        world.identity.maintain().await;
        // What is left is of today: the rotation that the same round made.
        assert_eq!(world.identity.store.actions().await, ["signing_key.created"]);
    }
}

#[tokio::test]
async fn the_job_runs_until_it_is_stopped() {
    let world = World::new(tollgate_testkit::TestDatabase::sqlite().await).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let identity = world.identity.clone();
    let job = tokio::spawn(async move {
        identity.run(async { drop(stopped.await) }).await;
    });
    stop.send(()).unwrap();
    job.await.unwrap();
}
