//! Plans: the three that every workspace starts with, and their list.

use tollgate_kernel::{Clock, Entropy, Fault, PlanId, WorkspaceId};
use tollgate_proto::keys as wire;

use crate::{
    KeysService,
    access::Action,
    caller::Caller,
    input::{self, Problems},
    limits::{Limit, sliding},
    page::Page,
    store::{PlanRow, limits_to_json},
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
}
