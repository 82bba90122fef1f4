//! The one function that verifies access tokens: JWTs by RFC 9068 (profile), RFC 8725 (best practice), RFC 7519 and 7515.
//!
//! Nothing is left to a library's defaults: `jsonwebtoken` checks the signature and nothing else. Time is the caller's.
//!
//! Stricter than the standards where Tollgate is both issuer and audience: `kid`, `sid`, `iat` and `jti` are required,
//! `sub` and `sid` are typed ids, and dates are whole numbers.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tollgate_kernel::{Fault, SessionId, Timestamp, UserId};

/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;
/// Longest key id, in bytes.
const MAX_KID: usize = 128;
/// Longest token id, in bytes.
const MAX_JTI: usize = 128;
/// How far the clock of the issuer may run ahead of ours, in seconds. For `iat` alone: `exp` and `nbf` have no leeway.
const ISSUER_AHEAD: i64 = 5;

/// Whose tokens are accepted, and for whom they must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// Exactly the `iss` claim.
    pub issuer: String,
    /// The `aud` claim, or one of them.
    pub audience: String,
}

/// What a token says, all checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// `sub`
    pub user_id: UserId,
    /// `sid`
    pub session_id: SessionId,
    /// Unique per token; 1 to 128 bytes.
    pub jti: String,
    /// `iat`
    pub issued_at: Timestamp,
    /// `exp`: from this instant on the token is expired.
    pub expires_at: Timestamp,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefusal {
    /// It is not a token of ours for us: shape, signature, type, algorithm, key, issuer, audience, or a claim.
    #[error("not a valid access token")]
    Malformed,
    /// It was good until its time was over.
    #[error("the access token has expired")]
    Expired,
    /// It is good by itself, but its session has ended.
    #[error("the session of the access token has ended")]
    Revoked,
}

/// The public keys that verify access tokens. Each verifies one algorithm only (RFC 8725 §3.1).
#[derive(Debug, Default)]
pub struct KeySet(HashMap<String, SigningKey>);

#[derive(Debug)]
struct SigningKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a JWK Set (RFC 7517 §5). Keys that are not for verifying ES256, `EdDSA` (Ed25519) or RS256 are passed over.
    ///
    /// # Errors
    /// [`tollgate_kernel::Code::Internal`] if it is not a JWK Set, or two of its keys have the same `kid`.
    pub fn parse(jwks: &str) -> Result<Self, Fault> {
        let set: JwkSet = serde_json::from_str(jwks).map_err(Fault::internal)?;
        let mut keys = HashMap::new();
        for (kid, key) in set.keys.into_iter().filter_map(signing_key) {
            if keys.insert(kid, key).is_some() {
                return Err(Fault::internal("two signing keys have the same kid"));
            }
        }
        Ok(Self(keys))
    }

    /// Whether there is a key of this id.
    pub fn knows(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }
}

/// The claims of an access token, if it is one of ours, for us, and good at `now`.
///
/// # Errors
/// [`TokenRefusal::Expired`] if nothing else is wrong; otherwise [`TokenRefusal::Malformed`]. Never
/// [`TokenRefusal::Revoked`]: that is for who asks the session.
pub fn access_token(
    token: &str,
    keys: &KeySet,
    rules: &TokenRules,
    now: Timestamp,
) -> Result<AccessClaims, TokenRefusal> {
    SignedToken::parse(token).ok_or(TokenRefusal::Malformed)?.verify(keys, rules, now)
}

/// A token of the right shape and type, taken apart. Nothing that it says is known to be true.
pub(crate) struct SignedToken<'a> {
    /// Names the key that must have signed it: a word to look up, nothing more.
    pub kid: String,
    algorithm: Algorithm,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> SignedToken<'a> {
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = from_base64(header)?;
        let sound = is_access_token(&header.typ) && header.crit.is_none() && header.b64.is_none();
        let kid = Some(header.kid).filter(|kid| (1..=MAX_KID).contains(&kid.len()))?;
        sound.then_some(Self { kid, algorithm: algorithm(&header.alg)?, signed, payload, signature })
    }

    pub(crate) fn verify(
        &self,
        keys: &KeySet,
        rules: &TokenRules,
        now: Timestamp,
    ) -> Result<AccessClaims, TokenRefusal> {
        let claims = self.signed_claims(keys).ok_or(TokenRefusal::Malformed)?;
        let claims = claims.checked(rules, now).ok_or(TokenRefusal::Malformed)?;
        if claims.expires_at <= now { Err(TokenRefusal::Expired) } else { Ok(claims) }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that verifies signatures of tokens")]
    fn signed_claims(&self, keys: &KeySet) -> Option<Claims> {
        let SigningKey { algorithm, key } = keys.0.get(&self.kid)?;
        if *algorithm != self.algorithm {
            return None;
        }
        let holds =
            jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, *algorithm).ok()?;
        if holds { from_base64(self.payload) } else { None }
    }
}

/// The header parameters that are looked at. `jku`, `jwk`, `x5u` and `x5c` are not: a token does not bring its own key.
/// One that comes twice is refused, and so are the claims below.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    /// No extension is understood, so every `crit` is refused (RFC 7515 §4.1.11), even an empty or a null one.
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
    /// RFC 7797, which must not be used without `crit`.
    #[serde(default, deserialize_with = "present")]
    b64: Option<Value>,
}

/// The claims that are looked at.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    sub: UserId,
    sid: SessionId,
    jti: String,
    iat: u64,
    exp: u64,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Claims {
    /// Everything but whether the token has expired.
    fn checked(self, rules: &TokenRules, now: Timestamp) -> Option<AccessClaims> {
        let (issued_at, expires_at) = (date(self.iat)?, date(self.exp)?);
        let in_force = match self.nbf {
            Some(from) => date(from)? <= now,
            None => true,
        };
        let holds = self.iss == rules.issuer
            && self.aud.includes(&rules.audience)
            && (1..=MAX_JTI).contains(&self.jti.len())
            && in_force
            && issued_at - chrono::Duration::seconds(ISSUER_AHEAD) <= now;
        holds.then_some(AccessClaims {
            user_id: self.sub,
            session_id: self.sid,
            jti: self.jti,
            issued_at,
            expires_at,
        })
    }
}

impl Audience {
    fn includes(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    alg: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The key and its id, if it is one that we verify with.
fn signing_key(jwk: Value) -> Option<(String, SigningKey)> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    if jwk.kid.is_empty() || jwk.kid.len() > MAX_KID || jwk.usage.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let algorithm = algorithm(&jwk.alg)?;
    let key = match (algorithm, jwk.kty.as_str(), jwk.crv.as_deref()) {
        (Algorithm::ES256, "EC", Some("P-256")) => DecodingKey::from_ec_components(&jwk.x?, &jwk.y?),
        (Algorithm::EdDSA, "OKP", Some("Ed25519")) => DecodingKey::from_ed_components(&jwk.x?),
        (Algorithm::RS256, "RSA", None) => DecodingKey::from_rsa_components(&jwk.n?, &jwk.e?),
        _ => return None,
    };
    Some((jwk.kid, SigningKey { algorithm, key: key.ok()? }))
}

fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        "RS256" => Some(Algorithm::RS256),
        _ => None,
    }
}

/// RFC 9068 §4: `at+jwt` or `application/at+jwt`; media types do not regard case.
fn is_access_token(typ: &str) -> bool {
    ["at+jwt", "application/at+jwt"].iter().any(|it| it.eq_ignore_ascii_case(typ))
}

/// A JSON text in base64url without padding; one spelling, nothing after it.
fn from_base64<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Seconds since 1970, up to the year 9999.
fn date(seconds: u64) -> Option<Timestamp> {
    const END: i64 = 253_402_300_800;
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds < END)?;
    Timestamp::from_timestamp(seconds, 0)
}

/// Like the type itself, so that `null` is a value and not an absence.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod forge;
#[cfg(test)]
mod tests;
