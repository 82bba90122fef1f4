//! Plans: named sets of limits and scopes.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::Fault;
use tollgate_proto::keys::{self, ListPlansRequest};
use tonic::Request;
use utoipa::{IntoParams, ToSchema};

use super::{
    limit::Limit,
    list::{list_of, page},
};
use crate::{
    app::App,
    extract::{Caller, Json, Query},
    problem::Problem,
    wire::{all, instant},
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

list_of! {
    /// A page of plans.
    Plans(Plan)
}

/// Which part of which workspace's plans.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PlansQuery {
    /// How many; 25 if it is not given.
    #[param(minimum = 1, maximum = 100, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before; the first page if it is not given.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// The caller's own workspace if it is not given.
    #[param(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// List plans
#[utoipa::path(
    get, path = "/v1/plans", operation_id = "listPlans", tag = "workspaces", params(PlansQuery),
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
    Query(query): Query<PlansQuery>,
) -> Result<Json<Plans>, Problem> {
    let request = ListPlansRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        page: Some(page(query.limit, query.cursor.as_deref())?),
    };
    let answer = app.keys.list_plans(Request::new(request)).await?.into_inner();
    Ok(Json(Plans { data: all(answer.plans)?, next_cursor: answer.next_cursor }))
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
