//! What serde says, in words for the client: where (a JSON pointer, RFC 6901) and what, never the value that was sent.

use std::borrow::Cow;

use serde_path_to_error::{Path, Segment};
use tollgate_kernel::{Violation, looks_secret};

/// The JSON pointer of a path.
pub(super) fn pointer(path: &Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escape(key)),
            Segment::Enum { variant } => format!("/{}", escape(variant)),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// A name as a part of a JSON pointer. A credential where a name belongs is not repeated.
pub(super) fn escape(name: &str) -> Cow<'_, str> {
    if looks_secret(name) {
        return "…".into();
    }
    if name.contains(['~', '/']) { name.replace('~', "~0").replace('/', "~1").into() } else { name.into() }
}

/// The violation that a message of serde means. Serde repeats the value that it did not like; this does not, because it
/// may be a password.
pub(super) fn violation(at: String, message: &str) -> Violation {
    if let Some(name) = quoted_after(message, "missing field ") {
        let pointer = format!("{at}/{}", escape(name));
        return Violation { pointer: pointer.into(), detail: "is required".into() };
    }
    let detail: Cow<'static, str> = if message.starts_with("unknown field ") {
        "is not a known field".into()
    } else if message.starts_with("duplicate field ") {
        "is there twice".into()
    } else if let Some((_, expected)) = message.rsplit_once(", expected ") {
        format!("must be {}", in_our_words(without_position(expected))).into()
    } else {
        "is not valid".into()
    };
    Violation { pointer: at.into(), detail }
}

fn quoted_after<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

fn without_position(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(before, _)| before)
}

/// Serde names Rust's types; a client knows JSON's.
fn in_our_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" => "a whole number in range",
        "a map" => "an object",
        "a sequence" => "an array",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_is_translated() {
        for (message, at, detail) in [
            ("missing field `a~b` at line 1 column 2", "/x/a~0b", "is required"),
            ("unknown field `y`, expected `a` at line 1 column 2", "/x", "is not a known field"),
            ("duplicate field `y`", "/x", "is there twice"),
            (
                "invalid type: string \"hunter2\", expected u8 at line 1 column 2",
                "/x",
                "must be a whole number in range",
            ),
            ("invalid type: null, expected a sequence", "/x", "must be an array"),
            ("invalid value: string \", expected hunter2\", expected a date", "/x", "must be a date"),
            ("unknown variant `hunter2`, expected `a` or `b`", "/x", "must be `a` or `b`"),
            ("invalid type: null, expected struct Login", "/x", "must be an object"),
            ("hunter2 is odd", "/x", "is not valid"),
        ] {
            let violation = violation("/x".to_owned(), message);
            assert_eq!((&*violation.pointer, &*violation.detail), (at, detail), "{message}");
        }
    }
}
