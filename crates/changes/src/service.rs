//! The `Watch` service of a role: one verifier's stream.

use std::sync::Arc;

use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tollgate_kernel::{Code, Fault};
use tollgate_proto::{
    fault::to_status,
    verify::{WatchRequest, WatchResponse, watch_request::Message, watch_server::Watch},
};
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use crate::{Place, Tag, hub::WatcherId, replica::Replica};

/// Serves a replica's watchers.
pub struct WatchService(pub(crate) Arc<Replica>);

impl std::fmt::Debug for WatchService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatchService")
    }
}

#[async_trait::async_trait]
impl Watch for WatchService {
    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<BoxStream<WatchResponse>>, Status> {
        let mut requests = request.into_inner();
        let applied = match requests.message().await?.and_then(|first| first.message) {
            Some(Message::Hello(hello)) => {
                hello.applied.map(|sequence| Place { sequence, tag: Tag(hello.tag) })
            }
            _ => return Err(to_status(Fault::new(Code::InvalidArgument, "The first message is `hello`."))),
        };
        let joined = self.0.join(applied).await.map_err(to_status)?;
        let watcher = Seat { replica: self.0.clone(), id: joined.id };
        tokio::spawn(listen(watcher, requests));
        let answers = tokio_stream::iter(joined.first).chain(ReceiverStream::new(joined.rest));
        Ok(Response::new(Box::pin(answers.map(Ok))))
    }
}

/// A watcher's place on the replica, until its stream ends.
struct Seat {
    replica: Arc<Replica>,
    id: WatcherId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.replica.part(self.id);
    }
}

async fn listen(seat: Seat, mut requests: Streaming<WatchRequest>) {
    while let Ok(Some(request)) = requests.message().await {
        match request.message {
            Some(Message::Ping(ping)) => seat.replica.ping(seat.id, ping.nonce),
            Some(Message::Ack(ack)) => seat.replica.acknowledge(seat.id, ack.applied),
            Some(Message::Hello(_)) | None => return,
        }
    }
}
