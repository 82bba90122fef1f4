//! Replicas on one PostgreSQL, and verifiers that watch them over real connections.

use std::time::Duration;

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tollgate_changes::{Cut, Effect, Effective, Feed, Settings, silence::MARGIN};
use tollgate_db::Db;
use tollgate_kernel::OsEntropy;
use tollgate_proto::{mesh::MeshToken, remote::Remote};
use tollgate_testkit::{MockClock, TestDatabase};
use tollgate_verify::{
    Changes, Subject,
    watch::{Follower, Trust},
};
use tonic::transport::Server;

use crate::log::{change, key, open};

/// Long enough that a busy machine does not let it run out, unless the test waits for that.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A process of the role: follows the log, and serves watchers.
pub(crate) struct Process {
    feed: Feed,
    pub(crate) changes: Changes,
    remote: Remote,
    follow: JoinHandle<()>,
    serve: JoinHandle<()>,
}

impl Process {
    pub(crate) async fn start(db: &Db, lease: Duration) -> Self {
        let (settings, changes) = (Settings { lease }, Changes::new());
        let feed = Feed::new(db, "keys", &settings, changes.clone(), MockClock::new(), &OsEntropy);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let watch = feed.watch_service().expect("on PostgreSQL");
        let server =
            Server::builder().add_service(watch).serve_with_incoming(TcpListenerStream::new(listener));
        let follow = tokio::spawn({
            let feed = feed.clone();
            async move { feed.run(std::future::pending()).await }
        });
        let serve = tokio::spawn(async move { server.await.expect("served") });
        let remote = Remote {
            address: address.parse().expect("an address"),
            mesh: MeshToken::default(),
            timeout: Duration::from_secs(5),
        };
        feed.confirm().await.expect("the database answers");
        Self { feed, changes, remote, follow, serve }
    }

    /// Gone, without a word.
    fn crash(&self) {
        self.follow.abort();
        self.serve.abort();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A mutation that waits.
async fn cut_off(feed: &Feed, db: &Db, subject: Subject) -> Effect {
    let work = change(db.clone(), subject, false);
    let ((), effect) = feed.carry_out(Some(Cut { subject, wait: true }), work).await.expect("carried out");
    effect.expect("it cuts off")
}

/// A verifier elsewhere.
pub(crate) struct Watcher {
    pub(crate) changes: Changes,
    trust: Trust,
    run: JoinHandle<()>,
}

impl Watcher {
    pub(crate) async fn start(process: &Process, lease: Duration) -> Self {
        let changes = Changes::new();
        let follower = Follower::new("keys", process.remote.clone(), changes.clone(), lease);
        let trust = follower.trust();
        let run = tokio::spawn(async move { follower.run().await });
        let it = Self { changes, trust, run };
        it.until_trusted().await;
        it
    }

    pub(crate) async fn until_trusted(&self) {
        while !(self.trust)() {
            tokio::task::yield_now().await;
        }
    }

    /// Whether a record of the subject that was read at `since` would still be served.
    fn serves(&self, since: u64, subject: Subject) -> bool {
        (self.trust)() && self.changes.holds_until(since, &[subject]).is_some()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.run.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn when_it_returns_no_watcher_of_any_replica_serves_what_was_cached() {
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    let (one, two) = (Process::start(&db, LONG).await, Process::start(&db, LONG).await);
    let watchers = [
        Watcher::start(&one, LONG).await,
        Watcher::start(&two, LONG).await,
        Watcher::start(&two, LONG).await,
    ];
    for round in 0..20 {
        let subject = key();
        let since: Vec<u64> = watchers.iter().map(|watcher| watcher.changes.sequence()).collect();
        let feed = if round % 2 == 0 { &one.feed } else { &two.feed };
        assert_eq!(cut_off(feed, &db, subject).await.effective, Some(Effective::Acknowledged));
        for (watcher, since) in watchers.iter().zip(since) {
            assert!(!watcher.serves(since, subject), "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_replica_that_died_costs_a_lease_and_its_watcher_stops_trusting() {
    let lease = Duration::from_secs(2);
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    let (one, two) = (Process::start(&db, lease).await, Process::start(&db, lease).await);
    let watcher = Watcher::start(&two, lease).await;
    let subject = key();
    let since = watcher.changes.sequence();
    two.crash();
    let effect = cut_off(&one.feed, &db, subject).await;
    assert_eq!(effect.effective, Some(Effective::LeaseExpired));
    assert!(effect.took >= lease, "{:?}", effect.took);
    assert!(!watcher.serves(since, subject));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_replica_that_died_counts_for_two_of_its_own_leases() {
    use diesel_async::SimpleAsyncConnection;
    let lease = Duration::from_mins(1);
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    Process::start(&db, lease).await.crash();
    // Its own lease, which does not matter, is shorter.
    let observer = Feed::new(&db, "keys", &Settings::default(), Changes::new(), MockClock::new(), &OsEntropy);
    let forgotten = async |now: Duration| observer.forget_the_dead(|| now).await.expect("looked");
    let begin = Duration::from_secs(1_000);
    assert_eq!(forgotten(begin).await, 0);
    assert_eq!(forgotten(begin + lease * 2).await, 0, "a lease and another, and no margin yet");
    // As a round does that was under way when it died.
    let renew = "UPDATE replicas SET round = round + 1";
    tollgate_db::write_db!(db, |c| c.batch_execute(renew).await).expect("renewed");
    let again = begin + lease * 3;
    assert_eq!(forgotten(again).await, 0);
    let limit = again + lease * 2 + MARGIN;
    assert_eq!(forgotten(limit.checked_sub(Duration::from_millis(1)).expect("later")).await, 0);
    assert_eq!(forgotten(limit).await, 1);
    assert_eq!(forgotten(limit + lease).await, 0, "there is none any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn another_history_with_the_same_sequences_hides_nothing() {
    use diesel_async::SimpleAsyncConnection;
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    // After the replacement a lease is waited for.
    let lease = Duration::from_secs(2);
    let process = Process::start(&db, lease).await;
    let watcher = Watcher::start(&process, lease).await;
    let (subject, lost) = (key(), key());
    cut_off(&process.feed, &db, lost).await;
    let (here, there) = (process.changes.sequence(), watcher.changes.sequence());
    // As if the database had been replaced by one that did not have that change, and gave its sequence to another one. In one step, so
    // that nobody can read in between; and nobody is told.
    let replace = format!(
        "ALTER TABLE changes DISABLE TRIGGER changes_tell;
        DELETE FROM changes WHERE sequence = (SELECT last FROM change_head);
        UPDATE change_head SET tag = 7;
        INSERT INTO changes (sequence, tag, subject, at) SELECT last, tag, '{subject}', now() FROM change_head"
    );
    tollgate_db::write_db!(db, |c| c.batch_execute(&replace).await).expect("replaced");
    while watcher.changes.holds_until(there, &[subject]).is_some() {
        tokio::task::yield_now().await;
    }
    assert!(process.changes.holds_until(here, &[subject]).is_none());
    watcher.until_trusted().await;
    let (next, since) = (key(), watcher.changes.sequence());
    cut_off(&process.feed, &db, next).await;
    assert!(!watcher.serves(since, next));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn without_notifications_a_poll_is_enough() {
    use diesel_async::SimpleAsyncConnection;
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    let drop = "DROP TRIGGER changes_tell ON changes; DROP TRIGGER replicas_tell ON replicas";
    tollgate_db::write_db!(db, |c| c.batch_execute(drop).await).expect("dropped");
    let (one, two) = (Process::start(&db, LONG).await, Process::start(&db, LONG).await);
    let watcher = Watcher::start(&two, LONG).await;
    let (subject, since) = (key(), watcher.changes.sequence());
    assert_eq!(cut_off(&one.feed, &db, subject).await.effective, Some(Effective::Acknowledged));
    assert!(!watcher.serves(since, subject));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_watcher_that_comes_back_hears_what_it_missed() {
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    let process = Process::start(&db, LONG).await;
    let changes = Changes::new();
    let follower = Follower::new("keys", process.remote.clone(), changes.clone(), LONG);
    let (stop, stopped) = oneshot::channel::<()>();
    let first = tokio::spawn({
        let follower = follower.clone();
        async move {
            tokio::select! { () = follower.run() => {}, _ = stopped => {} }
        }
    });
    while !follower.trusts() {
        tokio::task::yield_now().await;
    }
    stop.send(()).expect("it runs");
    first.await.expect("stopped");
    let (missed, other) = (key(), key());
    let since = changes.sequence();
    change(db, missed, false).await.expect("written");
    let again = tokio::spawn(async move { follower.run().await });
    while changes.holds_until(since, &[missed]).is_some() {
        tokio::task::yield_now().await;
    }
    assert!(changes.holds_until(since, &[other]).is_some(), "it did not have to start with nothing");
    again.abort();
}

#[tokio::test]
async fn on_sqlite_a_change_holds_at_once() {
    let database = TestDatabase::sqlite().await;
    let db = open(&database).await;
    let feed = Feed::new(&db, "keys", &Settings::default(), Changes::new(), MockClock::new(), &OsEntropy);
    assert!(feed.trusts());
    assert!(feed.watch_service().is_none());
    feed.confirm().await.expect("nothing to wait for");
    assert_eq!(cut_off(&feed, &db, key()).await.effective, Some(Effective::Acknowledged));
}

#[tokio::test]
async fn who_does_not_wait_is_told_so_and_who_forgot_the_log_is_refused() {
    let database = TestDatabase::sqlite().await;
    let db = open(&database).await;
    let changes = Changes::new();
    let feed = Feed::new(&db, "keys", &Settings::default(), changes.clone(), MockClock::new(), &OsEntropy);
    let (subject, since) = (key(), changes.sequence());
    let forgot = feed.carry_out(Some(Cut { subject, wait: true }), async { Ok(((), None)) }).await;
    assert_eq!(forgot.expect_err("not in the log").code(), tollgate_kernel::Code::Internal);
    assert!(changes.holds_until(since, &[subject]).is_none(), "this process forgets it whatever happened");
    let (seven, effect) = feed.carry_out(None, async { Ok((7, None)) }).await.expect("nothing is cut off");
    assert_eq!((seven, effect), (7, None));
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_replica_that_does_not_follow_does_not_answer() {
    let database = TestDatabase::postgres().await;
    let db = open(&database).await;
    let feed = Feed::new(&db, "keys", &Settings::default(), Changes::new(), MockClock::new(), &OsEntropy);
    assert!(!feed.trusts());
    let fault = feed.confirm().await.expect_err("nobody runs rounds");
    assert_eq!(fault.code(), tollgate_kernel::Code::Unavailable);
}
