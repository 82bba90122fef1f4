//! The keys that GitHub's secret scanning signs with: fetched or read, kept for a day, and held against a signature.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, USER_AGENT},
};
use serde::Deserialize;
use tokio::sync::Mutex;
use tollgate_kernel::{Code, Fault, Timestamp};

use crate::outbound::{Outbound, Outgoing, address::Target};

/// How long keys are believed.
const KEPT: TimeDelta = TimeDelta::days(1);
/// How long it is not asked again: whoever names unknown keys makes this process ask once in this time.
const BETWEEN: TimeDelta = TimeDelta::minutes(1);
const LONGEST: usize = 256 * 1024;
const MOST: usize = 100;
/// What stands before the point in the `SubjectPublicKeyInfo` of a key on P-256 (RFC 5480 §2).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point: a tag, then both coordinates.
const POINT: usize = 65;

/// The keys, once they are known.
#[derive(Default)]
pub(crate) struct GithubKeys(Mutex<Known>);

#[derive(Default)]
struct Known {
    keys: Vec<(String, Vec<u8>)>,
    /// When these were had.
    had: Option<Timestamp>,
    /// When they were last asked for.
    asked: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Published {
    public_keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
struct PublishedKey {
    key_identifier: String,
    key: String,
}

impl GithubKeys {
    /// Whether the key with this name has signed the body. `source`: an address or a file.
    ///
    /// # Errors
    /// [`Code::Unavailable`] if the keys cannot be had.
    pub(crate) async fn has_signed(
        &self,
        source: &str,
        outbound: &Outbound,
        now: Timestamp,
        name: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<bool, Fault> {
        let Ok(signature) = STANDARD.decode(signature) else { return Ok(false) };
        let Some(point) = self.key(source, outbound, now, name).await? else { return Ok(false) };
        Ok(UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(body, &signature).is_ok())
    }

    async fn key(
        &self,
        source: &str,
        outbound: &Outbound,
        now: Timestamp,
        name: &str,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let mut known = self.0.lock().await;
        if let Some(point) = known.find(name, now) {
            return Ok(Some(point));
        }
        if known.asked.is_none_or(|at| now - at >= BETWEEN) {
            known.asked = Some(now);
            let text = if source.starts_with("https://") {
                fetch(source, outbound).await?
            } else {
                tokio::fs::read(source).await.map_err(unavailable)?
            };
            known.keys = parse(&text)?;
            known.had = Some(now);
        }
        if known.had.is_none_or(|at| now - at >= KEPT) {
            return Err(unavailable("they could not be had a moment ago"));
        }
        Ok(known.find(name, now))
    }
}

impl Known {
    fn find(&self, name: &str, now: Timestamp) -> Option<Vec<u8>> {
        let fresh = self.had.is_some_and(|at| now - at < KEPT);
        let found = self.keys.iter().find(|(known, _)| fresh && known == name);
        found.map(|(_, point)| point.clone())
    }
}

async fn fetch(source: &str, outbound: &Outbound) -> Result<Vec<u8>, Fault> {
    let target = Target::parse(source, outbound.private()).map_err(unavailable)?;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static("Tollgate"));
    let request = Outgoing { method: Method::GET, headers, body: bytes::Bytes::new(), read: LONGEST };
    let answer = outbound.send(&target, request).await.map_err(|failure| unavailable(failure.as_str()))?;
    if answer.status != StatusCode::OK {
        return Err(unavailable(format!("answered with {}", answer.status)));
    }
    Ok(answer.body.into())
}

/// The keys on P-256 among those that are published; others cannot have signed.
fn parse(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let published: Published = serde_json::from_slice(text).map_err(unavailable)?;
    let keys = published.public_keys.into_iter().take(MOST);
    Ok(keys.filter_map(|it| Some((it.key_identifier, point(&it.key)?))).collect())
}

/// The point of a key that is written as PEM (RFC 7468 §13).
fn point(pem: &str) -> Option<Vec<u8>> {
    let inside = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let inside = inside.strip_suffix("-----END PUBLIC KEY-----")?;
    let text: String = inside.split_ascii_whitespace().collect();
    let document = STANDARD.decode(text).ok()?;
    let point = document.strip_prefix(&P256)?;
    (point.len() == POINT).then(|| point.to_vec())
}

fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Fault {
    let cause: Box<dyn std::error::Error + Send + Sync> = cause.into();
    tracing::warn!(cause = %cause, "the keys of GitHub's secret scanning cannot be had");
    Fault::new(Code::Unavailable, "The keys that this is signed with cannot be had; try again later.")
}

impl fmt::Debug for GithubKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GithubKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two reports with their signatures and keys, as GitHub's own page about the programme shows them.
    const KEYS: [&str; 2] = [
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsz9ugWDj5jK5ELBK42ynytbo38gP\nHzZFI03Exwz8Lh/tCfL3YxwMdLjB\
         +bMznsanlhK0RwcGP3IDb34kQDIo3Q==\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuR\
         yW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----",
    ];
    const BODIES: [&str; 2] = [
        r#"[{"token":"some_token","type":"some_type","url":"some_url","source":"some_source"}]"#,
        r#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#,
    ];
    const SIGNATURES: [&str; 2] = [
        "MEUCIFLZzeK++IhS+y276SRk2Pe5LfDrfvTXu6iwKKcFGCrvAiEAhHN2kDOhy2I6eGkOFmxNkOJ+L2y8oQ9A2T9GGJo6WJY=",
        "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==",
    ];

    fn signed(key: usize, body: usize, signature: &str) -> bool {
        let point = point(KEYS[key]).expect("a point");
        let signature = STANDARD.decode(signature).expect("base64");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(BODIES[body].as_bytes(), &signature)
            .is_ok()
    }

    #[test]
    fn what_github_signed_is_known_to_be_theirs() {
        assert!(signed(0, 0, SIGNATURES[0]));
        assert!(signed(1, 1, SIGNATURES[1]));
        assert!(!signed(0, 1, SIGNATURES[1]), "another key");
        assert!(!signed(1, 0, SIGNATURES[1]), "another body");
        assert!(!signed(0, 0, ""), "no signature");
    }

    #[test]
    fn only_a_public_key_on_p_256_is_one() {
        for wrong in [
            String::new(),
            KEYS[0].replace("PUBLIC", "PRIVATE"),
            KEYS[0].replace("MFkw", "MFkx"),
            KEYS[0].replace("3Q==", ""),
            KEYS[0].replace("BEGIN", ""),
        ] {
            assert_eq!(point(&wrong), None, "{wrong}");
        }
    }
}
