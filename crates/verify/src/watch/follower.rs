//! One role's stream: connects, follows, acknowledges, asks for proof, and starts anew when it breaks.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use metrics::Gauge;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tollgate_proto::{
    remote::{Remote, WatchClient},
    verify::{
        WatchRequest, WatchResponse,
        watch_request::{Ack, Hello, Message as Say, Ping},
        watch_response::Message as Hear,
    },
};
use tonic::{Status, Streaming};

use super::{Lease, Trust};
use crate::{Changes, Subject};

/// Requests that may wait to be sent.
const OUTGOING: usize = 64;

/// Follows one role in another process. Clones share it.
#[derive(Clone)]
pub struct Follower(Arc<Inner>);

struct Inner {
    role: &'static str,
    remote: Remote,
    changes: Changes,
    length: Duration,
    start: Instant,
    state: Mutex<State>,
    silence: Gauge,
}

struct State {
    lease: Lease,
    /// The last change that was published here, its sequence and tag; `None`: nothing that is cached is known to be right.
    applied: Option<(u64, u64)>,
    /// When the role proved last that nothing is missing.
    proved: Instant,
}

impl Follower {
    /// A follower of `role` at `remote`, whose metrics go to the recorder that is installed now, and which trusts nothing until [`Follower::run`] has heard from it. `lease` is the same in
    /// all processes.
    pub fn new(role: &'static str, remote: Remote, changes: Changes, lease: Duration) -> Self {
        let start = Instant::now();
        let state = Mutex::new(State { lease: Lease::new(lease), applied: None, proved: start });
        let silence = metrics::gauge!("tollgate_verify_heartbeat_age_seconds", "role" => role);
        Self(Arc::new(Inner { role, remote, changes, length: lease, start, state, silence }))
    }

    /// Whether what is cached of the role may be used now.
    pub fn trusts(&self) -> bool {
        let now = self.0.now();
        self.0.state().lease.trusts(now)
    }

    /// [`Follower::trusts`], for a verifier.
    pub fn trust(&self) -> Trust {
        let follower = self.clone();
        Arc::new(move || follower.trusts())
    }

    /// Follows for ever.
    pub async fn run(&self) {
        loop {
            if let Err(status) = self.0.follow().await {
                tracing::debug!(role = self.0.role, code = ?status.code(), "the stream of changes is lost");
            }
            self.0.state().lease.lost();
            self.0.measure();
            sleep(self.0.length / 20).await;
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("role", &self.0.role).finish_non_exhaustive()
    }
}

impl Inner {
    async fn follow(&self) -> Result<(), Status> {
        let (say, said) = mpsc::channel(OUTGOING);
        let applied = self.state().applied;
        let tag = applied.map_or(0, |(_, tag)| tag);
        send(&say, Say::Hello(Hello { applied: applied.map(|(sequence, _)| sequence), tag }))?;
        let mut client = WatchClient::new(self.remote.streaming_channel());
        let answer = timeout(self.length, client.watch(ReceiverStream::new(said))).await;
        let answers = answer.map_err(|_| Status::deadline_exceeded("no welcome"))??.into_inner();
        self.hear(&say, answers).await
    }

    async fn hear(
        &self,
        say: &mpsc::Sender<WatchRequest>,
        mut answers: Streaming<WatchResponse>,
    ) -> Result<(), Status> {
        let mut clock = interval(self.length / 4);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                answer = answers.message() => {
                    let message = answer?.and_then(|answer| answer.message);
                    self.apply(say, message.ok_or_else(|| Status::unavailable("the stream has ended"))?)?;
                    heard = Instant::now();
                }
                _ = clock.tick() => {
                    self.measure();
                    // A connection that is cut off does not say so.
                    if heard.elapsed() > self.length * 2 {
                        return Err(Status::deadline_exceeded("no pong"));
                    }
                    let nonce = self.state().lease.ping(self.now());
                    send(say, Say::Ping(Ping { nonce }))?;
                }
            }
        }
    }

    fn apply(&self, say: &mpsc::Sender<WatchRequest>, message: Hear) -> Result<(), Status> {
        match message {
            Hear::Welcome(welcome) => {
                if welcome.reset {
                    self.state().lease.void();
                    self.changes.reset();
                }
                let mut state = self.state();
                state.applied = Some((welcome.applied, welcome.tag));
                state.lease.at_most(Duration::from_millis(welcome.lease_ms.into()));
            }
            Hear::Change(change) => {
                match change.subject.parse::<Subject>() {
                    Ok(subject) => self.changes.publish(subject),
                    Err(_) => self.changes.reset(),
                }
                self.state().applied = Some((change.sequence, change.tag));
                // From here on no cache of this process serves what the change contradicts.
                send(say, Say::Ack(Ack { applied: change.sequence }))?;
            }
            Hear::Pong(pong) => {
                let mut state = self.state();
                state.lease.pong(pong.nonce);
                state.proved = Instant::now();
            }
        }
        Ok(())
    }

    /// Says how long ago the last proof came: a quarter of a lease and a little, while all is well.
    fn measure(&self) {
        let proved = self.state().proved;
        self.silence.set(proved.elapsed().as_secs_f64());
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

/// If the connection does not take what is said, it is as good as lost.
fn send(say: &mpsc::Sender<WatchRequest>, message: Say) -> Result<(), Status> {
    let request = WatchRequest { message: Some(message) };
    say.try_send(request).map_err(|_| Status::resource_exhausted("the connection does not keep up"))
}
