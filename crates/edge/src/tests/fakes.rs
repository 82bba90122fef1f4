//! The other roles, by hand: keys that knows what it is told, a ratelimit that remembers what it was asked, a counter of
//! addresses that counts.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tollgate_kernel::{
    Clock, ExposeSecret, Fault, Id, KeyId, OsEntropy, SecretString, ServiceKeyId, UserId, WorkspaceId,
};
use tollgate_proto::{
    Identity, Keys, RateLimit,
    fault::to_status,
    identity,
    kernel::{self, Caller},
    keys,
    ratelimit::{Algorithm, CheckRequest, CheckResponse, Limit, LimitState, OnFailure},
    time::to_wire,
};
use tollgate_testkit::MockClock;
use tollgate_verify::{KeyKind, mint};
use tonic::{Request, Response, Status};

/// Has no users. Asked for its signing keys, it never answers; asked to log somebody in, it panics.
pub(super) struct FakeIdentity;

#[tonic::async_trait]
impl Identity for FakeIdentity {
    async fn get_signing_keys(
        &self,
        _: Request<identity::GetSigningKeysRequest>,
    ) -> Result<Response<identity::GetSigningKeysResponse>, Status> {
        std::future::pending().await
    }

    async fn login(
        &self,
        _: Request<identity::LoginRequest>,
    ) -> Result<Response<identity::LoginResponse>, Status> {
        panic!("the disk is on fire")
    }
}

/// Knows the keys that a test made.
#[derive(Default)]
pub(super) struct FakeKeys {
    grants: Mutex<HashMap<String, keys::Grant>>,
    service_grants: Mutex<HashMap<String, keys::ServiceGrant>>,
    callers: Mutex<Vec<Caller>>,
    looked_up: AtomicUsize,
    /// Grants by what is presented.
    imported: Mutex<HashMap<String, keys::Grant>>,
}

impl FakeKeys {
    /// A live key with one limit of 10 per minute, changed as the test wants it.
    pub(super) fn key(&self, workspace: WorkspaceId, change: impl FnOnce(&mut keys::Grant)) -> SecretString {
        let new = mint(KeyKind::Live, &OsEntropy);
        let mut grant = keys::Grant {
            key_id: id::<KeyId>(),
            workspace_id: workspace.to_string(),
            environment: keys::Environment::Live.into(),
            plan: "basic".into(),
            scopes: vec!["orders.read".into()],
            limits: vec![Limit {
                name: "minute".into(),
                limit: 10,
                window_seconds: 60,
                algorithm: Algorithm::SlidingWindow.into(),
                on_failure: OnFailure::Local.into(),
                ..Limit::default()
            }],
            metadata_json: r#"{"customer":"4711"}"#.into(),
            enabled: true,
            workspace_enabled: true,
            created_by: id::<UserId>(),
            ..keys::Grant::default()
        };
        change(&mut grant);
        self.grants.lock().expect("not poisoned").insert(new.public_id, grant);
        new.key
    }

    /// Brings in a key that was made elsewhere; it is what [`FakeKeys::key`] makes.
    pub(super) fn import(&self, credential: &str, workspace: WorkspaceId) {
        let ours = self.key(workspace, |_| {});
        let public_id = tollgate_verify::PresentedKey::parse(ours.expose_secret()).expect("a key").public_id;
        let grant = self.grants.lock().expect("not poisoned")[&public_id].clone();
        self.imported.lock().expect("not poisoned").insert(credential.to_owned(), grant);
    }

    /// How many keys and service keys, and what else, it was asked for so far.
    pub(super) fn looked_up(&self) -> usize {
        self.looked_up.load(Ordering::SeqCst)
    }

    /// Who asked it to revoke keys.
    pub(super) fn callers(&self) -> Vec<Caller> {
        std::mem::take(&mut self.callers.lock().expect("not poisoned"))
    }

    /// A service key with these permissions.
    pub(super) fn service_key(&self, workspace: WorkspaceId, permissions: &[&str]) -> SecretString {
        let new = mint(KeyKind::Service, &OsEntropy);
        let grant = keys::ServiceGrant {
            service_key_id: id::<ServiceKeyId>(),
            workspace_id: workspace.to_string(),
            permissions: permissions.iter().map(|it| (*it).to_owned()).collect(),
            expires_at: None,
        };
        self.service_grants.lock().expect("not poisoned").insert(new.public_id, grant);
        new.key
    }
}

#[tonic::async_trait]
impl Keys for FakeKeys {
    async fn resolve_key(
        &self,
        request: Request<keys::ResolveKeyRequest>,
    ) -> Result<Response<keys::ResolveKeyResponse>, Status> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        let grant = self.grants.lock().expect("not poisoned").get(&request.into_inner().public_id).cloned();
        Ok(Response::new(keys::ResolveKeyResponse { grant }))
    }

    async fn resolve_imported_key(
        &self,
        request: Request<keys::ResolveImportedKeyRequest>,
    ) -> Result<Response<keys::ResolveImportedKeyResponse>, Status> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        let credential = request.into_inner().credential;
        let grant = self.imported.lock().expect("not poisoned").get(&credential).cloned();
        Ok(Response::new(keys::ResolveImportedKeyResponse { grant }))
    }

    async fn get_imports(
        &self,
        _: Request<keys::GetImportsRequest>,
    ) -> Result<Response<keys::GetImportsResponse>, Status> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        let any = !self.imported.lock().expect("not poisoned").is_empty();
        Ok(Response::new(keys::GetImportsResponse { any }))
    }

    async fn resolve_service_key(
        &self,
        request: Request<keys::ResolveServiceKeyRequest>,
    ) -> Result<Response<keys::ResolveServiceKeyResponse>, Status> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        let public_id = request.into_inner().public_id;
        let grant = self.service_grants.lock().expect("not poisoned").get(&public_id).cloned();
        Ok(Response::new(keys::ResolveServiceKeyResponse { grant }))
    }

    async fn revoke_key(
        &self,
        request: Request<keys::RevokeKeyRequest>,
    ) -> Result<Response<keys::RevokeKeyResponse>, Status> {
        let request = request.into_inner();
        self.callers.lock().expect("not poisoned").extend(request.caller);
        let mut grants = self.grants.lock().expect("not poisoned");
        for grant in grants.values_mut().filter(|it| it.key_id == request.key_id) {
            grant.revoked_at = Some(to_wire(MockClock::new().now()));
        }
        let mode = kernel::effect::Mode::LeaseExpired.into();
        Ok(Response::new(keys::RevokeKeyResponse { effect: Some(kernel::Effect { mode, took_ms: 7 }) }))
    }
}

/// Allows everything that could ever pass, or denies everything that is enforced, or is not there; remembers what it was asked.
#[derive(Default)]
pub(super) struct FakeRateLimit {
    denies: Mutex<bool>,
    fails: Mutex<bool>,
    asked: Mutex<Vec<CheckRequest>>,
}

impl FakeRateLimit {
    pub(super) fn deny(&self) {
        *self.denies.lock().expect("not poisoned") = true;
    }

    pub(super) fn fail(&self) {
        *self.fails.lock().expect("not poisoned") = true;
    }

    /// What it was asked since it was last asked this.
    pub(super) fn asked(&self) -> Vec<CheckRequest> {
        std::mem::take(&mut self.asked.lock().expect("not poisoned"))
    }
}

#[tonic::async_trait]
impl RateLimit for FakeRateLimit {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        if *self.fails.lock().expect("not poisoned") {
            return Err(Status::unavailable("not in this test"));
        }
        let request = request.into_inner();
        let too_much = request.charges.iter().position(|it| {
            let limit = it.limit.as_ref().expect("a limit");
            !limit.shadow && it.cost > if limit.burst > 0 { limit.burst } else { limit.limit }
        });
        if let Some(at) = too_much {
            return Err(to_status(Fault::invalid(format!("/charges/{at}/cost"), "could never pass")));
        }
        let denied = *self.denies.lock().expect("not poisoned");
        let state = |limit: Limit| LimitState {
            name: limit.name,
            limit: limit.limit,
            remaining: if denied { 0 } else { limit.limit - 1 },
            reset_us: 59_000_001,
            window_seconds: limit.window_seconds,
            exceeded: denied,
            shadow: limit.shadow,
            algorithm: limit.algorithm,
        };
        let limits: Vec<_> = request.charges.iter().filter_map(|it| it.limit.clone()).map(state).collect();
        let denied_by = limits.iter().find(|it| denied && !it.shadow).map(|it| it.name.clone());
        let denied = denied_by.is_some();
        self.asked.lock().expect("not poisoned").push(request);
        Ok(Response::new(CheckResponse {
            allowed: !denied,
            denied_by,
            retry_after_us: if denied { 1_000_001 } else { 0 },
            limits,
            degraded: false,
            credit: None,
        }))
    }
}

/// Counts clients by their address, for ever.
#[derive(Default)]
pub(super) struct FakeDoor {
    counted: Mutex<HashMap<(String, String), u64>>,
    broken: AtomicBool,
}

impl FakeDoor {
    pub(super) fn breaks(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// What was counted of whom, in the order of their names.
    pub(super) fn counted(&self) -> Vec<(String, String, u64)> {
        let counted = self.counted.lock().expect("not poisoned");
        let mut all: Vec<_> =
            counted.iter().map(|((who, what), n)| (who.clone(), what.clone(), *n)).collect();
        all.sort();
        all
    }
}

#[tonic::async_trait]
impl RateLimit for FakeDoor {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Status::unavailable("on fire"));
        }
        let request = request.into_inner();
        let [charge] = &request.charges[..] else { panic!("one limit: {request:?}") };
        let limit = charge.limit.clone().expect("a limit");
        let mut counted = self.counted.lock().expect("not poisoned");
        let used = counted.entry((request.partition.clone(), limit.name.clone())).or_default();
        let allowed = *used + charge.cost <= limit.limit;
        if allowed && !request.peek {
            *used += charge.cost;
        }
        let state = LimitState {
            name: limit.name.clone(),
            limit: limit.limit,
            remaining: limit.limit - *used,
            reset_us: 50_000_000,
            window_seconds: limit.window_seconds,
            exceeded: !allowed,
            ..LimitState::default()
        };
        Ok(Response::new(CheckResponse {
            allowed,
            denied_by: (!allowed).then_some(limit.name),
            retry_after_us: if allowed { 0 } else { 41_000_001 },
            limits: vec![state],
            degraded: false,
            credit: None,
        }))
    }
}

/// A new id, as text.
fn id<I: NewId>() -> String {
    I::new_id()
}

trait NewId {
    fn new_id() -> String;
}

impl<K: tollgate_kernel::IdKind> NewId for Id<K> {
    fn new_id() -> String {
        Self::new(&*MockClock::new(), &OsEntropy).to_string()
    }
}

/// A new workspace.
pub(super) fn workspace() -> WorkspaceId {
    WorkspaceId::new(&*MockClock::new(), &OsEntropy)
}
