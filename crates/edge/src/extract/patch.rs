//! A field of a PATCH body: left out, `null`, or a value; and how a role is told which of the three it was.
//!
//! In a body: `#[serde(default)] #[schema(value_type = Option<String>)] name: Patch<String>`. For a role: what has a value goes into the
//! message's `optional` field, and the names of what is `null` into its `clear`; [`Cleared`] collects these. The role alone knows
//! which fields can be without a value, and refuses `null` for the others.

use serde::{Deserialize, Deserializer};

/// A field of a PATCH body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Patch<T> {
    /// Left out: it stays as it is.
    #[default]
    Keep,
    /// `null`: it loses its value.
    Clear,
    /// It gets this value.
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T> Patch<T> {
    /// The same with another value.
    pub(crate) fn map<U>(self, as_other: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(as_other(value)),
        }
    }
}

/// The names of the fields that lose their values.
#[derive(Debug, Default)]
pub(crate) struct Cleared(Vec<String>);

impl Cleared {
    /// The value for the field of the message, if there is one; the name is kept if it is `null`.
    pub(crate) fn value<T>(&mut self, name: &str, field: Patch<T>) -> Option<T> {
        match field {
            Patch::Keep => None,
            Patch::Clear => {
                self.0.push(name.to_owned());
                None
            }
            Patch::Set(value) => Some(value),
        }
    }

    /// For the message's `clear`. Last, when every field has been asked for its value.
    pub(crate) fn into_names(self) -> Vec<String> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[serde(default)]
        name: Patch<String>,
        #[serde(default)]
        scopes: Patch<Vec<String>>,
    }

    #[test]
    fn absent_null_and_empty_are_three_things() {
        let parse = |text: &str| serde_json::from_str::<Body>(text).expect("a body");
        assert_eq!(parse("{}"), Body { name: Patch::Keep, scopes: Patch::Keep });
        assert_eq!(
            parse(r#"{"name":null,"scopes":[]}"#),
            Body { name: Patch::Clear, scopes: Patch::Set(vec![]) }
        );
        assert_eq!(parse(r#"{"name":""}"#).name, Patch::Set(String::new()));
        assert!(serde_json::from_str::<Body>(r#"{"name":7}"#).is_err());
    }

    #[test]
    fn a_role_hears_of_all_three() {
        let mut cleared = Cleared::default();
        assert_eq!(cleared.value("a", Patch::<u8>::Keep), None);
        assert_eq!(cleared.value("b", Patch::<u8>::Clear), None);
        assert_eq!(cleared.value("c", Patch::Set(7).map(|it| it + 1)), Some(8));
        assert_eq!(cleared.into_names(), ["b"]);
    }
}
