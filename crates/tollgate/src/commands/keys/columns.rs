//! What the columns of a table mean. Pure.

use std::collections::HashMap;

use tollgate_kernel::{Code, Fault};

/// The fields of a row, by their words.
const FIELDS: [&str; 21] = [
    "hash",
    "algorithm",
    "prefix",
    "retires_at",
    "retiring",
    "name",
    "description",
    "environment",
    "plan",
    "consumer",
    "scopes",
    "roles",
    "allowed_ips",
    "limits",
    "metadata",
    "expires_at",
    "not_before",
    "created_at",
    "last_used_at",
    "enabled",
    "revoked",
];

/// What the usual tables call them.
const USUAL: [(&str, &str); 26] = [
    ("key_hash", "hash"),
    ("hashed_key", "hash"),
    ("api_key_hash", "hash"),
    ("token_hash", "hash"),
    ("hash_algorithm", "algorithm"),
    ("key_prefix", "prefix"),
    ("start", "prefix"),
    ("label", "name"),
    ("created", "created_at"),
    ("expires", "expires_at"),
    ("expiry_date", "expires_at"),
    ("last_used", "last_used_at"),
    ("is_active", "enabled"),
    ("active", "enabled"),
    ("is_revoked", "revoked"),
    ("permissions", "scopes"),
    ("id", EXTERNAL_ID),
    ("external_id", EXTERNAL_ID),
    ("keyHash", "hash"),
    ("hashedKey", "hash"),
    ("keyPrefix", "prefix"),
    ("isActive", "enabled"),
    ("tokenHash", "hash"),
    ("createdAt", "created_at"),
    ("expiresAt", "expires_at"),
    ("lastUsedAt", "last_used_at"),
];

/// Kept in the metadata of the key.
pub(super) const EXTERNAL_ID: &str = "metadata.external_id";

/// What these say may be the key itself, which nobody should send anywhere.
const IN_THE_CLEAR: [&str; 7] = ["key", "api_key", "apikey", "token", "secret", "raw_key", "plaintext"];

/// What a column means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This field.
    Field(&'static str),
    /// An entry of the metadata.
    Metadata(String),
    Nothing,
}

/// What columns mean: as they are told, else as they are usually called; all others go into the metadata.
#[derive(Debug, Default)]
pub(super) struct Columns(HashMap<String, Meaning>);

impl Columns {
    /// `COLUMN=FIELD` each.
    pub(super) fn parse(told: &[String]) -> Result<Self, Fault> {
        let mut columns = HashMap::new();
        for text in told {
            let (column, field) = text.split_once('=').unwrap_or((text, ""));
            let Some(meaning) = meaning(field) else {
                let most = FIELDS.join(", ");
                let what = format!(
                    "--map {text}: a column is one of {most}, metadata.<name>, or - for none of them."
                );
                return Err(Fault::new(Code::InvalidArgument, what));
            };
            columns.insert(column.to_owned(), meaning);
        }
        Ok(Self(columns))
    }

    /// What a column means; refuses one that looks like the keys themselves.
    pub(super) fn of(&self, column: &str) -> Result<Meaning, Fault> {
        if let Some(meaning) = self.0.get(column) {
            return Ok(meaning.clone());
        }
        let folded = column.to_ascii_lowercase();
        if IN_THE_CLEAR.contains(&folded.as_str()) {
            let what = format!(
                "The column `{column}` may be the keys themselves. Keys are imported by their hashes: leave it out with \
                 --map {column}=-, or say what it is."
            );
            return Err(Fault::new(Code::InvalidArgument, what));
        }
        let usual =
            USUAL.iter().find(|(name, _)| *name == column || *name == folded).map(|(_, field)| *field);
        Ok(meaning(usual.unwrap_or(&folded)).unwrap_or_else(|| Meaning::Metadata(column.to_owned())))
    }

    /// The columns that are told and are not there.
    pub(super) fn unknown<'a>(&'a self, there: &'a [String]) -> Option<&'a String> {
        self.0.keys().find(|column| !there.contains(column))
    }
}

fn meaning(field: &str) -> Option<Meaning> {
    if field == "-" {
        return Some(Meaning::Nothing);
    }
    if let Some(name) = field.strip_prefix("metadata.").filter(|name| !name.is_empty()) {
        return Some(Meaning::Metadata(name.to_owned()));
    }
    FIELDS.iter().find(|it| **it == field).map(|it| Meaning::Field(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_are_known_and_may_be_told_otherwise() {
        let told = Columns::parse(&["user_id=consumer".into(), "key=-".into(), "name=metadata.who".into()]);
        let told = told.expect("all are fields");
        for (column, expected) in [
            ("key_hash", Meaning::Field("hash")),
            ("hashed_key", Meaning::Field("hash")),
            ("is_active", Meaning::Field("enabled")),
            ("expiry_date", Meaning::Field("expires_at")),
            ("createdAt", Meaning::Field("created_at")),
            ("keyHash", Meaning::Field("hash")),
            ("user_id", Meaning::Field("consumer")),
            ("key", Meaning::Nothing),
            ("name", Meaning::Metadata("who".into())),
            ("id", Meaning::Metadata("external_id".into())),
            ("tenant", Meaning::Metadata("tenant".into())),
        ] {
            assert_eq!(told.of(column).expect("known"), expected, "{column}");
        }
        assert!(told.of("api_key").is_err(), "it may be the keys themselves");
        assert_eq!(told.unknown(&["user_id".into(), "name".into()]), Some(&"key".to_owned()));
        for wrong in ["user_id", "user_id=", "user_id=usr", "a=metadata."] {
            assert!(Columns::parse(&[wrong.into()]).is_err(), "{wrong}");
        }
    }
}
