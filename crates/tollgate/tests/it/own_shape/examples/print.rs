//! What a page says that a command prints, beside what it does print.

use serde_json::Value;

/// Stands for whatever there is.
const ANY: &str = "…";
/// Numbers that are others each time.
const VARYING: [&str; 2] = ["took_ms", "expires_in"];

/// Whether all brackets that were opened are closed.
pub(super) fn is_whole(json: &str) -> bool {
    read(json).is_some()
}

/// Where what was printed differs from the JSON of a page. Words behind the JSON are words.
pub(super) fn json_differs(expected: &str, printed: &str) -> Option<String> {
    let Some(expected) = read(expected) else { return Some(format!("not JSON: {expected}")) };
    match serde_json::from_str(printed.trim()) {
        Ok(printed) => differs("", &expected, &printed),
        Err(error) => Some(format!("{error}")),
    }
}

/// The same for lines of text.
pub(super) fn text_differs(expected: &str, printed: &str) -> Option<String> {
    let (expected, printed) = (expected.trim(), printed.trim());
    (!fits(expected, printed)).then(|| format!("expected\n{expected}"))
}

/// The JSON at the beginning of a text, in which `…` may stand anywhere outside of strings, too.
fn read(text: &str) -> Option<Value> {
    let (mut plain, mut open, mut in_string, mut escaped) = (String::new(), Vec::new(), false, false);
    for letter in text.chars() {
        if in_string {
            in_string = letter != '"' || escaped;
            escaped = letter == '\\' && !escaped;
            plain.push(letter);
            continue;
        }
        match letter {
            '"' => in_string = true,
            '{' | '[' => open.push(letter),
            '}' | ']' => drop(open.pop()),
            _ => {}
        }
        let is_entry = plain.trim_end().ends_with([',', '{']) && open.last() == Some(&'{');
        match letter {
            '…' if is_entry => plain.push_str("\"…\":\"…\""),
            '…' => plain.push_str("\"…\""),
            _ => plain.push(letter),
        }
    }
    serde_json::Deserializer::from_str(&plain).into_iter::<Value>().next()?.ok()
}

fn differs(at: &str, expected: &Value, found: &Value) -> Option<String> {
    let other = || Some(format!("{at}: expected {expected}, found {found}"));
    match (expected, found) {
        (Value::String(text), _) if text == ANY => None,
        (Value::String(text), Value::String(found)) if fits(text, found) || is_alike(text, found) => None,
        (Value::Number(_), Value::Number(_)) if VARYING.iter().any(|name| at.ends_with(name)) => None,
        (Value::Array(items), Value::Array(found)) => {
            let more = items.last().is_some_and(|it| it == ANY);
            let items = if more { &items[..items.len() - 1] } else { items };
            if found.len() < items.len() || (!more && found.len() > items.len()) {
                return other();
            }
            let mut pairs = items.iter().zip(found).enumerate();
            pairs.find_map(|(place, (item, found))| differs(&format!("{at}/{place}"), item, found))
        }
        (Value::Object(fields), Value::Object(found)) => {
            let unsaid = found.keys().find(|name| !fields.contains_key(*name) && !fields.contains_key(ANY));
            if let Some(name) = unsaid {
                return Some(format!("{at}/{name} is not in the page"));
            }
            fields.iter().filter(|(name, _)| *name != ANY).find_map(|(name, value)| {
                let at = format!("{at}/{name}");
                match found.get(name) {
                    Some(found) => differs(&at, value, found),
                    None => Some(format!("{at} is missing")),
                }
            })
        }
        _ if expected == found => None,
        _ => other(),
    }
}

/// Whether a text is as this pattern has it, in which `…` stands for any.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts: Vec<&str> = pattern.split(ANY).collect();
    let Some(mut rest) = text.strip_prefix(parts.remove(0)) else { return false };
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether both are moments, or ids or secrets of one kind.
fn is_alike(one: &str, other: &str) -> bool {
    let shape = |text: &str| -> String {
        text.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect()
    };
    let is_moment = |text: &str| shape(text).starts_with("0000-00-00T00:00:00");
    let is_digit = |letter: char| letter.is_ascii_alphanumeric() || "+/=-".contains(letter);
    let kind = |text: &str| {
        let (kind, digits) = text.rsplit_once('_')?;
        (digits.len() >= 26 && digits.chars().all(is_digit)).then(|| kind.to_owned())
    };
    (is_moment(one) && is_moment(other)) || (kind(one).is_some() && kind(one) == kind(other))
}

#[test]
fn what_a_page_leaves_open_may_be_anything_and_nothing_else() {
    let printed = r#"{"id":"key_01jd3t9y2ve5rbq2m8xg7kz4hn","list":[{"a":1},{"a":2}],"n":3,"took_ms":7,"at":"2026-01-01T00:00:00Z"}"#;
    for good in [
        printed,
        r#"{"id":"key_…",…}: words"#,
        r#"{"id":"key_01jd3t9y2ve5rbq2m8xg7kz4zz","list":[…],"n":…,"took_ms":0,"at":"2027-02-02T10:00:00.5Z"}"#,
        r#"{"list":[{"a":1},…],"n":3, …}"#,
        r"{…}",
    ] {
        assert_eq!(json_differs(good, printed), None, "{good}");
    }
    for bad in [
        r#"{"id":"usr_…",…}"#,
        r#"{"id":"key_…"}"#,
        r#"{"n":4,…}"#,
        r#"{"n":"3",…}"#,
        r#"{"list":[{"a":1}],…}"#,
        r#"{"list":[{"a":1},{"a":2},{"a":3},…],…}"#,
        r#"{"list":[{"b":…},…],…}"#,
        r#"{"more":…,…}"#,
        r#"{"id":"sec_01jd3t9y2ve5rbq2m8xg7kz4hn",…}"#,
        r#"{"n":3"#,
    ] {
        assert!(json_differs(bad, printed).is_some(), "{bad}");
    }
    assert_eq!(text_differs("1 made, … there\n  line …: x", "1 made, 27 there\n  line 3: x\n"), None);
    for other in ["2 made, 27 there\n  line 3: x", "1 made, 27 there", "1 made, 27 there\n  line 3: xy"] {
        assert!(text_differs("1 made, … there\n  line …: x", other).is_some(), "{other}");
    }
}
