//! The secrets of an API key: a new one made, all shown, one ended. What makes them secret is shown once, at the making.

use axum::extract::{FromRequestParts, Path, State};
use chrono::{DateTime, Utc};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use tollgate_kernel::{Fault, KeyId, SecretId};
use tollgate_proto::keys::{self, ListKeySecretsRequest, RevokeKeySecretRequest, RotateKeyRequest};
use tonic::Request;
use utoipa::ToSchema;

use super::effect::{Effect, WaitQuery};
use crate::{
    app::App,
    extract::{Caller, IdempotencyKey, Json, PathId, Query},
    problem::Problem,
    wire::{all, filled, instant, optional_instant, required},
};

/// How a key is to be rotated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// For how many seconds the secrets before still pass, at most 30 days; never longer than they would have. A day if it is not
    /// given; 0: not at all.
    #[schema(minimum = 0, maximum = 2_592_000, example = 86_400)]
    grace_seconds: Option<u32>,
}

/// A key that was just rotated.
#[derive(Serialize, ToSchema)]
pub(crate) struct RotatedKey {
    /// Names the key: still the same.
    #[schema(example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// The key itself, with its new secret: shown here and never again. Left out when this answers a retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "tg_live_…")]
    key: Option<String>,
    /// How it begins now.
    #[schema(example = "tg_live_9Qm4")]
    start: String,
    /// Names the new secret.
    #[schema(example = "sec_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    secret_id: String,
    /// The newest secret that passed before. Left out: none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    previous: Option<RetiringSecret>,
    /// How the change came to hold.
    effect: Effect,
}

/// A secret whose place a newer one has taken.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetiringSecret {
    /// Names the secret.
    #[schema(example = "sec_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    secret_id: String,
    /// From then on it does not pass.
    retires_at: DateTime<Utc>,
}

/// The secrets of a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeySecrets {
    /// The newest first, at most 100.
    data: Vec<KeySecret>,
}

/// One secret of a key, without what makes it secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeySecret {
    /// Names the secret.
    #[schema(example = "sec_01jd3t9y2ve5rbq2m8xg7kz4hn")]
    id: String,
    /// How the key begins with it.
    #[schema(example = "tg_live_9Qm4")]
    start: String,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// A newer one has taken its place, and from then on it does not pass. Left out: it is the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retires_at: Option<DateTime<Utc>>,
    /// When it was revoked. Left out: it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked_at: Option<DateTime<Utc>>,
}

/// The `{id}` and the `{secret_id}` of the path.
pub(crate) struct SecretPath(KeyId, SecretId);

impl<S: Send + Sync> FromRequestParts<S> for SecretPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let ids = texts.ok().and_then(|Path((key, secret))| Some((key.parse().ok()?, secret.parse().ok()?)));
        ids.map(|(key, secret)| Self(key, secret)).ok_or_else(Problem::not_found)
    }
}

/// Rotate a key
///
/// Gives it a new secret; it stays the same key, with its limits, its counts and its history. The secrets before pass until their
/// grace is over, and verdicts on them say `retires_at`. At most five secrets of a key live at once. With an
/// `Idempotency-Key`, a retry within a day makes no second secret and gets the record of the first, without the key.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", operation_id = "rotateKey", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
        IdempotencyKey,
    ),
    responses(
        (status = 200, description = "The key has a new secret, which is shown this once.", body = RotatedKey),
        (status = 403, description = "The caller may not change the key, or may not hold its scopes."),
        (status = 409, description = "The key is revoked, has five live secrets, or was changed by another in the same moment; or the `Idempotency-Key` was used for another request."),
    )
)]
pub(crate) async fn rotate_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
    Query(query): Query<WaitQuery>,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<Rotation>,
) -> Result<Json<RotatedKey>, Problem> {
    let request = RotateKeyRequest {
        caller: Some(caller.to_proto()),
        key_id: id.to_string(),
        grace_seconds: body.grace_seconds,
        idempotency_key,
        no_wait: query.no_wait(),
    };
    let answer = app.keys.rotate_key(Request::new(request)).await?.into_inner();
    Ok(Json(RotatedKey {
        id: answer.key_id,
        key: filled(answer.secret),
        start: answer.start,
        secret_id: answer.secret_id,
        previous: answer.previous.map(RetiringSecret::try_from).transpose()?,
        effect: required(answer.effect, "effect")?.try_into()?,
    }))
}

/// List the secrets of a key
///
/// Those that pass, and those that did. Nothing here lets anybody in.
#[utoipa::path(
    get, path = "/v1/keys/{id}/secrets", operation_id = "listKeySecrets", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn")),
    responses(
        (status = 200, description = "The key's secrets.", body = KeySecrets),
        (status = 403, description = "The caller may not see keys here."),
    )
)]
pub(crate) async fn list_key_secrets(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<KeyId>,
) -> Result<Json<KeySecrets>, Problem> {
    let request = ListKeySecretsRequest { caller: Some(caller.to_proto()), key_id: id.to_string() };
    let answer = app.keys.list_key_secrets(Request::new(request)).await?.into_inner();
    Ok(Json(KeySecrets { data: all(answer.secrets)? }))
}

/// Revoke a secret of a key
///
/// Ends one secret before its time; the key's others still pass. Succeeds if it is already revoked.
#[utoipa::path(
    delete, path = "/v1/keys/{id}/secrets/{secret_id}", operation_id = "revokeKeySecret", tag = "keys",
    security(("bearerAuth" = []), ("apiKeyAuth" = [])),
    params(
        ("id" = String, Path, description = "Names the key.", example = "key_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        ("secret_id" = String, Path, description = "Names the secret.", example = "sec_01jd3t9y2ve5rbq2m8xg7kz4hn"),
        WaitQuery,
    ),
    responses(
        (status = 200, description = "The secret is revoked.", body = Effect),
        (status = 403, description = "The caller may not change the key."),
        (status = 409, description = "It is the only secret that passes, or the key is revoked, or was changed by another in the same moment."),
    )
)]
pub(crate) async fn revoke_key_secret(
    State(app): State<App>,
    caller: Caller,
    SecretPath(key, secret): SecretPath,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Effect>, Problem> {
    let request = RevokeKeySecretRequest {
        caller: Some(caller.to_proto()),
        key_id: key.to_string(),
        secret_id: secret.to_string(),
        no_wait: query.no_wait(),
    };
    let answer = app.keys.revoke_key_secret(Request::new(request)).await?.into_inner();
    Ok(Json(required(answer.effect, "effect")?.try_into()?))
}

impl TryFrom<keys::RetiringSecret> for RetiringSecret {
    type Error = Fault;

    fn try_from(secret: keys::RetiringSecret) -> Result<Self, Fault> {
        Ok(Self { retires_at: instant(secret.retires_at, "retires_at")?, secret_id: secret.secret_id })
    }
}

impl TryFrom<keys::KeySecret> for KeySecret {
    type Error = Fault;

    fn try_from(secret: keys::KeySecret) -> Result<Self, Fault> {
        Ok(Self {
            created_at: instant(secret.created_at, "created_at")?,
            retires_at: optional_instant(secret.retires_at)?,
            revoked_at: optional_instant(secret.revoked_at)?,
            id: secret.id,
            start: secret.start,
        })
    }
}
