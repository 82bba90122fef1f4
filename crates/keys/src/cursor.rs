//! Cursors of lists of keys: the place of the last key of a page, in the order of the list. Pure.
//!
//! A cursor is good for the same workspace, filter and order only, and for no other text than was given out: a digest of all of that
//! is in it. The digest has no secret, and needs none: a cursor says nothing that its holder may not ask for without it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tollgate_db::{DbId, DbTime};
use tollgate_kernel::Timestamp;
use uuid::Uuid;

use crate::store::{Order, Position, Sort, Value};

/// Bytes of the digest.
const CHECK: usize = 8;
/// Bytes of an id.
const ID: usize = 16;
/// Longest cursor: a name has at most 100 characters, of 4 bytes at most.
const LONGEST: usize = 600;

/// What a cursor is good for: the bytes that tell one list from another.
pub(crate) struct Scope(Vec<u8>);

impl Scope {
    /// `filter`: the workspace and the filter, as bytes.
    pub(crate) fn new(filter: &[u8], order: Order) -> Self {
        let sort = match order.sort {
            Sort::CreatedAt => 0,
            Sort::ExpiresAt => 1,
            Sort::LastUsedAt => 2,
            Sort::Name => 3,
        };
        Self([&[sort, u8::from(order.ascending)], filter].concat())
    }

    pub(crate) fn encode(&self, position: &Position) -> String {
        let value = match &position.value {
            Value::Time(at) => at.0.timestamp_micros().to_be_bytes().to_vec(),
            Value::Text(text) => text.as_bytes().to_vec(),
        };
        let body = [value.as_slice(), position.id.0.as_bytes()].concat();
        let check = self.check(&body);
        URL_SAFE_NO_PAD.encode([body, check].concat())
    }

    /// `None`: no earlier page of this list gave it.
    pub(crate) fn decode(&self, cursor: &str, sort: Sort) -> Option<Position> {
        if cursor.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
        if self.check(body) != check {
            return None;
        }
        let (value, id) = body.split_at_checked(body.len().checked_sub(ID)?)?;
        let value = match sort {
            Sort::Name => Value::Text(String::from_utf8(value.to_vec()).ok()?),
            Sort::CreatedAt | Sort::ExpiresAt | Sort::LastUsedAt => {
                let micros = i64::from_be_bytes(value.try_into().ok()?);
                Value::Time(DbTime(Timestamp::from_timestamp_micros(micros)?))
            }
        };
        Some(Position { value, id: DbId(Uuid::from_slice(id).ok()?) })
    }

    fn check(&self, body: &[u8]) -> Vec<u8> {
        let length = (self.0.len() as u64).to_be_bytes();
        let all = [b"cursor of keys".as_slice(), &length, &self.0, body].concat();
        digest(&SHA256, &all).as_ref()[..CHECK].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: Order = Order { sort: Sort::Name, ascending: true };

    fn position(value: Value) -> Position {
        Position { value, id: DbId(Uuid::from_u128(7)) }
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        for sort in [Sort::CreatedAt, Sort::ExpiresAt, Sort::LastUsedAt] {
            let scope = Scope::new(b"a list", Order { sort, ascending: false });
            for micros in [0, 1, 1_767_225_600_000_001, 253_402_300_799_999_999] {
                let at = Timestamp::from_timestamp_micros(micros).expect("a time");
                let place = position(Value::Time(at.into()));
                assert_eq!(scope.decode(&scope.encode(&place), sort), Some(place));
            }
        }
        let scope = Scope::new(b"a list", NAMES);
        for text in ["", "a", "naïve", &"𝄞".repeat(100)] {
            let place = position(Value::Text(text.to_owned()));
            assert_eq!(scope.decode(&scope.encode(&place), Sort::Name), Some(place), "{text}");
        }
    }

    #[test]
    fn it_is_good_for_its_own_list_only() {
        let place = position(Value::Text("a name!!".to_owned()));
        let cursor = Scope::new(b"a list", NAMES).encode(&place);
        for other in [
            Scope::new(b"a list", Order { ascending: false, ..NAMES }),
            Scope::new(b"a list", Order { sort: Sort::CreatedAt, ..NAMES }),
            Scope::new(b"another", NAMES),
            Scope::new(b"", NAMES),
        ] {
            for sort in [Sort::Name, Sort::CreatedAt] {
                assert_eq!(other.decode(&cursor, sort), None);
            }
        }
    }

    #[test]
    fn garbage_is_no_cursor() {
        let scope = Scope::new(b"a list", NAMES);
        let good = scope.encode(&position(Value::Text("a".to_owned())));
        for wrong in
            ["", "x", "!!!", "AAAA", "' OR 1=1", &good[1..], &format!("{good}="), &"A".repeat(100_000)]
        {
            assert_eq!(scope.decode(wrong, Sort::Name), None, "{wrong:.30}");
        }
    }

    proptest! {
        #[test]
        fn what_is_changed_in_one_place_is_no_cursor(place in 0_usize..40, letter in "[A-Za-z0-9_-]") {
            let scope = Scope::new(b"a list", NAMES);
            let good = scope.encode(&position(Value::Text("a name".to_owned())));
            let mut letters: Vec<char> = good.chars().collect();
            letters[place] = letter.chars().next().expect("a letter");
            let changed: String = letters.into_iter().collect();
            prop_assert_eq!(scope.decode(&changed, Sort::Name).is_some(), changed == good);
        }
    }
}
