//! The connections to one Redis server, shared by all calls, and what happens when they are lost.
//!
//! Calls are spread over a few connections and pipelined on each; what may take its time goes over connections of its own,
//! from a pool. All of them come and go together. Connections that break are replaced at once, and the call that found out
//! is asked again on the new ones: asking twice can charge twice, but never lets too much pass. A server that does not
//! come back, does not answer any more, or is not fit to count in ([`super::server`]), is *down*: from then on one task
//! tries to reach it, once per interval, and no call waits for it.

use std::{
    future::Future,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use ::redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind, pipe};
use deadpool::managed::{Pool, PoolError};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    server::{self, Own, Place, Setup},
    wire::Wire,
};

/// How many calls in a row go unanswered before the server counts as down.
const UNANSWERED: u32 = 4;

/// Connections that mend themselves.
pub(super) struct Link(Arc<Shared>);

struct Shared {
    place: Place,
    setup: Arc<Setup>,
    state: watch::Sender<State>,
    unanswered: AtomicU32,
    turn: AtomicUsize,
}

#[derive(Clone)]
enum State {
    /// A first attempt to connect is under way; calls wait for it.
    Connecting {
        generation: u64,
    },
    Up(Arc<Up>),
    /// An attempt has failed, or the server went silent; calls do not wait.
    Down {
        generation: u64,
        unfit: Option<&'static str>,
    },
}

/// Connections to a server that was fit when they were made.
pub(super) struct Up {
    /// Tells these connections from all others that this process ever had.
    pub(super) generation: u64,
    /// Shared by all calls.
    pub(super) shared: Vec<Wire>,
    /// For what needs a connection of its own.
    pub(super) pool: Pool<Own>,
}

/// Which connection something is done on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// One that others use at the same time: for what is done at once.
    Shared,
    /// One of its own.
    Own,
}

/// A connection that was up when it was handed out.
#[derive(Clone)]
pub(super) struct Connection {
    wire: Wire,
    /// Counts the connections of this process.
    pub(super) generation: u64,
    /// The server shall answer for a slot that is on its way to it.
    asking: bool,
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
    /// It is not who it should be, or does not speak TLS.
    #[error("there is no TLS connection to Redis")]
    Tls(#[source] io::Error),
    /// It ended the connection before it said anything.
    #[error("Redis hangs up on whoever says anything: if it wants TLS, its address begins with rediss")]
    HungUp(#[source] RedisError),
    /// It is not a primary, or not any more.
    #[error("Redis is a replica, which cannot count")]
    Replica,
    /// It is set up so that it must not be used.
    #[error("{0}")]
    Unfit(&'static str),
}

impl Failure {
    /// What is behind it.
    pub(super) fn cause(&self) -> Option<String> {
        std::error::Error::source(self).map(ToString::to_string)
    }
}

impl Connection {
    /// Carries out a command.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        if !self.asking {
            return self.wire.query(command).await;
        }
        let mut asking = pipe();
        asking.cmd("ASKING").ignore().add_command(command.clone());
        let (answer,) = self.wire.each(&asking).await?;
        Ok(answer)
    }

    /// Carries out several commands, each by itself.
    pub(super) async fn each<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> RedisResult<Vec<RedisResult<T>>> {
        self.wire.each(commands).await
    }
}

impl Link {
    /// Begins to connect, within a Tokio runtime.
    pub(super) fn open(place: Place, setup: Arc<Setup>) -> Self {
        let (state, _) = watch::channel(State::Connecting { generation: setup.next_generation() });
        let (unanswered, turn) = (AtomicU32::new(0), AtomicUsize::new(0));
        let shared = Arc::new(Shared { place, setup, state, unanswered, turn });
        tokio::spawn(connect(Arc::downgrade(&shared)));
        Self(shared)
    }

    /// Does `work` on a connection, before `deadline`.
    pub(super) async fn run<T, F>(
        &self,
        via: Via,
        deadline: Instant,
        work: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        match self.attempt(via, false, deadline, &work).await {
            Err(Failure::Broken(_)) => self.attempt(via, false, deadline, &work).await,
            other => other,
        }
    }

    /// Does `work` for a slot that is on its way to this server.
    pub(super) async fn run_asking<T, F>(
        &self,
        via: Via,
        deadline: Instant,
        work: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.attempt(via, true, deadline, work).await
    }

    /// Whether there are connections now.
    pub(super) fn is_up(&self) -> bool {
        matches!(*self.0.state.borrow(), State::Up(_))
    }

    /// Waits for the end of the first attempt to connect. Why the server must not be used, if it is so.
    pub(super) async fn unfit(&self) -> Option<&'static str> {
        let mut state = self.0.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting { .. })).await;
        if let Ok(State::Down { unfit, .. }) = settled.as_deref() { *unfit } else { None }
    }

    async fn attempt<T, F>(
        &self,
        via: Via,
        asking: bool,
        deadline: Instant,
        work: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let up = self.up(deadline).await?;
        let Up { generation, shared, pool } = &*up;
        let connected = |wire| Connection { wire, generation: *generation, asking };
        let done = async {
            if via == Via::Own {
                let own = pool.get().await.map_err(|error| self.refused(*generation, pooled(error)))?;
                return Ok(work(connected(own.clone())).await);
            }
            let turn = self.0.turn.fetch_add(1, Ordering::Relaxed) % shared.len();
            Ok(work(connected(shared[turn].clone())).await)
        };
        match timeout_at(deadline, done).await {
            Ok(Ok(Ok(value))) => {
                self.0.unanswered.store(0, Ordering::Relaxed);
                Ok(value)
            }
            Ok(Ok(Err(error))) => Err(self.refused(*generation, error)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(self.late(*generation)),
        }
    }

    async fn up(&self, deadline: Instant) -> Result<Arc<Up>, Failure> {
        if let State::Up(up) = &*self.0.state.borrow() {
            return Ok(up.clone());
        }
        let mut state = self.0.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting { .. }));
        match timeout_at(deadline, settled).await.map_err(|_| Failure::Late)?.as_deref() {
            Ok(State::Up(up)) => Ok(up.clone()),
            Ok(State::Down { unfit: Some(why), .. }) => Err(Failure::Unfit(why)),
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
            self.lose(State::Down { generation, unfit: None });
        }
        Failure::Refused(error)
    }

    fn late(&self, generation: u64) -> Failure {
        if self.0.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED {
            self.lose(State::Down { generation, unfit: None });
        }
        Failure::Late
    }

    /// Gives up the connections of this generation, unless somebody did before.
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
            tracing::warn!(server = %self.0.place, "the connection to Redis is lost");
            tokio::spawn(connect(Arc::downgrade(&self.0)));
        }
    }
}

impl State {
    fn generation(&self) -> u64 {
        match self {
            Self::Connecting { generation } | Self::Down { generation, .. } => *generation,
            Self::Up(up) => up.generation,
        }
    }
}

/// Whatever keeps the pool from making a connection breaks those that there are: the next attempt says what is wrong. It has
/// no time limits of its own, and is never closed.
fn pooled(error: PoolError<Failure>) -> RedisError {
    match error {
        PoolError::Backend(Failure::Broken(error) | Failure::Refused(error)) => error,
        other => io::Error::other(other.to_string()).into(),
    }
}

/// Tries until there are connections, or nobody needs them.
async fn connect(link: Weak<Shared>) {
    while let Some(shared) = link.upgrade() {
        let Shared { place, setup, .. } = &*shared;
        match server::connect(place, setup).await {
            Ok(up) => {
                tracing::info!(server = %place, "connected to Redis");
                shared.state.send_replace(State::Up(Arc::new(up)));
                return;
            }
            Err(failure) => shared.note_down(&failure),
        }
        let pause = setup.pace.retry_interval;
        drop(shared);
        tokio::time::sleep(pause).await;
    }
}

impl Shared {
    /// Says so when the server goes down or turns out to be unfit, and not at every attempt after that.
    fn note_down(&self, failure: &Failure) {
        let unfit = if let Failure::Unfit(why) = failure { Some(*why) } else { None };
        let generation = self.state.borrow().generation();
        let was = self.state.send_replace(State::Down { generation, unfit });
        let news = match was {
            State::Down { unfit: before, .. } => unfit.is_some() && unfit != before,
            _ => true,
        };
        if news {
            let cause = failure.cause();
            tracing::warn!(server = %self.place, %failure, cause, "Redis is down");
        }
    }
}
