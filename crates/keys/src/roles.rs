//! Roles: named sets of scopes that keys have by name. Made, shown, listed, changed, deleted.

use tollgate_changes::Cut;
use tollgate_kernel::{Code, Fault, RoleId};
use tollgate_proto::keys as wire;
use tollgate_verify::Subject;

use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    once::{Asked, gone},
    page::Page,
    patch::Cleared,
    store::{Change, Deed, Removal, RoleRow},
    wire as messages,
};

impl KeysService {
    pub(crate) async fn create_role(
        &self,
        mut message: wire::CreateRoleRequest,
    ) -> Result<wire::CreateRoleResponse, Fault> {
        let caller = Caller::try_from(message.caller.take())?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let name = input::role_name(&message.name, &mut problems);
        let scopes = input::scopes(&message.scopes, &mut problems);
        let once = input::idempotency_key(&message.idempotency_key, &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::WriteRoles, "workspace")?;
        let (id, now) = (RoleId::new(&*self.clock, &*self.entropy), self.clock.now());
        let row = RoleRow {
            id: id.into(),
            workspace_id: workspace.into(),
            name,
            scopes: scopes.into(),
            created_at: now.into(),
        };
        let deed =
            Deed { caller: &caller, workspace, action: "role.create", target: id.to_string(), at: now };
        let once = self.once(&Asked::new(&caller, "role", &message), once.as_deref(), id, now);
        let created = self.store.role_insert(Change::grants(&self.store, deed), row.clone(), once).await?;
        let row = match created.before()? {
            None => row,
            Some(before) => self.store.role_by_id(before.typed()).await?.ok_or_else(gone)?,
        };
        Ok(wire::CreateRoleResponse { role: Some(messages::role(row)) })
    }

    pub(crate) async fn get_role(
        &self,
        message: wire::GetRoleRequest,
    ) -> Result<wire::GetRoleResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (row, standing) = self.role_for(&caller, &message.role_id).await?;
        standing.require(Action::ReadRoles, "role")?;
        Ok(wire::GetRoleResponse { role: Some(messages::role(row)) })
    }

    pub(crate) async fn list_roles(
        &self,
        message: wire::ListRolesRequest,
    ) -> Result<wire::ListRolesResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let page = Page::parse(message.page.as_ref(), &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ReadRoles, "workspace")?;
        let rows = self.store.roles_in(workspace, page).await?;
        let (rows, next_cursor) = page.cut(rows, |role| role.id);
        Ok(wire::ListRolesResponse { roles: rows.into_iter().map(messages::role).collect(), next_cursor })
    }

    pub(crate) async fn update_role(
        &self,
        message: wire::UpdateRoleRequest,
    ) -> Result<wire::UpdateRoleResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (row, standing) = self.role_for(&caller, &message.role_id).await?;
        standing.require(Action::WriteRoles, "role")?;
        let mut problems = Problems::default();
        let cleared = Cleared::parse(&message.clear, &["scopes"], &mut problems);
        let scopes = message.scopes.map(|list| input::scopes(&list.items, &mut problems));
        let scopes = cleared.field("scopes", scopes, &mut problems).or_default();
        problems.check()?;
        let Some(scopes) = scopes else {
            return Ok(wire::UpdateRoleResponse { role: Some(messages::role(row)), effect: None });
        };
        let change = self.role_change(&caller, &row, "role.update", message.no_wait);
        let id = row.id.typed();
        let effect = self.store.role_update(change, id, scopes.into()).await?;
        let row = self.store.role_by_id(id).await?.ok_or_else(|| Fault::not_found("role"))?;
        Ok(wire::UpdateRoleResponse { role: Some(messages::role(row)), effect: effect.map(Into::into) })
    }

    pub(crate) async fn delete_role(
        &self,
        message: wire::DeleteRoleRequest,
    ) -> Result<wire::DeleteRoleResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (row, standing) = self.role_for(&caller, &message.role_id).await?;
        standing.require(Action::WriteRoles, "role")?;
        let change = self.role_change(&caller, &row, "role.delete", message.no_wait);
        let (removal, effect) = self.store.role_delete(change, row).await?;
        match removal {
            Removal::Done => Ok(wire::DeleteRoleResponse { effect: effect.map(Into::into) }),
            Removal::Gone => Err(Fault::not_found("role")),
            Removal::InUse { keys, .. } => {
                Err(Fault::new(Code::Conflict, format!("Keys that are not revoked have the role: {keys}.")))
            }
        }
    }

    /// No cache knows which keys have a role: all of the workspace are read anew.
    fn role_change(&self, caller: &Caller, row: &RoleRow, action: &'static str, no_wait: bool) -> Change {
        let workspace = row.workspace_id.typed();
        let target = RoleId::from(row.id).to_string();
        let deed = Deed { caller, workspace, action, target, at: self.clock.now() };
        let cut = Cut { subject: Subject::Workspace(workspace), wait: !no_wait };
        Change::cuts_off(&self.store, cut, deed)
    }

    /// A role by its id, and what the caller is to its workspace.
    async fn role_for(&self, caller: &Caller, id: &str) -> Result<(RoleRow, Standing), Fault> {
        let row = self.store.role_by_id(input::path_id(id, "role")?).await?;
        let row = row.ok_or_else(|| Fault::not_found("role"))?;
        let standing = self.standing(caller, row.workspace_id.typed()).await?;
        Ok((row, standing))
    }
}
