//! Small readings of the roles' answers. A role that answers against its contract is our mistake: an internal fault.

use prost_types::Timestamp as Wire;
use serde_json::{Map, Value};
use tollgate_kernel::{Fault, Timestamp};
use tollgate_proto::time::{from_wire, to_wire};

/// A part that the contract promises.
pub(crate) fn required<T>(part: Option<T>, what: &'static str) -> Result<T, Fault> {
    part.ok_or_else(|| Fault::internal(format!("a role answered without `{what}`")))
}

/// An instant that the contract promises.
pub(crate) fn instant(at: Option<Wire>, what: &'static str) -> Result<Timestamp, Fault> {
    required(optional_instant(at)?, what)
}

/// An instant that may be absent.
pub(crate) fn optional_instant(at: Option<Wire>) -> Result<Option<Timestamp>, Fault> {
    at.map(|at| from_wire(at, "").map_err(Fault::internal)).transpose()
}

/// An instant for a role.
pub(crate) fn optional_wire(at: Option<Timestamp>) -> Option<Wire> {
    at.map(to_wire)
}

/// A text that a role leaves empty if there is none.
pub(crate) fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// A JSON object in a text.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, Fault> {
    if text.is_empty() { Ok(Map::new()) } else { serde_json::from_str(text).map_err(Fault::internal) }
}

/// Every item read, or the first fault.
pub(crate) fn all<T, U: TryFrom<T, Error = Fault>>(items: Vec<T>) -> Result<Vec<U>, Fault> {
    items.into_iter().map(U::try_from).collect()
}
