//! One connection to Redis, shared by all calls, and what happens when it is lost.
//!
//! A connection that breaks is replaced at once, and the call that found out is asked again on the new one: asking twice
//! can charge twice, but never lets too much pass. A Redis that does not come back, or does not answer any more, is *down*:
//! from then on one task tries to reach it, once per interval, and no call waits for it.

use std::{
    future::Future,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, ServerErrorKind,
    aio::MultiplexedConnection, cmd,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::Pace;

/// How many calls in a row go unanswered before Redis counts as down.
const UNANSWERED: u32 = 4;
/// Calls that may wait to be written to the connection; more wait for their turn.
const PIPELINE: usize = 1024;

/// A connection that mends itself.
pub(super) struct Link(Arc<Shared>);

struct Shared {
    client: Client,
    pace: Pace,
    state: watch::Sender<State>,
    unanswered: AtomicU32,
}

#[derive(Clone)]
enum State {
    /// A first attempt to connect is under way; calls wait for it.
    Connecting {
        generation: u64,
    },
    Up(Connection),
    /// An attempt has failed, or Redis went silent; calls do not wait.
    Down {
        generation: u64,
    },
}

/// A connection that was up when it was handed out.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) inner: MultiplexedConnection,
    /// Counts the connections of the link.
    pub(super) generation: u64,
}

/// Why Redis did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It is down, and somebody is trying to reach it.
    #[error("Redis is down")]
    Down,
    /// It took too long.
    #[error("Redis did not answer in time")]
    Late,
    /// The connection broke.
    #[error("the connection to Redis broke")]
    Broken(#[source] RedisError),
    /// It answered with an error.
    #[error("Redis refused")]
    Refused(#[source] RedisError),
}

/// Whether Redis answers.
pub(super) async fn ping(mut connection: Connection) -> RedisResult<()> {
    cmd("PING").exec_async(&mut connection.inner).await
}

impl Link {
    /// Begins to connect, within a Tokio runtime.
    pub(super) fn open(client: Client, pace: Pace) -> Self {
        let (state, _) = watch::channel(State::Connecting { generation: 0 });
        let shared = Arc::new(Shared { client, pace, state, unanswered: AtomicU32::new(0) });
        tokio::spawn(connect(Arc::downgrade(&shared)));
        Self(shared)
    }

    /// Does `work` on the connection, within `limit`.
    pub(super) async fn run<T, F>(
        &self,
        limit: Duration,
        work: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let deadline = Instant::now() + limit;
        match self.attempt(deadline, &work).await {
            Err(Failure::Broken(_)) => self.attempt(deadline, &work).await,
            other => other,
        }
    }

    async fn attempt<T, F>(&self, deadline: Instant, work: impl Fn(Connection) -> F) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let connection = self.connection(deadline).await?;
        let generation = connection.generation;
        match timeout_at(deadline, work(connection)).await {
            Ok(Ok(value)) => {
                self.0.unanswered.store(0, Ordering::Relaxed);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.refused(generation, error)),
            Err(_) => Err(self.late(generation)),
        }
    }

    async fn connection(&self, deadline: Instant) -> Result<Connection, Failure> {
        if let State::Up(connection) = &*self.0.state.borrow() {
            return Ok(connection.clone());
        }
        let mut state = self.0.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting { .. }));
        match timeout_at(deadline, settled).await.map_err(|_| Failure::Late)?.as_deref() {
            Ok(State::Up(connection)) => Ok(connection.clone()),
            _ => Err(Failure::Down),
        }
    }

    fn refused(&self, generation: u64, error: RedisError) -> Failure {
        if error.is_io_error() {
            self.lose(State::Connecting { generation });
            return Failure::Broken(error);
        }
        // A server that is loading, or lost its role to another: the next connection may find a better one.
        if let ErrorKind::Server(
            ServerErrorKind::BusyLoading | ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown,
        ) = error.kind()
        {
            self.lose(State::Down { generation });
        }
        Failure::Refused(error)
    }

    fn late(&self, generation: u64) -> Failure {
        if self.0.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED {
            self.lose(State::Down { generation });
        }
        Failure::Late
    }

    /// Gives up the connection of this generation, unless somebody did before.
    fn lose(&self, next: State) {
        let lost = self.0.state.send_if_modified(|state| {
            let ours = matches!(state, State::Up(up) if up.generation == next.generation());
            if ours {
                *state = next;
            }
            ours
        });
        if lost {
            self.0.unanswered.store(0, Ordering::Relaxed);
            tracing::warn!("the connection to Redis is lost");
            tokio::spawn(connect(Arc::downgrade(&self.0)));
        }
    }
}

impl State {
    fn generation(&self) -> u64 {
        match self {
            Self::Connecting { generation } | Self::Down { generation } => *generation,
            Self::Up(connection) => connection.generation,
        }
    }
}

/// Tries until there is a connection, or nobody needs one.
async fn connect(link: Weak<Shared>) {
    while let Some(shared) = link.upgrade() {
        let generation = shared.state.borrow().generation();
        match attempt(&shared, generation + 1).await {
            Ok(connection) => {
                tracing::info!("connected to Redis");
                shared.state.send_replace(State::Up(connection));
                return;
            }
            Err(failure) => shared.note_down(generation, &failure),
        }
        let pause = shared.pace.retry_interval;
        drop(shared);
        tokio::time::sleep(pause).await;
    }
}

/// One attempt. A server that accepts connections and does not answer is not connected.
async fn attempt(shared: &Shared, generation: u64) -> Result<Connection, Failure> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE);
    let connected = async {
        let inner = shared.client.get_multiplexed_async_connection_with_config(&config).await?;
        let connection = Connection { inner, generation };
        ping(connection.clone()).await.map(|()| connection)
    };
    match timeout(shared.pace.connect_timeout, connected).await {
        Ok(connected) => connected.map_err(Failure::Broken),
        Err(_) => Err(Failure::Late),
    }
}

impl Shared {
    /// Says so when Redis goes down, and not at every attempt after that.
    fn note_down(&self, generation: u64, failure: &Failure) {
        let was = self.state.send_replace(State::Down { generation });
        if matches!(was, State::Connecting { .. }) {
            let cause = std::error::Error::source(failure).map(ToString::to_string);
            tracing::warn!(%failure, cause, "Redis is down");
        }
    }
}
