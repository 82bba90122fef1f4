//! API keys that were made elsewhere: brought in by their hashes, and taken out again. What is said of one is in `imported_key`.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tollgate_kernel::Fault;
use tollgate_proto::keys::{self, ExportKeysRequest, ImportKeysRequest, import_result::Outcome as Said};
use tonic::Request;
use utoipa::{IntoParams, ToSchema};

use super::{imported_key::ImportedKey, list::list_of};
use crate::{
    app::App,
    extract::{Caller, Json, LargeJson, Query},
    problem::{FieldError, Problem},
    wire::{all, filled, required},
};

/// The most keys of a page of an export: with the longest that there can be, they fit into one message of the role.
const MOST_EXPORTED: u32 = 200;

/// Keys to be brought in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyImport {
    /// The keys, each of which is made, or left out for what is wrong with it.
    #[schema(min_items = 1, max_items = 500)]
    rows: Vec<ImportedKey>,
    /// Say what would come of it, and do nothing. Not, if this is not given.
    #[schema(nullable = false, example = true)]
    dry_run: Option<bool>,
    /// Make the consumers that are named and not there. Not, if this is not given: then such a key is left out.
    #[schema(nullable = false, example = true)]
    create_consumers: Option<bool>,
    /// Where they are made; the caller's own workspace if it is not given.
    #[schema(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// What became of keys that were brought in.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImportReport {
    /// How many were made; in a dry run, would be.
    #[schema(minimum = 0, maximum = 500, example = 2)]
    created: usize,
    /// How many were there already.
    #[schema(minimum = 0, maximum = 500, example = 0)]
    existing: usize,
    /// How many were left out.
    #[schema(minimum = 0, maximum = 500, example = 1)]
    invalid: usize,
    /// One for each row, in their order.
    results: Vec<ImportResult>,
}

/// What became of one key.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImportResult {
    /// Its place in `rows`; the first is 0.
    #[schema(minimum = 0, maximum = 499, example = 0)]
    row: usize,
    /// What became of it.
    outcome: Outcome,
    /// Names the key that was made. Left out if none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    key_id: Option<String>,
    /// What is wrong with it. Left out if nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
}

/// `created`: it was made, or in a dry run would be. `exists`: the workspace has a key with this hash already, which stays as it is.
/// `invalid`: it breaks a rule and was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Created,
    Exists,
    Invalid,
}

list_of! {
    /// A page of keys, as they are brought in.
    ExportedKeys(ImportedKey)
}

/// Which part of which workspace's keys.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// How many; 100 if it is not given.
    #[param(minimum = 1, maximum = 200, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the answer before; the first page if it is not given.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// The caller's own workspace if it is not given.
    #[param(nullable = false, example = "ws_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    workspace_id: Option<String>,
}

/// Import keys
///
/// Brings in keys that were made elsewhere, by their hashes: what people hold goes on working, and when this returns it passes
/// everywhere. A row that breaks a rule is left out, and the answer says why; all others are made. What is there already stays as it
/// is, so the same may be sent again. By owners, admins, and service keys with `keys.write`.
#[utoipa::path(
    post, path = "/v1/keys/import", operation_id = "importKeys", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    request_body(content = KeyImport, description = "At most 500 keys in 1 MiB."),
    responses(
        (status = 200, description = "What became of each, or in a dry run would.", body = ImportReport),
        (status = 403, description = "The caller may not import keys here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
        (status = 409, description = "Some of these were imported in the same moment; none of them was made now. Send them again."),
        (status = 413, description = "The body has more than 1 MiB."),
    )
)]
pub(crate) async fn import_keys(
    State(app): State<App>,
    caller: Caller,
    LargeJson(body): LargeJson<KeyImport>,
) -> Result<Json<ImportReport>, Problem> {
    let request = ImportKeysRequest {
        caller: Some(caller.to_proto()),
        workspace_id: body.workspace_id.unwrap_or_default(),
        rows: body.rows.into_iter().map(Into::into).collect(),
        dry_run: body.dry_run.unwrap_or_default(),
        create_consumers: body.create_consumers.unwrap_or_default(),
    };
    let answer = app.keys.import_keys(Request::new(request)).await?.into_inner();
    let results = answer.results.into_iter().enumerate().map(|(row, it)| ImportResult::of(row, it));
    Ok(Json(ImportReport::of(results.collect::<Result<_, _>>()?)))
}

/// Export keys
///
/// All keys that are not revoked, in the order of their making, each with the hashes of what people call with: as they are imported
/// elsewhere, with all that they had, and go on working. Nobody can call with what this gives; but who has it can import these keys
/// into an instance of their own. So it is for owners, operators, and service keys with `keys.export`; and each page is in the audit.
#[utoipa::path(
    get, path = "/v1/keys/export", operation_id = "exportKeys", tag = "keys", params(ExportQuery),
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    responses(
        (status = 200, description = "A page of the workspace's keys.", body = ExportedKeys),
        (status = 403, description = "The caller may not export keys here."),
        (status = 404, description = "There is no such workspace, or the caller may not know that there is."),
    )
)]
pub(crate) async fn export_keys(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ExportQuery>,
) -> Result<Json<ExportedKeys>, Problem> {
    // To the role a zero means "not given", which is not what a client means by it.
    if query.limit.is_some_and(|limit| !(1..=MOST_EXPORTED).contains(&limit)) {
        return Err(Fault::invalid("/limit", format!("must be from 1 to {MOST_EXPORTED}")).into());
    }
    let request = ExportKeysRequest {
        caller: Some(caller.to_proto()),
        workspace_id: query.workspace_id.unwrap_or_default(),
        limit: query.limit.unwrap_or_default(),
        cursor: query.cursor.unwrap_or_default(),
    };
    let answer = app.keys.export_keys(Request::new(request)).await?.into_inner();
    Ok(Json(ExportedKeys { data: all(answer.rows)?, next_cursor: answer.next_cursor }))
}

impl ImportReport {
    fn of(results: Vec<ImportResult>) -> Self {
        let count = |outcome| results.iter().filter(|it| it.outcome == outcome).count();
        Self {
            created: count(Outcome::Created),
            existing: count(Outcome::Exists),
            invalid: count(Outcome::Invalid),
            results,
        }
    }
}

impl ImportResult {
    fn of(row: usize, result: keys::ImportResult) -> Result<Self, Fault> {
        let outcome = match result.outcome() {
            Said::Unspecified => None,
            Said::Created => Some(Outcome::Created),
            Said::Exists => Some(Outcome::Exists),
            Said::Invalid => Some(Outcome::Invalid),
        };
        // To the role a row is all that there is; to the client it is a part of the body.
        let error = |it: keys::ImportProblem| FieldError {
            pointer: format!("/rows/{row}{}", it.pointer).into(),
            detail: it.detail.into(),
        };
        Ok(Self {
            row,
            outcome: required(outcome, "outcome")?,
            key_id: filled(result.key_id),
            errors: result.problems.into_iter().map(error).collect(),
        })
    }
}
