//! The first reading of a body: whether it is JSON at all, and plain enough for the second, which is typed.
//!
//! Refuses what RFC 7493 (I-JSON) warns of: a name twice in one object, where two parsers may take two values. And what no
//! store of ours can hold: U+0000. And what is nested deeper than anyone needs.

use std::{cell::Cell, collections::HashSet, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use tollgate_kernel::{Fault, Violation};

use super::reason::escape;
use crate::problem::Problem;

/// How deep arrays and objects may be nested.
const MAX_DEPTH: usize = 32;

/// 400 if `text` is not JSON; 422 if it is not plain.
pub(super) fn check(text: &str) -> Result<(), Problem> {
    let fault = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let read =
        Shape { depth: 0, at: At::Root, found: &fault }.deserialize(&mut json).and_then(|()| json.end());
    match (fault.take(), read) {
        (Some(violation), _) => Err(Fault::violations(vec![violation]).into()),
        (None, Err(error)) => Err(Problem::bad_request(format!("The body is not JSON: {error}."))),
        (None, Ok(())) => Ok(()),
    }
}

/// A place in the body. Spelled out only when something is wrong there.
#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Item(&'a At<'a>, usize),
    Field(&'a At<'a>, &'a str),
}

impl At<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Item(parent, place) => format!("{}/{place}", parent.pointer()),
            Self::Field(parent, name) => format!("{}/{}", parent.pointer(), escape(name)),
        }
    }
}

/// One value at one place. Keeps nothing but what it finds wrong.
#[derive(Clone, Copy)]
struct Shape<'a> {
    depth: usize,
    at: At<'a>,
    found: &'a Cell<Option<Violation>>,
}

impl Shape<'_> {
    fn wrong<E: de::Error>(self, detail: &'static str) -> E {
        self.found.set(Some(Violation { pointer: self.at.pointer().into(), detail: detail.into() }));
        E::custom(detail)
    }

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong("is nested deeper than 32"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn text<E: de::Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(self.wrong("must not contain U+0000"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        for place in 0_usize.. {
            if items.next_element_seed(Shape { at: At::Item(&self.at, place), ..inner })?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            self.text(&name)?;
            let field = Shape { at: At::Field(&self.at, &name), ..inner };
            if names.contains(&name) {
                return Err(field.wrong("is there twice"));
            }
            fields.next_value_seed(field)?;
            names.insert(name);
        }
        Ok(())
    }
}
