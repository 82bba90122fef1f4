//! Rows as they are read and written.

use diesel::{AsChangeset, Insertable, Queryable, Selectable, pg::Pg, sqlite::Sqlite};
use serde::Deserialize;
use tollgate_db::{DbId, DbJson, DbList, DbTime};
use tollgate_kernel::{DeliveryId, Fault, Timestamp};
use tollgate_verify::{Environment, Permission, UnknownWord};

use super::{
    LastUsed,
    schema::{
        audit_events, consumers, idempotency, invitations, key_rotations, keys, members, notices, plans,
        roles, secrets, service_keys, webhook_deliveries, webhook_messages, webhooks, workspaces,
    },
};
use crate::limits::Limit;

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = workspaces, check_for_backend(Pg, Sqlite))]
pub(crate) struct WorkspaceRow {
    pub(crate) id: DbId,
    pub(crate) name: String,
    pub(crate) personal_owner: Option<DbId>,
    pub(crate) enabled: bool,
    pub(crate) created_at: DbTime,
    pub(crate) limits: DbJson,
    pub(crate) policy: DbJson,
    /// Who made it. Nobody in particular made the personal ones.
    pub(crate) created_by: Option<DbId>,
}

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = members)]
pub(crate) struct MemberRow {
    pub(crate) workspace_id: DbId,
    pub(crate) user_id: DbId,
    pub(crate) role: &'static str,
    pub(crate) created_at: DbTime,
}

/// A member, as it is read.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = members, check_for_backend(Pg, Sqlite))]
pub(crate) struct Membership {
    pub(crate) workspace_id: DbId,
    pub(crate) user_id: DbId,
    pub(crate) role: String,
    pub(crate) created_at: DbTime,
}

// No `Debug`: of the digest.
#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = invitations, check_for_backend(Pg, Sqlite))]
pub(crate) struct InvitationRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) email: String,
    pub(crate) email_key: String,
    pub(crate) role: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) invited_by: DbId,
    pub(crate) created_at: DbTime,
    pub(crate) expires_at: DbTime,
    pub(crate) accepted_at: Option<DbTime>,
    pub(crate) accepted_by: Option<DbId>,
    pub(crate) revoked_at: Option<DbTime>,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = plans, check_for_backend(Pg, Sqlite))]
pub(crate) struct PlanRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) name: String,
    pub(crate) limits: DbJson,
    pub(crate) scopes: DbList,
    pub(crate) created_at: DbTime,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = keys, check_for_backend(Pg, Sqlite), treat_none_as_null = true)]
pub(crate) struct KeyRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) plan_id: DbId,
    pub(crate) name: String,
    pub(crate) name_folded: String,
    pub(crate) environment: String,
    pub(crate) start: String,
    pub(crate) scopes: DbList,
    pub(crate) limits: DbJson,
    pub(crate) allowed_ips: DbList,
    pub(crate) metadata: DbJson,
    pub(crate) enabled: bool,
    pub(crate) expires_at: Option<DbTime>,
    pub(crate) revoked_at: Option<DbTime>,
    pub(crate) created_by: String,
    pub(crate) created_at: DbTime,
    pub(crate) consumer_id: Option<DbId>,
    pub(crate) description: String,
    pub(crate) roles: DbList,
    pub(crate) not_before: Option<DbTime>,
    pub(crate) disabled_at: Option<DbTime>,
    /// How often it was changed.
    pub(crate) revision: i64,
    pub(crate) enabled_at: Option<DbTime>,
    /// Its newest one was.
    pub(crate) secret_made_at: DbTime,
}

/// When a key is to be rotated by its plan, and the policy of its workspace, which may be sooner.
pub(crate) type RotationRules = (Option<DbTime>, DbJson);

/// A key, its plan, its last use, and what says when it is to be rotated.
pub(crate) type KeyRecord = (KeyRow, PlanRow, Option<LastUsed>, RotationRules);

/// What resolving a key reads.
pub(crate) struct ResolvedKey {
    pub(crate) secret: SecretState,
    pub(crate) key: KeyRow,
    pub(crate) plan: PlanRow,
    pub(crate) workspace: WorkspaceRow,
    /// With its plan, if it has one.
    pub(crate) consumer: Option<(ConsumerRow, Option<PlanRow>)>,
    /// Its roles that there are.
    pub(crate) roles: Vec<RoleScopes>,
    /// Its own, else its consumer's.
    pub(crate) credit_account: Option<DbId>,
    /// When it is to be rotated by its plan.
    pub(crate) rotation_due_at: Option<DbTime>,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = consumers, check_for_backend(Pg, Sqlite))]
pub(crate) struct ConsumerRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) name: String,
    pub(crate) name_folded: String,
    pub(crate) external_id: Option<String>,
    pub(crate) plan_id: Option<DbId>,
    pub(crate) limits: DbJson,
    pub(crate) metadata: DbJson,
    pub(crate) enabled: bool,
    pub(crate) created_by: String,
    pub(crate) created_at: DbTime,
}

/// What is to be changed of a consumer; absent: it stays.
#[derive(Debug, Clone, Default, AsChangeset)]
#[diesel(table_name = consumers)]
#[expect(clippy::option_option, reason = "as diesel's changesets have it: stays, becomes null, becomes this")]
pub(crate) struct ConsumerChanges {
    pub(crate) name: Option<String>,
    pub(crate) name_folded: Option<String>,
    pub(crate) external_id: Option<Option<String>>,
    pub(crate) plan_id: Option<Option<DbId>>,
    pub(crate) limits: Option<DbJson>,
    pub(crate) metadata: Option<DbJson>,
    pub(crate) enabled: Option<bool>,
}

/// What is to be changed of a plan; absent: it stays.
#[derive(Debug, Clone, Default, AsChangeset)]
#[diesel(table_name = plans)]
pub(crate) struct PlanChanges {
    pub(crate) name: Option<String>,
    pub(crate) limits: Option<DbJson>,
    pub(crate) scopes: Option<DbList>,
}

/// What is to be changed of a workspace; absent: it stays.
#[derive(Debug, Clone, Default, AsChangeset)]
#[diesel(table_name = workspaces)]
pub(crate) struct WorkspaceChanges {
    pub(crate) name: Option<String>,
    pub(crate) limits: Option<DbJson>,
    pub(crate) enabled: Option<bool>,
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = roles, check_for_backend(Pg, Sqlite))]
pub(crate) struct RoleRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) name: String,
    pub(crate) scopes: DbList,
    pub(crate) created_at: DbTime,
}

#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = secrets, check_for_backend(Pg, Sqlite))]
pub(crate) struct SecretState {
    pub(crate) id: DbId,
    pub(crate) digest: Vec<u8>,
    pub(crate) retired_at: Option<DbTime>,
    pub(crate) revoked_at: Option<DbTime>,
}

#[derive(Clone, Insertable)]
#[diesel(table_name = secrets)]
pub(crate) struct SecretRow {
    pub(crate) id: DbId,
    pub(crate) key_id: DbId,
    pub(crate) public_id: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) created_at: DbTime,
    pub(crate) start: String,
    pub(crate) replaces: Option<DbId>,
}

/// What may be seen of a secret.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = secrets, check_for_backend(Pg, Sqlite))]
pub(crate) struct SecretInfo {
    pub(crate) id: DbId,
    pub(crate) start: String,
    pub(crate) created_at: DbTime,
    pub(crate) retired_at: Option<DbTime>,
    pub(crate) revoked_at: Option<DbTime>,
    pub(crate) replaces: Option<DbId>,
}

/// The name of a role and its scopes.
pub(crate) type RoleScopes = (String, DbList);

#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = service_keys, check_for_backend(Pg, Sqlite))]
pub(crate) struct ServiceKeyRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) name: String,
    pub(crate) public_id: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) start: String,
    pub(crate) permissions: DbList,
    pub(crate) expires_at: Option<DbTime>,
    pub(crate) revoked_at: Option<DbTime>,
    pub(crate) created_by: String,
    pub(crate) created_at: DbTime,
    pub(crate) scopes: DbList,
}

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = audit_events)]
pub(crate) struct AuditRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) at: DbTime,
    pub(crate) actor: String,
    pub(crate) session: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) action: &'static str,
    pub(crate) target: String,
    pub(crate) reason: Option<String>,
}

/// An audit event, as it is read.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = audit_events, check_for_backend(Pg, Sqlite))]
pub(crate) struct EventRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) at: DbTime,
    pub(crate) actor: String,
    pub(crate) session: Option<String>,
    pub(crate) ip: Option<String>,
    pub(crate) action: String,
    pub(crate) target: String,
}

/// A create that may be asked for again.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = idempotency)]
pub(crate) struct IdempotencyRow {
    pub(crate) id: Vec<u8>,
    pub(crate) request_hash: Vec<u8>,
    /// What is made; its kind is in the hash.
    pub(crate) made: DbId,
    /// What is made within it.
    pub(crate) part: Option<DbId>,
    pub(crate) expires_at: DbTime,
}

/// An endpoint that is told of events.
#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = webhooks, check_for_backend(Pg, Sqlite))]
pub(crate) struct WebhookRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) url: String,
    pub(crate) description: String,
    pub(crate) events: DbList,
    pub(crate) enabled: bool,
    /// Sealed.
    pub(crate) secret: Vec<u8>,
    /// Sealed.
    pub(crate) previous_secret: Option<Vec<u8>>,
    pub(crate) previous_until: Option<DbTime>,
    pub(crate) failing_since: Option<DbTime>,
    pub(crate) disabled_for: String,
    pub(crate) created_by: String,
    pub(crate) created_at: DbTime,
}

/// An event, as it is sent.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = webhook_messages, check_for_backend(Pg, Sqlite))]
pub(crate) struct MessageRow {
    pub(crate) id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) event: String,
    pub(crate) body: String,
    pub(crate) created_at: DbTime,
}

/// The telling of one endpoint of one event.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = webhook_deliveries, check_for_backend(Pg, Sqlite))]
pub(crate) struct DeliveryRow {
    pub(crate) id: DbId,
    pub(crate) webhook_id: DbId,
    pub(crate) message_id: DbId,
    pub(crate) status: String,
    pub(crate) attempts: i64,
    pub(crate) due_at: DbTime,
    pub(crate) status_code: Option<i64>,
    pub(crate) error: String,
    pub(crate) created_at: DbTime,
    pub(crate) finished_at: Option<DbTime>,
}

/// When a key is to be rotated.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = key_rotations, check_for_backend(Pg, Sqlite))]
pub(crate) struct RotationRow {
    pub(crate) key_id: DbId,
    pub(crate) workspace_id: DbId,
    pub(crate) every_days: i64,
    pub(crate) deadline_days: Option<i64>,
    pub(crate) due_at: DbTime,
    pub(crate) retires_at: Option<DbTime>,
}

/// Something that was announced once.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = notices)]
pub(crate) struct NoticeRow {
    pub(crate) subject_id: DbId,
    pub(crate) kind: String,
    pub(crate) due_at: DbTime,
}

impl DeliveryRow {
    /// A new one, due at once.
    pub(crate) fn new(id: DeliveryId, webhook_id: DbId, message_id: DbId, at: DbTime) -> Self {
        Self {
            id: id.into(),
            webhook_id,
            message_id,
            status: "pending".to_owned(),
            attempts: 0,
            due_at: at,
            status_code: None,
            error: String::new(),
            created_at: at,
            finished_at: None,
        }
    }
}

impl ConsumerChanges {
    /// Nothing is to be changed.
    pub(crate) fn is_nothing(&self) -> bool {
        let Self { name, name_folded: _, external_id, plan_id, limits, metadata, enabled } = self;
        let texts = name.is_none() && external_id.is_none() && metadata.is_none();
        texts && plan_id.is_none() && limits.is_none() && enabled.is_none()
    }

    /// Something is to be changed that a grant says.
    pub(crate) fn reaches_verdicts(&self) -> bool {
        self.plan_id.is_some() || self.limits.is_some() || self.enabled.is_some()
    }
}

impl PlanChanges {
    /// Nothing is to be changed.
    pub(crate) fn is_nothing(&self) -> bool {
        let Self { name, limits, scopes } = self;
        name.is_none() && limits.is_none() && scopes.is_none()
    }
}

impl WorkspaceChanges {
    /// Nothing is to be changed.
    pub(crate) fn is_nothing(&self) -> bool {
        let Self { name, limits, enabled } = self;
        name.is_none() && limits.is_none() && enabled.is_none()
    }
}

impl InvitationRow {
    /// Neither accepted, nor revoked, nor expired.
    pub(crate) fn is_pending(&self, now: Timestamp) -> bool {
        self.accepted_at.is_none() && self.revoked_at.is_none() && now < self.expires_at.0
    }
}

impl KeyRow {
    pub(crate) fn environment(&self) -> Result<Environment, Fault> {
        self.environment.parse().map_err(|error: UnknownWord| Fault::internal(error))
    }
}

impl ServiceKeyRow {
    /// Neither revoked nor expired.
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at.0)
    }

    pub(crate) fn permissions(&self) -> Result<Vec<Permission>, Fault> {
        let words = self.permissions.0.iter();
        words.map(|word| word.parse().map_err(|error: UnknownWord| Fault::internal(error))).collect()
    }
}

/// Limits for a column.
pub(crate) fn limits_to_json(limits: &[Limit]) -> DbJson {
    DbJson(serde_json::to_value(limits).expect("limits are numbers and texts"))
}

/// Limits from a column.
pub(crate) fn limits_from_json(json: &DbJson) -> Result<Vec<Limit>, Fault> {
    Vec::<Limit>::deserialize(&json.0).map_err(Fault::internal)
}
