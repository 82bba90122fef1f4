//! Whether a text may be a credential, by how ours begin: for what is written down or repeated of a request before anybody knows what
//! it is. It decides nothing else.

/// How credentials begin: keys, service keys, refresh and invitation tokens; secrets of webhooks; access tokens (a JSON object in
/// base64url).
const BEGINNINGS: [&str; 3] = ["tg_", "whsec_", "eyJ"];

/// Whether a credential of ours may be in this text. Credentials that were made elsewhere look like anything, and are not seen.
pub fn looks_secret(text: &str) -> bool {
    BEGINNINGS.iter().any(|beginning| text.contains(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_seen_and_names_are_not() {
        for secret in
            ["tg_live_1aB2", "x/tg_svc_1", "tg_rt_0_1_a", "tg_inv_a", "whsec_aa", "Bearer eyJhbGciOi"]
        {
            assert!(looks_secret(secret), "{secret}");
        }
        for name in ["", "key_01jd3t9y2ve5rbq2m8xg7kz4hn", "msg_01", "req_00ff", "metadata", "X-API-Key"] {
            assert!(!looks_secret(name), "{name}");
        }
    }
}
