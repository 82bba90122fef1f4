//! A ratelimit role that hands out the batches it was given, keeps overrides, and fails as it is told.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use tokio::sync::Notify;
use tollgate_kernel::Fault;
use tollgate_proto::{
    RateLimit,
    fault::to_status,
    ratelimit::{
        AccountState, AckTalliesRequest, AckTalliesResponse, CheckRequest, CheckResponse,
        DeleteOverrideRequest, DeleteOverrideResponse, DepositRequest, DrainTalliesRequest,
        DrainTalliesResponse, Limit, LimitState, ListOverridesRequest, ListOverridesResponse, Override,
        PutOverrideRequest, PutOverrideResponse, TallyBatch, TallyRow, WithdrawRequest,
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
    /// By account.
    accounts: Mutex<HashMap<String, AccountState>>,
    /// What goes wrong with the next steps of accounts.
    stumbles: Mutex<VecDeque<Mishap>>,
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

    /// Of the next step of an account that is one.
    pub(crate) fn stumble(&self, mishap: Mishap) {
        self.stumbles.lock().expect("whole").push_back(mishap);
    }

    /// Spends credits of an account, if they are there.
    pub(crate) fn spend(&self, account: &str, cost: u64) -> bool {
        let mut accounts = self.accounts.lock().expect("whole");
        let Some(state) = accounts.get_mut(account).filter(|state| state.remaining >= cost) else {
            return false;
        };
        state.remaining -= cost;
        true
    }

    /// Forgets all accounts, as a process does that is killed.
    pub(crate) fn lose(&self) {
        self.accounts.lock().expect("whole").clear();
    }

    /// Makes a step as the contract says, and answers, unless something goes wrong.
    fn make(
        &self,
        account: &str,
        epoch: u64,
        step: u64,
        change: impl FnOnce(&mut AccountState),
    ) -> Result<Response<AccountState>, Status> {
        let stumble = if step == 0 { None } else { self.stumbles.lock().expect("whole").pop_front() };
        if stumble == Some(Mishap::Lost) {
            return Err(to_status(Fault::unavailable("a mishap")));
        }
        let mut accounts = self.accounts.lock().expect("whole");
        if step == 0 && epoch != 0 {
            accounts
                .entry(account.to_owned())
                .or_insert_with(|| AccountState { epoch, ..Default::default() });
        }
        let Some(state) = accounts.get_mut(account) else {
            return Ok(Response::new(AccountState::default()));
        };
        if step > state.step && epoch == state.epoch {
            state.step = step;
            change(state);
        }
        match stumble {
            Some(_) => Err(to_status(Fault::unavailable("a mishap"))),
            None => Ok(Response::new(*state)),
        }
    }

    /// How often it was asked whether something may pass; it may.
    pub(crate) fn checks(&self) -> usize {
        self.checked.lock().expect("whole").len()
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

    async fn deposit(&self, request: Request<DepositRequest>) -> Result<Response<AccountState>, Status> {
        let DepositRequest { account, epoch, step, amount, .. } = request.into_inner();
        self.make(&account, epoch, step, |state| {
            (state.remaining, state.withdrawn) = (state.remaining + amount, 0);
        })
    }

    async fn withdraw(&self, request: Request<WithdrawRequest>) -> Result<Response<AccountState>, Status> {
        let WithdrawRequest { account, epoch, step, .. } = request.into_inner();
        self.make(&account, epoch, step, |state| {
            (state.withdrawn, state.remaining) = (state.remaining, 0);
        })
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
