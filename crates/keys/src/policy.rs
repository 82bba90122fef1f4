//! What a workspace requires of its keys: read, changed, and held against a key that is made or changed.
//!
//! A rule holds for what is asked for: a key that was made before the rule stays as it is, until the field that the rule is
//! about is changed.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tollgate_changes::Cut;
use tollgate_db::DbJson;
use tollgate_kernel::{Code, Fault, Timestamp, WorkspaceId};
use tollgate_proto::keys as wire;
use tollgate_verify::Subject;

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    input::{self, Problems},
    patch::{Cleared, Patch},
    store::{Change, Changed, Deed},
};

const LIFETIME_DAYS: u32 = 36_500;
const TENDED_DAYS: u32 = 3650;
const FIELDS: [&str; 6] = [
    "max_lifetime_days",
    "require_expiry",
    "auto_disable_unused_days",
    "require_description",
    "undelete_days",
    "max_secret_age_days",
];

/// What a workspace requires of its keys; what is not there is not required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_lifetime_days: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    require_expiry: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_disable_unused_days: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    require_description: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    undelete_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_secret_age_days: Option<u32>,
}

impl Policy {
    pub(crate) fn read(json: &DbJson) -> Result<Self, Fault> {
        Self::deserialize(&json.0).map_err(Fault::internal)
    }

    fn to_json(&self) -> DbJson {
        DbJson(serde_json::to_value(self).expect("a policy is numbers and flags"))
    }

    /// Whether a key that is made at this time may end then.
    pub(crate) fn check_expiry(&self, at: Option<Timestamp>, made: Timestamp, problems: &mut Problems) {
        if self.require_expiry && at.is_none() {
            problems.add("/expires_at", "the workspace's policy `require_expiry` asks for an end");
        }
        let Some(days) = self.max_lifetime_days else { return };
        let latest = made + TimeDelta::days(days.into());
        if at.is_none_or(|at| at > latest) {
            let rule = format!(
                "the workspace's policy `max_lifetime_days` lets a key live {days} days after its making"
            );
            problems.add("/expires_at", rule);
        }
    }

    pub(crate) fn check_description(&self, text: &str, problems: &mut Problems) {
        if self.require_description && text.is_empty() {
            problems.add("/description", "the workspace's policy `require_description` asks for one");
        }
    }

    /// Whether a key that was disabled then can still be enabled.
    pub(crate) fn lets_enable(&self, disabled_at: Option<Timestamp>, now: Timestamp) -> bool {
        let over = |disabled_at| self.revokes_disabled_before(now).is_some_and(|before| disabled_at < before);
        !disabled_at.is_some_and(over)
    }

    /// Keys that were disabled before this are to be revoked.
    pub(crate) fn revokes_disabled_before(&self, now: Timestamp) -> Option<Timestamp> {
        self.undelete_days.map(|days| now - TimeDelta::days(days.into()))
    }

    /// Keys that were not used since then are to be disabled.
    pub(crate) fn disables_unused_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.auto_disable_unused_days.map(|days| now - TimeDelta::days(days.into()))
    }

    /// So many days after its newest secret was made, a key is due for rotation.
    pub(crate) fn max_secret_age_days(&self) -> Option<i64> {
        self.max_secret_age_days.map(Into::into)
    }

    /// The same, as a span of time.
    pub(crate) fn max_secret_age(&self) -> Option<TimeDelta> {
        self.max_secret_age_days().map(TimeDelta::days)
    }

    /// Whether something is to be done from time to time.
    fn is_tended(&self) -> bool {
        let days = [self.undelete_days, self.auto_disable_unused_days, self.max_secret_age_days];
        days.iter().any(Option::is_some)
    }

    fn changed(self, message: &wire::UpdateWorkspacePolicyRequest) -> Result<Self, Fault> {
        let mut problems = Problems::default();
        let it = &mut problems;
        let cleared = Cleared::parse(&message.clear, &FIELDS, it);
        let mut days = |name: &'static str, given: Option<u32>, most: u32| {
            if given.is_some_and(|days| !(1..=most).contains(&days)) {
                it.add(format!("/{name}"), format!("must be 1 to {most}"));
            }
            cleared.field(name, given, it)
        };
        let lifetime = days("max_lifetime_days", message.max_lifetime_days, LIFETIME_DAYS);
        let unused = days("auto_disable_unused_days", message.auto_disable_unused_days, TENDED_DAYS);
        let undelete = days("undelete_days", message.undelete_days, TENDED_DAYS);
        let secret_age = days("max_secret_age_days", message.max_secret_age_days, TENDED_DAYS);
        let expiry: Patch<bool> = cleared.field("require_expiry", message.require_expiry, it);
        let description = cleared.field("require_description", message.require_description, it);
        problems.check()?;
        Ok(Self {
            max_lifetime_days: lifetime.over(self.max_lifetime_days),
            require_expiry: expiry.over_or(self.require_expiry, false),
            auto_disable_unused_days: unused.over(self.auto_disable_unused_days),
            require_description: description.over_or(self.require_description, false),
            undelete_days: undelete.over(self.undelete_days),
            max_secret_age_days: secret_age.over(self.max_secret_age_days),
        })
    }
}

impl From<Policy> for wire::WorkspacePolicy {
    fn from(policy: Policy) -> Self {
        Self {
            max_lifetime_days: policy.max_lifetime_days,
            require_expiry: policy.require_expiry,
            auto_disable_unused_days: policy.auto_disable_unused_days,
            require_description: policy.require_description,
            undelete_days: policy.undelete_days,
            max_secret_age_days: policy.max_secret_age_days,
        }
    }
}

impl KeysService {
    pub(crate) async fn get_workspace_policy(
        &self,
        message: wire::GetWorkspacePolicyRequest,
    ) -> Result<wire::GetWorkspacePolicyResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let workspace = self.workspace_for_policy(&caller, &message.workspace_id, Action::ReadPolicy).await?;
        let policy = self.policy(workspace).await?;
        Ok(wire::GetWorkspacePolicyResponse { policy: Some(policy.into()) })
    }

    pub(crate) async fn update_workspace_policy(
        &self,
        message: wire::UpdateWorkspacePolicyRequest,
    ) -> Result<wire::UpdateWorkspacePolicyResponse, Fault> {
        let caller = Caller::try_from(message.caller.clone())?;
        let workspace =
            self.workspace_for_policy(&caller, &message.workspace_id, Action::ManagePolicy).await?;
        let seen = self.policy_json(workspace).await?;
        let before = Policy::read(&seen)?;
        let policy = before.clone().changed(&message)?;
        let deed = Deed {
            caller: &caller,
            workspace,
            action: "workspace.policy",
            target: workspace.to_string(),
            at: self.clock.now(),
        };
        let change = if before.max_secret_age_days == policy.max_secret_age_days {
            Change::grants(&self.store, deed)
        } else {
            // Verdicts say when keys are due.
            let cut = Cut { subject: Subject::Workspace(workspace), wait: true };
            Change::cuts_off(&self.store, cut, deed)
        };
        let (json, tended) = (policy.to_json(), policy.is_tended());
        match self.store.policy_update(change, workspace, seen, json, tended).await? {
            Changed::Done => Ok(wire::UpdateWorkspacePolicyResponse { policy: Some(policy.into()) }),
            Changed::Stale => Err(Fault::new(
                Code::Conflict,
                "Somebody else has changed the policy in the same moment; look again.",
            )),
        }
    }

    async fn workspace_for_policy(
        &self,
        caller: &Caller,
        id: &str,
        action: Action,
    ) -> Result<WorkspaceId, Fault> {
        let id = input::path_id(id, "workspace")?;
        let (workspace, standing) = self.workspace_of(caller, Some(id)).await?;
        standing.require(action, "workspace")?;
        Ok(workspace)
    }

    /// What the workspace requires.
    pub(crate) async fn policy(&self, workspace: WorkspaceId) -> Result<Policy, Fault> {
        Policy::read(&self.policy_json(workspace).await?)
    }

    async fn policy_json(&self, workspace: WorkspaceId) -> Result<DbJson, Fault> {
        let policy = self.store.policy_of(workspace).await?;
        policy.ok_or_else(|| Fault::not_found("workspace"))
    }
}
