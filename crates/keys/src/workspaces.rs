//! Workspaces: the personal one, made on first need, and others; shown and changed; and what a caller is to a workspace.

use serde_json::json;
use tollgate_changes::{Cut, Effect};
use tollgate_db::DbJson;
use tollgate_kernel::{Code, Fault, Timestamp, UserId, WorkspaceId};
use tollgate_proto::keys as wire;
use tollgate_verify::{MemberRole, Subject};

use crate::{
    KeysService,
    access::{Action, Standing, forbidden},
    caller::{Caller, Principal, nobody},
    input::{self, Problems},
    levels::{self, Level},
    once::{Asked, gone},
    page::Page,
    patch::Cleared,
    plans::starting_plans,
    store::{Change, Deed, MemberRow, WorkspaceChanges, WorkspaceRow, limits_to_json},
    wire as messages,
};

/// How many workspaces a user may make, beside the personal one.
const WORKSPACES_OF_A_USER: i64 = 20;

fn parse(message: &wire::UpdateWorkspaceRequest) -> Result<WorkspaceChanges, Fault> {
    let mut problems = Problems::default();
    let it = &mut problems;
    let cleared = Cleared::parse(&message.clear, &["limits"], it);
    let limits = message.limits.as_ref().map(|list| levels::parse(&list.items, Level::Workspace, it));
    let changes = WorkspaceChanges {
        name: message.name.as_deref().map(|text| input::name(text, it)),
        limits: cleared.field("limits", limits, it).or_default().map(|limits| limits_to_json(&limits)),
        enabled: message.enabled,
    };
    problems.check()?;
    Ok(changes)
}

impl KeysService {
    pub(crate) async fn ensure_personal_workspace(
        &self,
        message: wire::EnsurePersonalWorkspaceRequest,
    ) -> Result<wire::EnsurePersonalWorkspaceResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        // A machine has no workspace of its own making.
        let Principal::User { id, .. } = caller.principal else { return Err(forbidden()) };
        let row = self.personal_workspace(&caller, id).await?;
        let workspace = messages::workspace(row, MemberRole::Owner.to_string())?;
        Ok(wire::EnsurePersonalWorkspaceResponse { workspace: Some(workspace) })
    }

    pub(crate) async fn create_workspace(
        &self,
        mut message: wire::CreateWorkspaceRequest,
    ) -> Result<wire::CreateWorkspaceResponse, Fault> {
        let caller = Caller::try_from(message.caller.take())?;
        let mut problems = Problems::default();
        let name = input::name(&message.name, &mut problems);
        let once = input::idempotency_key(&message.idempotency_key, &mut problems);
        problems.check()?;
        // A machine is a member of nothing.
        let Principal::User { id: owner, .. } = caller.principal else { return Err(forbidden()) };
        self.personal_workspace(&caller, owner).await?;
        let (id, now) = (WorkspaceId::new(&*self.clock, &*self.entropy), self.clock.now());
        let row = WorkspaceRow { created_by: Some(owner.into()), ..new_workspace(id, name, now) };
        let deed = Deed {
            caller: &caller,
            workspace: id,
            action: "workspace.create",
            target: id.to_string(),
            at: now,
        };
        let plans = starting_plans(id, &*self.clock, &*self.entropy);
        let (change, member) = (Change::grants(&self.store, deed), new_owner(id, owner, now));
        let once = self.once(&Asked::new(&caller, "workspace", &message), once.as_deref(), id, now);
        let most = WORKSPACES_OF_A_USER;
        let made = self.store.workspace_create(change, row.clone(), member, plans, most, once).await?;
        let Some(created) = made else {
            let what = format!("A user may make at most {most} workspaces beside the personal one.");
            return Err(Fault::new(Code::Conflict, what));
        };
        let (row, role) = match created.before()? {
            None => (row, MemberRole::Owner),
            Some(before) => self.made_before(before.typed(), owner).await?,
        };
        Ok(wire::CreateWorkspaceResponse { workspace: Some(messages::workspace(row, role.to_string())?) })
    }

    /// A workspace that the user has made, and what the user is in it. One who has left it is told no more of it.
    async fn made_before(&self, id: WorkspaceId, user: UserId) -> Result<(WorkspaceRow, MemberRole), Fault> {
        let role = self.store.member_role(id, user).await?.ok_or_else(gone)?;
        Ok((self.store.workspace_by_id(id).await?.ok_or_else(gone)?, role))
    }

    pub(crate) async fn list_workspaces(
        &self,
        message: wire::ListWorkspacesRequest,
    ) -> Result<wire::ListWorkspacesResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let page = Page::parse(message.page.as_ref(), &mut problems);
        problems.check()?;
        // Only people are members.
        let Principal::User { id, .. } = caller.principal else { return Err(forbidden()) };
        let rows = self.store.workspaces_of(id, page).await?;
        let (rows, next_cursor) = page.cut(rows, |(workspace, _)| workspace.id);
        let workspaces = rows.into_iter().map(|(row, role)| messages::workspace(row, role));
        Ok(wire::ListWorkspacesResponse { workspaces: workspaces.collect::<Result<_, _>>()?, next_cursor })
    }

    pub(crate) async fn get_workspace(
        &self,
        message: wire::GetWorkspaceRequest,
    ) -> Result<wire::GetWorkspaceResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (row, standing) = self.workspace_for(&caller, &message.workspace_id).await?;
        standing.require(Action::ReadWorkspace, "workspace")?;
        Ok(wire::GetWorkspaceResponse { workspace: Some(messages::workspace(row, standing.role())?) })
    }

    pub(crate) async fn update_workspace(
        &self,
        message: wire::UpdateWorkspaceRequest,
    ) -> Result<wire::UpdateWorkspaceResponse, Fault> {
        let caller = Caller::try_from(message.caller.clone())?;
        let (row, standing) = self.workspace_for(&caller, &message.workspace_id).await?;
        let changes = parse(&message)?;
        if changes.name.is_some() || changes.is_nothing() {
            standing.require(Action::RenameWorkspace, "workspace")?;
        }
        if changes.limits.is_some() {
            standing.require(Action::LimitWorkspace, "workspace")?;
        }
        if changes.enabled.is_some() {
            standing.require(Action::DisableWorkspace, "workspace")?;
        }
        let answer = |row, effect: Option<Effect>| {
            let workspace = Some(messages::workspace(row, standing.role())?);
            Ok(wire::UpdateWorkspaceResponse { workspace, effect: effect.map(Into::into) })
        };
        if changes.is_nothing() {
            return answer(row, None);
        }
        let id = row.id.typed();
        let (target, at) = (message.workspace_id, self.clock.now());
        let deed = Deed { caller: &caller, workspace: id, action: "workspace.update", target, at };
        let change = if changes.limits.is_some() || changes.enabled.is_some() {
            let cut = Cut { subject: Subject::Workspace(id), wait: !message.no_wait };
            Change::cuts_off(&self.store, cut, deed)
        } else {
            Change::grants(&self.store, deed)
        };
        let effect = self.store.workspace_update(change, id, changes).await?;
        answer(self.store.workspace_by_id(id).await?.ok_or_else(|| Fault::not_found("workspace"))?, effect)
    }

    /// A workspace by its id, and what the caller is to it. One of which the caller may not know is not there.
    async fn workspace_for(&self, caller: &Caller, id: &str) -> Result<(WorkspaceRow, Standing), Fault> {
        let id = input::path_id(id, "workspace")?;
        let standing = self.standing(caller, id).await?;
        let row = self.store.workspace_by_id(id).await?;
        let known = row.filter(|_| standing != Standing::Stranger);
        Ok((known.ok_or_else(|| Fault::not_found("workspace"))?, standing))
    }

    /// The workspace that a request is about, and what the caller is to it. Named: that one, if the caller may know of
    /// it. Else the caller's own: a user's personal one, a service key's.
    pub(crate) async fn workspace_of(
        &self,
        caller: &Caller,
        named: Option<WorkspaceId>,
    ) -> Result<(WorkspaceId, Standing), Fault> {
        if let Some(id) = named {
            let standing = self.standing(caller, id).await?;
            let known = match standing {
                Standing::Stranger => false,
                Standing::Operator => self.store.workspace_exists(id).await?,
                Standing::Member(_) | Standing::ServiceKey(_) | Standing::Suspended(_) => true,
            };
            return if known { Ok((id, standing)) } else { Err(Fault::not_found("workspace")) };
        }
        let id = match caller.principal {
            Principal::User { id, .. } => self.personal_workspace(caller, id).await?.id.typed(),
            Principal::ServiceKey(id) => {
                self.store.service_key_by_id(id).await?.ok_or_else(nobody)?.workspace_id.typed()
            }
            Principal::System => return Err(nobody()),
        };
        Ok((id, self.standing(caller, id).await?))
    }

    /// What the caller is to this workspace. A service key that is revoked or expired since the edge let it in is nobody.
    pub(crate) async fn standing(&self, caller: &Caller, workspace: WorkspaceId) -> Result<Standing, Fault> {
        match caller.principal {
            Principal::User { operator: true, .. } => Ok(Standing::Operator),
            Principal::User { id, operator: false } => {
                let Some((role, enabled)) = self.store.member_standing(workspace, id).await? else {
                    return Ok(Standing::Stranger);
                };
                Ok(in_force(Standing::Member(role), enabled))
            }
            Principal::ServiceKey(id) => {
                let key = self.store.service_key_by_id(id).await?;
                let key = key.filter(|key| key.is_live(self.clock.now())).ok_or_else(nobody)?;
                if key.workspace_id.typed() != workspace {
                    return Ok(Standing::Stranger);
                }
                let enabled = self.store.workspace_enabled(workspace).await?.ok_or_else(nobody)?;
                Ok(in_force(Standing::ServiceKey(key.permissions()?), enabled))
            }
            Principal::System => Err(nobody()),
        }
    }

    /// The user's personal workspace; made, with its starting plans, if it is not there yet.
    async fn personal_workspace(&self, caller: &Caller, owner: UserId) -> Result<WorkspaceRow, Fault> {
        if let Some(row) = self.store.workspace_personal(owner).await? {
            return Ok(row);
        }
        let (id, now) = (WorkspaceId::new(&*self.clock, &*self.entropy), self.clock.now());
        let workspace = WorkspaceRow {
            personal_owner: Some(owner.into()),
            ..new_workspace(id, "Personal".to_owned(), now)
        };
        let member = new_owner(id, owner, now);
        let deed =
            Deed { caller, workspace: id, action: "workspace.create", target: id.to_string(), at: now };
        let plans = starting_plans(id, &*self.clock, &*self.entropy);
        self.store.workspace_insert(Change::grants(&self.store, deed), workspace, member, plans).await?;
        // Read again: another call may have been first.
        let row = self.store.workspace_personal(owner).await?;
        row.ok_or_else(|| Fault::internal("the personal workspace that was just made is not there"))
    }
}

/// What the caller is to a workspace, as far as that is in force.
fn in_force(standing: Standing, enabled: bool) -> Standing {
    if enabled { standing } else { Standing::Suspended(Box::new(standing)) }
}

fn new_workspace(id: WorkspaceId, name: String, now: Timestamp) -> WorkspaceRow {
    WorkspaceRow {
        id: id.into(),
        name,
        personal_owner: None,
        enabled: true,
        created_at: now.into(),
        limits: DbJson(json!([])),
        policy: DbJson(json!({})),
        created_by: None,
    }
}

fn new_owner(workspace: WorkspaceId, user: UserId, now: Timestamp) -> MemberRow {
    MemberRow {
        workspace_id: workspace.into(),
        user_id: user.into(),
        role: MemberRole::Owner.as_str(),
        created_at: now.into(),
    }
}
