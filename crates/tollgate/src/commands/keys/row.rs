//! One row of a table as the message that imports it, and back. Pure.

use serde_json::{Map, Value, json};
use tollgate_kernel::Timestamp;
use tollgate_proto::{
    keys::{ImportRow, ImportedSecret},
    time::{from_wire, to_wire},
};

use super::{
    columns::{Columns, Meaning},
    values,
};

/// What is wrong with a row: a JSON pointer into it, and why.
pub(super) type Problem = (String, String);

/// What rows have that do not say it.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    pub(super) plan: String,
    pub(super) environment: String,
}

/// The row that a table has in this line.
pub(super) fn read(
    line: u64,
    cells: &Map<String, Value>,
    columns: &Columns,
    defaults: &Defaults,
) -> Result<ImportRow, Vec<Problem>> {
    let mut row = Row::default();
    let mut problems = Vec::new();
    for (column, value) in cells.iter().filter(|(_, value)| !values::is_nothing(value)) {
        // Of a table with columns its names were checked before; an object of its own may bring new ones.
        let told = match columns.of(column) {
            Ok(meaning) => row.take(meaning, value),
            Err(fault) => Err(fault.message().to_owned()),
        };
        if let Err(detail) = told {
            problems.push((format!("/{column}"), detail));
        }
    }
    if problems.is_empty() { Ok(row.finish(line, defaults)) } else { Err(problems) }
}

#[derive(Default)]
struct Row {
    key: ImportRow,
    secret: ImportedSecret,
    metadata: Map<String, Value>,
}

impl Row {
    fn take(&mut self, meaning: Meaning, value: &Value) -> Result<(), String> {
        match meaning {
            Meaning::Nothing => {}
            Meaning::Metadata(name) => {
                self.metadata.insert(name, value.clone());
            }
            Meaning::Field(field) => self.field(field, value)?,
        }
        Ok(())
    }

    fn field(&mut self, field: &str, value: &Value) -> Result<(), String> {
        let instant = || values::time(value).map(|at| Some(to_wire(at)));
        let row = &mut self.key;
        match field {
            "hash" => values::text(value)?.trim().clone_into(&mut self.secret.hash),
            "algorithm" => self.secret.algorithm = values::text(value)?.to_ascii_lowercase(),
            "prefix" => self.secret.prefix = values::text(value)?,
            "retires_at" => self.secret.retires_at = instant()?,
            "retiring" => row.retiring = retiring(value)?,
            "name" => row.name = values::text(value)?,
            "description" => row.description = values::text(value)?,
            "environment" => row.environment = values::text(value)?.to_ascii_lowercase(),
            "plan" => row.plan = values::text(value)?,
            "consumer" => row.consumer = Some(values::text(value)?),
            "scopes" => row.scopes = values::list(value)?,
            "roles" => row.roles = values::list(value)?,
            "allowed_ips" => row.allowed_ips = values::list(value)?,
            "limits" => row.limits_json = values::json(value)?.to_string(),
            "metadata" => self.metadata.extend(values::object(value)?),
            "expires_at" => row.expires_at = instant()?,
            "not_before" => row.not_before = instant()?,
            "created_at" => row.created_at = instant()?,
            "last_used_at" => row.last_used_at = instant()?,
            "enabled" => row.enabled = Some(values::truth(value)?),
            "revoked" => row.revoked = values::truth(value)?,
            other => return Err(format!("`{other}` is no field")),
        }
        Ok(())
    }

    fn finish(self, line: u64, defaults: &Defaults) -> ImportRow {
        let Self { key: mut row, secret, mut metadata } = self;
        // djangorestframework-api-key's id ends with the hash, which is nobody's to see.
        if !secret.hash.is_empty() {
            metadata.retain(|_, value| !value.as_str().is_some_and(|text| text.contains(&secret.hash)));
        }
        if row.name.is_empty() {
            let shown = if secret.prefix.is_empty() { format!("line {line}") } else { secret.prefix.clone() };
            row.name = format!("imported {shown}");
        }
        if row.plan.is_empty() {
            row.plan.clone_from(&defaults.plan);
        }
        if row.environment.is_empty() {
            row.environment.clone_from(&defaults.environment);
        }
        row.metadata_json = Value::Object(metadata).to_string();
        row.secret = Some(secret);
        row
    }
}

/// The other secrets of a key, as an export writes them.
fn retiring(value: &Value) -> Result<Vec<ImportedSecret>, String> {
    let wrong = || "must be a list of objects with `hash`, `algorithm`, `prefix` and `retires_at`".to_owned();
    let Value::Array(items) = values::json(value)? else { return Err(wrong()) };
    let secret = |item: &Value| {
        let text = |name: &str| item.get(name).map_or(Ok(String::new()), values::text);
        let retires_at = item.get("retires_at").filter(|it| !values::is_nothing(it));
        Ok(ImportedSecret {
            hash: text("hash")?,
            algorithm: text("algorithm")?,
            prefix: text("prefix")?,
            retires_at: retires_at.map(values::time).transpose()?.map(to_wire),
        })
    };
    items.iter().map(|item| if item.is_object() { secret(item) } else { Err(wrong()) }).collect()
}

/// The columns of an exported table, in their order.
pub(super) const COLUMNS: [&str; 20] = [
    "hash",
    "algorithm",
    "prefix",
    "retires_at",
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
    "retiring",
];

/// What [`read`] takes: only what is something.
pub(super) fn written(row: ImportRow) -> Map<String, Value> {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let secret = row.secret.unwrap_or_default();
    let retiring: Vec<Value> = row.retiring.iter().map(|it| Value::Object(secret_written(it))).collect();
    let mut cells = secret_written(&secret);
    for (name, value) in [
        ("name", json!(row.name)),
        ("description", json!(row.description)),
        ("environment", json!(row.environment)),
        ("plan", json!(row.plan)),
        ("consumer", json!(row.consumer)),
        ("scopes", json!(row.scopes)),
        ("roles", json!(row.roles)),
        ("allowed_ips", json!(row.allowed_ips)),
        ("limits", parsed(&row.limits_json)),
        ("metadata", parsed(&row.metadata_json)),
        ("expires_at", instant(row.expires_at)),
        ("not_before", instant(row.not_before)),
        ("created_at", instant(row.created_at)),
        ("last_used_at", instant(row.last_used_at)),
        ("enabled", json!(row.enabled)),
        ("retiring", Value::Array(retiring)),
    ] {
        cells.insert(name.to_owned(), value);
    }
    cells.retain(|_, value| !is_empty(value));
    cells
}

fn secret_written(secret: &ImportedSecret) -> Map<String, Value> {
    let cells = [
        ("hash", json!(secret.hash)),
        ("algorithm", json!(secret.algorithm)),
        ("prefix", json!(secret.prefix)),
        ("retires_at", instant(secret.retires_at)),
    ];
    let some = cells.into_iter().filter(|(_, value)| !is_empty(value));
    some.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn instant(at: Option<prost_types::Timestamp>) -> Value {
    let at = at.and_then(|at| from_wire(at, "").ok());
    at.map_or(Value::Null, |at: Timestamp| json!(at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(value: Value) -> Map<String, Value> {
        let Value::Object(cells) = value else { panic!("an object") };
        cells
    }

    #[test]
    fn a_row_of_the_usual_table() {
        let row = cells(json!({
            "id": "17", "user_id": 42, "key_hash": "9f9f", "name": "ci", "created_at": "2025-03-01 12:00:00",
            "is_active": "f", "expires_at": "", "scopes": "orders.read,orders.write", "region": "eu",
        }));
        let columns = Columns::parse(&["user_id=consumer".into()]).expect("fields");
        let row = read(2, &row, &columns, &Defaults::default()).expect("fine");
        let metadata: Value = serde_json::from_str(&row.metadata_json).expect("JSON");
        assert_eq!(metadata, json!({ "external_id": "17", "region": "eu" }));
        assert_eq!((row.secret.expect("one").hash.as_str(), row.consumer.as_deref()), ("9f9f", Some("42")));
        assert_eq!((row.name.as_str(), row.enabled, row.scopes.len()), ("ci", Some(false), 2));
        assert_eq!((row.created_at.map(|at| at.seconds), row.expires_at), (Some(1_740_830_400), None));
    }

    #[test]
    fn all_that_is_wrong_is_said_and_a_hash_does_not_get_into_the_metadata() {
        let wrong =
            cells(json!({ "key_hash": true, "is_active": "perhaps", "expires_at": "soon", "token": "a" }));
        let problems = read(2, &wrong, &Columns::default(), &Defaults::default()).expect_err("wrong");
        let mut pointers: Vec<_> = problems.iter().map(|(pointer, _)| pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["/expires_at", "/is_active", "/key_hash", "/token"]);
        let django = cells(
            json!({ "id": "AbCd1234.sha512$$00ff", "hashed_key": "sha512$$00ff", "prefix": "AbCd1234" }),
        );
        let row = read(2, &django, &Columns::default(), &Defaults::default()).expect("fine");
        assert_eq!((row.metadata_json.as_str(), row.name.as_str()), ("{}", "imported AbCd1234"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let row = ImportRow {
            secret: Some(ImportedSecret {
                hash: "tollgate$a$b".into(),
                algorithm: "tollgate".into(),
                prefix: "tg_live_ab".into(),
                // All that lives of a key may be what retires.
                retires_at: Some(to_wire("2026-02-01T00:00:00Z".parse().expect("a time"))),
            }),
            retiring: vec![ImportedSecret {
                hash: "x".into(),
                algorithm: "sha256".into(),
                prefix: "p".into(),
                retires_at: Some(to_wire("2026-01-01T00:00:00Z".parse().expect("a time"))),
            }],
            name: "a".into(),
            description: "b".into(),
            environment: "test".into(),
            plan: "basic".into(),
            consumer: Some("c".into()),
            scopes: vec!["d".into()],
            roles: vec!["e".into()],
            allowed_ips: vec!["10.0.0.0/8".into()],
            limits_json: r#"[{"name":"minute"}]"#.into(),
            metadata_json: r#"{"a":1}"#.into(),
            expires_at: Some(to_wire("2027-01-01T00:00:00.5Z".parse().expect("a time"))),
            not_before: None,
            created_at: Some(to_wire("2026-01-01T00:00:00.123456Z".parse().expect("a time"))),
            last_used_at: None,
            enabled: Some(false),
            revoked: false,
            limits: Vec::new(),
        };
        let cells = written(row.clone());
        assert!(cells.keys().all(|name| COLUMNS.contains(&name.as_str())));
        let again = read(1, &cells, &Columns::default(), &Defaults::default()).expect("fine");
        assert_eq!(again, row);
        // In a table every cell is a text.
        let texts = cells.into_iter().map(|(name, value)| match value {
            Value::String(text) => (name, json!(text)),
            value => (name, json!(value.to_string())),
        });
        let again = read(1, &texts.collect(), &Columns::default(), &Defaults::default()).expect("fine");
        assert_eq!(again, row);
    }
}
