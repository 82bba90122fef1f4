//! Plans: named sets of limits and scopes. The three that every workspace starts with; shown, made, changed, deleted.

use tollgate_changes::Cut;
use tollgate_kernel::{Clock, Code, Entropy, Fault, PlanId, WorkspaceId};
use tollgate_proto::keys as wire;
use tollgate_verify::Subject;

use crate::{
    KeysService,
    access::{Action, Standing},
    caller::Caller,
    input::{self, Problems},
    levels::{self, Level},
    limits::{Limit, sliding},
    once::{Asked, gone},
    page::Page,
    patch::Cleared,
    store::{Change, Deed, PlanChanges, PlanRow, Removal, limits_to_json},
    wire as messages,
};

/// The plan of a key that names none.
pub(crate) const DEFAULT_PLAN: &str = "basic";

const MINUTE: u32 = 60;
const DAY: u32 = 86_400;

/// Names and limits of the starting plans. A workspace keeps those that it was made with.
fn starting_limits() -> [(&'static str, Vec<Limit>); 3] {
    [
        ("free", vec![sliding("minute", 10, MINUTE)]),
        (DEFAULT_PLAN, vec![sliding("minute", 60, MINUTE), sliding("day", 5000, DAY)]),
        ("pro", vec![sliding("minute", 600, MINUTE), sliding("day", 100_000, DAY)]),
    ]
}

/// The plans of a new workspace, with ids in this order, though they are made in one instant.
pub(crate) fn starting_plans(
    workspace: WorkspaceId,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Vec<PlanRow> {
    let mut ids = [(); 3].map(|()| PlanId::new(clock, entropy));
    ids.sort();
    let plans = ids.into_iter().zip(starting_limits());
    plans
        .map(|(id, (name, limits))| PlanRow {
            id: id.into(),
            workspace_id: workspace.into(),
            name: name.to_owned(),
            limits: limits_to_json(&limits),
            scopes: Vec::new().into(),
            created_at: clock.now().into(),
        })
        .collect()
}

fn parse(message: &wire::UpdatePlanRequest) -> Result<PlanChanges, Fault> {
    let mut problems = Problems::default();
    let it = &mut problems;
    let cleared = Cleared::parse(&message.clear, &["limits", "scopes"], it);
    let limits = message.limits.as_ref().map(|list| levels::parse(&list.items, Level::Plan, it));
    let scopes = message.scopes.as_ref().map(|list| input::scopes(&list.items, it));
    let changes = PlanChanges {
        name: message.name.as_deref().map(|text| input::plan_name(text, it)),
        limits: cleared.field("limits", limits, it).or_default().map(|limits| limits_to_json(&limits)),
        scopes: cleared.field("scopes", scopes, it).or_default().map(Into::into),
    };
    problems.check()?;
    Ok(changes)
}

impl KeysService {
    pub(crate) async fn list_plans(
        &self,
        message: wire::ListPlansRequest,
    ) -> Result<wire::ListPlansResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let page = Page::parse(message.page.as_ref(), &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::ReadPlans, "workspace")?;
        let rows = self.store.plans_in(workspace, page).await?;
        let (rows, next_cursor) = page.cut(rows, |plan| plan.id);
        let plans = rows.into_iter().map(messages::plan).collect::<Result<_, _>>()?;
        Ok(wire::ListPlansResponse { plans, next_cursor })
    }

    /// The plan of a new key in this workspace.
    pub(crate) async fn plan_for(
        &self,
        workspace: WorkspaceId,
        named: Option<PlanId>,
    ) -> Result<PlanRow, Fault> {
        let plan = match named {
            Some(id) => self.store.plan_by_id(workspace, id).await?,
            None => self.store.plan_by_name(workspace, DEFAULT_PLAN).await?,
        };
        plan.ok_or_else(|| Fault::invalid("/plan_id", "there is no such plan in the workspace"))
    }

    pub(crate) async fn get_plan(
        &self,
        message: wire::GetPlanRequest,
    ) -> Result<wire::GetPlanResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (row, standing) = self.plan_by_id(&caller, &message.plan_id).await?;
        standing.require(Action::ReadPlans, "plan")?;
        Ok(wire::GetPlanResponse { plan: Some(messages::plan(row)?) })
    }

    pub(crate) async fn create_plan(
        &self,
        mut message: wire::CreatePlanRequest,
    ) -> Result<wire::CreatePlanResponse, Fault> {
        let caller = Caller::try_from(message.caller.take())?;
        let mut problems = Problems::default();
        let named = input::id(&message.workspace_id, "/workspace_id", &mut problems);
        let name = input::plan_name(&message.name, &mut problems);
        let limits = levels::parse(&message.limits, Level::Plan, &mut problems);
        let scopes = input::scopes(&message.scopes, &mut problems);
        let once = input::idempotency_key(&message.idempotency_key, &mut problems);
        problems.check()?;
        let (workspace, standing) = self.workspace_of(&caller, named).await?;
        standing.require(Action::WritePlans, "workspace")?;
        let (id, now) = (PlanId::new(&*self.clock, &*self.entropy), self.clock.now());
        let row = PlanRow {
            id: id.into(),
            workspace_id: workspace.into(),
            name,
            limits: limits_to_json(&limits),
            scopes: scopes.into(),
            created_at: now.into(),
        };
        let deed =
            Deed { caller: &caller, workspace, action: "plan.create", target: id.to_string(), at: now };
        let once = self.once(&Asked::new(&caller, "plan", &message), once.as_deref(), id, now);
        let created = self.store.plan_insert(Change::grants(&self.store, deed), row.clone(), once).await?;
        let row = match created.before()? {
            None => row,
            Some(before) => self.store.plan(before.typed()).await?.ok_or_else(gone)?,
        };
        Ok(wire::CreatePlanResponse { plan: Some(messages::plan(row)?) })
    }

    /// What has been counted stays: it is kept by the names of limits, for each key and each consumer.
    pub(crate) async fn update_plan(
        &self,
        message: wire::UpdatePlanRequest,
    ) -> Result<wire::UpdatePlanResponse, Fault> {
        let caller = Caller::try_from(message.caller.clone())?;
        let (row, standing) = self.plan_by_id(&caller, &message.plan_id).await?;
        standing.require(Action::WritePlans, "plan")?;
        let changes = parse(&message)?;
        if changes.is_nothing() {
            return Ok(wire::UpdatePlanResponse { plan: Some(messages::plan(row)?), effect: None });
        }
        let (id, change) = (row.id.typed(), self.plan_change(&caller, &row, "plan.update", message.no_wait));
        let effect = self.store.plan_update(change, id, changes).await?;
        let row = self.store.plan(id).await?.ok_or_else(|| Fault::not_found("plan"))?;
        Ok(wire::UpdatePlanResponse { plan: Some(messages::plan(row)?), effect: effect.map(Into::into) })
    }

    pub(crate) async fn delete_plan(
        &self,
        message: wire::DeletePlanRequest,
    ) -> Result<wire::DeletePlanResponse, Fault> {
        let caller = Caller::try_from(message.caller)?;
        let (row, standing) = self.plan_by_id(&caller, &message.plan_id).await?;
        standing.require(Action::WritePlans, "plan")?;
        let change = self.plan_change(&caller, &row, "plan.delete", message.no_wait);
        let (removal, effect) = self.store.plan_delete(change, row.id.typed()).await?;
        match removal {
            Removal::Done => Ok(wire::DeletePlanResponse { effect: effect.map(Into::into) }),
            Removal::Gone => Err(Fault::not_found("plan")),
            Removal::InUse { keys, consumers } => Err(Fault::new(
                Code::Conflict,
                format!(
                    "The plan is in use: by {keys} keys, of which some may be revoked, and by {consumers} consumers."
                ),
            )),
        }
    }

    fn plan_change(&self, caller: &Caller, row: &PlanRow, action: &'static str, no_wait: bool) -> Change {
        let (id, workspace) = (row.id.typed(), row.workspace_id.typed());
        let target = PlanId::to_string(&id);
        let deed = Deed { caller, workspace, action, target, at: self.clock.now() };
        Change::cuts_off(&self.store, Cut { subject: Subject::Plan(id), wait: !no_wait }, deed)
    }

    /// A plan by its id, and what the caller is to its workspace.
    async fn plan_by_id(&self, caller: &Caller, id: &str) -> Result<(PlanRow, Standing), Fault> {
        let row = self.store.plan(input::path_id(id, "plan")?).await?;
        let row = row.ok_or_else(|| Fault::not_found("plan"))?;
        let standing = self.standing(caller, row.workspace_id.typed()).await?;
        Ok((row, standing))
    }
}
