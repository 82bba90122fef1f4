//! The settings of this role: the `[identity]` section. Every number carries its bounds in its type, so that a value out
//! of bounds does not parse and the complaint names the key.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// The `[identity]` section. [`Config::default`] is what is documented at each field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an access token is good, in seconds. 60 to 3600; default 900.
    pub access_token_seconds: Bounded<60, 3600>,
    /// A session ends when its refresh token is not used for this long, in seconds. 3600 (so never before its access
    /// token) to 7 776 000 (90 days); default 604 800 (7 days).
    pub session_idle_seconds: Bounded<3600, 7_776_000>,
    /// A session ends this long after the login whatever happens, in seconds. 3600 to 31 622 400 (366 days); default
    /// 2 592 000 (30 days).
    pub session_absolute_seconds: Bounded<3600, 31_622_400>,
    /// How long a refresh token that was just exchanged gives the same successor again, in seconds. 0 to 60; default 10.
    pub refresh_grace_seconds: Bounded<0, 60>,
    /// How long a signing key signs before its successor does, in days. 8 to 366; default 30.
    pub signing_key_days: Bounded<8, 366>,
    /// How long a signing key is published before it signs, in hours. 24 to 168 (7 days); default 24. Longer than
    /// whoever fetches the key set may cache it.
    pub signing_key_publish_hours: Bounded<24, 168>,
    /// How long a session that has ended is kept, in days. 1 to 3660; default 30.
    pub ended_session_days: Bounded<1, 3660>,
    /// How long audit events are kept, in days. 1 to 3660; default 365.
    pub audit_days: Bounded<1, 3660>,
    /// How passwords are hashed.
    pub password: PasswordConfig,
    /// How often somebody may try.
    pub throttle: ThrottleConfig,
}

/// The `[identity.password]` section: Argon2id (RFC 9106) and the pool that runs it.
///
/// The pool keeps `parallel` × `memory_kib` of memory once it has been busy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordConfig {
    /// Memory of one hash in KiB. 7168 (7 MiB) to 262 144 (256 MiB); default 19 456 (19 MiB).
    pub memory_kib: Bounded<7168, 262_144>,
    /// Passes over the memory. 1 to 16; default 2. With 1 take 47 104 KiB (46 MiB) or more.
    pub passes: Bounded<1, 16>,
    /// Lanes. 1 to 16; default 1. They are computed one after the other.
    pub lanes: Bounded<1, 16>,
    /// Hashes computed at once. 0 to 1024; default 0: one per core.
    pub parallel: Bounded<0, 1024>,
    /// Requests that may wait for a hash; one more is refused with `UNAVAILABLE`. 0 to 65 536; default 64.
    pub queue: Bounded<0, 65_536>,
}

/// The `[identity.throttle]` section. Every attempt is counted, successful or not, known address or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ThrottleConfig {
    /// Logins for one e-mail address from one IP address. Default 10 per 300 s.
    pub login_pair: Rate,
    /// Logins for one e-mail address from anywhere. Default 100 per 3600 s.
    pub login_identifier: Rate,
    /// Logins from one IP address. Default 100 per 300 s.
    pub login_ip: Rate,
    /// Sign-ups from one IP address. Default 20 per 3600 s.
    pub signup_ip: Rate,
}

/// At most `limit` in any window of `window_seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// 1 to 1024.
    pub limit: Bounded<1, 1024>,
    /// 1 to 34 560 000 (400 days).
    pub window_seconds: Bounded<1, 34_560_000>,
}

/// A whole number within `MIN..=MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bounded<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Bounded<MIN, MAX> {
    /// This number, or nothing if it is out of bounds.
    pub const fn new(value: u32) -> Option<Self> {
        if value < MIN || value > MAX { None } else { Some(Self(value)) }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// A number that is written in the code.
    const fn literal(value: u32) -> Self {
        Self::new(value).expect("a literal is within its bounds")
    }

    pub(crate) fn seconds(self) -> Duration {
        Duration::from_secs(self.0.into())
    }

    pub(crate) fn hours(self) -> Duration {
        self.seconds() * 3600
    }

    pub(crate) fn days(self) -> Duration {
        self.hours() * 24
    }
}

impl<const MIN: u32, const MAX: u32> fmt::Debug for Bounded<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        let within = u32::try_from(value).ok().and_then(Self::new);
        within.ok_or_else(|| D::Error::custom(format!("{value} is not within {MIN} to {MAX}")))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            access_token_seconds: Bounded::literal(900),
            session_idle_seconds: Bounded::literal(604_800),
            session_absolute_seconds: Bounded::literal(2_592_000),
            refresh_grace_seconds: Bounded::literal(10),
            signing_key_days: Bounded::literal(30),
            signing_key_publish_hours: Bounded::literal(24),
            ended_session_days: Bounded::literal(30),
            audit_days: Bounded::literal(365),
            password: PasswordConfig::default(),
            throttle: ThrottleConfig::default(),
        }
    }
}

impl Default for PasswordConfig {
    fn default() -> Self {
        Self {
            memory_kib: Bounded::literal(19_456),
            passes: Bounded::literal(2),
            lanes: Bounded::literal(1),
            parallel: Bounded::literal(0),
            queue: Bounded::literal(64),
        }
    }
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        let rate = |limit, seconds| Rate {
            limit: Bounded::literal(limit),
            window_seconds: Bounded::literal(seconds),
        };
        Self {
            login_pair: rate(10, 300),
            login_identifier: rate(100, 3600),
            login_ip: rate(100, 300),
            signup_ip: rate(20, 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_section_is_the_default() {
        assert_eq!(serde_json::from_value::<Config>(json!({})).unwrap(), Config::default());
    }

    #[test]
    fn the_default_survives_its_text() {
        let text = serde_json::to_string(&Config::default()).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn what_is_out_of_bounds_does_not_parse() {
        for (wrong, complaint) in [
            (json!({"access_token_seconds": 59}), "59 is not within 60 to 3600"),
            (json!({"access_token_seconds": -1}), "-1 is not within 60 to 3600"),
            (json!({"signing_key_publish_hours": 1}), "1 is not within 24 to 168"),
            (json!({"password": {"memory_kib": 8}}), "8 is not within 7168 to 262144"),
            (
                json!({"throttle": {"login_ip": {"limit": 0, "window_seconds": 1}}}),
                "0 is not within 1 to 1024",
            ),
            (json!({"acess_token_seconds": 60}), "unknown field"),
        ] {
            let complained = serde_json::from_value::<Config>(wrong).unwrap_err().to_string();
            assert!(complained.contains(complaint), "{complained}");
        }
    }
}
