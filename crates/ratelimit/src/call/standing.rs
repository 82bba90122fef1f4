//! What is done to the limits of one subject whatever its calls say: they are reset, and their numbers replaced.

use tollgate_kernel::{Fault, Timestamp};
use tollgate_proto::{ratelimit as wire, time::from_wire};

use super::{
    charge::{Key, is_number, limit_name},
    name, partition,
};
use crate::engine::{MAX_LIMIT, MAX_WINDOW, Override};

/// Most limits that are reset at once.
const MAX_NAMES: usize = 32;

/// Limits of one subject to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reset {
    pub(crate) partition: String,
    pub(crate) keys: Vec<Key>,
}

/// A number to put in place of a limit's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PutOverride {
    pub(crate) partition: String,
    pub(crate) key: Key,
    pub(crate) replaced: Override,
}

impl TryFrom<wire::ResetRequest> for Reset {
    type Error = Fault;

    fn try_from(request: wire::ResetRequest) -> Result<Self, Fault> {
        if !(1..=MAX_NAMES).contains(&request.names.len()) {
            return Err(Fault::invalid("/names", format!("must be 1 to {MAX_NAMES}")));
        }
        let partition = partition(request.partition)?;
        let subject = name(request.subject, || "/subject".to_owned())?;
        let key = |(position, name): (usize, String)| {
            limit_name(&name, || format!("/names/{position}"))?;
            Ok(Key::new(name, &subject))
        };
        let mut keys: Vec<Key> =
            request.names.into_iter().enumerate().map(key).collect::<Result<_, Fault>>()?;
        // One that is named twice is reset once.
        keys.sort_unstable();
        keys.dedup();
        Ok(Self { partition, keys })
    }
}

impl PutOverride {
    /// The override that is asked for at this time.
    pub(crate) fn parse(request: wire::PutOverrideRequest, now: Timestamp) -> Result<Self, Fault> {
        let partition = partition(request.partition)?;
        let asked = request.r#override.ok_or_else(|| Fault::invalid("/override", "is required"))?;
        limit_name(&asked.name, || "/override/name".to_owned())?;
        let subject = name(asked.subject, || "/override/subject".to_owned())?;
        if !is_number(asked.limit) {
            return Err(Fault::invalid("/override/limit", format!("must be 1 to {MAX_LIMIT}")));
        }
        let expires_at = "/override/expires_at";
        let until = asked.expires_at.ok_or_else(|| Fault::invalid(expires_at, "is required"))?;
        let until = from_wire(until, expires_at)?.timestamp_micros();
        let now = now.timestamp_micros();
        if !(now + 1..=now + MAX_WINDOW).contains(&until) {
            return Err(Fault::invalid(expires_at, "must be later than now, and within 400 days"));
        }
        let replaced = Override { limit: asked.limit, until };
        Ok(Self { partition, key: Key::new(asked.name, &subject), replaced })
    }
}

/// Where an override is that is to end.
pub(crate) fn ended(request: wire::DeleteOverrideRequest) -> Result<(String, Key), Fault> {
    let partition = partition(request.partition)?;
    limit_name(&request.name, || "/name".to_owned())?;
    let subject = name(request.subject, || "/subject".to_owned())?;
    Ok((partition, Key::new(request.name, &subject)))
}
