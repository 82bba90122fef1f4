//! What a cell of a table says, whether it is JSON or the text that a database writes into CSV. Pure.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::{Map, Value};
use tollgate_kernel::Timestamp;

/// From here on a number of a time is one of milliseconds: in seconds it would be the year 5138.
const MILLISECONDS: i64 = 100_000_000_000;

/// Nothing was said.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text == "\\N" || text.eq_ignore_ascii_case("null"),
        _ => false,
    }
}

pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err("must be a text".to_owned()),
    }
}

pub(super) fn truth(value: &Value) -> Result<bool, String> {
    let wrong = || "must be true or false".to_owned();
    match value {
        Value::Bool(it) => Ok(*it),
        Value::Number(number) if number.as_i64() == Some(1) => Ok(true),
        Value::Number(number) if number.as_i64() == Some(0) => Ok(false),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "on" => Ok(true),
            "false" | "f" | "no" | "n" | "0" | "off" => Ok(false),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// RFC 3339; as databases write it, which is UTC if it has no zone; a day; seconds or milliseconds since 1970.
pub(super) fn time(value: &Value) -> Result<Timestamp, String> {
    let wrong = || "must be a time such as 2026-01-31T12:00:00Z".to_owned();
    let text = text(value).map_err(|_| wrong())?;
    if let Ok(number) = text.parse::<i64>() {
        let at = if number.abs() < MILLISECONDS {
            DateTime::from_timestamp(number, 0)
        } else {
            DateTime::from_timestamp_millis(number)
        };
        return at.ok_or_else(wrong);
    }
    let text = text.trim().replacen(' ', "T", 1).replace(" UTC", "Z").replace(' ', "");
    if let Ok(at) = DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%#z") {
        return Ok(at.to_utc());
    }
    let plain = text.strip_suffix('Z').unwrap_or(&text);
    if let Ok(at) = NaiveDateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M:%S%.f") {
        return Ok(at.and_utc());
    }
    let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").map_err(|_| wrong())?;
    Ok(day.and_hms_opt(0, 0, 0).expect("every day has a midnight").and_utc())
}

/// A JSON array; of a text also one in braces, as PostgreSQL writes it, or words between commas or spaces.
pub(super) fn list(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::String(written) if written.starts_with('[') => {
            let items: Value = serde_json::from_str(written).map_err(|_| "is not a JSON array".to_owned())?;
            list(&items)
        }
        Value::String(written) => {
            let inner = written.strip_prefix('{').and_then(|it| it.strip_suffix('}')).unwrap_or(written);
            let words = inner.split([',', ' ']).map(|word| word.trim_matches('"'));
            Ok(words.filter(|word| !word.is_empty()).map(str::to_owned).collect())
        }
        _ => Err("must be a list".to_owned()),
    }
}

/// A JSON value, or a text of one.
pub(super) fn json(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(written) => serde_json::from_str(written).map_err(|_| "is not JSON".to_owned()),
        value => Ok(value.clone()),
    }
}

pub(super) fn object(value: &Value) -> Result<Map<String, Value>, String> {
    match json(value)? {
        Value::Object(fields) => Ok(fields),
        _ => Err("must be a JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_as_databases_write_them() {
        for (written, expected) in [
            (json!("2025-03-01T12:00:00Z"), "2025-03-01T12:00:00Z"),
            (json!("2025-03-01T14:00:00.5+02:00"), "2025-03-01T12:00:00.500Z"),
            (json!("2025-03-01 12:00:00"), "2025-03-01T12:00:00Z"),
            (json!("2025-03-01 12:00:00.123456"), "2025-03-01T12:00:00.123456Z"),
            (json!("2025-03-01 12:00:00+00"), "2025-03-01T12:00:00Z"),
            (json!("2025-03-01 12:00:00.5+00:00"), "2025-03-01T12:00:00.500Z"),
            (json!("2025-03-01 12:00:00 UTC"), "2025-03-01T12:00:00Z"),
            (json!("2025-03-01"), "2025-03-01T00:00:00Z"),
            (json!(1_740_830_400), "2025-03-01T12:00:00Z"),
            (json!("1740830400000"), "2025-03-01T12:00:00Z"),
        ] {
            assert_eq!(time(&written), Ok(expected.parse().expect("a time")), "{written}");
        }
        for wrong in [json!("yesterday"), json!(true), json!("2025-13-01"), json!("")] {
            assert!(time(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn truths_and_lists() {
        for (written, expected) in
            [(json!(true), true), (json!("f"), false), (json!("1"), true), (json!(0), false)]
        {
            assert_eq!(truth(&written), Ok(expected));
        }
        assert!(truth(&json!("maybe")).is_err() && truth(&json!(2)).is_err());
        for written in [json!(["a", "b"]), json!(r#"["a","b"]"#), json!("{a,b}"), json!("a b"), json!("a, b")]
        {
            assert_eq!(list(&written), Ok(vec!["a".to_owned(), "b".to_owned()]), "{written}");
        }
        assert_eq!(list(&json!("{}")), Ok(vec![]));
        assert!(object(&json!("[1]")).is_err() && object(&json!("{")).is_err());
    }
}
