//! The service as its callers see it, on both databases. Here: what the tests share.

mod absence;
mod audit;
mod authorization;
mod cabinet;
mod consumers;
mod counter;
mod credits;
mod drain;
mod imports;
mod invitations;
mod key_lists;
mod keys;
mod leaks;
mod lives;
mod members;
mod once;
mod overrides;
mod plans;
mod policy;
mod quota;
mod receiver;
mod resolve;
mod revoke_keys;
mod roles;
mod rotations;
mod service_keys;
mod strangers;
mod usage;
mod webhooks;
mod workspaces;

use std::{sync::Arc, time::Duration};

use tollgate_changes::Feed;
use tollgate_db::{Db, Settings};
use tollgate_kernel::{Clock, Code, Entropy, Fault, MasterKey, OsEntropy, ServiceKeyId, SessionId, UserId};
use tollgate_proto::{
    fault::from_status,
    kernel::{Caller, caller},
    keys as wire, time,
};
use tollgate_testkit::{MockClock, TestDatabase, on_every_database};
use tollgate_verify::{Changes, KeyKind, MemberRole, PresentedKey, Subject};
use tonic::Request;

use crate::{Config, KeysService, MIGRATIONS};
use counter::Counter;

/// A service with tables of its own.
#[derive(Clone)]
struct Desk {
    service: Arc<KeysService>,
    clock: Arc<MockClock>,
    counter: Arc<Counter>,
    changes: Changes,
}

/// Calls the service as everybody does: through the trait.
macro_rules! call {
    ($desk:expr, $rpc:ident, $message:expr) => {
        tollgate_proto::Keys::$rpc(&*$desk.service, Request::new($message))
            .await
            .map(tonic::Response::into_inner)
            .map_err(from_status)
    };
}

use call;

/// The role's database. Patient, so that on a busy machine a test is slow rather than refused.
pub(crate) async fn open(database: &TestDatabase) -> Db {
    let patience = Duration::from_mins(1);
    let settings = Settings { acquire_timeout: patience, work_timeout: patience, ..Settings::default() };
    Db::open(&database.url(), "keys", &settings).await.expect("a database")
}

/// Follows the log in the background. A long lease, so that a busy machine does not let it run out.
pub(crate) fn feed(db: &Db, changes: &Changes, clock: &Arc<MockClock>) -> Feed {
    let settings = tollgate_changes::Settings { lease: Duration::from_mins(1) };
    let feed = Feed::new(db, "keys", &settings, changes.clone(), clock.clone(), &OsEntropy);
    let following = feed.clone();
    tokio::spawn(async move { following.run(std::future::pending()).await });
    feed
}

impl Desk {
    async fn new(database: &TestDatabase) -> Self {
        Self::with(database, Config::default(), Counter::new()).await
    }

    async fn with(database: &TestDatabase, config: Config, counter: Arc<Counter>) -> Self {
        Self::drawing(database, config, counter, Arc::new(OsEntropy)).await
    }

    /// One whose keys and ids are drawn from here.
    async fn drawing(
        database: &TestDatabase,
        config: Config,
        counter: Arc<Counter>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let db = open(database).await;
        db.migrate(&MIGRATIONS).await.expect("migrated");
        let (clock, changes) = (MockClock::new(), Changes::new());
        let feed = feed(&db, &changes, &clock);
        let service =
            KeysService::new(config, Some(&master()), db, counter.clone(), feed, clock.clone(), entropy);
        Self { service, clock, counter, changes }
    }

    /// Another process of the role, over the same tables.
    async fn replica(&self, database: &TestDatabase) -> (Arc<KeysService>, Changes) {
        let db = open(database).await;
        let changes = Changes::new();
        let feed = feed(&db, &changes, &self.clock);
        let (config, counter) = (self.service.config.clone(), self.counter.clone());
        let clock = self.clock.clone();
        let service =
            KeysService::new(config, Some(&master()), db, counter, feed, clock, Arc::new(OsEntropy));
        (service, changes)
    }

    /// A user who was never here before.
    fn user(&self) -> Caller {
        user(UserId::new(&*self.clock, &OsEntropy), false)
    }

    fn operator(&self) -> Caller {
        user(UserId::new(&*self.clock, &OsEntropy), true)
    }

    async fn workspace_of(&self, caller: &Caller) -> String {
        let message = wire::EnsurePersonalWorkspaceRequest { caller: Some(caller.clone()) };
        let answer = call!(self, ensure_personal_workspace, message).expect("made");
        answer.workspace.expect("a workspace").id
    }

    /// Somebody who has this role in the workspace.
    async fn member(&self, workspace: &str, role: MemberRole) -> Caller {
        let id = UserId::new(&*self.clock, &OsEntropy);
        self.service.store.plant_member(workspace.parse().expect("an id"), id, role).await;
        user(id, false)
    }

    async fn key(&self, caller: &Caller) -> wire::CreateKeyResponse {
        let message = wire::CreateKeyRequest { name: "a key".into(), ..Default::default() };
        self.create(caller, message).await.expect("made")
    }

    async fn create(
        &self,
        caller: &Caller,
        message: wire::CreateKeyRequest,
    ) -> Result<wire::CreateKeyResponse, Fault> {
        call!(self, create_key, wire::CreateKeyRequest { caller: Some(caller.clone()), ..message })
    }

    async fn service_key(&self, caller: &Caller, permissions: &[&str]) -> wire::CreateServiceKeyResponse {
        let message = wire::CreateServiceKeyRequest {
            caller: Some(caller.clone()),
            name: "a machine".into(),
            permissions: permissions.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        call!(self, create_service_key, message).expect("made")
    }

    /// A machine of the caller's workspace.
    async fn machine(&self, caller: &Caller, permissions: &[&str]) -> Caller {
        machine(self.service_key(caller, permissions).await.service_key.expect("a service key").id)
    }

    async fn resolve(&self, secret: &str) -> Option<wire::Grant> {
        let presented = PresentedKey::parse(secret).expect("a key");
        let (public_id, digest) = (presented.public_id, presented.digest.to_vec());
        call!(self, resolve_key, wire::ResolveKeyRequest { public_id, digest }).expect("an answer").grant
    }

    async fn revoke(&self, caller: &Caller, key_id: &str) -> Result<(), Fault> {
        let message =
            wire::RevokeKeyRequest { caller: Some(caller.clone()), key_id: key_id.into(), no_wait: false };
        call!(self, revoke_key, message).map(|wire::RevokeKeyResponse { .. }| ())
    }
}

fn master() -> MasterKey {
    MasterKey::parse(&"07".repeat(32).into()).expect("a key")
}

fn user(id: UserId, operator: bool) -> Caller {
    let session_id = SessionId::from_uuid(id.uuid()).to_string();
    let principal = caller::User { user_id: id.to_string(), session_id, operator, email: String::new() };
    Caller { ip: "192.0.2.1".into(), principal: Some(caller::Principal::User(principal)) }
}

fn machine(service_key_id: String) -> Caller {
    let principal = caller::ServiceKey { service_key_id };
    Caller { ip: String::new(), principal: Some(caller::Principal::ServiceKey(principal)) }
}

fn pointers(fault: &Fault) -> Vec<&str> {
    fault.violated().iter().map(|violation| &*violation.pointer).collect()
}
