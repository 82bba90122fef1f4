//! The roles in another process, as far as a verifier can tell: the stand-ins behind a socket, with a stream of changes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::{broadcast, mpsc},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tollgate_proto::{
    identity::identity_server::IdentityServer,
    keys::keys_server::KeysServer,
    verify::{
        WatchRequest, WatchResponse,
        watch_request::Message as Hear,
        watch_response::{Change, Message as Say, Pong, Welcome},
        watch_server::{Watch, WatchServer},
    },
};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream, transport::Server};

use crate::{Subject, verifier::stand_ins::Roles};

/// Roles on a runtime of their own. Dropped, it ends as a process does: at once, with all its connections.
pub(super) struct Far {
    pub(super) address: SocketAddr,
    pub(super) log: Log,
    runtime: Option<Runtime>,
}

/// What has changed, and who follows it.
#[derive(Clone)]
pub(super) struct Log {
    sequence: Arc<AtomicU64>,
    published: broadcast::Sender<(u64, Subject)>,
    acknowledged: broadcast::Sender<u64>,
    watchers: Arc<AtomicUsize>,
}

impl Far {
    /// Both roles behind one socket, so that each verifier has two streams to it.
    pub(super) fn start(roles: Arc<Roles>) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let log = Log {
            sequence: Arc::default(),
            published: broadcast::Sender::new(8),
            acknowledged: broadcast::Sender::new(8),
            watchers: Arc::default(),
        };
        let server = Server::builder()
            .add_service(KeysServer::from_arc(roles.clone()))
            .add_service(IdentityServer::from_arc(roles))
            .add_service(WatchServer::new(log.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a socket");
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        });
        Self { address, log, runtime: Some(runtime) }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.runtime.take().expect("only dropped once").shutdown_background();
    }
}

impl Log {
    /// As a role revokes: returns when both streams of the one verifier have acknowledged.
    pub(super) async fn publish(&self, subject: Subject) {
        let mut acknowledged = self.acknowledged.subscribe();
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        self.published.send((sequence, subject)).expect("somebody watches");
        for _ in 0..2 {
            assert_eq!(acknowledged.recv().await, Ok(sequence));
        }
    }

    pub(super) fn watchers(&self) -> usize {
        self.watchers.load(Ordering::SeqCst)
    }

    async fn serve(
        self,
        mut asked: Streaming<WatchRequest>,
        say: mpsc::Sender<Result<WatchResponse, Status>>,
    ) {
        let mut published = self.published.subscribe();
        loop {
            let message = tokio::select! {
                request = asked.message() => match request {
                    Ok(Some(WatchRequest { message: Some(message) })) => self.answer(&message),
                    _ => return,
                },
                Ok((sequence, subject)) = published.recv() => {
                    Some(Say::Change(Change { sequence, subject: subject.to_string(), tag: sequence }))
                }
            };
            if let Some(message) = message {
                // A watcher that is gone is noticed by what it no longer asks.
                say.send(Ok(WatchResponse { message: Some(message) })).await.ok();
            }
        }
    }

    fn answer(&self, message: &Hear) -> Option<Say> {
        match message {
            Hear::Hello(_) => {
                let applied = self.sequence.load(Ordering::SeqCst);
                Some(Say::Welcome(Welcome { applied, reset: true, lease_ms: 60_000, tag: applied }))
            }
            Hear::Ping(ping) => Some(Say::Pong(Pong { nonce: ping.nonce })),
            Hear::Ack(ack) => {
                self.acknowledged.send(ack.applied).ok();
                None
            }
        }
    }
}

#[async_trait::async_trait]
impl Watch for Log {
    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<BoxStream<WatchResponse>>, Status> {
        let (say, said) = mpsc::channel(8);
        let log = self.clone();
        tokio::spawn(async move {
            let watchers = log.watchers.clone();
            watchers.fetch_add(1, Ordering::SeqCst);
            log.serve(request.into_inner(), say).await;
            watchers.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }
}
