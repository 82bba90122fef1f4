//! The caller's own user.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tollgate_kernel::Fault;
use tollgate_proto::identity::{self, GetUserRequest};
use tonic::Request;
use utoipa::ToSchema;

use crate::{
    app::App,
    extract::{Caller, Json},
    problem::Problem,
    wire::{instant, required},
};

/// A person with a login.
#[derive(Serialize, ToSchema)]
pub(crate) struct User {
    /// Names the user.
    #[schema(example = "usr_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// As given at sign-up.
    #[schema(example = "ada@example.com")]
    email: String,
    /// How to address the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Ada Lovelace")]
    name: Option<String>,
    /// Whether the user administers this instance.
    operator: bool,
    /// When the user signed up.
    created_at: DateTime<Utc>,
}

/// Who am I, in full
#[utoipa::path(
    get, path = "/v1/me", operation_id = "getMe", tag = "users", security(("bearerAuth" = [])),
    responses(
        (status = 200, description = "The caller's own user.", body = User),
        (status = 403, description = "The caller is a service key, which is nobody."),
    )
)]
pub(crate) async fn get_me(State(app): State<App>, caller: Caller) -> Result<Json<User>, Problem> {
    let request = GetUserRequest { caller: Some(caller.to_proto()) };
    let answer = app.identity.get_user(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.user, "user")?.try_into()?))
}

impl TryFrom<identity::User> for User {
    type Error = Fault;

    fn try_from(user: identity::User) -> Result<Self, Fault> {
        Ok(Self {
            id: user.id,
            email: user.email,
            name: user.name,
            operator: user.operator,
            created_at: instant(user.created_at, "created_at")?,
        })
    }
}
