//! The `[edge]` section of the configuration. Everything is checked while it is read.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use http::HeaderValue;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tollgate_proto::ratelimit::{Algorithm, Limit, OnFailure};

const MAX_UNITS: u64 = 1_000_000_000;
/// 400 days.
const MAX_WINDOW_SECONDS: u32 = 34_560_000;

/// How the edge treats requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Networks of the proxies whose `X-Forwarded-For` is believed. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may call this API from a browser. Default: none.
    pub cors_origins: Vec<Origin>,
    /// A request that takes longer is answered 504. In milliseconds; default 10 000.
    pub request_timeout_ms: NonZeroU64,
    /// Requests in progress at once; one more is answered 503. Default 1024.
    pub max_concurrent_requests: NonZeroU32,
    /// How often one user may call protected routes with access tokens.
    pub user_limit: UserLimit,
    /// How often one client address may call, before anybody is asked who it is.
    pub per_ip: PerIp,
    /// Whether answers carry `X-RateLimit-*` beside the fields of the standard to be. Default: they do.
    pub legacy_ratelimit_headers: bool,
}

/// The limit on calls by access token, per user; clients see it under the name `user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "UserLimitText")]
pub struct UserLimit {
    limit: u64,
    window_seconds: u32,
}

/// Limits by client address, per edge process: units in any `window_seconds`, up to 1 000 000 000; 0 is no limit. An IPv6
/// address counts as its network of 64 bits; all whose address is not known count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PerIp {
    /// Requests to sign up, log in, refresh and log out. Default 60.
    #[serde(deserialize_with = "units")]
    pub auth: u64,
    /// Requests to manage, and for verdicts about keys. Default 600.
    #[serde(deserialize_with = "units")]
    pub management: u64,
    /// Calls to protected routes and of gateways whose credential is missing or not good. Default 60.
    #[serde(deserialize_with = "units")]
    pub protected: u64,
    /// Requests for documents, signing keys and health, and for what is not there. Default 600.
    #[serde(deserialize_with = "units")]
    pub public: u64,
    /// The window of all of them, in seconds: 1 to 34 560 000 (400 days). Default 60.
    #[serde(deserialize_with = "window")]
    pub window_seconds: u32,
}

/// The origin of a web page: scheme, host and port, as browsers write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl Default for Config {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            cors_origins: Vec::new(),
            request_timeout_ms: const { NonZeroU64::new(10_000).expect("is not zero") },
            max_concurrent_requests: const { NonZeroU32::new(1024).expect("is not zero") },
            user_limit: UserLimit { limit: 600, window_seconds: 60 },
            per_ip: PerIp::default(),
            legacy_ratelimit_headers: true,
        }
    }
}

impl Default for PerIp {
    fn default() -> Self {
        Self { auth: 60, management: 600, protected: 60, public: 600, window_seconds: 60 }
    }
}

impl Config {
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms.get())
    }
}

impl UserLimit {
    pub(crate) fn to_limit(self) -> Limit {
        Limit {
            name: "user".to_owned(),
            limit: self.limit,
            window_seconds: self.window_seconds,
            algorithm: Algorithm::SlidingWindow.into(),
            on_failure: OnFailure::Local.into(),
            ..Limit::default()
        }
    }
}

/// [`UserLimit`] before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserLimitText {
    limit: u64,
    window_seconds: u32,
}

impl TryFrom<UserLimitText> for UserLimit {
    type Error = &'static str;

    fn try_from(UserLimitText { limit, window_seconds }: UserLimitText) -> Result<Self, Self::Error> {
        if !(1..=MAX_UNITS).contains(&limit) {
            return Err("`limit` must be from 1 to 1000000000");
        }
        if !(1..=MAX_WINDOW_SECONDS).contains(&window_seconds) {
            return Err("`window_seconds` must be from 1 to 34560000 (400 days)");
        }
        Ok(Self { limit, window_seconds })
    }
}

fn units<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let units = u64::deserialize(from)?;
    if units > MAX_UNITS {
        return Err(D::Error::custom("must be from 0 to 1000000000"));
    }
    Ok(units)
}

fn window<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let seconds = u32::deserialize(from)?;
    if !(1..=MAX_WINDOW_SECONDS).contains(&seconds) {
        return Err(D::Error::custom("must be from 1 to 34560000 (400 days)"));
    }
    Ok(seconds)
}

impl Origin {
    pub(crate) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("an origin is visible ASCII")
    }
}

impl TryFrom<String> for Origin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "must be an origin such as `https://app.example.com`: scheme, lower-case host, port if not the scheme's own, nothing after it";
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(WRONG)?;
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) { Err(WRONG) } else { Ok(Self(text)) }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Config, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_reads_as_the_defaults() {
        assert_eq!(read(json!({})), Ok(Config::default()));
    }

    #[test]
    fn a_config_survives_its_text() {
        let config = read(json!({
            "trusted_proxies": ["10.0.0.0/8"],
            "cors_origins": ["https://app.example.com", "http://[::1]:3000"],
            "request_timeout_ms": 1,
            "max_concurrent_requests": 2,
            "user_limit": { "limit": 3, "window_seconds": 4 },
            "per_ip": { "auth": 5, "management": 6, "protected": 0, "public": 1_000_000_000, "window_seconds": 7 },
            "legacy_ratelimit_headers": false,
        }))
        .expect("a config");
        assert_eq!(read(serde_json::to_value(&config).expect("JSON")), Ok(config));
    }

    #[test]
    fn mistakes_are_named() {
        for (wrong, named) in [
            (json!({ "timeout": 1 }), "unknown field `timeout`"),
            (json!({ "request_timeout_ms": 0 }), "a nonzero u64"),
            (json!({ "max_concurrent_requests": 0 }), "a nonzero u32"),
            (json!({ "trusted_proxies": ["10.0.0.0/33"] }), "invalid IP address"),
            (json!({ "user_limit": { "limit": 0, "window_seconds": 1 } }), "`limit`"),
            (json!({ "user_limit": { "limit": 1_000_000_001, "window_seconds": 1 } }), "`limit`"),
            (json!({ "user_limit": { "limit": 1, "window_seconds": 0 } }), "`window_seconds`"),
            (json!({ "user_limit": { "limit": 1 } }), "missing field `window_seconds`"),
            (json!({ "per_ip": { "auth": 1_000_000_001 } }), "must be from 0 to 1000000000"),
            (json!({ "per_ip": { "public": -1 } }), "expected u64"),
            (json!({ "per_ip": { "window_seconds": 0 } }), "must be from 1 to 34560000"),
            (json!({ "per_ip": { "login": 1 } }), "unknown field `login`"),
            (json!({ "cors_origins": ["*"] }), "must be an origin"),
            (json!({ "cors_origins": ["https://a.example/"] }), "must be an origin"),
            (json!({ "cors_origins": ["https://A.example"] }), "must be an origin"),
            (json!({ "cors_origins": ["null"] }), "must be an origin"),
        ] {
            let error = read(wrong.clone()).expect_err("refused");
            assert!(error.contains(named), "{wrong}: {error}");
        }
    }
}
