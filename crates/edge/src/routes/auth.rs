//! Signing up, logging in and out.

use axum::{extract::State, http::StatusCode};
use http::{HeaderMap, header::USER_AGENT};
use serde::{Deserialize, Serialize};
use tollgate_kernel::{ExposeSecret, Fault, SecretString};
use tollgate_proto::{
    fault::from_status,
    identity::{LoginRequest, LogoutRequest, RefreshRequest, SignupRequest, TokenSet, User as UserRecord},
    kernel::caller,
    keys::EnsurePersonalWorkspaceRequest,
};
use tonic::Request;
use utoipa::ToSchema;

use super::{
    effect::{Effect, WaitQuery},
    me::User,
    workspaces::Workspace,
};
use crate::{
    app::App,
    extract::{ClientIp, Json, Query},
    principal,
    problem::Problem,
    wire::required,
};

/// Longest `User-Agent` that is kept, in bytes.
const MAX_USER_AGENT: usize = 512;

/// A new user.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signup {
    /// Compared without regard to case.
    #[schema(max_length = 254, format = Email, example = "ada@example.com")]
    email: String,
    /// Taken exactly as it is sent.
    #[schema(value_type = String, min_length = 15, max_length = 256, format = Password, example = "correct horse battery staple")]
    password: SecretString,
    /// How to address the user.
    #[schema(max_length = 200, example = "Ada Lovelace")]
    name: Option<String>,
}

/// The user that was made, and where its keys will live.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedUp {
    /// The user.
    user: User,
    /// The user's personal workspace. Left out if it could not be made just now: it is made when it is first needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    workspace: Option<Workspace>,
}

/// A user's proof of who it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    /// Compared without regard to case.
    #[schema(max_length = 254, format = Email, example = "ada@example.com")]
    email: String,
    /// Compared exactly as it is sent.
    #[schema(value_type = String, max_length = 256, format = Password, example = "correct horse battery staple")]
    password: SecretString,
}

/// A session's refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refresh {
    /// As the last login or refresh gave it.
    #[schema(value_type = String, example = "tg_rt_…")]
    refresh_token: SecretString,
}

/// What a client holds for one session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tokens {
    /// A JWT (RFC 9068), for `Authorization: Bearer`.
    #[schema(example = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6…")]
    access_token: String,
    /// How to present the access token (RFC 6750).
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token is good for.
    #[schema(example = 900)]
    expires_in: u32,
    /// Good for one exchange at `/v1/auth/refresh`.
    #[schema(example = "tg_rt_…")]
    refresh_token: String,
    /// Seconds until the session ends if the refresh token is not used.
    #[schema(example = 604_800)]
    refresh_expires_in: u32,
    /// The session: one login, on one device.
    #[schema(example = "ses_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    session_id: String,
}

/// Sign up
///
/// Makes a user and its personal workspace. Does not log in.
#[utoipa::path(
    post, path = "/v1/auth/signup", operation_id = "signup", tag = "auth", security(()),
    responses(
        (status = 201, description = "The user was made.", body = SignedUp),
        (status = 409, description = "The e-mail address is taken."),
        (status = 429, description = "Too many sign-ups from this address; `Retry-After` says when to come back."),
    )
)]
pub(crate) async fn signup(
    State(app): State<App>,
    ip: ClientIp,
    Json(body): Json<Signup>,
) -> Result<(StatusCode, Json<SignedUp>), Problem> {
    let request = SignupRequest {
        email: body.email,
        password: body.password.expose_secret().to_owned(),
        name: body.name,
        ip: ip.to_string(),
    };
    let answer = app.identity.signup(Request::new(request)).await?.into_inner();
    let user = required(answer.user, "user")?;
    let workspace = personal_workspace(&app, &user, ip).await?;
    Ok((StatusCode::CREATED, Json(SignedUp { user: user.try_into()?, workspace })))
}

/// Log in
///
/// Opens a session. An unknown address and a wrong password are answered alike.
#[utoipa::path(
    post, path = "/v1/auth/login", operation_id = "login", tag = "auth", security(()),
    responses(
        (status = 200, description = "The session's tokens.", body = Tokens),
        (status = 401, description = "The e-mail address or the password is wrong."),
        (status = 429, description = "Too many attempts; `Retry-After` says when to come back."),
    )
)]
pub(crate) async fn login(
    State(app): State<App>,
    ip: ClientIp,
    headers: HeaderMap,
    Json(body): Json<Login>,
) -> Result<Json<Tokens>, Problem> {
    let request = LoginRequest {
        email: body.email,
        password: body.password.expose_secret().to_owned(),
        ip: ip.to_string(),
        user_agent: user_agent(&headers),
    };
    let answer = app.identity.login(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.tokens, "tokens")?.into()))
}

/// Refresh
///
/// Exchanges a refresh token for its successor and a new access token.
#[utoipa::path(
    post, path = "/v1/auth/refresh", operation_id = "refresh", tag = "auth", security(()),
    responses(
        (status = 200, description = "The session's new tokens.", body = Tokens),
        (status = 401, description = "The token is not valid, was used before, or its session has ended."),
        (status = 429, description = "Too many attempts; `Retry-After` says when to come back."),
    )
)]
pub(crate) async fn refresh(
    State(app): State<App>,
    ip: ClientIp,
    Json(body): Json<Refresh>,
) -> Result<Json<Tokens>, Problem> {
    let refresh_token = body.refresh_token.expose_secret().to_owned();
    let request = RefreshRequest { refresh_token, ip: ip.to_string() };
    let answer = app.identity.refresh(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.tokens, "tokens")?.into()))
}

/// Log out
///
/// Ends the session of a refresh token. Succeeds if it has already ended.
#[utoipa::path(
    post, path = "/v1/auth/logout", operation_id = "logout", tag = "auth", security(()), params(WaitQuery),
    responses(
        (status = 200, description = "The session has ended.", body = Effect),
        (status = 401, description = "That is not a refresh token."),
    )
)]
pub(crate) async fn logout(
    State(app): State<App>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<Refresh>,
) -> Result<Json<Effect>, Problem> {
    end(&app, &body, false, &query).await
}

/// Log out everywhere
///
/// Ends every session of the refresh token's user.
#[utoipa::path(
    post, path = "/v1/auth/logout-all", operation_id = "logoutAll", tag = "auth", security(()), params(WaitQuery),
    responses(
        (status = 200, description = "All sessions have ended.", body = Effect),
        (status = 401, description = "That is not a refresh token."),
    )
)]
pub(crate) async fn logout_all(
    State(app): State<App>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<Refresh>,
) -> Result<Json<Effect>, Problem> {
    end(&app, &body, true, &query).await
}

async fn end(app: &App, body: &Refresh, all: bool, query: &WaitQuery) -> Result<Json<Effect>, Problem> {
    let refresh_token = body.refresh_token.expose_secret().to_owned();
    let request = LogoutRequest { refresh_token, all, no_wait: query.no_wait() };
    let effect = app.identity.logout(Request::new(request)).await?.into_inner().effect;
    // A session that is long forgotten has nothing left to take away.
    Ok(Json(effect.map(Effect::try_from).transpose()?.unwrap_or(Effect::UNCHANGED)))
}

/// The new user's workspace. If keys is away, the sign-up stands all the same: the workspace is made on first need.
async fn personal_workspace(app: &App, user: &UserRecord, ip: ClientIp) -> Result<Option<Workspace>, Fault> {
    let principal = caller::Principal::User(caller::User {
        user_id: user.id.clone(),
        // Nobody has logged in yet.
        session_id: String::new(),
        operator: user.operator,
        email: String::new(),
    });
    let request =
        EnsurePersonalWorkspaceRequest { caller: Some(principal::caller(principal, ip.to_string())) };
    match app.keys.ensure_personal_workspace(Request::new(request)).await.map_err(from_status) {
        Ok(answer) => Ok(Some(required(answer.into_inner().workspace, "workspace")?.try_into()?)),
        Err(fault) if fault.retryable() => {
            tracing::warn!(user = user.id, ?fault, "the personal workspace is left for later");
            Ok(None)
        }
        Err(fault) => Err(fault),
    }
}

fn user_agent(headers: &HeaderMap) -> String {
    let value = headers.get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut text = value.unwrap_or_default().into_owned();
    text.truncate(text.floor_char_boundary(MAX_USER_AGENT));
    text
}

impl From<TokenSet> for Tokens {
    fn from(tokens: TokenSet) -> Self {
        Self {
            access_token: tokens.access_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in,
            refresh_token: tokens.refresh_token,
            refresh_expires_in: tokens.refresh_expires_in,
            session_id: tokens.session_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_user_agent_is_cut_between_characters() {
        let mut headers = HeaderMap::new();
        assert_eq!(user_agent(&headers), "");
        headers.insert(USER_AGENT, HeaderValue::from_bytes("é".repeat(300).as_bytes()).expect("a value"));
        assert_eq!(user_agent(&headers), "é".repeat(256));
    }
}
