//! How a key was used.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, KeyId};
use tollgate_proto::keys::{self, GetUsageRequest};
use tonic::Request;
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    extract::{Caller, Json, PathId, Query},
    problem::Problem,
    wire::{all, instant, optional_instant, optional_wire},
};

/// Which time, in which steps.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// From this instant; 24 hours before `to` if it is not given.
    #[param(nullable = false)]
    from: Option<DateTime<Utc>>,
    /// To this instant, exclusive; now if it is not given.
    #[param(nullable = false)]
    to: Option<DateTime<Utc>>,
    /// The steps; `minute` if it is not given.
    #[param(inline, nullable = false)]
    granularity: Option<Granularity>,
}

/// The steps of a history, UTC.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Granularity {
    Minute,
    Hour,
    Day,
}

/// The calls of a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    /// In order of time, then code. Steps without a call are left out. At most 10 000.
    data: Vec<UsagePoint>,
    /// Of `data`.
    #[schema(example = 12)]
    total: u64,
    /// The latest call ever. Left out: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_used_at: Option<DateTime<Utc>>,
}

/// How many calls of one step ended with one code.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsagePoint {
    /// The start of the minute, hour or day.
    at: DateTime<Utc>,
    /// The verdict.
    #[schema(example = "VALID")]
    code: String,
    /// Calls.
    #[schema(example = 12)]
    count: u64,
}

/// Show how a key was used
///
/// Counts every call with the key, refused ones too, a second or two late.
#[utoipa::path(
    get, path = "/v1/keys/{id}/usage", operation_id = "getKeyUsage", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        UsageQuery,
    ),
    responses(
        (status = 200, description = "The key's calls.", body = Usage),
        (status = 403, description = "The caller may not see usage here."),
    )
)]
pub(crate) async fn get_key_usage(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<Usage>, Problem> {
    let request = GetUsageRequest {
        caller: Some(caller.to_proto()),
        key_id: id.to_string(),
        from: optional_wire(query.from),
        to: optional_wire(query.to),
        granularity: query.granularity.map(keys::Granularity::from).unwrap_or_default().into(),
    };
    let answer = app.keys.get_usage(Request::new(request)).await?.into_inner();
    Ok(Json(Usage {
        data: all(answer.points)?,
        total: answer.total,
        last_used_at: optional_instant(answer.last_used_at)?,
    }))
}

impl From<Granularity> for keys::Granularity {
    fn from(granularity: Granularity) -> Self {
        match granularity {
            Granularity::Minute => Self::Minute,
            Granularity::Hour => Self::Hour,
            Granularity::Day => Self::Day,
        }
    }
}

impl TryFrom<keys::UsagePoint> for UsagePoint {
    type Error = Fault;

    fn try_from(point: keys::UsagePoint) -> Result<Self, Fault> {
        Ok(Self { at: instant(point.at, "at")?, code: point.code, count: point.count })
    }
}
