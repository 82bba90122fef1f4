//! Plans: named sets of limits and scopes.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, PlanId};
use tollgate_proto::keys::{
    self, CreatePlanRequest, DeletePlanRequest, GetPlanRequest, LimitList, ListPlansRequest, TextList,
    UpdatePlanRequest,
};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    created::Created,
    effect::{Effect, WaitQuery},
    limit::Limit,
    list::{WorkspaceQuery, list_of, page},
};
use crate::{
    app::App,
    extract::{Caller, Cleared, IdempotencyKey, Json, Patch, PathId, Query},
    problem::Problem,
    wire::{all, instant, required},
};

/// A named set of limits and scopes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Plan {
    /// Names the plan.
    #[schema(example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// For people; unique in the workspace.
    #[schema(example = "basic")]
    name: String,
    /// What its keys are limited to.
    limits: Vec<Limit>,
    /// What its keys may do.
    scopes: Vec<String>,
    /// When it was made.
    created_at: DateTime<Utc>,
}

/// A plan to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPlan {
    /// For people; unique in the workspace.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9_.:-]([A-Za-z0-9 _.:-]*[A-Za-z0-9_.:-])?$",
        example = "gold"
    )]
    name: String,
    /// What its keys are limited to, each by itself; and what its consumers are limited to, with all their keys together.
    #[schema(max_items = 8)]
    limits: Option<Vec<Limit>>,
    /// What its keys may do that have neither scopes nor roles of their own.
    #[schema(max_items = 64, example = json!(["orders.read"]))]
    scopes: Option<Vec<String>>,
    /// Where it is made; the caller's own workspace if it is not given.
    #[schema(example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// What is to be changed of a plan. What is left out stays; `null` takes the value away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanPatch {
    /// For people; unique in the workspace. Cannot be taken away.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 64, example = "gold")]
    name: Patch<String>,
    /// Its limits: all of them anew.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Limit>>, max_items = 8)]
    limits: Patch<Vec<Limit>>,
    /// Its scopes: all of them anew.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 64, example = json!(["orders.read"]))]
    scopes: Patch<Vec<String>>,
}

/// A plan that was just changed, and how that came to hold.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedPlan {
    /// Its record.
    #[serde(flatten)]
    record: Plan,
    /// How the change came to hold.
    effect: Effect,
}

list_of! {
    /// A page of plans.
    Plans(Plan)
}

/// List plans
#[utoipa::path(
    get, path = "/v1/plans", operation_id = "listPlans", tag = "workspaces", params(WorkspaceQuery),
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "The workspace's plans.", body = Plans),
        (status = 403, description = "The caller may not do this."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn list_plans(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<WorkspaceQuery>,
) -> Result<Json<Plans>, Problem> {
    let request = ListPlansRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        page: Some(page(query.limit, query.cursor.as_deref())?),
    };
    let answer = app.keys.list_plans(Request::new(request)).await?.into_inner();
    Ok(Json(Plans { data: all(answer.plans)?, next_cursor: answer.next_cursor }))
}

/// Make a plan
#[utoipa::path(
    post, path = "/v1/plans", operation_id = "createPlan", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(IdempotencyKey),
    responses(
        (status = 201, description = "The plan was made.", body = Plan, headers(
            ("Location" = String, description = "The plan's address."),
        )),
        (status = 403, description = "The caller may not make plans here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
        (status = 409, description = "The name is taken, or the `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn create_plan(
    State(app): State<App>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<NewPlan>,
) -> Result<Created<Plan>, Problem> {
    let request = CreatePlanRequest {
        caller: Some(caller.to_proto()),
        workspace_id: body.workspace_id.unwrap_or_default(),
        name: body.name,
        limits: body.limits.unwrap_or_default().into_iter().map(Into::into).collect(),
        scopes: body.scopes.unwrap_or_default(),
        idempotency_key,
    };
    let answer = app.keys.create_plan(Request::new(request)).await?.into_inner();
    let record: Plan = required(answer.plan, "plan")?.try_into()?;
    let path = format!("/v1/plans/{}", record.id);
    Ok(Created::at(path, record))
}

/// Show a plan
#[utoipa::path(
    get, path = "/v1/plans/{id}", operation_id = "getPlan", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the plan.", example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The plan.", body = Plan),
        (status = 403, description = "The caller may not see plans here."),
    )
)]
pub(crate) async fn get_plan(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<PlanId>,
) -> Result<Json<Plan>, Problem> {
    let request = GetPlanRequest { caller: Some(caller.to_proto()), plan_id: id.to_string() };
    let answer = app.keys.get_plan(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.plan, "plan")?.try_into()?))
}

/// Change a plan
///
/// Changes every key and consumer that has it at once. What they have used so far is kept, by the names of limits: one that
/// is raised from 3 to 5 after 3 calls lets exactly 2 more pass.
#[utoipa::path(
    patch, path = "/v1/plans/{id}", operation_id = "updatePlan", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the plan.", example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The plan as it is now.", body = ChangedPlan),
        (status = 403, description = "The caller may not change plans here."),
        (status = 409, description = "The name is taken."),
    )
)]
pub(crate) async fn update_plan(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<PlanId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<PlanPatch>,
) -> Result<Json<ChangedPlan>, Problem> {
    let mut cleared = Cleared::default();
    let limits = body.limits.map(|it| LimitList { items: it.into_iter().map(Into::into).collect() });
    let request = UpdatePlanRequest {
        caller: Some(caller.to_proto()),
        plan_id: id.to_string(),
        name: cleared.value("name", body.name),
        limits: cleared.value("limits", limits),
        scopes: cleared.value("scopes", body.scopes.map(|items| TextList { items })),
        clear: cleared.into_names(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.update_plan(Request::new(request)).await?.into_inner();
    let record = required(answer.plan, "plan")?.try_into()?;
    Ok(Json(ChangedPlan { record, effect: Effect::of(answer.effect)? }))
}

/// Delete a plan
///
/// Not while keys or consumers have it.
#[utoipa::path(
    delete, path = "/v1/plans/{id}", operation_id = "deletePlan", tag = "workspaces",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the plan.", example = "pln_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The plan is gone.", body = Effect),
        (status = 403, description = "The caller may not delete plans here."),
        (status = 409, description = "Keys, be they revoked, or consumers have it."),
    )
)]
pub(crate) async fn delete_plan(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<PlanId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    let request = DeletePlanRequest {
        caller: Some(caller.to_proto()),
        plan_id: id.to_string(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.delete_plan(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.effect, "effect")?.try_into()?))
}

impl TryFrom<keys::Plan> for Plan {
    type Error = Fault;

    fn try_from(plan: keys::Plan) -> Result<Self, Fault> {
        Ok(Self {
            id: plan.id,
            name: plan.name,
            limits: all(plan.limits)?,
            scopes: plan.scopes,
            created_at: instant(plan.created_at, "created_at")?,
        })
    }
}
