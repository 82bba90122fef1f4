//! What the scripts reply, read.

use ::redis::{Value, from_redis_value_ref};

use super::{
    super::{Answer, Undecided, ahead::Charged},
    keys::Keys,
};
use crate::{
    call::{Call, Key, Wrong},
    engine::{Denial, Outlook, Override},
};

/// A call that was decided, or not.
pub(super) enum Checked {
    Decided(Answer, Charged),
    /// The periods of a calendar do not reach to this time, at which it is to be decided.
    OutOfBounds(i64),
}

/// What is said of each limit of a call.
const OUTLOOK: usize = 5;

/// The reply of a check, as `check/begin.lua` says, and of one that may charge calls ahead, as `check/block.lua` says.
pub(super) fn checked(call: &Call, is_ahead: bool, reply: &[i64]) -> Result<Checked, Undecided> {
    let Some((&[by, wait], outlooks)) = reply.split_first_chunk() else { return Err(Undecided::Reused) };
    if by == -1 {
        return Ok(Checked::OutOfBounds(wait));
    }
    if by == -2 {
        let by = usize::try_from(wait - 1).ok().filter(|by| *by < call.charges.len());
        return Err(by.map_or_else(strange, Undecided::TooMuch));
    }
    let (outlooks, charged) = match outlooks.split_last_chunk() {
        Some((outlooks, &[calls, lasts])) if is_ahead => {
            (outlooks, Charged { calls: calls.unsigned_abs(), lasts })
        }
        _ => (outlooks, Charged { calls: 0, lasts: 0 }),
    };
    let (outlooks, rest) = outlooks.as_chunks::<OUTLOOK>();
    let by = usize::try_from(by).ok().filter(|by| *by <= call.charges.len());
    let outlooks: Option<Vec<_>> = outlooks.iter().map(outlook).collect();
    match (by, outlooks) {
        (Some(by), Some(outlooks)) if outlooks.len() == call.charges.len() && rest.is_empty() => {
            let denial = by.checked_sub(1).map(|by| Denial { by, wait });
            Ok(Checked::Decided(Answer { denial, outlooks, degraded: false }, charged))
        }
        _ => Err(strange()),
    }
}

fn outlook(&[limit, remaining, reset, period, exceeded]: &[i64; OUTLOOK]) -> Option<Outlook> {
    let (limit, remaining) = (u64::try_from(limit).ok()?, u64::try_from(remaining).ok()?);
    Some(Outlook { limit, remaining, reset, period, exceeded: exceeded != 0 })
}

/// The reply of a settle, as `settle.lua` says.
pub(super) fn settled(reply: &[Value]) -> Result<Vec<u64>, Undecided> {
    let text = |place: usize| reply.get(place).and_then(|word| from_redis_value_ref::<String>(word).ok());
    match (text(0).as_deref(), text(1)) {
        (Some("returned"), _) => {
            let units = reply[1..].iter().map(from_redis_value_ref);
            units.collect::<Result<_, _>>().map_err(|_| strange())
        }
        (Some("unknown"), _) => Err(Undecided::Unknown),
        (Some("settled"), _) => Err(Undecided::Settled),
        (Some("name"), Some(name)) => Err(Wrong::Name(name).into()),
        (Some("cost"), Some(name)) => Err(Wrong::Cost(name).into()),
        _ => Err(strange()),
    }
}

/// The reply of `overrides.lua`.
pub(super) fn overrides(
    keys: &Keys,
    partition: &str,
    reply: &[(String, u64, i64)],
) -> Result<Vec<(Key, Override)>, Undecided> {
    let each = reply.iter().map(|(state, limit, until)| {
        let (name, subject) = keys.parse_state(partition, state)?;
        Some((Key::new(name.to_owned(), subject), Override { limit: *limit, until: *until }))
    });
    each.collect::<Option<_>>().ok_or_else(strange)
}

fn strange() -> Undecided {
    Undecided::Gone("the reply is not one of our script".into())
}
