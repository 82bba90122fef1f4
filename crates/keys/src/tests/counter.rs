//! A ratelimit role that hands out the batches it was given, keeps overrides, and fails as it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;
use tollgate_kernel::Fault;
use tollgate_proto::{
    RateLimit,
    fault::to_status,
    ratelimit::{
        AckTalliesRequest, AckTalliesResponse, CheckRequest, CheckResponse, DeleteOverrideRequest,
        DeleteOverrideResponse, DrainTalliesRequest, DrainTalliesResponse, Limit, LimitState,
        ListOverridesRequest, ListOverridesResponse, Override, PutOverrideRequest, PutOverrideResponse,
        TallyBatch, TallyRow,
    },
};
use tonic::{Request, Response, Status, async_trait};

/// What goes wrong with the next acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// It does not arrive.
    Lost,
    /// It arrives, and its answer does not.
    Unanswered,
}

#[derive(Debug, Default)]
pub(crate) struct Counter {
    batches: Mutex<VecDeque<TallyBatch>>,
    mishaps: Mutex<VecDeque<Mishap>>,
    /// With their partitions.
    overrides: Mutex<Vec<(String, Override)>>,
    pub(crate) acknowledged: Notify,
    /// How much each limit has left, by name; all of it if it is not here.
    left: Mutex<BTreeMap<String, u64>>,
    /// What was asked about limits.
    pub(crate) checked: Mutex<Vec<CheckRequest>>,
}

impl Counter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn give(&self, id: &str, rows: Vec<TallyRow>) {
        self.batches.lock().expect("whole").push_back(TallyBatch { id: id.into(), rows });
    }

    pub(crate) fn mishap(&self, mishap: Mishap) {
        self.mishaps.lock().expect("whole").push_back(mishap);
    }

    /// From now on the limit has this much left.
    pub(crate) fn leave(&self, limit: &str, remaining: u64) {
        self.left.lock().expect("whole").insert(limit.into(), remaining);
    }

    pub(crate) fn left(&self) -> usize {
        self.batches.lock().expect("whole").len()
    }
}

#[async_trait]
impl RateLimit for Counter {
    /// All periods end at the end of an hour from now.
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let request = request.into_inner();
        let left = self.left.lock().expect("whole");
        let state = |limit: &Limit| LimitState {
            name: limit.name.clone(),
            limit: limit.limit,
            remaining: left.get(&limit.name).copied().unwrap_or(limit.limit),
            reset_us: 3_600_000_000,
            ..LimitState::default()
        };
        let limits = request.charges.iter().filter_map(|it| it.limit.as_ref()).map(state).collect();
        self.checked.lock().expect("whole").push(request);
        Ok(Response::new(CheckResponse { allowed: true, limits, ..CheckResponse::default() }))
    }

    async fn drain_tallies(
        &self,
        _: Request<DrainTalliesRequest>,
    ) -> Result<Response<DrainTalliesResponse>, Status> {
        let batch = self.batches.lock().expect("whole").front().cloned();
        Ok(Response::new(DrainTalliesResponse { batch }))
    }

    async fn ack_tallies(
        &self,
        request: Request<AckTalliesRequest>,
    ) -> Result<Response<AckTalliesResponse>, Status> {
        let mishap = self.mishaps.lock().expect("whole").pop_front();
        if mishap != Some(Mishap::Lost) {
            let id = request.into_inner().batch_id;
            self.batches.lock().expect("whole").retain(|batch| batch.id != id);
            self.acknowledged.notify_one();
        }
        match mishap {
            Some(_) => Err(to_status(Fault::unavailable("a mishap"))),
            None => Ok(Response::new(AckTalliesResponse {})),
        }
    }

    async fn put_override(
        &self,
        request: Request<PutOverrideRequest>,
    ) -> Result<Response<PutOverrideResponse>, Status> {
        let PutOverrideRequest { partition, r#override } = request.into_inner();
        let new = r#override.ok_or_else(|| Status::invalid_argument("no override"))?;
        let mut overrides = self.overrides.lock().expect("whole");
        overrides.retain(|(at, it)| !(*at == partition && it.subject == new.subject && it.name == new.name));
        overrides.push((partition, new));
        Ok(Response::new(PutOverrideResponse {}))
    }

    async fn delete_override(
        &self,
        request: Request<DeleteOverrideRequest>,
    ) -> Result<Response<DeleteOverrideResponse>, Status> {
        let DeleteOverrideRequest { partition, subject, name } = request.into_inner();
        let mut overrides = self.overrides.lock().expect("whole");
        overrides.retain(|(at, it)| !(*at == partition && it.subject == subject && it.name == name));
        Ok(Response::new(DeleteOverrideResponse {}))
    }

    async fn list_overrides(
        &self,
        request: Request<ListOverridesRequest>,
    ) -> Result<Response<ListOverridesResponse>, Status> {
        let partition = request.into_inner().partition;
        let overrides = self.overrides.lock().expect("whole");
        let here = overrides.iter().filter(|(at, _)| *at == partition).map(|(_, it)| it.clone());
        Ok(Response::new(ListOverridesResponse { overrides: here.collect() }))
    }
}
