//! Access tokens: JWTs of RFC 9068, signed with ES256. How they are verified is `tollgate_verify`'s, for every role alike.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header};
use secrecy::SecretString;
use serde::Serialize;
use tollgate_kernel::{Entropy, Fault, SessionId, Timestamp, UserId};
use tollgate_verify::TokenRules;

use crate::{refresh::delta, signing_keys::material::SigningKey};

/// RFC 9068 §2.1.
const TYPE: &str = "at+jwt";
/// RFC 9068 §2.2 wants to know which client the token was given to: until there are others, Tollgate itself.
const CLIENT_ID: &str = "tollgate";

/// RFC 9068 §2.2, and `sid` for the session. Times in whole seconds.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: String,
    sid: String,
    jti: String,
    client_id: &'static str,
    iat: i64,
    exp: i64,
}

/// An access token and the seconds that it is good for.
#[derive(Debug)]
pub(crate) struct AccessToken {
    pub(crate) token: SecretString,
    pub(crate) expires_in: u32,
}

/// Makes access tokens.
#[derive(Debug)]
pub(crate) struct AccessTokens {
    pub(crate) rules: TokenRules,
    pub(crate) lifetime: Duration,
}

impl AccessTokens {
    /// A token for this session. It never outlives `session_end`, the absolute end of the session.
    pub(crate) fn issue(
        &self,
        key: &SigningKey,
        (user, session): (UserId, SessionId),
        session_end: Timestamp,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<AccessToken, Fault> {
        let expires_at = session_end.min(now + delta(self.lifetime));
        let claims = Claims {
            iss: &self.rules.issuer,
            aud: &self.rules.audience,
            sub: user.to_string(),
            sid: session.to_string(),
            jti: URL_SAFE_NO_PAD.encode(entropy.bytes::<16>()),
            client_id: CLIENT_ID,
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        let header = Header {
            typ: Some(TYPE.to_owned()),
            kid: Some(key.kid().to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        let token = jsonwebtoken::encode(&header, &claims, key.encoding()).map_err(Fault::internal)?;
        let expires_in = u32::try_from(claims.exp - claims.iat).unwrap_or(0);
        Ok(AccessToken { token: token.into(), expires_in })
    }
}
