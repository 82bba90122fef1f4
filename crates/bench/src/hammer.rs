//! Connections that present one key without a pause, before and after it is revoked.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hyper::header::HeaderValue;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{Problem, calls::HttpRequest, http::Connection, set_up};

/// How long a call may take; one that takes longer has no answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long all connections may take until the key was believed on each.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a key must have been believed on each connection before it is revoked: by then the edges answer from their caches.
const BELIEVED: usize = 4;
/// Calls on each connection that start after the revoke has returned.
const AFTER: u32 = 3;

/// Asks until each connection has asked after the revoke.
pub(crate) struct Hammer {
    connections: JoinSet<Asked>,
    count: u32,
    ready: Arc<Semaphore>,
    returned: Arc<OnceLock<Instant>>,
}

/// What connections have asked and heard.
#[derive(Default)]
struct Asked {
    calls: u64,
    /// When those calls started by which the key was believed: answered with 200, or with 429 for its limits.
    believed: Vec<Instant>,
}

/// What came out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ended {
    pub calls: u64,
    /// Those that started after the revoke had returned and by which the key was believed all the same.
    pub late: u64,
}

/// Somebody who presents a key to an edge.
pub(crate) struct Presenter {
    connection: Connection,
    host: HeaderValue,
    request: HttpRequest,
}

impl Hammer {
    /// Presents the key on this many connections, half of them to either edge, and returns when it was believed on all.
    pub(crate) async fn on(edges: [SocketAddr; 2], key: &str, count: u32) -> Result<Self, Problem> {
        let mut hammer = Self {
            connections: JoinSet::new(),
            count,
            ready: Arc::new(Semaphore::new(0)),
            returned: Arc::new(OnceLock::new()),
        };
        for edge in edges.iter().cycle().take(count as usize) {
            let presenter = Presenter::new(*edge, key)?;
            hammer.connections.spawn(ask(presenter, hammer.ready.clone(), hammer.returned.clone()));
        }
        let ready = timeout(PATIENCE, hammer.ready.acquire_many(count)).await;
        ready.map_err(|_| "the key was not accepted on all connections")??.forget();
        Ok(hammer)
    }

    /// The revoke has returned at this moment; goes on until each connection has asked some times more.
    pub(crate) async fn end(mut self, returned: Instant) -> Result<Ended, Problem> {
        self.returned.set(returned).map_err(|_| "a key is revoked once")?;
        let mut ended = Ended::default();
        while let Some(asked) = self.connections.join_next().await {
            let asked = asked?;
            ended.calls += asked.calls;
            ended.late += asked.believed.iter().filter(|started| **started > returned).count() as u64;
        }
        assert!(ended.calls >= u64::from(self.count * AFTER), "each connection has asked afterwards");
        Ok(ended)
    }
}

async fn ask(mut presenter: Presenter, ready: Arc<Semaphore>, returned: Arc<OnceLock<Instant>>) -> Asked {
    let (mut asked, mut after) = (Asked::default(), 0);
    while after < AFTER {
        let started = Instant::now();
        let status = presenter.present().await;
        asked.calls += 1;
        if matches!(status, Some(200 | 429)) {
            asked.believed.push(started);
            if asked.believed.len() == BELIEVED {
                ready.add_permits(1);
            }
        }
        after += u32::from(returned.get().is_some_and(|returned| started > *returned));
    }
    asked
}

impl Presenter {
    pub(crate) fn new(edge: SocketAddr, key: &str) -> Result<Self, Problem> {
        let host = HeaderValue::try_from(edge.to_string())?;
        Ok(Self { connection: Connection::new(edge), host, request: set_up::whoami(key)? })
    }

    /// The status of the answer, if there is one in time.
    pub(crate) async fn present(&mut self) -> Option<u16> {
        let answer = self.connection.send(self.request.to_request(&self.host));
        Some(timeout(TIMEOUT, answer).await.ok()?.ok()?.status)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::{Router, http::StatusCode, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    /// An edge that believes every key until it is told that they are revoked, and one that does not listen to that.
    async fn edge(revoked: Arc<AtomicBool>, listens: bool) -> SocketAddr {
        let answer = move || async move {
            let refused = listens && revoked.load(Ordering::SeqCst);
            if refused { StatusCode::UNAUTHORIZED } else { StatusCode::OK }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let edge = axum::serve(listener, Router::new().route("/v1/whoami/key", get(answer)));
        tokio::spawn(async { edge.await });
        address
    }

    async fn late(second_listens: bool) -> u64 {
        let revoked = Arc::new(AtomicBool::new(false));
        let edges = [edge(revoked.clone(), true).await, edge(revoked.clone(), second_listens).await];
        let hammer = Hammer::on(edges, "a-key", 4).await.expect("the key is believed");
        revoked.store(true, Ordering::SeqCst);
        hammer.end(Instant::now()).await.expect("it ends").late
    }

    #[tokio::test]
    async fn every_call_that_is_believed_after_the_revoke_is_late() {
        assert_eq!(late(true).await, 0);
        assert_eq!(late(false).await, 2 * u64::from(AFTER), "on each of the second edge's two connections");
    }
}
