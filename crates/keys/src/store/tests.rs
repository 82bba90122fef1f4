//! The contract of the store, on both databases. Here: what the tests share.

mod audit;
mod changes;
mod imports;
mod keys;
mod lists;
mod retention;
mod usage;

use std::{sync::Arc, time::Duration};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::json;
use tollgate_changes::Cut;
use tollgate_db::{DbId, DbList, DbTime, read_db, write_db};
use tollgate_kernel::{Clock, KeyId, OsEntropy, PlanId, SecretId, Timestamp, UserId, WorkspaceId};
use tollgate_testkit::{MockClock, TestDatabase, on_every_database};
use tollgate_verify::{Changes, KeyKind, MemberRole, Subject, mint};

use super::*;
use crate::{
    MIGRATIONS,
    caller::{Caller, Principal},
    limits::sliding,
    plans::starting_plans,
};

const ENTROPY: OsEntropy = OsEntropy;

/// A migrated store with one workspace.
struct Fixture {
    store: Store,
    clock: Arc<MockClock>,
    changes: Changes,
    caller: Caller,
    workspace: WorkspaceId,
    plan: PlanId,
}

impl Fixture {
    async fn new(database: &TestDatabase) -> Self {
        let db = crate::tests::open(database).await;
        db.migrate(&MIGRATIONS).await.expect("migrated");
        let (clock, changes) = (MockClock::new(), Changes::new());
        let store = Store::new(
            db.clone(),
            crate::tests::feed(&db, &changes, &clock),
            clock.clone(),
            Arc::new(ENTROPY),
        );
        let user = UserId::new(&*clock, &ENTROPY);
        let principal = Principal::User { id: user, operator: false };
        let caller = Caller { principal, session: None, ip: "192.0.2.1".parse().ok() };
        let workspace = WorkspaceId::new(&*clock, &ENTROPY);
        let plan = PlanId::new(&*clock, &ENTROPY);
        let fixture = Self { store, clock, changes, caller, workspace, plan };
        fixture.plant_workspace(user).await;
        fixture
    }

    async fn plant_workspace(&self, owner: UserId) {
        let now = self.clock.now();
        let workspace = WorkspaceRow {
            id: self.workspace.into(),
            name: "Personal".to_owned(),
            personal_owner: Some(owner.into()),
            enabled: true,
            created_at: now.into(),
            limits: json!([]).into(),
            policy: json!({}).into(),
            created_by: None,
        };
        let member = MemberRow {
            workspace_id: self.workspace.into(),
            user_id: owner.into(),
            role: MemberRole::Owner.as_str(),
            created_at: now.into(),
        };
        let mut plans = starting_plans(self.workspace, &*self.clock, &ENTROPY);
        plans[1].id = self.plan.into();
        let made =
            self.store.workspace_insert(self.grants("workspace.create"), workspace, member, plans).await;
        assert_eq!(made.expect("stored"), Outcome::Changed(()));
    }

    fn deed(&self, action: &'static str) -> Deed<'_> {
        let target = self.workspace.to_string();
        Deed { caller: &self.caller, workspace: self.workspace, action, target, at: self.clock.now() }
    }

    fn grants(&self, action: &'static str) -> Change {
        Change::grants(&self.store, self.deed(action))
    }

    fn cuts_off(&self, key: KeyId) -> Change {
        let cut = Cut { subject: Subject::Key(key), wait: true };
        Change::cuts_off(&self.store, cut, self.deed("key.revoke"))
    }

    /// A row for a key, made a second after the one before.
    fn key_row(&self, name: &str) -> KeyRow {
        self.clock.advance(Duration::from_secs(1));
        KeyRow {
            id: KeyId::new(&*self.clock, &ENTROPY).into(),
            workspace_id: self.workspace.into(),
            plan_id: self.plan.into(),
            name: name.to_owned(),
            name_folded: name.to_ascii_lowercase(),
            environment: "live".to_owned(),
            start: "tg_live_abcd".to_owned(),
            scopes: vec!["a".to_owned()].into(),
            limits: limits_to_json(&[sliding("minute", 5, 60)]),
            allowed_ips: vec!["10.0.0.0/8".to_owned()].into(),
            metadata: json!({"a": [1, "é"]}).into(),
            enabled: true,
            expires_at: None,
            revoked_at: None,
            created_by: "usr_1".to_owned(),
            created_at: self.clock.now().into(),
            consumer_id: None,
            description: String::new(),
            roles: Vec::new().into(),
            not_before: None,
            disabled_at: None,
            revision: 0,
            enabled_at: None,
            secret_made_at: self.clock.now().into(),
        }
    }

    fn secret_row(&self, key: &KeyRow) -> SecretRow {
        let minted = mint(KeyKind::Live, &ENTROPY);
        SecretRow {
            id: SecretId::new(&*self.clock, &ENTROPY).into(),
            key_id: key.id,
            public_id: minted.public_id,
            digest: minted.digest.to_vec(),
            created_at: key.created_at,
            start: minted.start,
            replaces: None,
        }
    }

    async fn insert(&self, row: KeyRow) -> KeyId {
        let (id, secret) = (row.id.typed(), self.secret_row(&row));
        let created = self.store.key_insert(self.deed("key.create"), row, secret, None).await;
        assert_eq!(created.expect("stored"), Created::New);
        id
    }

    async fn audited(&self) -> Vec<String> {
        self.store.audited().await
    }
}

/// What tests do behind the service's back.
impl Store {
    /// What was done, in the order of the alphabet: what happens in one instant has no other.
    pub(crate) async fn audited(&self) -> Vec<String> {
        use schema::audit_events::dsl::{action, audit_events};
        let actions = read_db!(self.db, |c| audit_events.order(action).select(action).load(c).await);
        actions.expect("read")
    }

    pub(crate) async fn actors_of(&self, what: &str) -> Vec<String> {
        use schema::audit_events::dsl::{action, actor, audit_events};
        let query = audit_events.filter(action.eq(what)).select(actor);
        read_db!(self.db, |c| query.load(c).await).expect("read")
    }

    pub(crate) async fn targets_of(&self, what: &str) -> Vec<String> {
        use schema::audit_events::dsl::{action, audit_events, target};
        let query = audit_events.filter(action.eq(what)).select(target);
        read_db!(self.db, |c| query.load(c).await).expect("read")
    }

    pub(crate) async fn reasons_of(&self, what: &str) -> Vec<Option<String>> {
        use schema::audit_events::dsl::{action, audit_events, reason};
        let query = audit_events.filter(action.eq(what)).select(reason);
        read_db!(self.db, |c| query.load(c).await).expect("read")
    }

    pub(crate) async fn plant_last_use(&self, key: &str, at: Timestamp) {
        use schema::last_used;
        let id = DbId::from(key.parse::<KeyId>().expect("an id"));
        let row = (last_used::key_id.eq(id), last_used::at.eq(DbTime(at)));
        let insert = diesel::insert_into(last_used::table).values(row);
        write_db!(self.db, |c| insert.execute(c).await).expect("stored");
    }

    pub(crate) async fn plant_member(&self, workspace: WorkspaceId, user: UserId, role: MemberRole) {
        let row = MemberRow {
            workspace_id: workspace.into(),
            user_id: user.into(),
            role: role.as_str(),
            created_at: self.clock.now().into(),
        };
        let insert = diesel::insert_into(schema::members::table).values(row);
        write_db!(self.db, |c| insert.execute(c).await).expect("stored");
    }

    pub(crate) async fn retire_secrets(&self, key: &str, at: Timestamp) {
        use schema::secrets::dsl::{key_id, retired_at, secrets};
        let id = DbId::from(key.parse::<KeyId>().expect("an id"));
        let retire = diesel::update(secrets.filter(key_id.eq(id))).set(retired_at.eq(DbTime(at)));
        write_db!(self.db, |c| retire.execute(c).await).expect("stored");
    }

    /// A key and its workspace.
    pub(crate) async fn disable(&self, key: &str, workspace: &str) {
        use schema::{keys, workspaces};
        let key = DbId::from(key.parse::<KeyId>().expect("an id"));
        let workspace = DbId::from(workspace.parse::<WorkspaceId>().expect("an id"));
        let key = diesel::update(keys::table.find(key)).set(keys::enabled.eq(false));
        write_db!(self.db, |c| key.execute(c).await).expect("stored");
        let workspace = diesel::update(workspaces::table.find(workspace)).set(workspaces::enabled.eq(false));
        write_db!(self.db, |c| workspace.execute(c).await).expect("stored");
    }

    pub(crate) async fn give_plans_a_scope(&self, workspace: &str, scope: &str) {
        use schema::plans;
        let workspace = DbId::from(workspace.parse::<WorkspaceId>().expect("an id"));
        let scopes = DbList(vec![scope.to_owned()]);
        let plans = plans::table.filter(plans::workspace_id.eq(workspace));
        let update = diesel::update(plans).set(schema::plans::scopes.eq(scopes));
        write_db!(self.db, |c| update.execute(c).await).expect("stored");
    }

    /// All that is stored of keys and service keys, as text.
    pub(crate) async fn everything(&self) -> String {
        use schema::{keys, secrets, service_keys};
        let keys: Vec<KeyRow> =
            read_db!(self.db, |c| keys::table.select(KeyRow::as_select()).load(c).await).expect("read");
        let secrets: Vec<(String, Vec<u8>)> =
            read_db!(self.db, |c| secrets::table.select((secrets::public_id, secrets::digest)).load(c).await)
                .expect("read");
        let service_keys: Vec<(String, String, String, Vec<u8>)> = read_db!(self.db, |c| service_keys::table
            .select((service_keys::name, service_keys::public_id, service_keys::start, service_keys::digest))
            .load(c)
            .await)
        .expect("read");
        let bytes = secrets.iter().map(|it| &it.1).chain(service_keys.iter().map(|it| &it.3));
        let digests: Vec<_> = bytes.map(|it| String::from_utf8_lossy(it).into_owned()).collect();
        format!("{keys:?} {secrets:?} {service_keys:?} {digests:?}")
    }
}
