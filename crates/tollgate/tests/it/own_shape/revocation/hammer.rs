//! Connections that present one key to both edges without a pause, and note what started when.

use std::sync::Arc;

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::world::{Key, PATIENCE, World, whoami};
use crate::http::Client;

/// To each edge.
const CONNECTIONS: usize = 16;
/// How often each edge must have accepted the key before the test goes on: by then it answers from its cache.
const WARM: u64 = 64;
/// How often each connection must have asked after a moment at which nothing may be accepted any more.
const AFTER: u32 = 3;

/// Asks until it is ended.
pub(super) struct Hammer {
    tally: Arc<watch::Sender<Tally>>,
    stop: CancellationToken,
    connections: JoinSet<()>,
}

/// What has been answered so far.
#[derive(Debug, Default)]
struct Tally {
    /// By edge.
    accepted: [u64; 2],
    /// By edge: when the last one of those that were accepted had started.
    last_accepted: [Option<Instant>; 2],
    /// By connection: when the last one of those that were answered had started.
    answered: Vec<Option<Instant>>,
}

impl Hammer {
    /// Hammers both edges with this key, which both have accepted many times when this returns.
    pub(super) async fn on(world: &World, key: &Key) -> Self {
        let tally = Tally { answered: vec![None; 2 * CONNECTIONS], ..Tally::default() };
        let (tally, stop) = (Arc::new(watch::Sender::new(tally)), CancellationToken::new());
        let mut connections = JoinSet::new();
        for connection in 0..2 * CONNECTIONS {
            // A client of its own, so that it is a connection of its own.
            let client = world.edge(connection % 2);
            connections.spawn(ask(client, key.key.clone(), connection, tally.clone(), stop.clone()));
        }
        let hammer = Self { tally, stop, connections };
        hammer.until(|tally| tally.accepted.iter().all(|accepted| *accepted >= WARM)).await;
        hammer
    }

    /// Every connection has been answered to something that it asked from now on.
    pub(super) async fn goes_on(&self) {
        for _ in 0..AFTER {
            let now = Instant::now();
            self.until(|tally| tally.answered.iter().all(|started| started.is_some_and(|at| at > now))).await;
        }
    }

    /// Goes on for a while; nothing that started after this moment is accepted. Ends it.
    pub(super) async fn no_accept_after(mut self, moment: Instant) {
        self.goes_on().await;
        self.stop.cancel();
        while let Some(ended) = self.connections.join_next().await {
            ended.expect("no connection failed");
        }
        let tally = self.tally.borrow();
        for (edge, last) in tally.last_accepted.iter().enumerate() {
            let last = last.expect("it was accepted before");
            let late = last.checked_duration_since(moment).filter(|late| !late.is_zero());
            assert_eq!(late, None, "edge {edge} accepted what started so long after the revoke had returned");
        }
    }

    async fn until(&self, right: impl FnMut(&Tally) -> bool) {
        let mut tally = self.tally.subscribe();
        let seen = timeout(PATIENCE, tally.wait_for(right)).await;
        let seen = seen.map(|seen| drop(seen.expect("we hold the sender")));
        assert!(seen.is_ok(), "not in time: {:?}", self.tally.borrow());
    }
}

async fn ask(
    client: Client,
    key: String,
    connection: usize,
    tally: Arc<watch::Sender<Tally>>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let started = Instant::now();
        // One that is refused for its limits was believed, too.
        let accepted = [200, 429].contains(&whoami(&client, &key).await.status.as_u16());
        tally.send_modify(|tally| {
            tally.answered[connection] = Some(started);
            if accepted {
                let edge = connection % 2;
                tally.accepted[edge] += 1;
                tally.last_accepted[edge] = tally.last_accepted[edge].max(Some(started));
            }
        });
    }
}
