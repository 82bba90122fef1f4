//! Secrets, what was heard, and whether some of the one is in the other.

use std::collections::{BTreeSet, HashMap};

/// So many characters of a secret in a row are found.
const RUN: usize = 12;

/// Secrets and all that was heard.
#[derive(Default)]
pub(super) struct Vault {
    /// What they are, and what of them nobody may be told.
    secrets: Vec<(String, String)>,
    /// Where, and what.
    heard: Vec<(String, String)>,
}

impl Vault {
    /// Remembers a secret.
    pub(super) fn keep(&mut self, what: &str, secret: &str) {
        let part = secret_part(secret);
        assert!(part.len() >= RUN, "{what} is too short to be searched for");
        self.secrets.push((what.to_owned(), part.to_owned()));
    }

    /// Remembers what was said somewhere.
    pub(super) fn hear(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.heard.push((place.into(), text.into()));
    }

    /// All that was heard there.
    pub(super) fn heard(&self, place: &str) -> String {
        self.heard.iter().filter(|(it, _)| it == place).map(|(_, text)| text.as_str()).collect()
    }

    /// Each secret of which something was heard: which, where, and the line.
    pub(super) fn told(&self) -> Vec<String> {
        let mut runs: HashMap<&[u8], &str> = HashMap::new();
        // Whether some run begins with these three bytes: nearly always not, and quickly seen.
        let mut begins = vec![false; 1 << 24];
        for (what, part) in &self.secrets {
            for run in part.as_bytes().windows(RUN) {
                runs.insert(run, what);
                begins[beginning(run)] = true;
            }
        }
        let mut told = BTreeSet::new();
        for (place, text) in &self.heard {
            let found = text.as_bytes().windows(RUN).enumerate();
            let found = found.filter(|(_, run)| begins[beginning(run)]);
            for (at, what) in found.filter_map(|(at, run)| Some((at, runs.get(run)?))) {
                let line = text.get(..at).and_then(|text| text.rfind('\n')).map_or(0, |newline| newline + 1);
                let end = text.get(at..).and_then(|text| text.find('\n')).map_or(text.len(), |end| at + end);
                told.insert(format!(
                    "{what}: {place}: {}",
                    String::from_utf8_lossy(&text.as_bytes()[line..end])
                ));
            }
        }
        told.into_iter().collect()
    }
}

fn beginning(run: &[u8]) -> usize {
    (usize::from(run[0]) << 16) | (usize::from(run[1]) << 8) | usize::from(run[2])
}

/// What nobody may be told: of our own not what they begin with, which says what they are and whose.
fn secret_part(secret: &str) -> &str {
    if let Some(body) = ["tg_live_", "tg_test_", "tg_svc_"].iter().find_map(|it| secret.strip_prefix(it)) {
        return body.get(12..).unwrap_or(body);
    }
    if secret.starts_with("tg_rt_") {
        return secret.splitn(5, '_').last().unwrap_or(secret);
    }
    if let Some(body) = ["tg_inv_", "whsec_"].iter().find_map(|it| secret.strip_prefix(it)) {
        return body;
    }
    if secret.starts_with("eyJ") {
        return secret.rsplit('.').next().unwrap_or(secret);
    }
    secret
}

/// Without this a search that finds nothing might be a search for nothing.
#[test]
fn a_part_of_a_secret_is_found() {
    let mut vault = Vault::default();
    vault.keep("a key", "tg_live_1aB2cD3eF4gHabcdefghijklmnopqrstuvwxyz0123456789ABCDEFG012345");
    vault.keep("a refresh token", "tg_rt_01jd3t9y2ve5rbq2m8xg7kz4hn_1_QWERTYUIOPASDFGHJKL");
    vault.hear("a log", "tg_live_1aB2cD3eF4gH tg_rt_01jd3t9y2ve5rbq2m8xg7kz4hn_1_ abcdefghijk\n");
    assert!(vault.told().is_empty());
    vault.hear("a log", "well\nsaid klmnopqrstuv\nand\n");
    vault.hear("a header", "QWERTYUIOPAS");
    let expected = ["a key: a log: said klmnopqrstuv", "a refresh token: a header: QWERTYUIOPAS"];
    assert_eq!(vault.told(), expected);
}
